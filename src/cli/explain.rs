//! `shardway explain`: plan and route of a statement by a map file and written-down columns, without any server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::files::{SettingsFile, print_faults};
use crate::config::{Faults, Map, MapPlacement, load_map, load_with};
use crate::router::{SessionView, WeightCache};
pub(crate) use crate::router::{facts, print};
use crate::sql::{Charset, Context, Flavor, SqlMode};
use crate::topology::{Collation, Column, ColumnType, Columns, Topology};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFile,
    /// A shard map, in place of the one that the settings name
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Columns of the tables, one table per line: `shop.orders: id bigint, customer_id bigint`
    #[arg(long, value_name = "FILE")]
    columns: Option<PathBuf>,
    /// The database that names without one belong to
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// As if the session had chosen this shard
    #[arg(long, value_name = "NAME")]
    shard: Option<String>,
    /// The statement
    statement: String,
}

/// Prints plan and route. Exit codes: 0 printed, 1 a file cannot be used.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let map = match map(arguments) {
        Ok(map) => map,
        Err(faults) => {
            print_faults(&faults);
            return ExitCode::FAILURE;
        }
    };
    match explained(arguments, &map) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("shardway explain: {error}");
            ExitCode::FAILURE
        }
    }
}

fn map(arguments: &Arguments) -> Result<Map, Faults> {
    match &arguments.map {
        Some(file) => load_map(file),
        None => {
            // Nobody is logged in: secrets that are not here are not missed.
            let environment = |name: &str| std::env::var(name).ok().or_else(|| Some("none".to_owned()));
            Ok(load_with(&arguments.settings.path, &environment)?.map)
        }
    }
}

fn explained(arguments: &Arguments, map: &Map) -> Result<String, String> {
    let columns = match &arguments.columns {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        None => {
            if let Some((table, key)) = sharded_table(map) {
                eprintln!(
                    "note: the columns of sharded tables are not known; --columns FILE names them, in lines such as \
                     `{table}: {key} bigint`"
                );
            }
            String::new()
        }
    };
    let explainer = Explainer::of(map, &columns)?;
    if let Some(shard) = &arguments.shard
        && explainer.topology.shard_by_name(shard).is_none()
    {
        return Err(format!("the map has no shard {shard}"));
    }
    Ok(explainer.explain_on(&arguments.statement, arguments.database.as_deref(), arguments.shard.as_deref()))
}

/// Name and first key column of the first sharded table.
fn sharded_table(map: &Map) -> Option<(String, &str)> {
    let tables = map.databases.iter().flat_map(|database| {
        database.tables.iter().map(move |table| (format!("{}.{}", database.name, table.name), table))
    });
    tables.into_iter().find_map(|(name, table)| match &table.placement {
        MapPlacement::Sharded { key, .. } => Some((name, key.as_str())),
        MapPlacement::Reference | MapPlacement::Single { .. } => None,
    })
}

/// Explains statements against a map file and written-down columns, without any server.
pub struct Explainer {
    topology: Topology,
    context: Context,
}

impl Explainer {
    /// `columns` has one table per line: `shop.orders: id bigint auto_increment, customer_id bigint, note varchar(20)`.
    pub fn new(map_file: &Path, columns: &str) -> Result<Explainer, String> {
        Explainer::of(&load_map(map_file).map_err(|faults| faults.to_string())?, columns)
    }

    fn of(map: &Map, columns: &str) -> Result<Explainer, String> {
        let columns = read_columns(columns)?;
        let (topology, problems) = Topology::build(map).with_columns(&columns);
        match problems.is_empty() {
            true => Ok(Explainer { topology, context: context() }),
            false => Err(problems.join("\n")),
        }
    }

    pub(crate) fn into_parts(self) -> (Topology, Context) {
        (self.topology, self.context)
    }

    /// The plan and the route of one statement, as lines of text.
    pub fn explain(&self, statement: &str, database: Option<&str>) -> String {
        self.explain_on(statement, database, None)
    }

    /// The same in a session that has chosen the shard of that name.
    pub fn explain_on(&self, statement: &str, database: Option<&str>, shard: Option<&str>) -> String {
        let weights = WeightCache::default();
        let shard = shard.and_then(|name| self.topology.shard_by_name(name)).map(|shard| shard.id);
        let view = SessionView {
            shard,
            role: None,
            weights: &weights,
            context: &self.context,
            charset: "utf8mb4",
            parameters: &[],
        };
        print(&facts(statement.as_bytes(), database, &view, &self.topology))
    }
}

fn context() -> Context {
    Context {
        mode: SqlMode::default(),
        charset: Charset::AsciiSafe,
        flavor: Flavor::MySql,
        server_version: 80_400,
    }
}

fn read_columns(text: &str) -> Result<Columns, String> {
    let mut columns = Columns::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let table = line.split_once(':').and_then(|(name, list)| Some((name.split_once('.')?, list)));
        let Some(((database, table), list)) = table else {
            return Err(format!("`{line}` is not `database.table: column type, …`"));
        };
        let list: Result<Vec<Column>, String> = list.split(", ").map(read_column).collect();
        let key = (database.trim().to_lowercase(), table.trim().to_lowercase());
        columns.tables.insert(key, list?.into());
    }
    Ok(columns)
}

fn read_column(text: &str) -> Result<Column, String> {
    let mut words = text.split_whitespace();
    let (Some(name), Some(kind)) = (words.next(), words.next()) else {
        return Err(format!("`{text}` is not `column type`"));
    };
    let rest: Vec<&str> = words.collect();
    let has = |word: &str| rest.contains(&word);
    Ok(Column {
        name: name.to_owned(),
        kind: kind_of(kind, &rest)?,
        invisible: has("invisible"),
        nullable: has("null"),
        auto_increment: has("auto_increment"),
        generated: has("generated"),
        default: rest.iter().find_map(|word| word.strip_prefix("default=")).map(Into::into),
    })
}

fn kind_of(kind: &str, rest: &[&str]) -> Result<ColumnType, String> {
    let (word, length) = match kind.split_once('(') {
        Some((word, length)) => {
            (word, length.trim_end_matches(')').parse::<u64>().map_err(|error| error.to_string())?)
        }
        None => (kind, 65_535),
    };
    let unsigned = rest.contains(&"unsigned");
    Ok(match word {
        "tinyint" => ColumnType::Integer { bits: 8, unsigned },
        "int" => ColumnType::Integer { bits: 32, unsigned },
        "bigint" => ColumnType::Integer { bits: 64, unsigned },
        "varchar" => {
            let binary = rest.contains(&"bin");
            ColumnType::Text {
                collation: Arc::new(collation(binary, rest.contains(&"pad"))),
                characters_max: length,
            }
        }
        "binary" => ColumnType::Binary { fixed: true, bytes_max: length },
        "varbinary" => ColumnType::Binary { fixed: false, bytes_max: length },
        other => ColumnType::Other(other.to_owned()),
    })
}

/// Stands for utf8mb4_0900_ai_ci and utf8mb4_bin: ASCII without regard to case, or the bytes.
fn collation(binary: bool, pad_space: bool) -> Collation {
    let ascii = std::array::from_fn(|code| vec![(code as u8).to_ascii_uppercase()]);
    Collation {
        name: if binary { "utf8mb4_0900_bin" } else { "utf8mb4_0900_ai_ci" }.to_owned(),
        charset: "utf8mb4".to_owned(),
        pad_space,
        ascii: (!binary).then(|| Arc::new(ascii)),
        binary,
    }
}
