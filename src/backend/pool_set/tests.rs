//! The pools against a scripted server over real sockets.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::topology::{Epoch, MapVersion, ServerTlsMode, Shard, ShardId, Standing};
use crate::wire::{Framer, Greeting, Offer, SCRAMBLE_BYTES, StatusFlags, encode_packet, offered_to_clients};

const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
const COM_PING: u8 = 0x0e;
const COM_RESET_CONNECTION: u8 = 0x1f;
/// Long enough for a loaded machine, never waited for when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says OK to every login and command.
struct Scripted {
    address: SocketAddr,
    script: Arc<Script>,
}

struct Script {
    /// Greets one connection per permit.
    greetings: Semaphore,
    /// (thread id, first byte) of every command.
    commands: Mutex<Vec<(u32, u8)>>,
    accepted: Mutex<u32>,
    /// Ends the connections that are open.
    hang_up: Mutex<CancellationToken>,
    /// Ends after each connection's end, for those who wait for it.
    ended: Semaphore,
}

async fn scripted(scope: &Scope) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(Script {
        greetings: Semaphore::new(1000),
        commands: Mutex::default(),
        accepted: Mutex::default(),
        hang_up: Mutex::default(),
        ended: Semaphore::new(0),
    });
    let (all, scope_of_all) = (Arc::clone(&script), scope.clone());
    scope.spawn("scripted server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = Arc::clone(&all);
            let id = {
                let mut accepted = script.accepted.lock();
                *accepted += 1;
                *accepted
            };
            let hang_up = script.hang_up.lock().clone();
            scope_of_all.spawn("scripted connection", async move {
                tokio::select! {
                    _ = converse(stream, id, &script) => {}
                    () = hang_up.cancelled() => {}
                }
                script.ended.add_permits(1);
            });
        }
    });
    Scripted { address, script }
}

async fn converse(mut stream: TcpStream, id: u32, script: &Script) -> std::io::Result<()> {
    script.greetings.acquire().await.unwrap().forget();
    let greeting = Greeting {
        version: "8.4.6".into(),
        thread_id: id,
        scramble: [b'a'; SCRAMBLE_BYTES],
        capabilities: offered_to_clients(Offer { deprecate_eof: true, ..Offer::default() }),
        collation: 45,
        status: StatusFlags::SERVER_STATUS_AUTOCOMMIT,
        plugin: "mysql_native_password".into(),
    };
    let mut out = Vec::new();
    encode_packet(&greeting.encode(), &mut 0, &mut out);
    stream.write_all(&out).await?;
    let mut framer = Framer::unchecked(1 << 20);
    let mut received = BytesMut::new();
    let mut logged_in = false;
    loop {
        let Ok(Some(payload)) = framer.take(&mut received) else {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
            continue;
        };
        if logged_in {
            script.commands.lock().push((id, payload[0]));
            if payload[0] == COM_QUIT {
                return Ok(());
            }
        }
        let mut out = Vec::new();
        encode_packet(&OK, &mut if logged_in { 1 } else { 2 }, &mut out);
        logged_in = true;
        stream.write_all(&out).await?;
    }
}

impl Scripted {
    fn server(&self) -> Server {
        let name = ServerName::from(self.address.to_string().as_str());
        Server {
            name,
            host: self.address.ip().to_string(),
            port: self.address.port(),
            tls: ServerTlsMode::Disabled,
        }
    }

    /// Ends all connections from the server's side and waits until they are ended.
    async fn hang_up(&self, connections: u32) {
        std::mem::take(&mut *self.script.hang_up.lock()).cancel();
        self.ended(connections).await;
    }

    async fn ended(&self, connections: u32) {
        let ended = self.script.ended.acquire_many(connections);
        tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap().forget();
    }

    fn accepted(&self) -> u32 {
        *self.script.accepted.lock()
    }
}

fn settings() -> PoolSettings {
    PoolSettings {
        idle_min: 0,
        connections_max: 2,
        server_connections_max: 10,
        waiters_max: 10,
        connecting_max: 2,
        borrow_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        lifetime_max: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(3600),
        health_interval: Duration::from_secs(3600),
        prepared_max: 200,
        prepared_total_max: 10_000,
    }
}

fn topology(servers: &[Server]) -> Topology {
    let shard = |(index, server): (usize, &Server)| Shard {
        id: ShardId(index as u16),
        name: format!("s{index}").as_str().into(),
        primary: server.clone(),
        replicas: Vec::new(),
        standing: Standing::default(),
        rotation: Vec::new(),
    };
    Topology {
        epoch: Epoch(1),
        version: MapVersion(1),
        content_hash: 0,
        layout: 0,
        shards: servers.iter().enumerate().map(shard).collect(),
        schemes: Vec::new(),
        databases: Vec::new(),
    }
}

