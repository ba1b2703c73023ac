//! Shards and their servers.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use super::id::{ServerName, ShardId, ShardName};
use super::roles::{Rotation, Standing};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Primary,
    Replica,
}

/// How the proxy encrypts its connections to a server; the words are MySQL's `--ssl-mode`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ServerTlsMode {
    Disabled,
    /// Encrypts when the server can; verifies nothing.
    Preferred,
    /// Encrypts or fails; verifies nothing.
    Required,
    /// Encrypts and verifies the chain against the bundle (the system's roots when none is given).
    VerifyCa {
        bundle: Option<PathBuf>,
    },
    /// As `VerifyCa`, and the certificate must name the host.
    VerifyIdentity {
        bundle: Option<PathBuf>,
    },
}

/// One MySQL process. The host is resolved at every connect: a fail-over of RDS moves DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: ServerName,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: ServerTlsMode,
}

/// The name alone: it differs from server to server of one map, and servers are looked up for every statement.
impl Hash for Server {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A replica set that holds a part of the rows: as the map wants it, or in the published topology as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) name: ShardName,
    pub(crate) primary: Server,
    pub(crate) replicas: Vec<Server>,
    pub(crate) standing: Standing,
    /// Of each replica.
    pub(crate) rotation: Vec<Rotation>,
}

impl Shard {
    /// The primary first.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (Role, &Server)> {
        std::iter::once((Role::Primary, &self.primary))
            .chain(self.replicas.iter().map(|server| (Role::Replica, server)))
    }
}
