//! The live sessions, for SHOW SESSIONS and KILL. Sessions write their own entry; nobody else does.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::processes::Process;
use crate::executor::{Alarm, Call};
use crate::sql;
use crate::topology::ShardName;

/// Characters of a running statement that are shown.
const SHOWN_MAX: usize = 1024;

/// All live sessions by id.
#[derive(Debug)]
pub(crate) struct Registry {
    sessions: Mutex<Sessions>,
    since: Instant,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry { sessions: Mutex::default(), since: Instant::now() }
    }
}

#[derive(Debug, Default)]
struct Sessions {
    last_id: u32,
    live: BTreeMap<u32, Arc<Entry>>,
    /// Sessions after their login, by user.
    users: HashMap<String, usize>,
}

/// One session's place in the registry; removed on drop.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    peer: SocketAddr,
    since: Instant,
    alarm: Alarm,
    activity: Mutex<Activity>,
    running: Mutex<Run>,
}

#[derive(Debug)]
enum Run {
    Statement(Running),
    /// Nothing runs since then.
    Idle(Instant),
}

/// The running statement as it came: it is redacted when somebody looks, not when it runs.
#[derive(Debug)]
struct Running {
    text: Bytes,
    context: sql::Context,
    since: Instant,
}

/// What a session does, written by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity {
    pub(crate) user: String,
    pub(crate) database: Option<String>,
    /// What the client calls itself: its attribute `program_name`, else that of its library.
    pub(crate) program: Option<String>,
    /// Redacted text of the running statement, with its start.
    pub(crate) statement: Option<(String, Instant)>,
    /// The shard of the open transaction.
    pub(crate) transaction: Option<String>,
    /// Why the session keeps connections, in the order in which the reasons came.
    pub(crate) pins: Vec<PinStatus>,
}

/// One row of SHOW PINS.
#[derive(Debug, Clone)]
pub(crate) struct PinStatus {
    pub(crate) shard: ShardName,
    pub(crate) reason: &'static str,
    /// The statement that pinned, without its values.
    pub(crate) digest: Arc<str>,
    pub(crate) since: Instant,
}

/// One row of SHOW SESSIONS.
#[derive(Debug, Clone)]
pub(crate) struct SessionStatus {
    pub(crate) id: u32,
    pub(crate) peer: SocketAddr,
    pub(crate) age: Duration,
    pub(crate) activity: Activity,
}

impl Sessions {
    /// One session fewer of a user.
    fn leave(&mut self, user: &str) {
        if let Some(count) = self.users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(user);
            }
        }
    }
}

impl Registry {
    /// Takes the next id; ids start at 1 and are never 0.
    pub(crate) fn register(self: &Arc<Registry>, peer: SocketAddr) -> Registration {
        let mut sessions = self.sessions.lock();
        loop {
            sessions.last_id = sessions.last_id.wrapping_add(1).max(1);
            if !sessions.live.contains_key(&sessions.last_id) {
                break;
            }
        }
        let id = sessions.last_id;
        let entry = Arc::new(Entry {
            id,
            peer,
            since: Instant::now(),
            alarm: Alarm::default(),
            activity: Mutex::default(),
            running: Mutex::new(Run::Idle(Instant::now())),
        });
        sessions.live.insert(id, Arc::clone(&entry));
        Registration { registry: Arc::clone(self), entry }
    }

    pub(crate) fn status(&self) -> Vec<SessionStatus> {
        let entries: Vec<Arc<Entry>> = self.sessions.lock().live.values().cloned().collect();
        entries
            .iter()
            .map(|entry| SessionStatus {
                id: entry.id,
                peer: entry.peer,
                age: entry.since.elapsed(),
                activity: entry.activity(),
            })
            .collect()
    }