struct Fixture {
    scope: Scope,
    /// Of the pools alone.
    tasks: Scope,
    scripted: Scripted,
    server: Server,
    credential: Arc<Credential>,
    registry: prometheus::Registry,
    pools: Arc<PoolSet>,
}

impl Fixture {
    async fn new(settings: PoolSettings) -> Fixture {
        let scope = Scope::new();
        let scripted = scripted(&scope).await;
        let registry = prometheus::Registry::new();
        let tasks = scope.child();
        let pools =
            PoolSet::new(settings, tasks.clone(), &registry, Suspects::new(tokio::sync::mpsc::channel(1).0));
        let credential = Arc::new(Credential { user: "app".into(), password: String::new() });
        Fixture { server: scripted.server(), scope, tasks, scripted, credential, registry, pools }
    }

    async fn lease(&self) -> Result<Lease, BackendError> {
        self.lease_for(&SessionState::default()).await
    }

    async fn lease_for(&self, wanted: &SessionState) -> Result<Lease, BackendError> {
        self.pools.lease(&self.server, &self.credential, Flavor::default(), wanted).await
    }

    fn row(&self) -> PoolStatus {
        self.pools.status().remove(0)
    }

    /// Until the pool's tasks have brought its numbers to what they are expected to be.
    async fn until(&self, what: impl Fn(&PoolStatus) -> bool) {
        let wait = async {
            while !what(&self.row()) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("it stays at {:?}", self.row());
        }
    }
}

fn id(lease: &mut Lease) -> u32 {
    lease.connection().thread().id
}

/// Names of readers go round among replicas, and after a failover a name leads to another server: there the number of the
/// thread is that of a stranger.
#[tokio::test]
async fn a_kill_goes_to_the_server_of_the_statement_wherever_the_name_leads_now() {
    let fixture = Fixture::new(settings()).await;
    let thread = fixture.lease().await.unwrap().connection().thread();
    let elsewhere = scripted(&fixture.scope).await;
    let moved = Server { port: elsewhere.address.port(), ..fixture.server.clone() };
    fixture.pools.kill_query(&moved, &fixture.credential, thread).await.unwrap();
    assert_eq!((fixture.scripted.accepted(), elsewhere.accepted()), (2, 0));
    assert!(fixture.scripted.script.commands.lock().contains(&(2, COM_QUERY)));
}

