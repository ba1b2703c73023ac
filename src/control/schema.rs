//! Reads the definitions of the map's tables from the shards and compares them. A shard that cannot be asked leaves what
//! was known of its tables.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::client::Client;
use super::collation::{self, Collations};
use super::error::ControlError;
use crate::config::ControlSettings;
use crate::topology::{
    Collation, Column, ColumnType, Columns, MAP_CHARSET, Placement, Server, Shard, ShardId, Table, Topology,
};

/// Shards that are asked at once.
const SHARDS_AT_ONCE: usize = 32;
/// Differences that are told by name; more are counted.
const DIFFERENCES_MAX: usize = 50;

/// What reading the schema found.
#[derive(Debug, Default)]
pub(crate) struct SchemaReading {
    pub(crate) columns: Columns,
    /// Tables that are missing on a shard or differ between shards, in sentences.
    pub(crate) differences: Vec<String>,
    /// Shards that could not be asked, and why.
    pub(crate) failures: Vec<(ShardId, ControlError)>,
}

type ShardTables = HashMap<(String, String), Arc<[Column]>>;

/// Asks every shard of `base` for its tables. `known` is kept for tables of shards that do not answer.
pub(super) async fn read(
    base: &Topology,
    known: &Columns,
    settings: &ControlSettings,
    collations: &Arc<Collations>,
) -> SchemaReading {
    let mut reading = SchemaReading::default();
    let wanted = Arc::new(wanted_tables(base));
    let mut answers: BTreeMap<ShardId, ShardTables> = BTreeMap::new();
    for shards in base.shards.chunks(SHARDS_AT_ONCE) {
        let mut running = JoinSet::new();
        for shard in shards {
            let (shard, settings) = (shard.clone(), settings.clone());
            let (wanted, collations) = (Arc::clone(&wanted), Arc::clone(collations));
            running.spawn(async move {
                let answer = read_shard(&shard, &wanted, &settings, &collations).await;
                (shard.id, answer)
            });
        }
        while let Some(finished) = running.join_next().await {
            match finished {
                Ok((shard, Ok(tables))) => drop(answers.insert(shard, tables)),
                Ok((shard, Err(error))) => reading.failures.push((shard, error)),
                Err(error) => tracing::error!(%error, "reading a schema ended early"),
            }
        }
    }
    reading.failures.sort_by_key(|(shard, _)| *shard);
    combine(base, known, &answers, &mut reading);
    reading.columns.weights = known.weights.clone();
    learn_weights(base, settings, &mut reading).await;
    reading
}

fn wanted_tables(base: &Topology) -> HashSet<(String, String)> {
    let tables = base.databases.iter().flat_map(|database| {
        let name = database.name.to_lowercase();
        database.tables.keys().map(move |table| (name.clone(), table.clone()))
    });
    tables.collect()
}

/// The shards on which a table has to be.
pub(super) fn shards_of(base: &Topology, table: &Table) -> Vec<ShardId> {
    match &table.placement {
        Placement::Sharded { scheme, .. } => base.scheme(*scheme).shards.iter().collect(),
        Placement::Reference => base.shards.iter().map(|shard| shard.id).collect(),
        Placement::Single { shard } => vec![*shard],
    }
}

/// One definition per table: that of the first shard that has it.
fn combine(
    base: &Topology,
    known: &Columns,
    answers: &BTreeMap<ShardId, ShardTables>,
    reading: &mut SchemaReading,
) {
    let mut unnamed = 0usize;
    let mut tell = |reading: &mut SchemaReading, difference: String| {
        if reading.differences.len() < DIFFERENCES_MAX {
            reading.differences.push(difference);
        } else {
            unnamed += 1;
        }
    };
    for database in &base.databases {
        let mut tables: Vec<_> = database.tables.iter().collect();
        tables.sort_by_key(|(name, _)| *name);
        for (name, table) in tables {
            let key = (database.name.to_lowercase(), name.clone());
            let mut first: Option<(ShardId, &Arc<[Column]>)> = None;
            let mut unasked = false;
            for shard in shards_of(base, table) {
                let Some(answer) = answers.get(&shard) else {
                    unasked = true;
                    continue;
                };
                let shard_name = &base.shard(shard).name;
                match (answer.get(&key), first) {
                    (None, _) => {
                        tell(
                            reading,
                            format!("table {}.{} is not on shard {shard_name}", database.name, table.name),
                        );
                    }
                    (Some(columns), None) => first = Some((shard, columns)),
                    (Some(columns), Some((other, definition))) => {
                        if let Some(difference) = difference(definition, columns) {
                            let other = &base.shard(other).name;
                            tell(
                                reading,
                                format!(
                                    "table {}.{} differs between {other} and {shard_name}: {difference}",
                                    database.name, table.name
                                ),
                            );
                        }
                    }
                }
            }
            let before = known.tables.get(&key).filter(|_| unasked);
            if let Some(columns) = first.map(|(_, columns)| columns).or(before) {
                reading.columns.tables.insert(key, Arc::clone(columns));
            }
        }
    }
    if unnamed > 0 {
        reading.differences.push(format!("and {unnamed} more"));
    }
}

