//! The command loop of one client. The only place where errors become ERR packets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::binary::PreparedStatements;
use super::diagnostics::Diagnostics;
use super::handshake::{Arrival, Channel, ClientStream, LoggedIn, LoginError, log_in, turn_away};
use super::held::{Held, Reason};
use super::metrics::{LoginResult, RouteLabel, StatementResult};
use super::reads::Reads;
use super::registry::Registration;
use super::shared::{Fleet, Shared};
use super::switch::{Chosen, find};
use super::variables::Variables;
use crate::backend::Flavor;
use crate::config::{Settings, TransactionMode, User};
use crate::error::{Classify, ClientError, Kind};
use crate::executor::{Call, Client, CommandError, Failure, Reply, Stream};
use crate::router::WeightCache;
use crate::sql::{self, Context};
use crate::topology::ShardName;
use crate::transaction::Transaction;
use crate::wire::{CapabilityFlags, Command, Compression, OkPacket, RowFormat, SCRAMBLE_BYTES, StatusFlags};

/// How long a connection is kept for SHOW WARNINGS before its warnings are read and it goes back to the pool.
const DIAGNOSTICS_HOLD: Duration = Duration::from_millis(500);

/// MariaDB says so in its status flags; MySQL does not.
const STATUS_ANSI_QUOTES: u16 = 0x8000;

/// How long the proxy tries to tell a client why it is disconnected.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// One client after its login.
pub(crate) struct Session<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Client<S>,
    pub(super) registration: Registration,
    pub(super) user: Arc<User>,
    /// Looked at anew for each command.
    pub(super) settings: Arc<Settings>,
    settings_changes: watch::Receiver<Arc<Settings>>,
    fleet_changes: watch::Receiver<Fleet>,
    pub(super) flavor: Flavor,
    pub(super) variables: Variables,
    pub(super) chosen: Chosen,
    pub(super) transaction: Transaction,
    /// SET TRANSACTION statements for the next transaction only.
    pub(super) next_transaction: Vec<Vec<u8>>,
    /// Chosen by the session; else that of the settings.
    pub(super) transaction_mode: Option<TransactionMode>,
    pub(super) held: Vec<Held>,
    pub(super) diagnostics: Diagnostics,
    pub(super) weights: WeightCache,
    pub(super) reads: Reads,
    /// Reused from statement to statement.
    pub(super) statement: sql::Statement,
    pub(super) account: Account,
    pub(super) prepared: PreparedStatements,
    /// How the running command's rows are written, where the proxy writes them.
    pub(super) row_format: RowFormat,
    /// When the running statement is stopped, and after how long.
    pub(super) due: Option<(Instant, Duration)>,
    pub(super) channel: Channel,
    /// Several statements may come in one packet.
    pub(super) multi_statements: bool,
    /// The greeting's.
    pub(super) challenge: [u8; SCRAMBLE_BYTES],
    /// The registry shows a pin of this session.
    pub(super) pin_shown: bool,
    /// Fires when the client has been silent for too long, or too early: it is not set anew for each command.
    silence: Pin<Box<Sleep>>,
}

/// How the running statement is carried out, for metrics and the slow-statement log.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) route: RouteLabel,
    pub(super) result: StatementResult,
    /// The one shard, or the first of several.
    pub(super) shard: Option<ShardName>,
    pub(super) shards: usize,
    /// A replica that is fresh enough may answer.
    pub(super) splits: bool,
}

impl Default for Account {
    fn default() -> Account {
        Account {
            route: RouteLabel::Local,
            result: StatementResult::Ok,
            shard: None,
            shards: 0,
            splits: false,
        }
    }
}

/// Why a session's loop ends.
#[derive(Debug)]
pub(super) enum End {
    /// COM_QUIT, the end of the stream, COMMIT RELEASE.
    Finished,
    /// Nobody is there to be told.
    Gone,
    /// The client is told and disconnected.
    Dismissed(ClientError),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

/// What a client was admitted with.
#[derive(Debug)]
pub(super) struct Admitted {
    /// As the map spells it.
    pub(super) database: Option<String>,
    pub(super) chosen: Chosen,
}

/// Serves one connection from the first byte to the last.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let registration = shared.registry.register(peer);
    let limit = shared.settings.borrow().limits.handshake_timeout;
    let arrival = Arrival { session_id: registration.id(), peer: peer.ip() };
    let admit = |user: &Arc<User>, database: Option<&str>| admit(&shared, &registration, user, database);
    let login = tokio::select! {
        login = log_in(stream, &shared.gate, arrival, admit, limit) => login,
        _ = registration.alarm().wait(&[Call::EndSession]) => return,
    };
    match login {
        Ok(login) => {
            shared.metrics.login(LoginResult::Ok);
            let counted = shared.metrics.session();
            let mut session = Session::new(Arc::clone(&shared), registration, login);
            session.run().await;
            drop(counted);
        }
        Err(error) => {
            shared.metrics.login(login_result(&error));
            tracing::debug!(%peer, %error, "login failed");
        }
    }
}