#[tokio::test]
async fn kills_are_a_few_at_a_time() {
    let fixture = Fixture::new(PoolSettings { connections_max: 8, ..settings() }).await;
    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(fixture.lease().await.unwrap());
    }
    let threads: Vec<_> = leases.iter_mut().map(|lease| lease.connection().thread()).collect();
    let greetings = &fixture.scripted.script.greetings;
    greetings.forget_permits(1000);
    for thread in threads {
        let (pools, server) = (Arc::clone(&fixture.pools), fixture.server.clone());
        let credential = Arc::clone(&fixture.credential);
        drop(fixture.scope.spawn("kill", async move {
            pools.kill_query(&server, &credential, thread).await.unwrap();
        }));
    }
    let accepted = |count: u32| {
        let scripted = &fixture.scripted;
        async move {
            while scripted.accepted() < count {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, accepted(6 + 4)).await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.scripted.accepted(), 6 + 4);
    greetings.add_permits(1000);
    tokio::time::timeout(PATIENCE, accepted(6 + 6)).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_came_back_is_lent_again() {
    let fixture = Fixture::new(settings()).await;
    let mut first = fixture.lease().await.unwrap();
    let lent = id(&mut first);
    assert_eq!((fixture.row().lent, fixture.row().idle), (1, 0));
    first.give_back();
    assert_eq!((fixture.row().lent, fixture.row().idle), (0, 1));
    assert_eq!(id(&mut fixture.lease().await.unwrap()), lent);
    assert_eq!(fixture.scripted.accepted(), 1);
}

#[tokio::test]
async fn a_dropped_lease_closes_its_connection_and_frees_the_place() {
    let fixture = Fixture::new(PoolSettings { connections_max: 1, ..settings() }).await;
    drop(fixture.lease().await.unwrap());
    fixture.scripted.ended(1).await;
    let mut next = fixture.lease().await.unwrap();
    assert_eq!(id(&mut next), 2);
}

#[tokio::test]
async fn waiters_are_served_in_order_and_one_that_leaves_loses_nothing() {
    let fixture = Fixture::new(PoolSettings { connections_max: 1, ..settings() }).await;
    let lease = fixture.lease().await.unwrap();
    let (mut one, mut two, mut three) =
        (Box::pin(fixture.lease()), Box::pin(fixture.lease()), Box::pin(fixture.lease()));
    for waiter in [&mut one, &mut two, &mut three] {
        assert!(futures_poll(waiter).is_none());
    }
    assert_eq!(fixture.row().waiting, 3);
    drop(two);
    assert_eq!(fixture.row().waiting, 2);
    lease.give_back();
    // The connection is on its way to the first, who leaves now: the third gets it.
    assert!(futures_poll(&mut three).is_none());
    drop(one);
    let mut got = tokio::time::timeout(PATIENCE, three).await.unwrap().unwrap();
    assert_eq!(id(&mut got), 1);
    got.give_back();
    let row = fixture.row();
    assert_eq!((row.idle, row.lent, row.waiting, row.connects), (1, 0, 0, 1));
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn an_exhausted_pool_says_so_and_a_full_queue_refuses_at_once() {
    let small = PoolSettings {
        connections_max: 1,
        waiters_max: 1,
        borrow_timeout: Duration::from_millis(30),
        ..settings()
    };
    let fixture = Fixture::new(PoolSettings { borrow_timeout: PATIENCE, ..small.clone() }).await;
    let _lent = fixture.lease().await.unwrap();
    fixture.pools.configure(small);
    let mut waiter = Box::pin(fixture.lease());
    assert!(futures_poll(&mut waiter).is_none());
    assert!(matches!(fixture.lease().await, Err(BackendError::QueueFull { waiting: 1, .. })));
    let text = waiter.await.unwrap_err().to_string();
    assert!(text.contains(&fixture.server.name.to_string()), "{text}");
    assert!(text.contains("1 of 1 of app are lent and 0 are being opened, 1 of 10"), "{text}");
    assert_eq!(fixture.row().waiting, 0);
}

#[tokio::test]
async fn a_dead_server_is_named_with_the_last_cause() {
    let quick = PoolSettings { borrow_timeout: Duration::from_millis(300), ..settings() };
    let fixture = Fixture::new(quick).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let server = Server { name: "dead:1".into(), port: address.port(), ..fixture.server.clone() };
    let wanted = SessionState::default();
    let error =
        fixture.pools.lease(&server, &fixture.credential, Flavor::default(), &wanted).await.unwrap_err();
    assert!(matches!(error, BackendError::NotConnected { .. }), "{error:?}");
    assert!(error.to_string().contains("cannot connect to dead:1"), "{error}");
    let attempts = fixture.row().failures;
    assert!((1..=5).contains(&attempts), "{attempts} attempts");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_replaced_silently() {
    let fixture = Fixture::new(settings()).await;
    let (one, two) = (fixture.lease().await.unwrap(), fixture.lease().await.unwrap());
    one.give_back();
    two.give_back();
    fixture.scripted.hang_up(2).await;
    // The end of the streams is on its way; both are seen by the time a third connection is open.
    let mut probe = TcpStream::connect(fixture.scripted.address).await.unwrap();
    assert!(probe.read_u8().await.is_ok());
    let mut fresh = fixture.lease().await.unwrap();
    assert_eq!(id(&mut fresh), 4);
    assert_eq!((fixture.row().idle, fixture.row().lent), (0, 1));
}

#[tokio::test]
async fn a_tainted_connection_is_reset_before_anybody_gets_it() {
    let fixture = Fixture::new(PoolSettings { connections_max: 1, ..settings() }).await;
    let mut wanted = SessionState::default();
    wanted.set_database(Some("shop"));
    wanted.set("sql_mode", b"''");
    let mut lease = fixture.lease_for(&wanted).await.unwrap();
    lease.connection().state = wanted.clone();
    lease.give_back_tainted();
    let mut again = fixture.lease_for(&wanted).await.unwrap();
    assert_eq!(again.connection().state, wanted.after_reset(), "what the reset undid is known");
    assert_eq!(*fixture.scripted.script.commands.lock(), [(1, COM_RESET_CONNECTION)]);
}

#[tokio::test]
async fn the_connection_with_the_wanted_state_is_preferred() {
    let fixture = Fixture::new(settings()).await;
    let mut mode = SessionState::default();
    mode.set("sql_mode", b"''");
    let mut one = fixture.lease().await.unwrap();
    let two = fixture.lease().await.unwrap();
    one.connection().state = mode.clone();
    one.give_back();
    two.give_back();
    assert_eq!(id(&mut fixture.lease_for(&mode).await.unwrap()), 1);
}

#[tokio::test]
async fn a_new_topology_keeps_the_pools_of_servers_that_stay_and_ends_the_others() {
    let fixture = Fixture::new(settings()).await;
    let other = scripted(&fixture.scope).await;
    let wanted = SessionState::default();
    fixture.pools.follow(&topology(&[fixture.server.clone(), other.server()]));
    fixture.lease().await.unwrap().give_back();
    let other_server = other.server();
    let lend_other = || fixture.pools.lease(&other_server, &fixture.credential, Flavor::default(), &wanted);
    let (idle, lent) = (lend_other().await.unwrap(), lend_other().await.unwrap());
    idle.give_back();
    for _ in 0..100 {
        fixture.pools.follow(&topology(std::slice::from_ref(&fixture.server)));
    }
    other.ended(1).await;
    lent.give_back();
    other.ended(1).await;
    assert_eq!(fixture.pools.status().len(), 1);
    assert_eq!(id(&mut fixture.lease().await.unwrap()), 1, "the reloads lost no connection");
    assert!(lend_other().await.is_ok(), "a statement of the older map still runs");
}

#[tokio::test]
async fn silent_connections_are_pinged_and_the_minimum_is_kept() {
    let busy = PoolSettings { health_interval: Duration::from_millis(1), idle_min: 2, ..settings() };
    let fixture = Fixture::new(busy).await;
    fixture.lease().await.unwrap().give_back();
    fixture.until(|row| row.idle == 2 && row.connects == 2).await;
    let pinged = async {
        while !fixture.scripted.script.commands.lock().iter().any(|(_, command)| *command == COM_PING) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, pinged).await.unwrap();
    fixture.scripted.hang_up(2).await;
    fixture.until(|row| row.idle == 2 && row.connects == 4).await;
}

#[tokio::test]
async fn closing_ends_idle_connections_fails_waiters_and_refuses_new_leases() {
    let fixture = Fixture::new(PoolSettings { connections_max: 1, ..settings() }).await;
    let lease = fixture.lease().await.unwrap();
    let mut waiter = Box::pin(fixture.lease());
    assert!(futures_poll(&mut waiter).is_none());
    fixture.pools.close();
    assert!(matches!(waiter.await, Err(BackendError::Closed { .. })));
    assert!(matches!(fixture.lease().await, Err(BackendError::Closed { .. })));
    lease.give_back();
    fixture.scripted.ended(1).await;
    assert!(fixture.tasks.stop(PATIENCE).await, "no task stays behind");
}

#[tokio::test]
async fn credentials_that_are_gone_lose_their_pools() {
    let fixture = Fixture::new(settings()).await;
    fixture.lease().await.unwrap().give_back();
    let equal = Arc::new(Credential::clone(&fixture.credential));
    fixture.pools.follow_credentials(std::slice::from_ref(&equal));
    assert_eq!(fixture.row().idle, 1, "equal credentials of another reload are the same");
    fixture.pools.follow_credentials(&[]);
    fixture.scripted.ended(1).await;
    assert!(fixture.pools.status().is_empty());
    assert_eq!(id(&mut fixture.lease().await.unwrap()), 2, "a pool is made anew when it is needed");
}

#[tokio::test]
async fn metrics_count_states_connects_waits_and_ends() {
    let fixture = Fixture::new(settings()).await;
    let one = fixture.lease().await.unwrap();
    fixture.lease().await.unwrap().give_back();
    drop(one);
    let text = prometheus::TextEncoder::new().encode_to_string(&fixture.registry.gather()).unwrap();
    let server = &fixture.server.name;
    for line in [
        format!("shardway_pool_connections{{server=\"{server}\",state=\"idle\"}} 1"),
        format!("shardway_pool_connections{{server=\"{server}\",state=\"lent\"}} 0"),
        format!("shardway_pool_waiters{{server=\"{server}\"}} 0"),
        format!("shardway_pool_connects_total{{result=\"ok\",server=\"{server}\"}} 2"),
        format!("shardway_pool_closed_total{{reason=\"dropped\",server=\"{server}\"}} 1"),
        format!("shardway_pool_wait_seconds_count{{server=\"{server}\"}} 2"),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}
