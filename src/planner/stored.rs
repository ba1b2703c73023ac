//! Functions that users stored in a database or loaded into the servers. What they read is not in the statement: a function
//! of a database with rows on several shards would see those of one shard only. The map lists those that read no tables.

use sqlparser::ast::ObjectName;

use super::analysis::Analysis;
use super::function::is_native;
use super::names;
use crate::error::ClientError;
use crate::topology::{Database, Home, SYSTEM_SCHEMAS, ShardId};

/// A call of a function that is not the server's own.
#[derive(Debug)]
pub(super) struct Stored {
    database: Option<String>,
    name: String,
}

impl Stored {
    /// `None` for functions of the server's own, those of system schemas included.
    pub(super) fn of(name: &ObjectName) -> Option<Stored> {
        match names::split(name)? {
            (None, name) if is_native(name) => None,
            (Some(database), _)
                if SYSTEM_SCHEMAS.iter().any(|schema| schema.eq_ignore_ascii_case(database)) =>
            {
                None
            }
            (database, name) => Some(Stored { database: database.map(str::to_owned), name: name.to_owned() }),
        }
    }
}

impl Analysis<'_> {
    /// Notes a call: several shards may compute it side by side only where the map says that it reads no tables.
    pub(super) fn stored_function(&mut self, function: Stored) {
        if !self.is_listed(&function) {
            self.hinder("a stored function");
        }
        // Nobody says that it gives every copy of a row the same value.
        self.varying.get_or_insert_with(|| function.name.clone());
        self.stored.push(function);
    }

    fn is_listed(&self, function: &Stored) -> bool {
        let database = function.database.as_deref().or(self.request.database);
        let known = database.and_then(|name| self.topology.database(name));
        known.is_some_and(|known| known.functions.contains(&function.name.to_lowercase()))
    }

    /// The shard that has everything which the statement's stored functions could read, with the name of one of them; `None`
    /// when any shard does.
    pub(super) fn shard_of_stored(&self) -> Result<Option<(ShardId, String)>, ClientError> {
        let mut bound: Option<(ShardId, String)> = None;
        for function in &self.stored {
            let Some((shard, name)) = self.place_of_stored(function)? else { continue };
            match &bound {
                Some((other, first)) if *other != shard => {
                    return Err(self.apart(first, *other, &name, shard));
                }
                _ => bound = Some((shard, name)),
            }
        }
        Ok(bound)
    }

    fn place_of_stored(&self, function: &Stored) -> Result<Option<(ShardId, String)>, ClientError> {
        // Without a database the server says what is wrong.
        let Some(database) = function.database.as_deref().or(self.request.database) else { return Ok(None) };
        let Some(known) = self.topology.database(database) else {
            return Err(ClientError::new("SW1002", format!("Unknown database '{database}'")));
        };
        if self.topology.shards.len() == 1 || self.is_listed(function) {
            return Ok(None);
        }
        let name = format!("{}.{}()", known.name, function.name);
        match (known.has_sharded_tables(), known.home()) {
            (false, Home::One(shard)) => Ok(Some((shard, name))),
            (false, Home::Anywhere) => Ok(None),
            (true, _) | (false, Home::Spread) => Err(refusal(known, &name)),
        }
    }
}

fn refusal(database: &Database, name: &str) -> ClientError {
    let detail =
        format!("{name} is a stored function and could read rows of {} on several shards", database.name);
    ClientError::new("SW1220", detail)
}
