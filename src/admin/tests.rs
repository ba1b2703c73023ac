//! Both doors as their users see them: orders through the channel, and the port through a real driver.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mysql_async::prelude::Queryable;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::operator::{Operator, Sources, operate};
use super::serve;
use crate::backend::{Flavor, PoolStatus};
use crate::config::{
    AuthPlugin, CompressionOffer, ControlSettings, Credential, Limits, Listen, LogFormat, LogSettings,
    PasswordProof, PoolSettings, Requirement, Settings, TransactionMode, TransactionSettings, User,
};
use crate::control::{MapStatus, ServerStatus};
use crate::error::ClientError;
use crate::executor::Call;
use crate::session::{Answer, Order, PinStatus, Registry};
use crate::task::Scope;
use crate::topology::{
    Database, Epoch, Key, KeyFunction, MapVersion, Placement, Placing, Role, Scheme, SchemeId, Server,
    ServerName, ServerTlsMode, Shard, ShardId, ShardName, ShardSet, Standing, Table, Topology, publish,
};

const SECRET: &str = "opensesame";

fn user(name: &str, admin: bool, proof: PasswordProof) -> (String, Arc<User>) {
    let credential = Credential { user: name.to_owned(), password: SECRET.to_owned() };
    let user = User {
        name: name.to_owned(),
        proof,
        requirement: Requirement::Nothing,
        plugin: AuthPlugin::NativePassword,
        admin,
        databases: None,
        server: Arc::new(credential),
        clients_max: 0,
        read_consistency: crate::config::ReadConsistency::Primary,
    };
    (name.to_owned(), Arc::new(user))
}

fn settings() -> Settings {
    let plain = || PasswordProof::Plain(SECRET.to_owned());
    let native = PasswordProof::Native([7; 20]);
    let sha2 = PasswordProof::Sha2 { rounds: 5000, salt: vec![1; 20], digest: vec![2; 43] };
    Settings {
        listen: Listen {
            mysql: "127.0.0.1:3306".parse().unwrap(),
            admin: None,
            http: Some("127.0.0.1:9306".parse().unwrap()),
            backlog: 1024,
            compression: CompressionOffer::default(),
            proxy_protocol: Vec::new(),
        },
        tls: None,
        users: HashMap::from([
            user("ops", true, plain()),
            user("shop", false, plain()),
            user("other", true, native),
            user("modern", true, sha2),
        ]),
        pool: PoolSettings {
            idle_min: 0,
            connections_max: 10,
            server_connections_max: 100,
            waiters_max: 1000,
            connecting_max: 8,
            borrow_timeout: Duration::from_millis(1500),
            connect_timeout: Duration::from_secs(3),
            lifetime_max: Duration::from_secs(3600),
            idle_timeout: Duration::from_secs(300),
            health_interval: Duration::from_secs(30),
            prepared_max: 200,
            prepared_total_max: 10_000,
        },
        limits: Limits {
            clients_max: 1000,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::ZERO,
            statement_timeout: Duration::ZERO,
            packet_bytes_max: 1 << 26,
            drain_timeout: Duration::from_secs(30),
            failover_wait: Duration::from_secs(10),
            failover_waiters_max: 10_000,
            replica_wait: Duration::from_millis(200),
            plans_max: 10_000,
            scatter_shards_max: 1024,
            prepared_statements_max: 4096,
            merge_bytes_max: 64 << 20,
            scratch_rows_max: 1_000_000,
            scratch_bytes_max: 256 << 20,
        },
        transactions: TransactionSettings {
            mode: TransactionMode::Atomic,
            recover_after: Duration::from_secs(10),
            idle_timeout: Duration::ZERO,
        },
        control: ControlSettings {
            credential: Arc::new(Credential { user: "monitor".to_owned(), password: SECRET.to_owned() }),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(1),
            schema_interval: Duration::from_secs(60),
            lag_max: Duration::from_secs(10),
            slow_start: Duration::from_secs(30),
            server_version: "8.4.0".to_owned(),
        },
        log: LogSettings {
            format: LogFormat::Json,
            filter: "info".to_owned(),
            slow_statement: Duration::from_secs(1),
            literals: false,
        },
        map: "/etc/shardway/shard-map.toml".into(),
        workers: 0,
    }
}

fn shard(id: u16, name: &str, primary: &str) -> Shard {
    let (host, port) = primary.split_once(':').unwrap();
    let primary = Server {
        name: ServerName::from(primary),
        host: host.to_owned(),
        port: port.parse().unwrap(),
        tls: ServerTlsMode::Disabled,
    };
    Shard {
        id: ShardId(id),
        name: ShardName::from(name),
        primary,
        replicas: Vec::new(),
        standing: Standing::default(),
        rotation: Vec::new(),
    }
}

