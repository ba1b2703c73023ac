//! Routes compared with the scheme itself: for every key that a condition finds, the shard of the key is asked.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::planner::{self, Request};
use crate::sql::{Charset, Context, Flavor, SqlMode, Statement};
use crate::topology::{
    Collation, Column, ColumnType, Database, Epoch, Key, KeyFunction, MapVersion, Placement, Placing, Scheme,
    SchemeId, Server, ServerName, ServerTlsMode, Shard, ShardName, Standing, Table,
};

const CONTEXT: Context = Context {
    mode: SqlMode {
        ansi_quotes: false,
        no_backslash_escapes: false,
        pipes_as_concat: false,
        ignore_space: false,
        high_not_precedence: false,
    },
    charset: Charset::AsciiSafe,
    flavor: Flavor::MySql,
    server_version: 80_400,
};

const SHARDS: u16 = 4;

fn shard(id: u16) -> Shard {
    let name = format!("s{}", id + 1);
    let primary = Server {
        name: ServerName::from(name.as_str()),
        host: "127.0.0.1".to_owned(),
        port: 3306 + id,
        tls: ServerTlsMode::Disabled,
    };
    Shard {
        id: ShardId(id),
        name: ShardName::from(name.as_str()),
        primary,
        replicas: Vec::new(),
        standing: Standing::default(),
        rotation: Vec::new(),
    }
}

fn column(name: &str, kind: ColumnType) -> Column {
    Column {
        default: None,
        name: name.to_owned(),
        kind,
        invisible: false,
        nullable: true,
        auto_increment: false,
        generated: false,
    }
}

fn table(name: &str, scheme: u16, kind: ColumnType) -> (String, Table) {
    let x = column("x", ColumnType::Integer { bits: 32, unsigned: false });
    let columns: Arc<[Column]> = Arc::from([column("k", kind), x]);
    let placement = Placement::Sharded { scheme: SchemeId(scheme), key: "k".to_owned() };
    (name.to_owned(), Table { name: name.to_owned(), placement, columns: Some(columns) })
}

/// `m` by modulo, `r` by ranges of fifteen, `t` by text.
fn topology() -> Topology {
    let points = (0..SHARDS)
        .map(|id| Placing::Points { first: id.into(), last: id.into(), shard: ShardId(id) })
        .collect();
    let keys = (0..SHARDS)
        .map(|id| Placing::Keys {
            from: (id > 0).then(|| Key::Integer(i128::from(id) * 15)),
            to: (id + 1 < SHARDS).then(|| Key::Integer((i128::from(id) + 1) * 15)),
            shard: ShardId(id),
        })
        .collect();
    let quarter = 1_u64 << 62;
    let hashed = (0..SHARDS)
        .map(|id| {
            let first = u64::from(id) * quarter;
            Placing::Points { first, last: first + (quarter - 1), shard: ShardId(id) }
        })
        .collect();
    let ascii = std::array::from_fn(|code| vec![(code as u8).to_ascii_uppercase()]);
    let collation = Arc::new(Collation {
        name: "utf8mb4_general_ci".to_owned(),
        charset: "utf8mb4".to_owned(),
        pad_space: true,
        ascii: Some(Arc::new(ascii)),
        binary: false,
    });
    let integer = ColumnType::Integer { bits: 64, unsigned: false };
    let tables = HashMap::from([
        table("m", 0, integer.clone()),
        table("n", 0, integer.clone()),
        table("r", 1, integer),
        table("t", 2, ColumnType::Text { collation, characters_max: 50 }),
    ]);
    Topology {
        epoch: Epoch(1),
        version: MapVersion(1),
        content_hash: 0,
        layout: 0,
        shards: (0..SHARDS).map(shard).collect(),
        schemes: vec![
            Scheme::new("m", KeyFunction::Mod { buckets: SHARDS.into() }, points, Vec::new()),
            Scheme::new("r", KeyFunction::Range, keys, Vec::new()),
            Scheme::new("t", KeyFunction::Xxhash, hashed, Vec::new()),
        ],
        databases: vec![Database {
            name: "d".to_owned(),
            default_shard: None,
            tables,
            functions: Default::default(),
        }],
    }
}