/// Ends at `due`. The timer may be set for another moment: it is moved when it would fire too late, or
/// has fired too early.
async fn silence(mut timer: Pin<&mut Sleep>, due: Instant) {
    if timer.deadline() > due {
        timer.as_mut().reset(due);
    }
    loop {
        timer.as_mut().await;
        if Instant::now() >= due {
            return;
        }
        timer.as_mut().reset(due);
    }
}

pub(super) fn login_result(error: &LoginError) -> LoginResult {
    match error.kind() {
        Kind::Access | Kind::Routing => LoginResult::Denied,
        Kind::Limit | Kind::Shutdown => LoginResult::Limited,
        Kind::Protocol | Kind::Statement | Kind::Server | Kind::Internal => LoginResult::Broken,
    }
}

/// Turns a client away because there are too many.
pub(crate) async fn refuse_for_limit(shared: Arc<Shared>, stream: TcpStream) {
    refuse_early(&shared, stream, &ClientError::new("SW1003", "Too many connections")).await;
}

/// Turns a client away whom nobody has announced.
pub(crate) async fn refuse_unannounced(shared: &Shared, stream: TcpStream, cause: String) {
    refuse_early(shared, stream, &ClientError::new("SW1010", cause)).await;
}

async fn refuse_early(shared: &Shared, mut stream: TcpStream, error: &ClientError) {
    let limited = error.entry.kind == Kind::Limit;
    shared.metrics.login(if limited { LoginResult::Limited } else { LoginResult::Broken });
    shared.metrics.error(error);
    let told = tokio::time::timeout(FAREWELL_MAX, turn_away(&mut stream, error)).await;
    tracing::debug!(told = told.is_ok(), %error, "turned away");
}

/// The last question of a login: is there room for the user, and is the database there?
pub(super) fn admit(
    shared: &Shared,
    registration: &Registration,
    user: &User,
    database: Option<&str>,
) -> Result<Admitted, ClientError> {
    if shared.draining.is_cancelled() {
        return Err(ClientError::new("SW1501", "Server shutdown in progress"));
    }
    let topology = shared.topology.load();
    let found = database.map(|name| find(name, user.databases.as_deref(), &topology)).transpose()?;
    if !registration.log_in(&user.name, user.clients_max) {
        let detail = format!(
            "User '{}' has exceeded the 'max_user_connections' resource (current value: {})",
            user.name, user.clients_max
        );
        return Err(ClientError::new("SW1004", detail));
    }
    let (database, chosen) = found.map_or((None, Chosen::default()), |(name, chosen)| (Some(name), chosen));
    Ok(Admitted { database, chosen })
}

impl<T: Stream> Session<ClientStream<T>> {
    fn new(
        shared: Arc<Shared>,
        registration: Registration,
        login: LoggedIn<T, Admitted>,
    ) -> Session<ClientStream<T>> {
        let mut settings_changes = shared.settings.clone();
        let settings = Arc::clone(&settings_changes.borrow_and_update());
        let silence = Box::pin(tokio::time::sleep(settings.limits.idle_timeout));
        let mut fleet_changes = shared.fleet.clone();
        let reading = fleet_changes.borrow_and_update().reading();
        let flavor = Flavor {
            found_rows: login.capabilities.contains(CapabilityFlags::CLIENT_FOUND_ROWS),
            deprecate_eof: login.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF),
            // Several statements have several results: servers take the one flag for the other, too.
            multi_results: login
                .capabilities
                .intersects(CapabilityFlags::CLIENT_MULTI_RESULTS | CapabilityFlags::CLIENT_MULTI_STATEMENTS),
        };
        let multi_statements = login.capabilities.contains(CapabilityFlags::CLIENT_MULTI_STATEMENTS);
        let channel = login.stream.channel();
        let Admitted { database, chosen } = login.admitted;
        let packet_bytes_max = settings.limits.packet_bytes_max;
        let mut client = Client::new(login.stream, login.received, packet_bytes_max, login.capabilities);
        if let Some(algorithm) = login.compression {
            let compression = Compression::new(algorithm, packet_bytes_max);
            client = client.compress(compression, packet_bytes_max);
        }
        let variables = Variables::from_login(login.collation_id, database.as_deref(), reading);
        let attribute = |wanted: &str| {
            login.attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        let program = attribute("program_name").or_else(|| attribute("_client_name"));
        registration.update(|activity| {
            activity.database.clone_from(&database);
            activity.program = program;
        });
        Session {
            statement: sql::Statement::seeded(shared.seed),
            shared,
            client,
            registration,
            user: login.user,
            settings,
            settings_changes,
            fleet_changes,
            flavor,
            variables,
            chosen,
            transaction: Transaction::None,
            next_transaction: Vec::new(),
            transaction_mode: None,
            held: Vec::new(),
            diagnostics: Diagnostics::default(),
            weights: WeightCache::default(),
            reads: Reads::default(),
            account: Account::default(),
            prepared: PreparedStatements::default(),
            row_format: RowFormat::Text,
            due: None,
            channel,
            multi_statements,
            challenge: login.challenge,
            pin_shown: false,
            silence,
        }
    }
}

