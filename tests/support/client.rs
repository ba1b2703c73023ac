//! A client that speaks the text protocol and gives back everything that a test can compare.

use std::net::SocketAddr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Value};

/// Where to log in and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) address: SocketAddr,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: Option<String>,
    /// The server's rows that an UPDATE matched are counted, not those that it changed.
    pub(crate) found_rows: bool,
}

impl Access {
    pub(crate) fn new(address: SocketAddr, user: &str, password: &str) -> Access {
        Access {
            address,
            user: user.to_owned(),
            password: password.to_owned(),
            database: None,
            found_rows: false,
        }
    }

    pub(crate) fn database(mut self, name: &str) -> Access {
        self.database = Some(name.to_owned());
        self
    }

    pub(crate) fn options(&self) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(self.address.ip().to_string())
            .tcp_port(self.address.port())
            // Else the client asks for @@socket and goes around the proxy.
            .prefer_socket(false)
            // Else it asks for them with a statement of its own.
            .max_allowed_packet(Some(1 << 30))
            .wait_timeout(Some(28_800))
            .user(Some(&self.user))
            .pass(Some(&self.password))
            .db_name(self.database.as_deref())
            .client_found_rows(self.found_rows)
    }
}

/// One result: rows as the server wrote them, `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Option<Vec<u8>>>>,
    pub(crate) affected: u64,
    pub(crate) last_insert_id: Option<u64>,
    pub(crate) warnings: u16,
    /// As `Records: 2  Duplicates: 0  Warnings: 0`.
    pub(crate) info: String,
}

impl Outcome {
    /// Rows as text, NULL as `NULL`, columns joined by `|`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let cell = |cell: &Option<Vec<u8>>| {
            cell.as_ref()
                .map_or_else(|| "NULL".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        self.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|")).collect()
    }

    /// As `lines`, for results whose order is not promised.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }
}

/// An ERR packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: u16,
    pub(crate) state: String,
    pub(crate) message: String,
}

pub(crate) struct Client {
    connection: Conn,
}

impl Client {
    /// Fails the test when the login fails.
    pub(crate) async fn connect(access: &Access) -> Client {
        match Client::login(access).await {
            Ok(client) => client,
            Err(fault) => panic!("login as {} at {} failed: {fault:?}", access.user, access.address),
        }
    }

    /// The server's refusal as a value; anything else that goes wrong (no server, broken protocol) fails the test.
    pub(crate) async fn login(access: &Access) -> Result<Client, Fault> {
        match Conn::new(access.options()).await {
            Ok(connection) => Ok(Client { connection }),
            Err(error) => Err(fault("login", error)),
        }
    }

    /// Runs one command and gives its first result; further results are read and dropped.
    pub(crate) async fn run(&mut self, sql: impl AsRef<[u8]>) -> Result<Outcome, Fault> {
        Ok(self.results(sql).await?.swap_remove(0))
    }

    /// All results of one command, at least one.
    pub(crate) async fn results(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<Outcome>, Fault> {
        let sql = sql.as_ref();
        let shown = String::from_utf8_lossy(sql).into_owned();
        let failed = |error| fault(&shown, error);
        let mut result = self.connection.query_iter(sql).await.map_err(failed)?;
        let mut outcomes = Vec::new();
        loop {
            let columns = result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
            let rows: Vec<mysql_async::Row> = result.collect().await.map_err(failed)?;
            let rows = rows.into_iter().map(|row| row.unwrap().into_iter().map(cell).collect()).collect();
            outcomes.push(Outcome {
                columns,
                rows,
                affected: result.affected_rows(),
                last_insert_id: result.last_insert_id(),
                warnings: result.warnings(),
                info: result.info().into_owned(),
            });
            if result.is_empty() {
                return Ok(outcomes);
            }
        }
    }

    /// As `run`; an ERR packet fails the test.
    pub(crate) async fn ok(&mut self, sql: impl AsRef<[u8]>) -> Outcome {
        let shown = String::from_utf8_lossy(sql.as_ref()).into_owned();
        match self.run(sql).await {
            Ok(outcome) => outcome,
            Err(fault) => {
                panic!("{shown}\n  failed with {} ({}): {}", fault.code, fault.state, fault.message)
            }
        }
    }

    /// Runs a statement that must be refused.
    pub(crate) async fn refused(&mut self, sql: impl AsRef<[u8]>) -> Fault {
        let shown = String::from_utf8_lossy(sql.as_ref()).into_owned();
        match self.run(sql).await {
            Ok(outcome) => panic!("{shown}\n  was not refused: {:?}", outcome.lines()),
            Err(fault) => fault,
        }
    }

    /// Rows as lines (see `Outcome::lines`).
    pub(crate) async fn rows(&mut self, sql: impl AsRef<[u8]>) -> Vec<String> {
        self.ok(sql).await.lines()
    }

    /// The first column of the first row; `None` for NULL and for no row.
    pub(crate) async fn one(&mut self, sql: impl AsRef<[u8]>) -> Option<String> {
        let cell = self.ok(sql).await.rows.first()?.first()?.clone()?;
        Some(String::from_utf8_lossy(&cell).into_owned())
    }

    /// The id that the server's greeting gave this connection.
    pub(crate) fn id(&self) -> u32 {
        self.connection.id()
    }

    /// What the greeting said, e.g. (10, 11, 6).
    pub(crate) fn server_version(&self) -> (u16, u16, u16) {
        self.connection.server_version()
    }

    pub(crate) async fn ping(&mut self) -> Result<(), Fault> {
        self.connection.ping().await.map_err(|error| fault("ping", error))
    }

    /// COM_RESET_CONNECTION; false when the server refused it.
    pub(crate) async fn reset(&mut self) -> bool {
        self.connection.reset().await.unwrap_or(false)
    }

    pub(crate) async fn quit(self) {
        self.connection.disconnect().await.unwrap();
    }

    /// The connection, for what this wrapper does not have.
    pub(crate) fn inner(&mut self) -> &mut Conn {
        &mut self.connection
    }
}

fn cell(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => panic!("the text protocol has no {other:?}"),
    }
}

/// A lost connection shows as code 0, so that tests can assert on it; all else that is not an ERR packet is a bug.
#[track_caller]
fn fault(doing: &str, error: mysql_async::Error) -> Fault {
    match error {
        mysql_async::Error::Server(error) => {
            Fault { code: error.code, state: error.state, message: error.message }
        }
        mysql_async::Error::Io(error) => {
            Fault { code: 0, state: String::new(), message: format!("connection lost: {error}") }
        }
        mysql_async::Error::Driver(mysql_async::DriverError::ConnectionClosed) => {
            Fault { code: 0, state: String::new(), message: "connection lost: closed".to_owned() }
        }
        other => panic!("{doing}: {other}"),
    }
}