fn routed(sql: &str, topology: &Topology) -> Result<Part, RouteError> {
    let mut statement = Statement::default();
    statement.scan(sql.as_bytes(), &CONTEXT).unwrap();
    let request =
        Request { text: sql.as_bytes(), statement: &statement, context: &CONTEXT, database: Some("d") };
    let plan = planner::plan(&request, topology);
    let weights = WeightCache::default();
    let view = SessionView {
        shard: None,
        role: None,
        weights: &weights,
        context: &CONTEXT,
        charset: "utf8mb4",
        parameters: &[],
    };
    route(&plan, sql.as_bytes(), &statement, &view, topology).map(|route| route.part)
}

fn asked(part: &Part) -> Vec<ShardId> {
    match part {
        Part::Any | Part::Scratch => (0..SHARDS).map(ShardId).collect(),
        Part::Nowhere => Vec::new(),
        Part::One(shard) => vec![*shard],
        Part::Many(targets) => targets.iter().map(|target| target.shard).collect(),
    }
}

/// A condition on `k` with its meaning.
#[derive(Debug, Clone)]
enum Condition {
    Compare(&'static str, i64),
    In(Vec<i64>),
    NotIn(Vec<i64>),
    Between(i64, i64),
    Other(bool),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

impl Condition {
    fn sql(&self, column: &str) -> String {
        let join = |all: &[Condition], word: &str| {
            let all: Vec<String> = all.iter().map(|one| format!("({})", one.sql(column))).collect();
            all.join(word)
        };
        let list = |numbers: &[i64]| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Condition::Compare(operator, number) => format!("{column} {operator} {number}"),
            Condition::In(numbers) => format!("{column} IN ({})", list(numbers)),
            Condition::NotIn(numbers) => format!("{column} NOT IN ({})", list(numbers)),
            Condition::Between(low, high) => format!("{column} BETWEEN {low} AND {high}"),
            Condition::Other(true) => "x = x".to_owned(),
            Condition::Other(false) => "x <> x".to_owned(),
            Condition::Not(inner) => format!("NOT ({})", inner.sql(column)),
            Condition::And(all) => join(all, " AND "),
            Condition::Or(all) => join(all, " OR "),
        }
    }

    fn holds(&self, key: i64) -> bool {
        match self {
            Condition::Compare(operator, number) => match *operator {
                "=" | "<=>" => key == *number,
                "<>" => key != *number,
                "<" => key < *number,
                "<=" => key <= *number,
                ">" => key > *number,
                _ => key >= *number,
            },
            Condition::In(numbers) => numbers.contains(&key),
            Condition::NotIn(numbers) => !numbers.contains(&key),
            Condition::Between(low, high) => (*low..=*high).contains(&key),
            Condition::Other(value) => *value,
            Condition::Not(inner) => !inner.holds(key),
            Condition::And(all) => all.iter().all(|one| one.holds(key)),
            Condition::Or(all) => all.iter().any(|one| one.holds(key)),
        }
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let operator = prop::sample::select(vec!["=", "<=>", "<>", "<", "<=", ">", ">="]);
    let number = -3_i64..63;
    let leaf = prop_oneof![
        4 => (operator, number.clone()).prop_map(|(operator, number)| Condition::Compare(operator, number)),
        2 => prop::collection::vec(number.clone(), 1..6).prop_map(Condition::In),
        1 => prop::collection::vec(number.clone(), 1..4).prop_map(Condition::NotIn),
        2 => (number.clone(), number).prop_map(|(low, high)| Condition::Between(low, high)),
        1 => any::<bool>().prop_map(Condition::Other),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::And),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::Or),
            1 => inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn owner(topology: &Topology, scheme: u16, key: i64) -> ShardId {
    topology.scheme(SchemeId(scheme)).locate(&Key::Integer(key.into())).unwrap()
}

proptest! {
    #[test]
    fn no_shard_with_a_matching_key_is_left_out(condition in condition()) {
        let topology = topology();
        for (table, scheme) in [("m", 0), ("r", 1)] {
            let sql = format!("SELECT * FROM {table} WHERE {}", condition.sql("k"));
            let asked = asked(&routed(&sql, &topology).unwrap());
            for key in (-3..63).filter(|key| condition.holds(*key)) {
                prop_assert!(asked.contains(&owner(&topology, scheme, key)), "{sql}: key {key}, asked {asked:?}");
            }
        }
    }

    #[test]
    fn a_condition_on_one_table_of_a_join_holds_for_the_other(condition in condition(), left in any::<bool>()) {
        let topology = topology();
        let join = if left { "LEFT JOIN" } else { "JOIN" };
        let sql = format!("SELECT * FROM m {join} n ON m.k = n.k WHERE {}", condition.sql("n.k").replace('x', "m.x"));
        // Rows of m without a partner have NULL for n.k: only conditions that NULL passes can need them.
        let asked = asked(&routed(&sql, &topology).unwrap());
        for key in (-3..63).filter(|key| condition.holds(*key)) {
            prop_assert!(asked.contains(&owner(&topology, 0, key)), "{sql}: key {key}, asked {asked:?}");
        }
    }

    #[test]
    fn every_spelling_of_an_integer_finds_its_shard(number in -1_000_000_i64..1_000_000, spelling in 0..6) {
        let topology = topology();
        let written = match spelling {
            0 => number.to_string(),
            1 => format!("'{number}'"),
            2 => format!("{number}.00"),
            3 => format!("{number}e0"),
            4 => format!("({number} + 7 - 7)"),
            _ => format!("- {}", -number),
        };
        // `- -5` is a comment's beginning when written `--5`; with the blank it is not.
        let part = routed(&format!("SELECT * FROM m WHERE k = {written}"), &topology).unwrap();
        prop_assert_eq!(part, Part::One(owner(&topology, 0, number)));
        let insert = format!("INSERT INTO m (x, k) VALUES (1, {number})");
        prop_assert_eq!(routed(&insert, &topology).unwrap(), Part::One(owner(&topology, 0, number)));
    }

    #[test]
    fn texts_that_the_collation_finds_equal_go_to_one_shard(text in "[a-zA-Z0-9]{0,12}", blanks in 0_usize..3) {
        let topology = topology();
        let other = format!("{}{}", text.to_ascii_lowercase(), " ".repeat(blanks));
        let insert = routed(&format!("INSERT INTO t (k, x) VALUES ('{text}', 1)"), &topology).unwrap();
        let select = routed(&format!("SELECT * FROM t WHERE k = '{other}'"), &topology).unwrap();
        prop_assert_eq!(insert, select);
    }

    #[test]
    fn every_row_goes_to_its_shard_once_and_unchanged(keys in prop::collection::vec(-50_i64..50, 1..20)) {
        let topology = topology();
        let rows: Vec<String> = keys.iter().enumerate().map(|(x, key)| format!("({key}, '{x},)(')")).collect();
        let sql = format!("INSERT INTO m (k, x) VALUES {} /* tail */", rows.join(" , "));
        match routed(&sql, &topology).unwrap() {
            Part::One(shard) => {
                prop_assert!(keys.iter().all(|key| owner(&topology, 0, *key) == shard));
            }
            Part::Many(targets) => {
                let mut seen = 0;
                for target in targets {
                    let own: Vec<&str> = rows
                        .iter()
                        .zip(&keys)
                        .filter(|(_, key)| owner(&topology, 0, **key) == target.shard)
                        .map(|(row, _)| row.as_str())
                        .collect();
                    seen += own.len();
                    let expected = format!("INSERT INTO m (k, x) VALUES {} /* tail */", own.join(","));
                    prop_assert_eq!(String::from_utf8(target.text.unwrap()).unwrap(), expected);
                }
                prop_assert_eq!(seen, keys.len());
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_split_list_keeps_every_element_once(keys in prop::collection::vec(0_i64..50, 2..20)) {
        let topology = topology();
        let list = |keys: &[i64]| keys.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT * FROM m WHERE k IN ({}) AND x > 1", list(&keys));
        if let Part::Many(targets) = routed(&sql, &topology).unwrap() {
            for target in targets {
                let own: Vec<i64> =
                    keys.iter().copied().filter(|key| owner(&topology, 0, *key) == target.shard).collect();
                let expected = format!("SELECT * FROM m WHERE k IN ({}) AND x > 1", list(&own));
                prop_assert_eq!(String::from_utf8(target.text.unwrap()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn planning_and_routing_never_panic(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "*", "FROM", "m", "n", "t", "WHERE", "k", "=", "5", "IN", "(", ")", ",", "'a'", "JOIN", "ON", "LEFT",
        "UNION", "ALL", "INSERT", "INTO", "VALUES", "UPDATE", "SET", "DELETE", "_shard", "NULL", "AND", "OR", "NOT",
        "BETWEEN", "-", "x", ".", "WITH", "AS", "LIMIT", "ORDER", "BY", "EXPLAIN", "SHOW", "CREATE", "TABLE", "EXISTS",
        "USING", "NATURAL", "GROUP", "COUNT(*)", "0x1", "?", "DO", "CALL", "ROW",
    ]), 0..25)) {
        let topology = topology();
        let sql = words.join(" ");
        let mut statement = Statement::default();
        if statement.scan(sql.as_bytes(), &CONTEXT).is_ok() {
            let _ = routed(&sql, &topology);
        }
    }
}

#[test]
fn a_chosen_shard_takes_what_would_be_refused() {
    let topology = topology();
    let sql = b"SELECT SQL_CALC_FOUND_ROWS GROUP_CONCAT(x) FROM m";
    let mut statement = Statement::default();
    statement.scan(sql, &CONTEXT).unwrap();
    let request = Request { text: sql, statement: &statement, context: &CONTEXT, database: Some("d") };
    let plan = planner::plan(&request, &topology);
    let weights = WeightCache::default();
    let view = SessionView {
        shard: Some(ShardId(2)),
        role: Some(Role::Replica),
        weights: &weights,
        context: &CONTEXT,
        charset: "utf8mb4",
        parameters: &[],
    };
    let chosen = route(&plan, sql, &statement, &view, &topology).unwrap();
    assert_eq!(chosen, Route { role: Role::Replica, part: Part::One(ShardId(2)) });
    let view = SessionView { shard: None, ..view };
    assert!(matches!(route(&plan, sql, &statement, &view, &topology), Err(RouteError::Refused(_))));
}

#[test]
fn text_beyond_ascii_asks_for_its_weights_once_and_all_together() {
    let topology = topology();
    let sql = "SELECT * FROM t WHERE k IN ('é', 'a', 'ü')";
    let Err(RouteError::WeightsNeeded { collation, texts }) = routed(sql, &topology) else {
        panic!("weights are not asked for")
    };
    assert_eq!((collation.as_str(), texts.len()), ("utf8mb4_general_ci", 2));
    let mut statement = Statement::default();
    statement.scan(sql.as_bytes(), &CONTEXT).unwrap();
    let request =
        Request { text: sql.as_bytes(), statement: &statement, context: &CONTEXT, database: Some("d") };
    let plan = planner::plan(&request, &topology);
    let mut weights = WeightCache::default();
    weights.learn(&collation, texts, vec![b"E".to_vec(), b"U".to_vec()]);
    let view = SessionView {
        shard: None,
        role: None,
        weights: &weights,
        context: &CONTEXT,
        charset: "utf8mb4",
        parameters: &[],
    };
    assert!(route(&plan, sql.as_bytes(), &statement, &view, &topology).is_ok());
}
