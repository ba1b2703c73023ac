//! From the map's names to a topology of ids, and from what servers said to its columns.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::id::{Epoch, MapVersion, SchemeId, ServerName, ShardId, ShardName};
use super::roles::{Rotation, Standing};
use super::shard::{Server, ServerTlsMode, Shard};
use super::sharding::{Key, KeyFunction, Placing, Scheme};
use super::snapshot::{Database, Topology};
use super::table::{Collation, Column, ColumnType, Placement, Table};
use crate::config::{Map, MapFunction, MapKey, MapPart, MapPlacement, MapScheme, MapServer, MapTls};

/// What servers said about the tables of the map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// By lower-case database and table.
    pub(crate) tables: HashMap<(String, String), Arc<[Column]>>,
    /// Weights of texts that the map spells out and that need a server, by collation and text.
    pub(crate) weights: HashMap<(String, Vec<u8>), Vec<u8>>,
}

impl Topology {
    /// The topology of a validated map, without columns. The epoch is set by whoever publishes it.
    pub(crate) fn build(map: &Map) -> Topology {
        let ids: HashMap<&str, ShardId> =
            map.shards.iter().zip(0..).map(|(shard, id)| (shard.name.as_str(), ShardId(id))).collect();
        // The map was validated: every name it uses is there.
        let shard_id = |name: &str| ids.get(name).copied().unwrap_or(ShardId(0));
        let shards = map
            .shards
            .iter()
            .zip(0..)
            .map(|(shard, id)| Shard {
                id: ShardId(id),
                name: ShardName::from(shard.name.as_str()),
                primary: server(&shard.primary),
                replicas: shard.replicas.iter().map(server).collect(),
                standing: Standing::default(),
                rotation: vec![Rotation::default(); shard.replicas.len()],
            })
            .collect();
        let schemes: Vec<Scheme> = map.schemes.iter().map(|of| scheme(of, &shard_id)).collect();
        let scheme_ids: HashMap<&str, SchemeId> =
            map.schemes.iter().zip(0..).map(|(scheme, id)| (scheme.name.as_str(), SchemeId(id))).collect();
        let placement = |of: &MapPlacement| match of {
            MapPlacement::Sharded { scheme, key } => Placement::Sharded {
                scheme: scheme_ids.get(scheme.as_str()).copied().unwrap_or(SchemeId(0)),
                key: key.clone(),
            },
            MapPlacement::Reference => Placement::Reference,
            MapPlacement::Single { shard } => Placement::Single { shard: shard_id(shard) },
        };
        let databases = map
            .databases
            .iter()
            .map(|database| Database {
                name: database.name.clone(),
                default_shard: database.default_shard.as_deref().map(shard_id),
                functions: database.functions.iter().cloned().collect(),
                tables: database
                    .tables
                    .iter()
                    .map(|table| {
                        let placement = placement(&table.placement);
                        (
                            table.name.to_lowercase(),
                            Table { name: table.name.clone(), placement, columns: None },
                        )
                    })
                    .collect(),
            })
            .collect();
        let mut topology = Topology {
            epoch: Epoch(0),
            version: MapVersion(map.version),
            content_hash: map.content_hash(),
            layout: 0,
            shards,
            schemes,
            databases,
        };
        topology.layout = topology.layout_hash();
        topology
    }

    /// This topology with the columns that servers reported, and sentences about key columns that cannot be used. `self`
    /// must come from [`Topology::build`]. A key column that its scheme does not take becomes [`ColumnType::Other`], so
    /// that statements on the table are refused rather than sent to a wrong shard.
    pub(crate) fn with_columns(&self, columns: &Columns) -> (Topology, Vec<String>) {
        let mut topology = self.clone();
        let mut problems = Vec::new();
        for database in &mut topology.databases {
            let database_name = database.name.to_lowercase();
            for (name, table) in &mut database.tables {
                table.columns = columns.tables.get(&(database_name.clone(), name.clone())).cloned();
            }
        }
        for index in 0..topology.schemes.len() {
            topology.settle_keys(index, columns, &mut problems);
        }
        topology.layout = topology.layout_hash();
        (topology, problems)
    }