/// The first difference of two definitions of a table.
pub(super) fn difference(left: &[Column], right: &[Column]) -> Option<String> {
    let pairs = left.iter().zip(right).enumerate();
    for (index, (left, right)) in pairs {
        if !left.name.eq_ignore_ascii_case(&right.name) {
            return Some(format!("column {} is {} and {}", index + 1, left.name, right.name));
        }
        if left != &(Column { name: left.name.clone(), ..right.clone() }) {
            return Some(format!("column {} is {} and {}", left.name, left.kind, right.kind));
        }
    }
    (left.len() != right.len()).then(|| format!("{} and {} columns", left.len(), right.len()))
}

/// Asks the servers of one shard in turn, the primary first.
async fn read_shard(
    shard: &Shard,
    wanted: &HashSet<(String, String)>,
    settings: &ControlSettings,
    collations: &Collations,
) -> Result<ShardTables, ControlError> {
    let mut first_error = None;
    for (_, server) in shard.servers() {
        match read_server(server, wanted, settings, collations).await {
            Ok(tables) => return Ok(tables),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| ControlError::NoServer { last: "the shard has no server".to_owned() }))
}

async fn read_server(
    server: &Server,
    wanted: &HashSet<(String, String)>,
    settings: &ControlSettings,
    collations: &Collations,
) -> Result<ShardTables, ControlError> {
    let mut client = Client::connect(server, &settings.credential, settings.probe_timeout).await?;
    let tables = read_tables(&mut client, wanted, collations).await?;
    client.close().await;
    Ok(tables)
}

type ColumnRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    Option<u64>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// The definitions of the `wanted` tables on the server that `client` talks to.
pub(super) async fn read_tables(
    client: &mut Client,
    wanted: &HashSet<(String, String)>,
    collations: &Collations,
) -> Result<ShardTables, ControlError> {
    const WHAT: &str = "tell its table definitions";
    let schemas: HashSet<&str> = wanted.iter().map(|(database, _)| database.as_str()).collect();
    if schemas.is_empty() {
        return Ok(HashMap::new());
    }
    let mut schemas: Vec<String> = schemas.into_iter().map(quote).collect();
    schemas.sort_unstable();
    // The casts keep servers from answering with types of their own; names have the case that the server stores.
    let question = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, CAST(COLUMN_TYPE AS CHAR), IS_NULLABLE, \
         CAST(CHARACTER_MAXIMUM_LENGTH AS UNSIGNED), CHARACTER_SET_NAME, COLLATION_NAME, \
         CONCAT(COALESCE(EXTRA, ''), '|', COALESCE(COLUMN_DEFAULT, '')) \
         FROM information_schema.COLUMNS WHERE LOWER(TABLE_SCHEMA) IN ({}) \
         ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
        schemas.join(", ")
    );
    let rows: Vec<ColumnRow> = client.rows(WHAT, question).await?;
    let mut tables: HashMap<(String, String), Vec<Column>> = HashMap::new();
    for row in rows {
        let key = (row.0.to_lowercase(), row.1.to_lowercase());
        if wanted.contains(&key) {
            let column = column(client, collations, row).await?;
            tables.entry(key).or_default().push(column);
        }
    }
    Ok(tables.into_iter().map(|(key, columns)| (key, columns.into())).collect())
}

/// A string literal that means the same in every sql_mode.
fn quote(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("_utf8mb4 X'{hex}'")
}

