//! The port as a client sees it: real sockets, answers read to their end.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::backend::Flavor;
use crate::task::Scope;
use crate::topology::{
    Epoch, MapVersion, Role, Rotation, Server, ServerName, ServerTlsMode, Shard, ShardId, ShardName,
    Standing, Topology, publish,
};

fn server(name: &str) -> Server {
    let (host, port) = name.split_once(':').unwrap();
    Server {
        name: ServerName::from(name),
        host: host.to_owned(),
        port: port.parse().unwrap(),
        tls: ServerTlsMode::Disabled,
    }
}

fn topology() -> Topology {
    Topology {
        epoch: Epoch(1),
        version: MapVersion(17),
        content_hash: 0xabcd,
        layout: 0,
        shards: vec![Shard {
            id: ShardId(0),
            name: ShardName::from("north"),
            primary: server("db1:3306"),
            replicas: vec![server("db2:3306")],
            standing: Standing::default(),
            rotation: vec![Rotation::default()],
        }],
        schemes: Vec::new(),
        databases: Vec::new(),
    }
}

/// `reasons` is what readiness will say; the test may change it.
fn sources(reasons: &Arc<Mutex<Vec<String>>>) -> Sources {
    let reasons = Arc::clone(reasons);
    let (_, handle) = publish(topology());
    let metrics = MetricRegistry::new();
    crate::telemetry::register_process(&metrics);
    Sources {
        metrics,
        topology: handle,
        sessions: Arc::new(Registry::default()),
        pools: Arc::new(|| {
            vec![PoolStatus {
                server: ServerName::from("db1:3306"),
                user: "<script>shop</script>".to_owned(),
                flavor: Flavor::default(),
                idle: 1,
                lent: 2,
                connecting: 0,
                mending: 4,
                waiting: 3,
                max: 10,
                connects: 5,
                failures: 0,
                last_error: None,
            }]
        }),
        servers: Arc::new(|| {
            vec![ServerStatus {
                shard: ShardName::from("north"),
                server: ServerName::from("db2:3306"),
                role: Role::Replica,
                reachable: false,
                version: None,
                sql_mode: None,
                read_only: Some(true),
                position: None,
                lag_seconds: Some(1.25),
                last_error: Some("connection refused".to_owned()),
                standing: "not read: it refuses connections".to_owned(),
                since: Some(Instant::now()),
            }]
        }),
        in_doubt: Arc::new(|| {
            Arc::from(vec![crate::control::InDoubt {
                id: "00000000000000ab-11".to_owned(),
                shard: "north".into(),
                decider: "south".into(),
                age: Duration::from_millis(2500),
                last_error: None,
            }])
        }),
        recovered: Arc::default(),
        map: Arc::new(|| crate::control::MapStatus {
            version: MapVersion(17),
            epoch: Epoch(1),
            content_hash: 0xabcd,
            loaded_at: SystemTime::now(),
            file: "/etc/shardway/shard-map.toml".into(),
        }),
        not_ready: Arc::new(move || reasons.lock().clone()),
        started: Instant::now(),
    }
}

struct Port {
    address: std::net::SocketAddr,
    scope: Scope,
    reasons: Arc<Mutex<Vec<String>>>,
}

async fn port() -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scope = Scope::new();
    let reasons = Arc::default();
    scope.spawn("http", serve(listener, sources(&reasons), scope.child()));
    Port { address, scope, reasons }
}

/// The whole answer to a GET, head and body.
async fn answer(port: &Port, path: &str) -> String {
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let port = port().await;
    let answer = answer(&port, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("# TYPE shardway_build_info gauge\n"), "{answer}");
}

#[tokio::test]
async fn readiness_names_its_reasons_as_json_and_health_does_not_ask_for_them() {
    let port = port().await;
    assert!(answer(&port, "/readyz").await.ends_with("\r\n\r\n{\"ready\":true,\"reasons\":[]}\n"));
    port.reasons.lock().push("\"draining\"".to_owned());
    let unready = answer(&port, "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503 "), "{unready}");
    assert!(unready.ends_with("{\"ready\":false,\"reasons\":[\"\\\"draining\\\"\"]}\n"), "{unready}");
    assert!(answer(&port, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(answer(&port, "/else").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn the_page_shows_the_fleet_and_escapes_what_comes_from_outside() {
    let port = port().await;
    let page = answer(&port, "/").await;
    for part in [
        "<b>17</b>",
        "shard-map.toml",
        "000000000000abcd",
        "north",
        "db2:3306",
        "1.2 s",
        "connection refused",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(page.contains("&lt;script&gt;shop"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert_eq!(page.matches("<table>").count(), 4);
    assert!(!page.contains("http://") && !page.contains("https://"), "the page loads nothing");
}

#[tokio::test]
async fn the_port_ends_with_its_scope() {
    let port = port().await;
    assert!(answer(&port, "/healthz").await.ends_with("ok\n"));
    assert!(port.scope.stop(Duration::from_secs(10)).await);
    TcpStream::connect(port.address).await.expect_err("nobody listens");
}

#[test]
fn map_servers_and_plans_are_read_at_each_scrape() {
    let sources = sources(&Arc::default());
    register_fleet(&sources);
    register_plan_cache(&sources.metrics, || PlanCacheCounts { hits: 7, misses: 2, plans: 1 });
    ReloadMetrics::register(&sources.metrics).refused();
    let text = crate::telemetry::exposition(&sources.metrics);
    for line in [
        "shardway_map_version 17\n",
        "shardway_map_epoch 1\n",
        "shardway_ready 1\n",
        "shardway_server_up{role=\"replica\",server=\"db2:3306\",shard=\"north\"} 0\n",
        "shardway_replica_lag_seconds{server=\"db2:3306\",shard=\"north\"} 1.25\n",
        "shardway_prepared_branches{shard=\"north\"} 1\n",
        "shardway_prepared_branch_age_seconds 2.5\n",
        "shardway_recovered_branches{outcome=\"committed\"} 0\n",
        "shardway_plan_cache_hits_total 7\n",
        "shardway_plan_cache_plans 1\n",
        "shardway_reloads_total{result=\"refused\"} 1\n",
        "shardway_reloads_total{result=\"applied\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}

/// Prometheus' own linter on every metric of sessions, execution, fleet and process; skipped where it is not installed.
#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let sources = sources(&Arc::default());
    register_fleet(&sources);
    register_plan_cache(&sources.metrics, PlanCacheCounts::default);
    ReloadMetrics::register(&sources.metrics);
    let sessions = crate::session::metrics::SessionMetrics::register(&sources.metrics);
    drop(sessions.pin("named_lock"));
    crate::executor::metrics::ExecutorMetrics::register(&sources.metrics).scattered(2);
    let text = crate::telemetry::exposition(&sources.metrics);
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) => {
            eprintln!("promtool cannot be started ({error}): the metrics are not linted");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
