//! The closed vocabulary of failure: what kind, whose fault, whether a retry is safe, and which numbered entry of
//! the catalogue a client is shown. Knows nothing of SQL, servers or sockets.
//!
//! Only errors that implement [`Classify`] can be written to a client.

mod catalogue;
mod page;

pub(crate) use catalogue::{CATALOGUE, Entry, entry};
pub use page::{ids, page};

/// What went wrong, as a metric label: closed and small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Login or rights.
    Access,
    /// Bytes that are not the MySQL protocol.
    Protocol,
    /// A statement that is wrong or that no rule answers.
    Statement,
    /// A key that no shard owns, or a name that the map does not have.
    Routing,
    /// A server that cannot be reached or went away.
    Server,
    /// A bound that was reached: pool, queue, time, size.
    Limit,
    /// The proxy is stopping.
    Shutdown,
    /// A bug in the proxy.
    Internal,
}

impl Kind {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Access => "access",
            Kind::Protocol => "protocol",
            Kind::Statement => "statement",
            Kind::Routing => "routing",
            Kind::Server => "server",
            Kind::Limit => "limit",
            Kind::Shutdown => "shutdown",
            Kind::Internal => "internal",
        }
    }
}

/// Whether the same work may be tried again without the client's knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    /// Nothing was sent to a server: any work may be tried again.
    NothingSent,
}

/// One error as a client sees it: a catalogue entry and the sentence that names statement part, shard and cause.
#[derive(Debug, Clone)]
pub(crate) struct ClientError {
    pub(crate) entry: &'static Entry,
    pub(crate) detail: String,
}

impl ClientError {
    /// `id` must be in the catalogue; an id that is not there shows as the entry for a bug in the proxy.
    pub(crate) fn new(id: &str, detail: impl Into<String>) -> ClientError {
        ClientError { entry: entry(id), detail: detail.into() }
    }

    /// The text of the ERR packet: `SW1203: <detail>; <help>`. Entries that stand in for one of MySQL's own errors
    /// (wrong password, unknown database) show MySQL's text alone, since tools match on it.
    pub(crate) fn message(&self) -> String {
        if self.entry.plain {
            return self.detail.clone();
        }
        format!("{}: {}; {}", self.entry.id, self.detail, self.entry.help)
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message())
    }
}

impl std::error::Error for ClientError {}

/// Implemented by every error that can reach a client.
pub(crate) trait Classify: std::error::Error {
    fn kind(&self) -> Kind;
    fn retry(&self) -> Retry;
    fn client(&self) -> ClientError;
}

impl Classify for ClientError {
    fn kind(&self) -> Kind {
        self.entry.kind
    }
    fn retry(&self) -> Retry {
        Retry::Never
    }
    fn client(&self) -> ClientError {
        self.clone()
    }
}