    /// Gives the keys that a scheme spells out the form of its tables' key columns, and disables tables whose key column
    /// has another form.
    fn settle_keys(&mut self, index: usize, columns: &Columns, problems: &mut Vec<String>) {
        let mut tables: Vec<(&str, &mut Table)> = self
            .databases
            .iter_mut()
            .flat_map(|database| {
                let name = database.name.as_str();
                database.tables.values_mut().map(move |table| (name, table))
            })
            .filter(|(_, table)| {
                matches!(&table.placement, Placement::Sharded { scheme, .. } if usize::from(scheme.0) == index)
            })
            .collect();
        tables.sort_by(|left, right| (left.0, &left.1.name).cmp(&(right.0, &right.1.name)));
        let scheme = &mut self.schemes[index];
        // Of the first table whose key the scheme takes; the others have to agree with it.
        let mut agreed: Option<(String, ColumnType)> = None;
        for (database, table) in tables {
            let Placement::Sharded { key, .. } = &table.placement else { continue };
            let Some(list) = &table.columns else { continue };
            let full_name = format!("{database}.{}", table.name);
            let Some(column) = list.iter().find(|column| column.name.eq_ignore_ascii_case(key)) else {
                problems.push(format!("table {full_name} has no column {key}, its shard key in the map"));
                continue;
            };
            let refusal = match (scheme.accepts(&column.kind), &agreed) {
                (Err(refusal), _) => Some(refusal),
                (Ok(()), Some((first, kind))) if !kind.shares_keys_with(&column.kind) => Some(format!(
                    "is {}, unlike the shard key of {first} ({}) in the same scheme {}",
                    column.kind, kind, scheme.name
                )),
                (Ok(()), Some(_)) => None,
                (Ok(()), None) => match weigh(scheme, &column.kind, &columns.weights) {
                    Ok(weighed) => {
                        *scheme = weighed;
                        agreed = Some((full_name.clone(), column.kind.clone()));
                        None
                    }
                    Err(refusal) => Some(refusal),
                },
            };
            if let Some(refusal) = refusal {
                problems.push(format!("table {full_name}: column {key} {refusal}"));
                table.columns = Some(disabled(list, key, &refusal));
            }
        }
    }

    /// Texts that the map spells out and whose weights only a server can tell, by collation: what
    /// [`Columns::weights`] has to hold for [`Topology::with_columns`].
    pub(crate) fn weights_wanted(&self, columns: &Columns) -> Vec<(Arc<Collation>, Vec<u8>)> {
        let mut wanted: Vec<(Arc<Collation>, Vec<u8>)> = Vec::new();
        let tables = self.databases.iter().flat_map(|database| {
            database.tables.iter().map(move |(name, table)| (database.name.to_lowercase(), name, table))
        });
        for (database, name, table) in tables {
            let Placement::Sharded { scheme, key } = &table.placement else { continue };
            let Some(list) = columns.tables.get(&(database, name.clone())) else { continue };
            let column = list.iter().find(|column| column.name.eq_ignore_ascii_case(key));
            let Some(ColumnType::Text { collation, .. }) = column.map(|column| &column.kind) else {
                continue;
            };
            for named in self.scheme(*scheme).named_keys() {
                let Key::Bytes { raw, .. } = named else { continue };
                let known =
                    |(other, text): &(Arc<Collation>, Vec<u8>)| other.name == collation.name && text == raw;
                if collation.weights_of(raw, MAP_CHARSET).is_none() && !wanted.iter().any(known) {
                    wanted.push((Arc::clone(collation), raw.clone()));
                }
            }
        }
        wanted
    }

    fn layout_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        let mut add = |part: String| {
            hash.update(part.as_bytes());
            hash.update(b"\n");
        };
        for shard in &self.shards {
            add(format!("shard {:?}", shard.name.0));
        }
        for scheme in &self.schemes {
            add(format!("scheme {:?} {:?}", scheme.name, scheme.function));
        }
        for database in &self.databases {
            add(format!(
                "database {:?} {:?} {:?}",
                database.name, database.default_shard, database.functions
            ));
            let mut tables: Vec<_> = database.tables.iter().collect();
            tables.sort_by_key(|(name, _)| *name);
            for (name, table) in tables {
                add(format!("table {name:?} {table:?}"));
            }
        }
        hash.digest()
    }
}

/// The character set of configuration files.
pub(crate) const MAP_CHARSET: &str = "utf8mb4";

fn server(of: &MapServer) -> Server {
    let tls = match &of.tls {
        MapTls::Disabled => ServerTlsMode::Disabled,
        MapTls::Preferred => ServerTlsMode::Preferred,
        MapTls::Required => ServerTlsMode::Required,
        MapTls::VerifyCa { bundle } => ServerTlsMode::VerifyCa { bundle: bundle.clone() },
        MapTls::VerifyIdentity { bundle } => ServerTlsMode::VerifyIdentity { bundle: bundle.clone() },
    };
    let name = ServerName::from(of.to_string().as_str());
    Server { name, host: of.host.clone(), port: of.port, tls }
}