    /// As `status`, in the form of SHOW PROCESSLIST.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let entries: Vec<Arc<Entry>> = self.sessions.lock().live.values().cloned().collect();
        entries.iter().map(|entry| entry.process()).collect()
    }

    /// How long the proxy has been serving.
    pub(crate) fn uptime(&self) -> Duration {
        self.since.elapsed()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.lock().live.len()
    }

    /// Ends a session (its running statement, too); false when there is none of that id.
    pub(crate) fn kill(&self, id: u32) -> bool {
        let entry = self.sessions.lock().live.get(&id).cloned();
        entry.inspect(|entry| entry.alarm.raise(Call::EndSession)).is_some()
    }

    /// Ends the running statement of a session, if one runs; false when there is no session of that id.
    pub(crate) fn kill_statement(&self, id: u32) -> bool {
        let entry = self.sessions.lock().live.get(&id).cloned();
        entry.inspect(|entry| entry.alarm.raise(Call::EndStatement)).is_some()
    }
}

impl Registry {
    /// Calls every session.
    pub(crate) fn raise(&self, call: Call) {
        for entry in self.sessions.lock().live.values() {
            entry.alarm.raise(call);
        }
    }

    /// Wakes every session: a connection that it waits on may have ended.
    pub(crate) fn nudge(&self) {
        for entry in self.sessions.lock().live.values() {
            entry.alarm.nudge();
        }
    }

    /// The user whom a session logged in as; empty before the login, `None` when there is no such session.
    pub(crate) fn user_of(&self, id: u32) -> Option<String> {
        let entry = self.sessions.lock().live.get(&id).cloned();
        entry.map(|entry| entry.activity.lock().user.clone())
    }
}

impl Entry {
    fn activity(&self) -> Activity {
        let mut activity = self.activity.lock().clone();
        if let Run::Statement(running) = &*self.running.lock() {
            activity.statement =
                Some((sql::redact(&running.text, &running.context, SHOWN_MAX), running.since));
        }
        activity
    }
}

impl Entry {
    fn process(&self) -> Process {
        let (statement, since) = match &*self.running.lock() {
            Run::Statement(running) => (Some((running.text.clone(), running.context)), running.since),
            Run::Idle(since) => (None, *since),
        };
        let activity = self.activity.lock();
        Process {
            id: self.id,
            user: activity.user.clone(),
            host: self.peer.to_string(),
            database: activity.database.clone(),
            statement,
            since,
        }
    }
}

impl Registration {
    pub(crate) fn id(&self) -> u32 {
        self.entry.id
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.entry.peer
    }

    /// What others want of the session.
    pub(crate) fn alarm(&self) -> &Alarm {
        &self.entry.alarm
    }

    pub(crate) fn begin_statement(&self, text: &Bytes, context: &sql::Context, since: Instant) {
        let running = Running { text: text.clone(), context: *context, since };
        *self.entry.running.lock() = Run::Statement(running);
    }

    /// `transaction` is the shard of the transaction that is open now.
    pub(crate) fn end_statement(&self, transaction: Option<&ShardName>, now: Instant) {
        *self.entry.running.lock() = Run::Idle(now);
        let mut activity = self.entry.activity.lock();
        if activity.transaction.as_deref() != transaction.map(|shard| shard.0.as_ref()) {
            activity.transaction = transaction.map(|shard| shard.to_string());
        }
    }

    /// Counts the session under `user`, and no longer under the one of before; false when the user has `limit` sessions
    /// already (0 is no limit).
    pub(crate) fn log_in(&self, user: &str, limit: usize) -> bool {
        let mut activity = self.entry.activity.lock();
        if activity.user == user {
            return true;
        }
        let mut sessions = self.registry.sessions.lock();
        if limit > 0 && sessions.users.get(user).is_some_and(|count| *count >= limit) {
            return false;
        }
        *sessions.users.entry(user.to_owned()).or_default() += 1;
        sessions.leave(&activity.user);
        activity.user = user.to_owned();
        true
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Activity)) {
        change(&mut self.entry.activity.lock());
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let user = std::mem::take(&mut self.entry.activity.lock().user);
        let mut sessions = self.registry.sessions.lock();
        sessions.live.remove(&self.entry.id);
        sessions.leave(&user);
    }
}
