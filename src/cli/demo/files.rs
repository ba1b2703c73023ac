//! Writes the two configuration files for a fleet of local servers. Knows the files' format and nothing of how they
//! are read.

use std::fmt::Write;
use std::path::Path;

use super::fleet::{Fleet, MONITOR_PASSWORD, MONITOR_USER};

/// Where the rows of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placing {
    Sharded { scheme: String, key: String },
    Reference,
    Single { shard: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapTable {
    pub name: String,
    pub placing: Placing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapDatabase {
    pub name: String,
    /// Where tables are that are not listed.
    pub default_shard: Option<String>,
    pub tables: Vec<MapTable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapShard {
    pub name: String,
    pub primary: u16,
    pub replicas: Vec<u16>,
}

/// A shard map. `schemes` are `[[scheme]]` tables as text, see [`even_xxhash`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapFile {
    pub version: u64,
    pub shards: Vec<MapShard>,
    pub schemes: Vec<String>,
    pub databases: Vec<MapDatabase>,
}

impl MapFile {
    /// The shards of `fleet`, nothing else yet.
    pub fn of(fleet: &Fleet) -> MapFile {
        let shards = fleet
            .shards
            .iter()
            .map(|shard| MapShard {
                name: shard.name.clone(),
                primary: shard.primary.port,
                replicas: shard.replicas.iter().map(|replica| replica.port).collect(),
            })
            .collect();
        MapFile { version: 1, shards, schemes: Vec::new(), databases: Vec::new() }
    }

    pub fn text(&self) -> String {
        let mut out = format!("version = {}\n", self.version);
        for shard in &self.shards {
            let replicas: Vec<String> =
                shard.replicas.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
            push(
                &mut out,
                format_args!(
                    "\n[[shard]]\nname = \"{}\"\nprimary = \"127.0.0.1:{}\"\nreplicas = [{}]\n",
                    shard.name,
                    shard.primary,
                    replicas.join(", ")
                ),
            );
        }
        for scheme in &self.schemes {
            push(&mut out, format_args!("\n{}\n", scheme.trim()));
        }
        for database in &self.databases {
            push(&mut out, format_args!("\n[[database]]\nname = {}\n", quoted(&database.name)));
            if let Some(shard) = &database.default_shard {
                push(&mut out, format_args!("default_shard = {}\n", quoted(shard)));
            }
            out.push_str("[database.tables]\n");
            for table in &database.tables {
                let place = match &table.placing {
                    Placing::Sharded { scheme, key } => {
                        format!("{{ scheme = {}, shard_key = {} }}", quoted(scheme), quoted(key))
                    }
                    Placing::Reference => "\"reference\"".to_owned(),
                    Placing::Single { shard } => format!("{{ shard = {} }}", quoted(shard)),
                };
                push(&mut out, format_args!("{} = {place}\n", quoted(&table.name)));
            }
        }
        out
    }
}

/// A scheme by xxhash whose key space is spread evenly over `shards`.
pub fn even_xxhash<S: AsRef<str>>(name: &str, shards: &[S]) -> String {
    let mut out = format!("[[scheme]]\nname = \"{name}\"\nfunction = \"xxhash\"\nranges = [\n");
    for (number, shard) in shards.iter().enumerate() {
        // Bounds of two hexadecimal digits: the key space is cut in up to 256 parts.
        let bound = |part: usize| match part * 256 / shards.len() {
            0 | 256 => String::new(),
            cut => format!("{cut:02x}"),
        };
        let range = format!("{}-{}", bound(number), bound(number + 1));
        push(&mut out, format_args!("  {{ range = \"{range}\", shard = \"{}\" }},\n", shard.as_ref()));
    }
    out.push_str("]\n");
    out
}

/// Somebody who may log in to the proxy, and with the same words to the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    pub password: String,
    pub admin: bool,
}

/// The settings of a proxy on free ports of this machine; `extra` is appended, so it starts with a table's head.
pub fn settings_text(map: &Path, accounts: &[Account], extra: &str) -> String {
    let mut out = format!(
        "map = \"{}\"\n\n\
         [listen]\nmysql = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n\n\
         [control]\nuser = \"{MONITOR_USER}\"\npassword = \"{MONITOR_PASSWORD}\"\n",
        map.display()
    );
    for account in accounts {
        push(
            &mut out,
            format_args!(
                "\n[[user]]\nname = {}\npassword = {}\nadmin = {}\n",
                quoted(&account.user),
                quoted(&account.password),
                account.admin
            ),
        );
    }
    push(&mut out, format_args!("\n{}\n", extra.trim()));
    out
}

/// A TOML string; also the form of a key that is not a bare word.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writing to a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_scheme_leaves_no_gap_between_its_ranges() {
        let text = even_xxhash("s", &["a", "b", "c"]);
        let ranges: Vec<&str> =
            text.split("range = \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(ranges, ["-55", "55-aa", "aa-"]);
        assert!(even_xxhash("s", &["a"]).contains("range = \"-\""));
    }

    #[test]
    fn both_files_are_read_without_a_fault_and_say_what_was_meant() {
        let table = |name: &str, placing| MapTable { name: name.to_owned(), placing };
        let sharded = Placing::Sharded { scheme: "by_key".to_owned(), key: "id".to_owned() };
        let map = MapFile {
            version: 3,
            shards: vec![
                MapShard { name: "s1".to_owned(), primary: 1, replicas: vec![2, 3] },
                MapShard { name: "s2".to_owned(), primary: 4, replicas: vec![] },
            ],
            schemes: vec![even_xxhash("by_key", &["s1", "s2"])],
            databases: vec![MapDatabase {
                name: "d\"\\".to_owned(),
                default_shard: Some("s1".to_owned()),
                tables: vec![
                    table("a", Placing::Reference),
                    table("b", Placing::Single { shard: "s1".to_owned() }),
                    table("c", sharded),
                ],
            }],
        };
        let folder = tempfile::tempdir().unwrap();
        let (config_path, map_path) = (folder.path().join("shardway.toml"), folder.path().join("map.toml"));
        let account = Account { user: "u".to_owned(), password: "p\"".to_owned(), admin: true };
        std::fs::write(&map_path, map.text()).unwrap();
        let settings = settings_text(&map_path, &[account], "[limits]\nclients_max = 5");
        std::fs::write(&config_path, settings).unwrap();
        let loaded = crate::config::load(&config_path).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.settings.limits.clients_max, 5);
        assert!(loaded.settings.users["u"].admin);
        assert_eq!(loaded.map.version, 3);
        assert_eq!(loaded.map.shards.len(), 2);
        assert_eq!(loaded.map.databases[0].name, "d\"\\");
        assert_eq!(loaded.map.databases[0].default_shard.as_deref(), Some("s1"));
        assert_eq!(loaded.map.databases[0].tables.len(), 3);
    }
}