fn scheme(of: &MapScheme, shard_id: &dyn Fn(&str) -> ShardId) -> Scheme {
    let function = match of.function {
        MapFunction::Xxhash => KeyFunction::Xxhash,
        MapFunction::Mod { buckets } => KeyFunction::Mod { buckets },
        MapFunction::Md5Mod { buckets } => KeyFunction::Md5Mod { buckets },
        MapFunction::Crc32Mod { buckets } => KeyFunction::Crc32Mod { buckets },
        MapFunction::Range => KeyFunction::Range,
        MapFunction::List => KeyFunction::List,
    };
    let placings = of
        .placings
        .iter()
        .map(|placing| {
            let shard = shard_id(&placing.shard);
            match &placing.part {
                MapPart::Points { first, last } | MapPart::Buckets { first, last } => {
                    Placing::Points { first: *first, last: *last, shard }
                }
                MapPart::Keys { from, to } => {
                    Placing::Keys { from: from.as_ref().map(key), to: to.as_ref().map(key), shard }
                }
                MapPart::Values(keys) => Placing::Values { keys: keys.iter().map(key).collect(), shard },
            }
        })
        .collect();
    let singles = of.singles.iter().map(|(single, shard)| (key(single), shard_id(shard))).collect();
    Scheme::new(of.name.clone(), function, placings, singles)
}

fn key(of: &MapKey) -> Key {
    match of {
        MapKey::Integer(number) => Key::Integer(*number),
        // Until a table of the scheme is known the text stands for its weights.
        MapKey::Text(text) => Key::binary(text.as_bytes()),
        MapKey::Binary(bytes) => Key::binary(bytes),
    }
}

/// `scheme` with the keys it spells out in the canonical form of a key column.
fn weigh(
    scheme: &Scheme,
    kind: &ColumnType,
    learned: &HashMap<(String, Vec<u8>), Vec<u8>>,
) -> Result<Scheme, String> {
    let ColumnType::Text { collation, .. } = kind else { return Ok(scheme.clone()) };
    let weigh_key = |key: &Key| -> Result<Key, String> {
        let Key::Bytes { raw, .. } = key else { return Ok(key.clone()) };
        let weights = collation.weights_of(raw, MAP_CHARSET);
        let weights = weights.or_else(|| learned.get(&(collation.name.clone(), raw.clone())).cloned());
        let weights = weights.ok_or_else(|| {
            let text = String::from_utf8_lossy(raw);
            format!(
                "is text under {}, and how it compares with the map's \"{text}\" is not known yet",
                collation.name
            )
        })?;
        Ok(Key::Bytes { weights, raw: raw.clone() })
    };
    let weigh_end = |end: &Option<Key>| end.as_ref().map(weigh_key).transpose();
    let placings = scheme.placings.iter().map(|placing| {
        Ok(match placing {
            Placing::Points { .. } => placing.clone(),
            Placing::Keys { from, to, shard } => {
                Placing::Keys { from: weigh_end(from)?, to: weigh_end(to)?, shard: *shard }
            }
            Placing::Values { keys, shard } => {
                let keys: Result<Vec<Key>, String> = keys.iter().map(weigh_key).collect();
                Placing::Values { keys: keys?, shard: *shard }
            }
        })
    });
    let placings: Result<Vec<Placing>, String> = placings.collect();
    let singles = scheme.singles.iter().map(|(single, shard)| Ok((weigh_key(single)?, *shard)));
    let singles: Result<Vec<(Key, ShardId)>, String> = singles.collect();
    let (placings, singles) = (placings?, singles?);
    match ambiguous(&placings, &singles) {
        Some(texts) => {
            Err(format!("is text under {}, which holds the map's {texts} for equal", collation.name))
        }
        None => Ok(Scheme::new(scheme.name.clone(), scheme.function.clone(), placings, singles)),
    }
}

/// Two texts of the map that are one key under the collation and have different owners.
fn ambiguous(placings: &[Placing], singles: &[(Key, ShardId)]) -> Option<String> {
    let listed = placings.iter().flat_map(|placing| {
        let keys: &[Key] = match placing {
            Placing::Values { keys, .. } => keys,
            Placing::Points { .. } | Placing::Keys { .. } => &[],
        };
        keys.iter().map(move |key| (key, placing.shard()))
    });
    twice(listed).or_else(|| twice(singles.iter().map(|(key, shard)| (key, *shard))))
}

fn twice<'k>(owned: impl Iterator<Item = (&'k Key, ShardId)>) -> Option<String> {
    let mut owners: HashMap<&Key, (ShardId, &Key)> = HashMap::new();
    for (key, shard) in owned {
        let (owner, first) = *owners.entry(key).or_insert((shard, key));
        if owner != shard {
            return Some(format!("{} and {}", quoted(first), quoted(key)));
        }
    }
    None
}

fn quoted(key: &Key) -> String {
    match key {
        Key::Integer(number) => number.to_string(),
        Key::Bytes { raw, .. } => format!("\"{}\"", String::from_utf8_lossy(raw)),
    }
}

/// `columns` with a key column of no usable type.
fn disabled(columns: &[Column], key: &str, refusal: &str) -> Arc<[Column]> {
    let refuse = |column: &Column| {
        if !column.name.eq_ignore_ascii_case(key) {
            return column.clone();
        }
        Column { kind: ColumnType::Other(format!("unusable: it {refusal}")), ..column.clone() }
    };
    columns.iter().map(refuse).collect()
}

#[cfg(test)]
mod tests;
