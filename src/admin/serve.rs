//! The admin port: the MySQL protocol for operators, without TLS and by mysql_native_password, and therefore on the
//! loopback address unless the file says otherwise. It has its own limits, so that it answers when the client port is
//! full. Statements go to the operator; only what clients send on their own is answered here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlIntermediary, AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter,
    OkResponse, ParamParser, QueryResultWriter, StatementMetaWriter,
};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::doorstep::Doorstep;
use super::greeting::{self, Caller, Courtesy};
use super::login::{self, SALT_BYTES};
use super::operator::Operator;
use crate::error::ClientError;
use crate::session::Answer;
use crate::task::Scope;

/// Operators connected at once; more wait in the kernel's accept queue.
const OPERATORS_MAX: usize = 32;
/// A peer that vanished is noticed after about this long.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Pause after an accept that failed, as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves operators until the scope is told to stop.
pub(crate) async fn serve(listener: TcpListener, operator: Operator, scope: Scope) {
    let places = Arc::new(Semaphore::new(OPERATORS_MAX));
    let last_id = AtomicU32::new(0);
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = scope.token().cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the admin port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let id = last_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let operator = operator.clone();
        let token = scope.token().clone();
        scope.spawn("admin session", async move {
            tokio::select! {
                result = converse(stream, peer, id, operator) => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "an operator's connection ended");
                    }
                }
                () = token.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, id: u32, operator: Operator) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let salt = login::salt().ok_or_else(|| io::Error::other("no random bytes"))?;
    let login_timeout = operator.settings().limits.handshake_timeout;
    let version = format!("{}-shardway-admin", operator.settings().control.server_version);
    let logged_in = CancellationToken::new();
    let session = Session {
        operator,
        peer,
        id,
        salt,
        version,
        logged_in: logged_in.clone(),
        user: parking_lot::Mutex::default(),
    };
    let (read, write) = stream.into_split();
    let conversation = AsyncMysqlIntermediary::run_on(session, Doorstep::new(read, logged_in.clone()), write);
    let login_deadline = async {
        if tokio::time::timeout(login_timeout, logged_in.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = conversation => result,
        () = login_deadline => Err(io::ErrorKind::TimedOut.into()),
    }
}

struct Session {
    operator: Operator,
    peer: SocketAddr,
    id: u32,
    salt: [u8; SALT_BYTES],
    version: String,
    /// Cancelled by a login that succeeded.
    logged_in: CancellationToken,
    /// Written once, by the login; the trait logs in through a shared reference.
    user: parking_lot::Mutex<String>,
}

#[async_trait]
impl AsyncMysqlShim<OwnedWriteHalf> for Session {
    type Error = io::Error;

    fn version(&self) -> String {
        self.version.clone()
    }

    fn connect_id(&self) -> u32 {
        self.id
    }

    fn salt(&self) -> [u8; SALT_BYTES] {
        self.salt
    }

    async fn authenticate(&self, _plugin: &str, user: &[u8], salt: &[u8], answer: &[u8]) -> bool {
        let name = String::from_utf8_lossy(user).into_owned();
        let settings = self.operator.settings();
        match login::check(settings.users.get(&name).map(AsRef::as_ref), salt, answer) {
            Ok(()) => {
                *self.user.lock() = name;
                self.logged_in.cancel();
                true
            }
            Err(error) => {
                tracing::warn!(user = name, peer = %self.peer, %error, "login at the admin port refused");
                false
            }
        }
    }

    async fn on_prepare<'a>(
        &'a mut self,
        _statement: &'a str,
        writer: StatementMetaWriter<'a, OwnedWriteHalf>,
    ) -> io::Result<()> {
        writer.error(ErrorKind::ER_UNSUPPORTED_PS, b"the admin port has no prepared statements").await
    }

    async fn on_execute<'a>(
        &'a mut self,
        _id: u32,
        _parameters: ParamParser<'a>,
        writer: QueryResultWriter<'a, OwnedWriteHalf>,
    ) -> io::Result<()> {
        writer.error(ErrorKind::ER_UNSUPPORTED_PS, b"the admin port has no prepared statements").await
    }

    async fn on_close<'a>(&'a mut self, _id: u32)
    where
        OwnedWriteHalf: 'async_trait,
    {
    }

    async fn on_init<'a>(
        &'a mut self,
        _database: &'a str,
        writer: InitWriter<'a, OwnedWriteHalf>,
    ) -> io::Result<()> {
        // Operators' statements know no database; tools that name one anyway are let in.
        writer.ok().await
    }

    async fn on_query<'a>(
        &'a mut self,
        statement: &'a str,
        writer: QueryResultWriter<'a, OwnedWriteHalf>,
    ) -> io::Result<()> {
        let user = self.user.lock().clone();
        let host = self.peer.ip().to_string();
        let caller = Caller { user: &user, host: &host, connection: self.id, version: &self.version };
        if let Some(courtesy) = greeting::answer(statement, &caller) {
            return match courtesy {
                Courtesy::Done => writer.completed(OkResponse::default()).await,
                Courtesy::Table { columns, rows } => table(writer, &columns, rows).await,
            };
        }
        match self.operator.run(statement, &user, None).await {
            // As a row, since opensrv writes the text of an OK packet in a form that clients misread.
            Ok(Answer::Done { message }) => table(writer, &["message"], vec![vec![Some(message)]]).await,
            Ok(Answer::Table { columns, rows }) => table(writer, &columns, rows).await,
            Err(error) => writer.error(error_kind(&error), error.message().as_bytes()).await,
        }
    }
}

async fn table(
    writer: QueryResultWriter<'_, OwnedWriteHalf>,
    names: &[impl AsRef<str>],
    rows: Vec<Vec<Option<String>>>,
) -> io::Result<()> {
    let columns: Vec<Column> = names
        .iter()
        .map(|name| Column {
            table: String::new(),
            column: name.as_ref().to_owned(),
            coltype: ColumnType::MYSQL_TYPE_VAR_STRING,
            colflags: ColumnFlags::empty(),
        })
        .collect();
    let mut writer = writer.start(&columns).await?;
    for row in rows {
        writer.write_row(row).await?;
    }
    writer.finish().await
}

/// opensrv derives the SQLSTATE from its own list of errors, which lacks those of clients (2003 …), and its conversion
/// from numbers panics on what it lacks: only the errors that operators' statements can have are named here.
fn error_kind(error: &ClientError) -> ErrorKind {
    match error.entry.code {
        1064 => ErrorKind::ER_PARSE_ERROR,
        1094 => ErrorKind::ER_NO_SUCH_THREAD,
        1146 => ErrorKind::ER_NO_SUCH_TABLE,
        1227 => ErrorKind::ER_SPECIFIC_ACCESS_DENIED_ERROR,
        1235 => ErrorKind::ER_NOT_SUPPORTED_YET,
        1046 => ErrorKind::ER_NO_DB_ERROR,
        1049 => ErrorKind::ER_BAD_DB_ERROR,
        _ => ErrorKind::ER_UNKNOWN_ERROR,
    }
}
