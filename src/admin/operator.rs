//! Carries operators' statements out, whichever door they came through. Every one of them is logged with its user when
//! it changes something.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};

use super::command::{Command, Subject};
use super::{settings, tables};
use crate::backend::PoolStatus;
use crate::config::Settings;
use crate::control::{InDoubt, MapStatus, ServerStatus};
use crate::error::ClientError;
use crate::session::{Answer, Order, Registry};
use crate::task::Scope;
use crate::topology::TopologyHandle;

/// Orders carried out at once.
const ORDERS_MAX: usize = 16;

/// What a reload answers: the differences in words, or the faults.
pub(crate) type Reloading = Pin<Box<dyn Future<Output = Result<String, ClientError>> + Send>>;
/// Explains a statement on behalf of a session's database.
pub(crate) type Explain = dyn Fn(&str, Option<&str>) -> Explanation + Send + Sync;
/// Lines of an explanation: what, and its value.
pub(crate) type Explanation = Result<Vec<(String, String)>, ClientError>;

/// Where the answers come from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) topology: TopologyHandle,
    pub(crate) sessions: Arc<Registry>,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) pools: Arc<dyn Fn() -> Vec<PoolStatus> + Send + Sync>,
    pub(crate) servers: Arc<dyn Fn() -> Vec<ServerStatus> + Send + Sync>,
    pub(crate) map: Arc<dyn Fn() -> MapStatus + Send + Sync>,
    pub(crate) in_doubt: Arc<dyn Fn() -> Arc<[InDoubt]> + Send + Sync>,
    /// Of a transaction by its id, and whether to commit it where nobody can say.
    pub(crate) resolve: Arc<dyn Fn(String, Option<bool>) -> Reloading + Send + Sync>,
    pub(crate) reload: Arc<dyn Fn() -> Reloading + Send + Sync>,
    /// Makes a server the primary of a shard.
    pub(crate) switch_over: Arc<dyn Fn(String, String) -> Reloading + Send + Sync>,
    /// From a statement and the session's database.
    pub(crate) explain: Arc<Explain>,
}

#[derive(Clone)]
pub(crate) struct Operator {
    sources: Sources,
}

impl Operator {
    pub(crate) fn new(sources: Sources) -> Operator {
        Operator { sources }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.sources.settings.borrow())
    }

    /// Carries out one statement of `user`, with or without the word SHARDWAY in front. Cancel safe but for RELOAD,
    /// which then may or may not have happened.
    pub(crate) async fn run(
        &self,
        statement: &str,
        user: &str,
        database: Option<&str>,
    ) -> Result<Answer, ClientError> {
        match Command::parse(statement)? {
            Command::Show { subject, like } => Ok(tables::keep_like(self.show(subject), like.as_deref())),
            Command::Explain(statement) => (self.sources.explain)(&statement, database)
                .map(|lines| tables::pairs(["item", "value"], lines)),
            Command::Reload => {
                tracing::info!(user, "reload ordered");
                (self.sources.reload)().await.map(|message| Answer::Done { message })
            }
            Command::SwitchOver { shard, target } => {
                tracing::info!(user, shard, target, "switchover ordered");
                (self.sources.switch_over)(shard, target).await.map(|message| Answer::Done { message })
            }
            Command::Kill(id) => {
                tracing::info!(user, session = id, "kill ordered");
                self.killed(id, self.sources.sessions.kill(id))
            }
            Command::KillStatement(id) => {
                tracing::info!(user, session = id, "kill of a statement ordered");
                self.killed(id, self.sources.sessions.kill_statement(id))
            }
            Command::Resolve { id, commit } => {
                tracing::info!(user, transaction = id, ?commit, "resolution of a transaction ordered");
                (self.sources.resolve)(id, commit).await.map(|message| Answer::Done { message })
            }
            Command::Help => Ok(tables::help()),
        }
    }

    fn show(&self, subject: Subject) -> Answer {
        let sources = &self.sources;
        match subject {
            Subject::Shards => tables::shards(&sources.topology.load(), &(sources.servers)()),
            Subject::Servers => tables::servers(&(sources.servers)()),
            Subject::Pools => tables::pools(&(sources.pools)()),
            Subject::Sessions => tables::sessions(&sources.sessions.status()),
            Subject::Pins => tables::pins(&sources.sessions.status()),
            Subject::Transactions => tables::transactions(&(sources.in_doubt)()),
            Subject::Map => tables::map(&sources.topology.load(), &(sources.map)()),
            Subject::Variables => tables::pairs(["name", "value"], settings::rows(&self.settings())),
            Subject::Errors => tables::errors(),
        }
    }

    fn killed(&self, id: u32, found: bool) -> Result<Answer, ClientError> {
        if found {
            return Ok(Answer::Done { message: format!("session {id} was told") });
        }
        Err(ClientError::new("SW1505", format!("Unknown thread id: {id}")))
    }
}

/// Carries out the orders of client sessions until the scope stops or the last sender is gone. A slow one (a reload)
/// does not hold up the others.
pub(crate) async fn operate(mut orders: mpsc::Receiver<Order>, operator: Operator, scope: Scope) {
    let places = Arc::new(Semaphore::new(ORDERS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let order = tokio::select! {
            order = orders.recv() => order,
            () = scope.token().cancelled() => None,
        };
        let Some(order) = order else { return };
        let operator = operator.clone();
        scope.spawn("order", async move {
            let answer = operator.run(&order.statement, &order.user, order.database.as_deref()).await;
            // A session that has gone does not want its answer.
            drop(order.reply.send(answer));
            drop(place);
        });
    }
}
