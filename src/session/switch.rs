//! USE: the database, and with ``USE `db:shard@role` `` a shard and a role for all further statements.

use super::run::Session;
use crate::error::ClientError;
use crate::executor::Stream;
use crate::topology::{Role, SYSTEM_SCHEMAS, ShardId, ShardName, Topology};

/// What the client chose by USE; names, since ids change with the map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) shard: Option<ShardName>,
    pub(crate) role: Option<Role>,
}

/// A database name with what may follow it: `db`, `db:shard`, `db@replica`, `db:shard@replica`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Destination<'a> {
    pub(crate) database: &'a str,
    pub(crate) shard: Option<&'a str>,
    pub(crate) role: Option<Role>,
}

impl<'a> Destination<'a> {
    pub(crate) fn read(name: &'a str) -> Result<Destination<'a>, ClientError> {
        let (rest, role) = match name.rsplit_once('@') {
            None => (name, None),
            Some((rest, "primary")) => (rest, Some(Role::Primary)),
            Some((rest, "replica")) => (rest, Some(Role::Replica)),
            Some((_, other)) => {
                let detail = format!("no such role '{other}': primary or replica");
                return Err(ClientError::new("SW1214", detail));
            }
        };
        let (database, shard) = match rest.split_once(':') {
            None => (rest, None),
            Some((database, shard)) => (database, Some(shard)),
        };
        Ok(Destination { database, shard, role })
    }
}

/// Finds what a name means for a user: the database as the map spells it, and the choice of a shard.
pub(crate) fn find(
    name: &str,
    allowed: Option<&[String]>,
    topology: &Topology,
) -> Result<(String, Chosen), ClientError> {
    let destination = Destination::read(name)?;
    let unknown = || ClientError::new("SW1002", format!("Unknown database '{}'", destination.database));
    let system = SYSTEM_SCHEMAS.iter().find(|schema| schema.eq_ignore_ascii_case(destination.database));
    let database = match (topology.database(destination.database), system) {
        (Some(database), _) => database.name.clone(),
        (None, Some(schema)) => (*schema).to_owned(),
        (None, None) => return Err(unknown()),
    };
    if system.is_none() && allowed.is_some_and(|names| !names.contains(&database)) {
        return Err(unknown());
    }
    let shard = destination.shard.map(|shard| known_shard(shard, topology)).transpose()?;
    let shard = shard.map(|shard| topology.shard(shard).name.clone());
    Ok((database, Chosen { shard, role: destination.role }))
}

pub(super) fn known_shard(name: &str, topology: &Topology) -> Result<ShardId, ClientError> {
    topology.shard_by_name(name).map(|shard| shard.id).ok_or_else(|| {
        let names: Vec<&str> = topology.shards.iter().take(20).map(|shard| shard.name.0.as_ref()).collect();
        let detail =
            format!("no shard '{name}' in map version {}: it has {}", topology.version, names.join(", "));
        ClientError::new("SW1211", detail)
    })
}

impl<S: Stream> Session<S> {
    pub(super) fn switch(&mut self, name: &[u8]) -> Result<(), ClientError> {
        let name = String::from_utf8_lossy(name);
        let topology = self.shared.topology.load();
        let (database, chosen) = find(&name, self.user.databases.as_deref(), &topology)?;
        self.registration.update(|activity| activity.database = Some(database.clone()));
        self.variables.set_database(Some(&database));
        self.chosen = chosen;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_may_carry_shard_and_role() {
        let read = |name| Destination::read(name).unwrap();
        assert_eq!(read("shop"), Destination { database: "shop", shard: None, role: None });
        assert_eq!(
            read("shop:s1@replica"),
            Destination { database: "shop", shard: Some("s1"), role: Some(Role::Replica) }
        );
        assert_eq!(
            read("shop@primary"),
            Destination { database: "shop", shard: None, role: Some(Role::Primary) }
        );
    }

    #[test]
    fn an_unknown_role_is_refused_by_name() {
        let error = Destination::read("shop@writer").unwrap_err();
        assert!(error.message().contains("'writer'"), "{error}");
    }
}
