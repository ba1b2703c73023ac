//! What operators and their tools do to a replication group: promote, demote, follow, break.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use shardway::internal::local::{Flavor, Server};

/// As a failover tool does it: what has arrived is applied, then the server replicates from nobody and takes writes.
pub(crate) async fn promote(server: &Server) {
    let word = word(server);
    server.run(&[format!("STOP {word} IO_THREAD")]).await.unwrap();
    applied(server).await;
    server.run(&[format!("STOP {word}"), format!("RESET {word} ALL")]).await.unwrap();
    writable(server).await;
}

/// Until a replica has applied what it has received.
async fn applied(server: &Server) {
    let (running, state) = match server.flavor() {
        Flavor::MariaDb => ("Slave_SQL_Running", "Slave_SQL_Running_State"),
        Flavor::MySql => ("Replica_SQL_Running", "Replica_SQL_Running_State"),
    };
    super::eventually("the relay log is applied", async || {
        let mut connection = server.root().await.unwrap();
        let question = format!("SHOW {} STATUS", word(server));
        let row: Option<Row> = connection.query_first(question).await.unwrap();
        let row = row.expect("it is a replica");
        let text = |name: &str| row.get::<Option<String>, _>(name).flatten().unwrap_or_default();
        text(state).contains("has read all relay log") || text(running) == "No"
    })
    .await;
}

fn word(server: &Server) -> &'static str {
    match server.flavor() {
        Flavor::MariaDb => "SLAVE",
        Flavor::MySql => "REPLICA",
    }
}

pub(crate) async fn writable(server: &Server) {
    let on: &[&str] = match server.flavor() {
        Flavor::MariaDb => &["SET GLOBAL read_only = 0"],
        Flavor::MySql => &["SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0"],
    };
    server.run(on).await.unwrap();
}

/// It takes no more writes, of nobody.
pub(crate) async fn demote(server: &Server) {
    let off = match server.flavor() {
        Flavor::MariaDb => "SET GLOBAL read_only = 1",
        Flavor::MySql => "SET GLOBAL super_read_only = 1",
    };
    server.run(&[off]).await.unwrap();
}

/// A commit is acknowledged when a replica has received it: what was acknowledged survives the primary.
pub(crate) async fn semi_synchronous(primary: &Server, replica: &Server) {
    match primary.flavor() {
        Flavor::MariaDb => {
            replica
                .run(&[
                    "SET GLOBAL rpl_semi_sync_slave_enabled = 1",
                    "STOP SLAVE IO_THREAD",
                    "START SLAVE IO_THREAD",
                ])
                .await
                .unwrap();
            let master = [
                "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC",
                "SET GLOBAL rpl_semi_sync_master_timeout = 600000",
                "SET GLOBAL rpl_semi_sync_master_enabled = 1",
            ];
            primary.run(&master).await.unwrap();
            status_is(primary, "Rpl_semi_sync_master_clients", "1").await;
        }
        Flavor::MySql => {
            let plugin = |name, file| format!("INSTALL PLUGIN {name} SONAME '{file}'");
            // A replica that connects before its source has the plugin does not take part.
            primary
                .run(&[
                    plugin("rpl_semi_sync_source", "semisync_source.so").as_str(),
                    "SET GLOBAL rpl_semi_sync_source_timeout = 600000",
                    "SET GLOBAL rpl_semi_sync_source_enabled = 1",
                ])
                .await
                .unwrap();
            replica
                .run(&[
                    plugin("rpl_semi_sync_replica", "semisync_replica.so").as_str(),
                    "SET GLOBAL rpl_semi_sync_replica_enabled = 1",
                    "STOP REPLICA IO_THREAD",
                    "START REPLICA IO_THREAD",
                ])
                .await
                .unwrap();
            status_is(primary, "Rpl_semi_sync_source_clients", "1").await;
        }
    }
}

async fn status_is(server: &Server, name: &str, value: &str) {
    super::eventually("a replica takes part", async || {
        let mut connection = server.root().await.unwrap();
        let question = format!("SHOW GLOBAL STATUS LIKE '{name}'");
        let row: Option<(String, String)> = connection.query_first(question).await.unwrap();
        row.is_some_and(|(_, found)| found == value)
    })
    .await;
}

/// Makes `replica` follow `primary` from where it is.
pub(crate) async fn follow(primary: &Server, replica: &Server) {
    demote(replica).await;
    shardway::internal::local::follow(primary, replica).await.unwrap();
}

pub(crate) async fn applier(server: &Server, run: bool) {
    let order = if run { "START" } else { "STOP" };
    server.run(&[format!("{order} {} SQL_THREAD", word(server))]).await.unwrap();
}

/// Takes from `APP` what lets it write where nobody else may.
pub(crate) async fn ordinary_user(primary: &Server) {
    let user = super::APP.0;
    primary
        .run(&[
            format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{user}'@'%'"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON *.* TO '{user}'@'%'"),
        ])
        .await
        .unwrap();
}

/// Every thread of the server stands still.
pub(crate) async fn stop(server: &Server) {
    let file = server.ask("SELECT @@pid_file").await.unwrap().unwrap();
    let pid = std::fs::read_to_string(file).unwrap().trim().to_owned();
    assert!(server.signal("STOP"));
    super::eventually("the server stands still", async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        threads
            .map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default())
            .all(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
    })
    .await;
}
