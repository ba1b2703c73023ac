//! Who of a shard's servers is its primary now and which replicas are read: observed, and laid over what the map says.
//! The map stays what is wanted; only the published topology carries roles.

use std::collections::HashMap;
use std::sync::Arc;

use super::id::{ServerName, ShardName};
use super::shard::{Server, Shard};
use super::snapshot::Topology;

/// What is known of the server that statements go to as the primary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// The map's word; nobody has asked the server yet.
    #[default]
    Assumed,
    /// It was asked and is the only one. The identity is that of the process behind the name: it changes when a name leads elsewhere.
    Confirmed { identity: Arc<str> },
    /// It is there and takes no writes, and nobody else does; why. What it has may be read.
    ReadOnly { identity: Arc<str>, reason: Arc<str> },
    /// Nobody knows who is the primary, and why.
    Lost { reason: Arc<str> },
}

/// Whether a replica is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Rotation {
    /// Nobody has asked it yet.
    #[default]
    Unknown,
    /// It gets this many hundredths of what a replica that has been there for long gets.
    In { share: u8 },
    /// It is not read, and why.
    Out { reason: Arc<str> },
}

/// The observed roles of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardRoles {
    pub(crate) shard: ShardName,
    /// The server that is the primary, or was it last.
    pub(crate) primary: ServerName,
    pub(crate) standing: Standing,
    /// Of the others.
    pub(crate) rotation: Vec<(ServerName, Rotation)>,
}

impl Shard {
    /// The shard with its observed roles. Servers that the map has meanwhile lost or got are as the map says.
    pub(crate) fn with_roles(&self, roles: &ShardRoles) -> Shard {
        let mut servers: Vec<Server> = self.servers().map(|(_, server)| server.clone()).collect();
        let Some(at) = servers.iter().position(|server| server.name == roles.primary) else {
            return self.clone();
        };
        let primary = servers.remove(at);
        let rotation = servers.iter().map(|server| {
            let seen = roles.rotation.iter().find(|(name, _)| *name == server.name);
            seen.map(|(_, rotation)| rotation.clone()).unwrap_or_default()
        });
        Shard {
            id: self.id,
            name: self.name.clone(),
            primary,
            rotation: rotation.collect(),
            replicas: servers,
            standing: roles.standing.clone(),
        }
    }

    /// Why nothing may be asked of the primary, when nothing may.
    pub(crate) fn why_lost(&self) -> Option<&str> {
        match &self.standing {
            Standing::Assumed | Standing::Confirmed { .. } | Standing::ReadOnly { .. } => None,
            Standing::Lost { reason } => Some(reason),
        }
    }

    /// Why no server of the shard may be written, when none may.
    pub(crate) fn why_not_written(&self) -> Option<&str> {
        match &self.standing {
            Standing::Assumed | Standing::Confirmed { .. } => None,
            Standing::ReadOnly { reason, .. } | Standing::Lost { reason } => Some(reason),
        }
    }

    /// What is known of one of its servers, in words.
    pub(crate) fn words_on(&self, server: &ServerName) -> String {
        if self.primary.name == *server {
            return match &self.standing {
                Standing::Assumed => "assumed".to_owned(),
                Standing::Confirmed { .. } => "confirmed".to_owned(),
                Standing::ReadOnly { reason, .. } => format!("not written: {reason}"),
                Standing::Lost { reason } => format!("not used: {reason}"),
            };
        }
        let at = self.replicas.iter().position(|replica| replica.name == *server);
        match at.and_then(|at| self.rotation.get(at)) {
            None | Some(Rotation::Unknown) => "unknown".to_owned(),
            Some(Rotation::In { share: 100 }) => "in rotation".to_owned(),
            Some(Rotation::In { share }) => format!("in rotation, {share} % of its share"),
            Some(Rotation::Out { reason }) => format!("not read: {reason}"),
        }
    }

    /// The process that is known to be the primary.
    pub(crate) fn identity(&self) -> Option<&Arc<str>> {
        match &self.standing {
            Standing::Confirmed { identity } | Standing::ReadOnly { identity, .. } => Some(identity),
            Standing::Assumed | Standing::Lost { .. } => None,
        }
    }
}

impl Topology {
    /// The topology with the observed roles of those shards that have some.
    pub(crate) fn with_roles(&self, roles: &HashMap<ShardName, ShardRoles>) -> Topology {
        let mut topology = self.clone();
        for shard in &mut topology.shards {
            if let Some(roles) = roles.get(&shard.name) {
                *shard = shard.with_roles(roles);
            }
        }
        topology
    }
}
