//! A whole logical database dumped and restored through the proxy, by the programs that administrators use.

use std::path::Path;

use tokio::process::Command;

use crate::support::{
    Access, Client, Cluster, Database, Proxy, Said, Table, command_line, dump_programs, flavors, said,
};

/// What `docs/statements.md` says to use for databases with sharded tables.
const SHARDED: [&str; 3] = ["--single-transaction", "--skip-add-locks", "--no-tablespaces"];

async fn dump(program: &Path, access: &Access, database: &str, options: &[&str]) -> Said {
    let mut command = Command::new(program);
    command
        .arg("--no-defaults")
        .arg("--protocol=tcp")
        .arg(format!("--host={}", access.address.ip()))
        .arg(format!("--port={}", access.address.port()))
        .arg(format!("--user={}", access.user))
        .arg(format!("--password={}", access.password))
        .args(options)
        .arg(database);
    if program.ends_with("mysqldump") {
        // Older servers have no histograms to ask for.
        command.arg("--column-statistics=0").arg("--set-gtid-purged=OFF");
    }
    said(command, "").await
}

async fn fill(client: &mut Client) {
    for id in 1..=50 {
        client
            .ok(format!("INSERT INTO orders VALUES ({id}, 'it''s \\\\ é {id}', NULL, X'00ff{id:04x}')"))
            .await;
    }
    client.ok("INSERT INTO countries VALUES ('at', 'Österreich'), ('ch', 'Schweiz')").await;
    client.ok("INSERT INTO log (n) VALUES (1), (2), (3)").await;
}

async fn contents(client: &mut Client) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for table in ["orders", "countries", "log"] {
        all.push(client.ok(format!("SELECT * FROM {table}")).await.sorted());
        let created = client.rows(format!("SHOW CREATE TABLE {table}")).await;
        // The next id is no part of what must be equal.
        all.push(created.into_iter().filter(|line| !line.contains("AUTO_INCREMENT=")).collect());
    }
    all.push(client.rows("SHOW TABLES").await);
    all
}

/// Dumps, empties and restores; everything is as before.
async fn round_trip(program: &Path, proxy: &Proxy, database: &Database, options: &[&str]) {
    let mut client = proxy.client(database).await;
    let before = contents(&mut client).await;
    let access = Access::new(proxy.mysql, "app", "app-secret");
    let dumped = dump(program, &access, &database.name, options).await;
    assert!(dumped.success, "{program:?} {options:?}: {}", dumped.err);
    for table in ["orders", "countries", "log"] {
        client.ok(format!("DELETE FROM {table}")).await;
    }
    let restored = command_line(&access.clone().database(&database.name), &[], &dumped.out).await;
    assert!(restored.success, "{program:?} {options:?}: {}\n{}", restored.err, dumped.out);
    let mut client = proxy.client(database).await;
    assert_eq!(contents(&mut client).await, before, "{program:?} {options:?}");
}

fn tables(placed: impl Fn(&str, &str) -> Table) -> [Table; 3] {
    [
        placed(
            "orders",
            "(id INT PRIMARY KEY, note VARCHAR(40) CHARACTER SET utf8mb4, n DECIMAL(8,2), raw VARBINARY(20))",
        ),
        placed("countries", "(code CHAR(2) PRIMARY KEY, name VARCHAR(40) CHARACTER SET utf8mb4)"),
        placed("log", "(id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT)"),
    ]
}

#[tokio::test]
async fn a_database_with_sharded_tables_is_dumped_and_restored() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster
            .database(tables(|name, definition| match name {
                "orders" => Table::sharded(name, "id", definition),
                "countries" => Table::reference(name, definition),
                _ => Table::single(name, 1, definition),
            }))
            .await;
        let proxy = Proxy::over(cluster, &database).await;
        fill(&mut proxy.client(&database).await).await;
        for dumper in dump_programs() {
            round_trip(&dumper, &proxy, &database, &SHARDED).await;
            let plain = [&SHARDED[1..], &["--skip-lock-tables", "--skip-extended-insert"]].concat();
            round_trip(&dumper, &proxy, &database, &plain).await;
        }
    }
}

#[tokio::test]
async fn an_unsharded_database_is_dumped_and_restored_as_on_one_server() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster.database(tables(|name, definition| Table::single(name, 1, definition))).await;
        let proxy = Proxy::over(cluster, &database).await;
        fill(&mut proxy.client(&database).await).await;
        for dumper in dump_programs() {
            round_trip(&dumper, &proxy, &database, &["--no-tablespaces"]).await;
            round_trip(&dumper, &proxy, &database, &SHARDED).await;
        }
    }
}