impl<S: Stream> Session<S> {
    async fn run(&mut self) {
        let end = loop {
            let command = match self.next_command().await {
                Ok(command) => command,
                Err(end) => break end,
            };
            self.follow_fleet();
            let done = self.command(command).await;
            self.shared.metrics.traffic(self.client.take_traffic());
            if let Err(end) = done {
                break end;
            }
        };
        if let End::Dismissed(error) = end {
            self.shared.metrics.error(&error);
            // The client may be gone already; then there is nobody to tell.
            let farewell = async {
                self.client.reply(Reply::Error(&error)).await?;
                self.client.close().await
            };
            let told = tokio::time::timeout(FAREWELL_MAX, farewell).await;
            tracing::debug!(session = self.registration.id(), %error, told = told.is_ok(), "session ended by the proxy");
        }
        self.shared.metrics.traffic(self.client.take_traffic());
        for held in self.held.drain(..) {
            held.let_go();
        }
    }

    /// Statements are read as the servers read them: at the login that may not have been known. Not within a transaction,
    /// which is on its servers already.
    fn follow_fleet(&mut self) {
        if !self.transaction.is_active() && self.fleet_changes.has_changed().unwrap_or(false) {
            let reading = self.fleet_changes.borrow_and_update().reading();
            self.variables.follow(reading);
        }
    }

    /// Waits for a command, for KILL, for the end of an idle client's time and, outside of transactions, for the proxy's end.
    async fn next_command(&mut self) -> Result<Bytes, End> {
        if self.settings_changes.has_changed().unwrap_or(false) {
            self.settings = Arc::clone(&self.settings_changes.borrow_and_update());
        }
        let limits = [self.settings.limits.idle_timeout, self.settings.transactions.idle_timeout];
        let limits = &limits[..if self.transaction.is_active() { 2 } else { 1 }];
        let idle = limits.iter().filter(|limit| !limit.is_zero()).min().copied().unwrap_or_default();
        let idle_since = Instant::now();
        let calls: &[Call] = match self.transaction.is_active() {
            true => &[Call::EndSession],
            false => &[Call::EndSession, Call::Drain],
        };
        let command = loop {
            let remembering = self.held.iter().any(|held| held.reason() == Some(Reason::Diagnostics));
            tokio::select! {
                biased;
                command = self.client.command() => break command,
                call = self.registration.alarm().wait(calls) => return Err(End::Dismissed(match call {
                    Call::Drain => ClientError::new("SW1501", "Server shutdown in progress"),
                    Call::EndSession | Call::EndStatement => ClientError::new("SW1506", "the session was killed"),
                })),
                () = tokio::time::sleep(DIAGNOSTICS_HOLD), if remembering => self.remember_diagnostics().await,
                () = silence(self.silence.as_mut(), idle_since + idle), if !idle.is_zero() => {
                    return Err(End::Dismissed(ClientError::new("SW1507", format!("no command came for {idle:?}"))));
                }
            }
        };
        match command {
            // A statement that came already is not begun any more, as on a server: KILL is answered before.
            Ok(Some(_)) if self.registration.alarm().is_raised(Call::EndSession) => {
                Err(End::Dismissed(ClientError::new("SW1506", "the session was killed")))
            }
            Ok(Some(payload)) => Ok(payload),
            Ok(None) | Err(CommandError::Gone(_)) => Err(End::Finished),
            Err(CommandError::Packet(error)) => Err(End::Dismissed(error.client())),
        }
    }