async fn column(
    client: &mut Client,
    collations: &Collations,
    (_, _, name, word, full, nullable, length, charset, collation, filling): ColumnRow,
) -> Result<Column, ControlError> {
    let full = full.to_ascii_lowercase();
    let integer = |bits| ColumnType::Integer { bits, unsigned: full.contains("unsigned") };
    let bytes_max = length.unwrap_or(0);
    let kind = match word.to_ascii_lowercase().as_str() {
        "tinyint" => integer(8),
        "smallint" => integer(16),
        "mediumint" => integer(24),
        "int" => integer(32),
        "bigint" => integer(64),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => match (collation, charset) {
            (Some(name), Some(charset)) => match collations.learn(client, &name, &charset).await? {
                Some(collation) => ColumnType::Text { collation, characters_max: bytes_max },
                None => ColumnType::Other(format!(
                    "{full} under {name} (whose weights disagree with its comparisons)"
                )),
            },
            _ => ColumnType::Other(full.clone()),
        },
        "binary" => ColumnType::Binary { fixed: true, bytes_max },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            ColumnType::Binary { fixed: false, bytes_max }
        }
        "date" | "datetime" | "timestamp" => ColumnType::Temporal,
        "decimal" => ColumnType::Decimal,
        _ => ColumnType::Other(full.clone()),
    };
    let filling = filling.unwrap_or_default();
    let (extra, default) = filling.split_once('|').unwrap_or_default();
    let default = default_expression(extra, default);
    // `DEFAULT_GENERATED` only says that the default is an expression.
    let extra = extra.to_ascii_uppercase().replace("DEFAULT_GENERATED", "");
    Ok(Column {
        name,
        kind,
        invisible: extra.contains("INVISIBLE"),
        nullable: nullable.eq_ignore_ascii_case("yes"),
        auto_increment: extra.contains("AUTO_INCREMENT"),
        generated: extra.contains("GENERATED") || extra.contains("VIRTUAL") || extra.contains("PERSISTENT"),
        default,
    })
}

/// MySQL marks expressions, MariaDB quotes what is none.
fn default_expression(extra: &str, default: &str) -> Option<Box<str>> {
    let marked = extra.to_ascii_uppercase().contains("DEFAULT_GENERATED");
    let computed = !default.starts_with('\'') && default.contains('(');
    (marked || computed).then(|| default.into())
}

/// Weights of texts that the map spells out and that are not plain ASCII: any server that answers will do. What none tells is a
/// failure of its shard, so that it is asked again soon.
async fn learn_weights(base: &Topology, settings: &ControlSettings, reading: &mut SchemaReading) {
    let mut wanted = base.weights_wanted(&reading.columns);
    wanted.retain(|(collation, text)| {
        !reading.columns.weights.contains_key(&(collation.name.clone(), text.clone()))
    });
    if wanted.is_empty() {
        return;
    }
    // Whoever was silent a moment ago would only be waited for again.
    let silent: HashSet<ShardId> = reading.failures.iter().map(|(shard, _)| *shard).collect();
    let mut failure = None;
    for shard in base.shards.iter().filter(|shard| !silent.contains(&shard.id)) {
        for (_, server) in shard.servers() {
            match weigh_keys(server, settings, &mut wanted, &mut reading.columns).await {
                Ok(()) => return,
                Err(error) => failure = Some((shard.id, error)),
            }
        }
    }
    reading.failures.extend(failure);
}

/// Takes out of `wanted` what the server answered or refused.
async fn weigh_keys(
    server: &Server,
    settings: &ControlSettings,
    wanted: &mut Vec<(Arc<Collation>, Vec<u8>)>,
    columns: &mut Columns,
) -> Result<(), ControlError> {
    let mut client = Client::connect(server, &settings.credential, settings.probe_timeout).await?;
    while let Some((of, text)) = wanted.last() {
        match collation::weigh(&mut client, of, MAP_CHARSET, std::slice::from_ref(text)).await {
            Ok(mut weights) => {
                let weights = weights.pop().unwrap_or_default();
                columns.weights.insert((of.name.clone(), text.clone()), weights);
            }
            Err(error @ (ControlError::Timeout { .. } | ControlError::GivenUp { .. })) => return Err(error),
            Err(error @ ControlError::Query { .. }) if !error.is_refusal() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, collation = of.name, "a key of the map could not be weighed");
            }
        }
        wanted.pop();
    }
    client.close().await;
    Ok(())
}
