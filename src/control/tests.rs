//! The control plane without any server that answers: it starts, says so, and reloads as a whole or not at all.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::*;
use crate::config;
use crate::task::Scope;
use crate::topology::{Columns, Epoch, Topology};

/// A port of this machine on which nobody listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn write(folder: &Path, version: u64, table: &str) {
    let settings = "[[user]]\nname = 'u'\npassword = 'p'\n[control]\nuser = 'c'\npassword = 'p'\n";
    std::fs::write(folder.join("shardway.toml"), settings).unwrap();
    let map = format!(
        "version = {version}\n[[shard]]\nname = 's1'\nprimary = '127.0.0.1:{}'\n[[database]]\nname = 'shop'\n\
         tables = {{ {table} }}\n",
        dead_port()
    );
    std::fs::write(folder.join("shard-map.toml"), map).unwrap();
}

async fn started(folder: &Path, scope: &Scope) -> Control {
    let file = folder.join("shardway.toml");
    let control = Control::start(scope, config::load(&file).unwrap(), file);
    tokio::time::timeout(Duration::from_secs(30), control.until_ready()).await.unwrap();
    control
}

#[tokio::test]
async fn servers_that_are_down_do_not_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, "t = 'reference'");
    let scope = Scope::new();
    let control = started(folder.path(), &scope).await;
    assert!(control.ready());
    assert_eq!(control.servers().len(), 1);
    assert!(!control.servers()[0].reachable);
    assert_eq!(control.fleet_version(), "8.4.0");
    assert!(control.weights().learn("utf8mb4_bin", "utf8mb4", &[b"x".to_vec()]).await.is_err());
    assert!(scope.stop(Duration::from_secs(30)).await, "its tasks end with the scope");
}

#[tokio::test]
async fn a_reload_takes_the_files_as_a_whole_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, "t = 'reference'");
    let scope = Scope::new();
    let control = started(folder.path(), &scope).await;
    let mut settings = control.settings();
    settings.borrow_and_update();
    // That its server does not answer is published, too.
    let probed = *control.epochs().wait_for(|epoch| *epoch == Epoch(2)).await.unwrap();
    assert!(control.topology().load().shards[0].why_lost().is_some());
    assert_eq!(control.reload().await, Ok(vec![]));
    assert_eq!(control.map().epoch, probed, "nothing changed, nothing is published");
    assert!(settings.has_changed().unwrap(), "a CA bundle may have been replaced in place");

    write(folder.path(), 2, "t = 'reference', u = 'referenze'");
    assert_eq!(control.reload().await.unwrap_err().0.len(), 1);
    assert_eq!(control.map().version.0, 1);

    write(folder.path(), 2, "t = 'reference', u = 'reference'");
    let lines = control.reload().await.unwrap();
    assert!(lines.contains(&"table shop.u added".to_owned()), "{lines:?}");
    assert_eq!(control.map().version.0, 2);
    assert!(control.map().epoch > probed);
    assert!(control.topology().load().databases[0].tables.contains_key("u"));
    scope.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_reload_that_nobody_publishes_does_not_report_success() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, "t = 'reference'");
    let file = folder.path().join("shardway.toml");
    let loaded = config::load(&file).unwrap();
    let (facts, publisher) = mpsc::channel(1);
    drop(publisher);
    let keeper = keeper::Keeper {
        file,
        base: Topology::build(&loaded.map),
        columns: Columns::default(),
        collations: Arc::default(),
        outlets: keeper::Outlets {
            facts,
            settings: watch::Sender::new(Arc::new(loaded.settings.clone())),
            ready: watch::Sender::new(false),
            loaded_at: watch::Sender::new(SystemTime::now()),
        },
        told: Vec::new(),
        loaded,
    };
    let (orders, orders_in) = mpsc::channel(1);
    let scope = Scope::new();
    drop(scope.spawn("keeper", keeper.run(scope.token().clone(), orders_in)));
    write(folder.path(), 2, "t = 'reference'");
    let (reply, outcome) = oneshot::channel();
    orders.send(keeper::Order::Reload(reply)).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(30), outcome).await.unwrap().unwrap();
    assert!(outcome.unwrap_err().to_string().contains("nothing publishes the map"));
    scope.stop(Duration::from_secs(30)).await;
}