fn topology() -> Topology {
    let table =
        |name: &str, placement| (name.to_owned(), Table { name: name.to_owned(), placement, columns: None });
    let sharded = Placement::Sharded { scheme: SchemeId(0), key: "customer_id".to_owned() };
    Topology {
        epoch: Epoch(1),
        version: MapVersion(17),
        content_hash: 0xabcd,
        layout: 0,
        shards: vec![shard(0, "north", "db1:3306"), shard(1, "south", "db2:3306")],
        schemes: vec![Scheme {
            name: "by_customer".to_owned(),
            function: KeyFunction::Xxhash,
            placings: vec![
                Placing::Points { first: 0, last: (1 << 63) - 1, shard: ShardId(0) },
                Placing::Points { first: 1 << 63, last: u64::MAX, shard: ShardId(1) },
            ],
            singles: vec![(Key::Integer(4711), ShardId(1))],
            shards: ShardSet::from_iter([ShardId(0), ShardId(1)]),
        }],
        databases: vec![Database {
            name: "shop".to_owned(),
            default_shard: Some(ShardId(1)),
            tables: HashMap::from([table("orders", sharded), table("countries", Placement::Reference)]),
            functions: Default::default(),
        }],
    }
}

fn pool_status() -> PoolStatus {
    PoolStatus {
        server: ServerName::from("db1:3306"),
        user: "shop".to_owned(),
        flavor: Flavor { found_rows: true, deprecate_eof: true, multi_results: true },
        idle: 1,
        lent: 2,
        connecting: 0,
        mending: 4,
        waiting: 3,
        max: 10,
        connects: 5,
        failures: 1,
        last_error: Some("connection refused".to_owned()),
    }
}

fn server_status() -> ServerStatus {
    ServerStatus {
        shard: ShardName::from("north"),
        server: ServerName::from("db1:3306"),
        role: Role::Primary,
        reachable: true,
        version: Some("8.4.6".to_owned()),
        sql_mode: None,
        read_only: Some(false),
        position: None,
        lag_seconds: None,
        last_error: None,
        standing: "confirmed".to_owned(),
        since: Some(Instant::now()),
    }
}

struct Proxy {
    operator: Operator,
    sessions: Arc<Registry>,
    reloads: Arc<AtomicUsize>,
}

fn proxy() -> Proxy {
    proxy_with(settings())
}

fn proxy_with(settings: Settings) -> Proxy {
    let (_, topology) = publish(topology());
    let sessions = Arc::new(Registry::default());
    let reloads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reloads);
    let (_, settings) = watch::channel(Arc::new(settings));
    let operator = Operator::new(Sources {
        topology,
        sessions: Arc::clone(&sessions),
        settings,
        pools: Arc::new(|| vec![pool_status()]),
        servers: Arc::new(|| vec![server_status()]),
        in_doubt: Arc::new(|| {
            Arc::from(vec![crate::control::InDoubt {
                id: "00000000000000ab-11".to_owned(),
                shard: "north".into(),
                decider: "south".into(),
                age: Duration::from_millis(2500),
                last_error: None,
            }])
        }),
        resolve: Arc::new(|id, commit| Box::pin(async move { Ok(format!("{id} {commit:?}")) })),
        map: Arc::new(|| MapStatus {
            version: MapVersion(17),
            epoch: Epoch(1),
            content_hash: 0xabcd,
            loaded_at: SystemTime::now(),
            file: "/etc/shardway/shard-map.toml".into(),
        }),
        reload: Arc::new(move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                if number == 0 {
                    return Ok("nothing changed".to_owned());
                }
                Err(ClientError::new("SW1504", "shard-map.toml:3:1: unknown key"))
            })
        }),
        switch_over: Arc::new(|shard, target| Box::pin(async move { Ok(format!("{target} for {shard}")) })),
        explain: Arc::new(|statement, database| {
            Ok(vec![("statement".to_owned(), format!("{statement} in {database:?}"))])
        }),
    });
    Proxy { operator, sessions, reloads }
}

/// The rows of a statement as lines, `|` between the columns.
async fn lines(operator: &Operator, statement: &str) -> Vec<String> {
    match operator.run(statement, "ops", Some("shop")).await.unwrap() {
        Answer::Table { columns, rows } => {
            assert!(rows.iter().all(|row| row.len() == columns.len()), "{statement}");
            let line = |row: &Vec<Option<String>>| {
                row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|")
            };
            rows.iter().map(line).collect()
        }
        Answer::Done { message } => vec![message],
    }
}

