//! A map with its columns becomes a topology that places keys as MySQL compares them, or refuses.

use super::*;
use crate::config::{MapDatabase, MapPlacing, MapShard, MapTable};

fn map(scheme: MapScheme) -> Map {
    let shard = |name: &str| MapShard {
        name: name.to_owned(),
        primary: MapServer { host: format!("{name}.example"), port: 3306, tls: MapTls::Disabled },
        replicas: vec![],
    };
    let sharded = |name: &str| MapTable {
        name: name.to_owned(),
        placement: MapPlacement::Sharded { scheme: scheme.name.clone(), key: "k".to_owned() },
    };
    Map {
        version: 3,
        shards: vec![shard("a"), shard("b")],
        databases: vec![MapDatabase {
            name: "Shop".to_owned(),
            default_shard: None,
            tables: vec![sharded("Orders"), sharded("Parts")],
            functions: Vec::new(),
        }],
        schemes: vec![scheme],
    }
}

fn by_name(single: &str) -> MapScheme {
    MapScheme {
        name: "by_name".to_owned(),
        function: MapFunction::Xxhash,
        placings: vec![MapPlacing {
            part: MapPart::Points { first: 0, last: u64::MAX },
            shard: "a".to_owned(),
        }],
        singles: vec![(MapKey::Text(single.to_owned()), "b".to_owned())],
    }
}

fn text(collation: &str) -> ColumnType {
    let ascii = std::array::from_fn(|byte| vec![(byte as u8).to_ascii_uppercase()]);
    let collation = Collation {
        name: collation.to_owned(),
        charset: "utf8mb4".to_owned(),
        pad_space: true,
        ascii: Some(Arc::new(ascii)),
        binary: false,
    };
    ColumnType::Text { collation: Arc::new(collation), characters_max: 64 }
}

fn columns(kinds: [(&str, ColumnType); 2]) -> Columns {
    let column = |kind| Column {
        default: None,
        name: "K".to_owned(),
        kind,
        invisible: false,
        nullable: false,
        auto_increment: false,
        generated: false,
    };
    let tables = kinds.map(|(table, kind)| {
        (("shop".to_owned(), table.to_owned()), [column(kind)].into_iter().collect::<Arc<[Column]>>())
    });
    Columns { tables: tables.into_iter().collect(), weights: HashMap::new() }
}

#[test]
fn single_keys_take_the_weights_of_the_key_column() {
    let base = Topology::build(&map(by_name("Acme ")));
    let (topology, problems) =
        base.with_columns(&columns([("orders", text("x_ci")), ("parts", text("x_ci"))]));
    assert_eq!(problems, [""; 0]);
    let key = Key::Bytes { weights: b"ACME".to_vec(), raw: b"acme".to_vec() };
    assert_eq!(topology.schemes[0].locate(&key), Some(ShardId(1)));
}

#[test]
fn a_table_whose_key_compares_otherwise_is_disabled_not_misplaced() {
    let base = Topology::build(&map(by_name("x")));
    let (topology, problems) =
        base.with_columns(&columns([("orders", text("x_ci")), ("parts", text("y_ci"))]));
    let kind = |name: &str| topology.databases[0].tables[name].column("k").map(|column| column.kind.clone());
    assert_eq!(kind("orders"), Some(text("x_ci")));
    assert!(matches!(kind("parts"), Some(ColumnType::Other(_))));
    assert!(problems[0].contains("Shop.Parts") && problems[0].contains("Shop.Orders"), "{problems:?}");
}

#[test]
fn texts_beyond_ascii_wait_for_their_weights() {
    let base = Topology::build(&map(by_name("Müller")));
    let mut known = columns([("orders", text("x_ci")), ("parts", text("x_ci"))]);
    let wanted = base.weights_wanted(&known);
    assert_eq!(wanted.len(), 1);
    assert_eq!(base.with_columns(&known).1.len(), 2, "both tables are disabled");
    known.weights.insert(("x_ci".to_owned(), "Müller".as_bytes().to_vec()), b"MULLER".to_vec());
    let (topology, problems) = base.with_columns(&known);
    assert_eq!(problems, [""; 0]);
    let key = Key::Bytes { weights: b"MULLER".to_vec(), raw: vec![] };
    assert_eq!(topology.schemes[0].locate(&key), Some(ShardId(1)));
}

#[test]
fn the_layout_changes_with_columns_but_not_with_ranges() {
    let base = Topology::build(&map(by_name("x")));
    let moved = Topology::build(&map(MapScheme {
        placings: vec![MapPlacing { part: MapPart::Points { first: 0, last: 9 }, shard: "b".to_owned() }],
        ..by_name("x")
    }));
    assert_eq!(base.layout, moved.layout);
    assert_ne!(base.content_hash, moved.content_hash);
    let (described, _) = base.with_columns(&columns([("orders", text("x_ci")), ("parts", text("x_ci"))]));
    assert_ne!(base.layout, described.layout);
    assert_eq!(
        described.layout,
        base.with_columns(&columns([("orders", text("x_ci")), ("parts", text("x_ci"))])).0.layout
    );
}