    async fn command(&mut self, payload: Bytes) -> Result<(), End> {
        let command = match Command::decode(&payload) {
            Ok(command) => command,
            Err(error) => return Err(End::Dismissed(ClientError::new("SW1103", error.to_string()))),
        };
        match command {
            Command::Quit => Err(End::Finished),
            Command::Query(text) => self.query(text).await,
            Command::Ping => self.reply_ok().await,
            Command::InitDb(name) => {
                let switched = self.switch(&name);
                self.answer(switched).await
            }
            Command::ResetConnection => {
                self.reset();
                self.reply_ok().await
            }
            Command::Statistics => Ok(self.client.reply(Reply::Text(&self.statistics())).await?),
            Command::SetOption(option) => self.set_option(option).await,
            Command::ProcessKill(id) => self.kill_session(id).await,
            Command::StmtPrepare(text) => self.prepare(text).await,
            Command::StmtExecute(body) => self.execute_prepared(body).await,
            Command::StmtSendLongData(body) => self.send_long_data(&body),
            Command::StmtReset(id) => self.reset_prepared(id).await,
            Command::StmtFetch(body) => self.fetch(body).await,
            Command::StmtClose(id) => self.close_prepared(id).await,
            Command::ChangeUser(body) => self.change_user(&body).await,
            Command::FieldList { table, wildcard } => self.field_list(&table, &wildcard).await,
            Command::ProcessInfo => self.reply_processes(false).await,
            Command::Debug => {
                let detail =
                    "Access denied; you need (at least one of) the SUPER privilege(s) for this operation";
                self.refuse(&ClientError::new("SW1502", detail)).await
            }
            Command::Unknown(_) => self.refuse(&ClientError::new("SW1101", "Unknown command")).await,
        }
    }

    /// Back to the state after the login; an open transaction is rolled back.
    pub(super) fn reset(&mut self) {
        for held in self.held.drain(..) {
            held.let_go();
        }
        self.transaction = Transaction::None;
        self.next_transaction.clear();
        self.transaction_mode = None;
        self.diagnostics = Diagnostics::default();
        self.variables.reset();
        self.prepared = PreparedStatements::default();
        self.weights.forget();
        self.reads = Reads::default();
        self.show_pins();
    }

    pub(super) async fn answer(&mut self, result: Result<(), ClientError>) -> Result<(), End> {
        match result {
            Ok(()) => self.reply_ok().await,
            Err(error) => self.refuse(&error).await,
        }
    }

    pub(super) async fn reply_ok(&mut self) -> Result<(), End> {
        self.diagnostics.row_count = 0;
        let ok = OkPacket { status: self.status(), ..OkPacket::default() };
        Ok(self.client.reply(Reply::Ok(ok)).await?)
    }

    /// Tells the client; the session goes on.
    pub(super) async fn refuse(&mut self, error: &ClientError) -> Result<(), End> {
        self.shared.metrics.error(error);
        self.account.result = StatementResult::Refused;
        self.diagnostics.refused(error);
        Ok(self.client.reply(Reply::Error(error)).await?)
    }

    /// What a failure means for the client: an ERR packet, or the end of its connection.
    pub(super) async fn fail(&mut self, failure: Failure) -> Result<(), End> {
        match failure.for_good() {
            Failure::ClientGone(_) => Err(End::Gone),
            failure @ (Failure::Cut(_) | Failure::CutByProxy(_)) => {
                let session = self.registration.id();
                tracing::warn!(error = %failure, session, "a result was cut; the client is disconnected");
                self.account.result = StatementResult::Lost;
                Err(End::Gone)
            }
            Failure::Server { packet, .. } => {
                self.account.result = StatementResult::ServerError;
                self.diagnostics.server_refused(&packet);
                Ok(self.client.reply(Reply::ServerError(&packet)).await?)
            }
            failure @ (Failure::Backend(_)
            | Failure::Broken(_)
            | Failure::Interrupted(_)
            | Failure::Refused(_)
            | Failure::Again(_)) => {
                let mut error = failure.client();
                if let (Failure::Backend(_) | Failure::Broken(_), Some(shard)) =
                    (&failure, &self.account.shard)
                {
                    let version = self.shared.topology.load().version;
                    error.detail = format!("shard {shard} (map version {version}): {}", error.detail);
                }
                if self.registration.alarm().is_raised(Call::EndSession) {
                    return Err(End::Dismissed(error));
                }
                self.refuse(&error).await
            }
        }
    }

    /// How a transaction that writes on several shards ends.
    pub(super) fn mode(&self) -> TransactionMode {
        self.transaction_mode.unwrap_or(self.settings.transactions.mode)
    }

    /// The status flags of the proxy's own replies.
    pub(super) fn status(&self) -> StatusFlags {
        let mut status = StatusFlags::empty();
        status.set(StatusFlags::SERVER_STATUS_AUTOCOMMIT, self.variables.autocommit());
        status.set(StatusFlags::SERVER_STATUS_IN_TRANS, self.transaction.is_active());
        status.set(StatusFlags::SERVER_STATUS_IN_TRANS_READONLY, self.transaction.is_read_only());
        status.set(StatusFlags::SERVER_MORE_RESULTS_EXISTS, self.client.has_announced_more());
        let Context { mode, flavor, .. } = self.variables.context();
        status.set(StatusFlags::SERVER_STATUS_NO_BACKSLASH_ESCAPES, mode.no_backslash_escapes);
        if mode.ansi_quotes && *flavor == sql::Flavor::MariaDb {
            status |= StatusFlags::from_bits_retain(STATUS_ANSI_QUOTES);
        }
        status
    }
}