#[tokio::test]
async fn shards_servers_and_pools_are_shown_with_their_state() {
    let operator = proxy().operator;
    assert_eq!(
        lines(&operator, "SHOW SHARDS").await,
        ["north|db1:3306|up|NULL|by_customer", "south|db2:3306|unknown|NULL|by_customer"]
    );
    assert_eq!(lines(&operator, "show shards like 'SOU%'").await.len(), 1);
    assert!(lines(&operator, "SHOW SERVERS").await[0].starts_with("north|db1:3306|primary|up|8.4.6|NULL|"));
    assert_eq!(
        lines(&operator, "SHOW POOLS").await,
        ["db1:3306|shop|1|1|1|2|1|0|4|3|10|5|1|connection refused"]
    );
}

#[tokio::test]
async fn the_map_names_every_scheme_and_table() {
    let shown = lines(&proxy().operator, "SHOW MAP").await.join("\n");
    for line in [
        "version|17",
        "content_hash|000000000000abcd",
        "scheme by_customer|xxhash\nrange of by_customer|-80 on north\nrange of by_customer|80- on south",
        "key of by_customer|4711 on south",
        "database shop|other tables on south",
        "table shop.countries|reference, on every shard\ntable shop.orders|sharded by customer_id with by_customer",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
}

#[tokio::test]
async fn settings_are_shown_and_secrets_are_not() {
    let shown = lines(&proxy().operator, "SHOW VARIABLES").await.join("\n");
    for line in
        ["pool.borrow_timeout|1.5s", "listen.admin|off", "user.ops.password|***", "control.password|***"]
    {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn sessions_are_shown_with_pins_and_can_be_killed() {
    let Proxy { operator, sessions, .. } = proxy();
    let session = sessions.register("10.0.0.1:5000".parse().unwrap());
    session.update(|activity| {
        activity.user = "shop".to_owned();
        activity.pins = vec![PinStatus {
            shard: "north".into(),
            reason: "named_lock",
            digest: "SELECT GET_LOCK(?, ?)".into(),
            since: Instant::now(),
        }];
        activity.statement = Some(("SELECT GET_LOCK(?, ?)".to_owned(), Instant::now()));
    });
    let shown = lines(&operator, "SHOW SESSIONS").await;
    assert!(shown[0].starts_with("1|shop|10.0.0.1:5000|NULL|NULL|0|NULL|north: named_lock|"), "{shown:?}");
    assert!(shown[0].ends_with("|SELECT GET_LOCK(?, ?)"), "{shown:?}");
    let pins = lines(&operator, "SHOW PINS").await;
    assert!(pins[0].starts_with("1|shop|north|named_lock|SELECT GET_LOCK(?, ?)|"), "{pins:?}");

    lines(&operator, "KILL QUERY 1").await;
    assert!(session.alarm().is_raised(Call::EndStatement));
    assert!(!session.alarm().is_raised(Call::EndSession));
    lines(&operator, "KILL 1").await;
    assert!(session.alarm().is_raised(Call::EndSession));

    let error = operator.run("KILL 99", "ops", None).await.expect_err("no such session");
    assert_eq!((error.entry.code, error.message().as_str()), (1094, "Unknown thread id: 99"));
}

#[tokio::test]
async fn orders_of_client_sessions_are_answered_until_the_scope_stops() {
    let (orders, receiver) = mpsc::channel(4);
    let scope = Scope::new();
    scope.spawn("operator", operate(receiver, proxy().operator, scope.clone()));
    let (reply, answer) = oneshot::channel();
    let order = Order {
        statement: "EXPLAIN SELECT 1".to_owned(),
        user: "ops".to_owned(),
        database: Some("shop".to_owned()),
        reply,
    };
    orders.send(order).await.unwrap();
    let expected = vec![vec![Some("statement".to_owned()), Some("SELECT 1 in Some(\"shop\")".to_owned())]];
    assert_eq!(
        answer.await.unwrap().unwrap(),
        Answer::Table { columns: vec!["item", "value"], rows: expected }
    );
    assert!(scope.stop(Duration::from_secs(10)).await);
    assert!(orders.is_closed());
}

struct Port {
    options: mysql_async::OptsBuilder,
    reloads: Arc<AtomicUsize>,
    scope: Scope,
}

async fn port() -> Port {
    port_with(settings()).await
}

async fn port_with(settings: Settings) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scope = Scope::new();
    let proxy = proxy_with(settings);
    scope.spawn("admin", serve(listener, proxy.operator, scope.clone()));
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .prefer_socket(Some(false))
        .user(Some("ops"))
        .pass(Some(SECRET));
    Port { options, reloads: proxy.reloads, scope }
}

#[tokio::test]
async fn a_driver_can_operate_the_proxy_with_and_without_the_prefix() {
    let port = port().await;
    let mut connection = mysql_async::Conn::new(port.options).await.unwrap();
    for statement in ["SHOW SHARDS", "SHARDWAY SHOW SHARDS", "shardway show shards;"] {
        let rows: Vec<mysql_async::Row> = connection.query(statement).await.unwrap();
        assert_eq!(rows[0].get::<String, _>("primary").unwrap(), "db1:3306", "{statement}");
        assert_eq!(rows.len(), 2);
    }
    let comment: String = connection.query_first("select @@version_comment limit 1").await.unwrap().unwrap();
    assert_eq!(comment, "Shardway admin port");

    let message: String = connection.query_first("RELOAD").await.unwrap().unwrap();
    assert_eq!(message, "nothing changed");
    let mysql_async::Error::Server(error) = connection.query_drop("RELOAD").await.expect_err("second") else {
        panic!("an error of the server");
    };
    assert_eq!(error.code, 1105);
    assert!(error.message.starts_with("SW1504: shard-map.toml:3:1: unknown key; "), "{}", error.message);
    assert_eq!(port.reloads.load(Ordering::Relaxed), 2);

    let mysql_async::Error::Server(error) = connection.query_drop("SHOW SHARD").await.expect_err("typo")
    else {
        panic!("an error of the server");
    };
    assert_eq!((error.code, error.state.as_str()), (1064, "42000"));
    assert!(error.message.contains("did you mean SHOW SHARDS?"), "{}", error.message);
    assert!(port.scope.stop(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn only_admins_with_the_right_password_come_in() {
    let port = port().await;
    for (name, password) in [
        ("ops", Some("wrong")),
        ("ops", None),
        ("nobody", Some(SECRET)),
        ("shop", Some(SECRET)),
        ("other", Some(SECRET)),
        ("modern", Some(SECRET)),
    ] {
        let options = port.options.clone().user(Some(name)).pass(password);
        mysql_async::Conn::new(options).await.err().unwrap_or_else(|| panic!("{name} came in"));
    }
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_disconnected() {
    use tokio::io::AsyncReadExt;
    let mut settings = settings();
    settings.limits.handshake_timeout = Duration::from_millis(50);
    let port = port_with(settings).await;
    let options = mysql_async::Opts::from(port.options);
    let address = (options.ip_or_hostname().to_owned(), options.tcp_port());
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut greeting = vec![0; 1024];
    assert!(stream.read(&mut greeting).await.unwrap() > 20);
    assert_eq!(stream.read(&mut greeting).await.unwrap_or(0), 0, "closed at the deadline");
}

#[tokio::test]
async fn hostile_bytes_end_their_own_connection_only() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let port = port().await;
    let options = mysql_async::Opts::from(port.options.clone());
    let endless = [b"\xff\xff\xff\x01".as_slice(), &[0x85; 300_000]].concat();
    let mut hostile: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0],
        vec![0; 4],
        vec![0xff; 4],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x05\x00\x00\x01\x85\xa6\x0f\x20\x00".to_vec(),
        // Asks for TLS, which was not offered.
        [b"\x20\x00\x00\x01\x85\xae\x00\x00".as_slice(), &[0; 28]].concat(),
        endless,
    ];
    // A login that is cut off at every length, with a length byte that points behind its end.
    let login = [b"\x85\xa6\x0f\x00\x00\x00\x00\x01\x21".as_slice(), &[0; 23], b"ops\0\xfeshort"].concat();
    for length in 0..=login.len() {
        let header = [u8::try_from(length).unwrap(), 0, 0, 1];
        hostile.push([&header, &login[..length]].concat());
    }
    for bytes in hostile {
        let address = (options.ip_or_hostname(), options.tcp_port());
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut greeting = [0; 1024];
        assert!(stream.read(&mut greeting).await.unwrap() > 20);
        // The port may have hung up in the middle of it.
        if stream.write_all(&bytes).await.is_ok() && stream.shutdown().await.is_ok() {
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "left open after {} bytes", bytes.len());
        }
    }
    let mut connection = mysql_async::Conn::new(port.options).await.unwrap();
    connection.query_drop("HELP").await.unwrap();
}
