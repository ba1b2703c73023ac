//! `shardway check` and `shardway explain` on files and servers.

use std::path::Path;

use shardway::internal::local::{Folder, settings_text};
use tokio::process::Command;

use crate::support::{BINARY, Cluster, Said, Setup, Table, flavors, said};

async fn shardway(arguments: &[&str]) -> Said {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    said(command, "").await
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn every_fault_of_both_files_is_printed_with_its_place() {
    let folder = Folder::create().unwrap();
    let (config, map) = (folder.path().join("shardway.toml"), folder.path().join("shard-map.toml"));
    let settings = "map = \"shard-map.toml\"\n\
                    [listen]\n\
                    mysql = \"127.0.0.1:6033\"\n\
                    admin = \"127.0.0.1:6033\"\n\
                    http = \"nowhere\"\n\
                    [pool]\n\
                    conections_max = 5\n\
                    borrow_timeout = \"soon\"\n\
                    [control]\n\
                    user = \"shardway\"\n\
                    password = { file = \"/nonexistent/secret\" }\n\
                    [[user]]\n\
                    name = \"app\"\n\
                    password = { env = \"SHARDWAY_TEST_UNSET_VARIABLE\" }\n\
                    [[user]]\n\
                    name = \"app\"\n\
                    password = \"x\"\n";
    let shards = "version = 1\n\
                  [[shard]]\n\
                  name = \"s1\"\n\
                  primary = \"127.0.0.1:3306\"\n\
                  [[shard]]\n\
                  name = \"s1\"\n\
                  primary = \"127.0.0.1:3307\"\n\
                  [[scheme]]\n\
                  name = \"by_key\"\n\
                  function = \"xxhash\"\n\
                  ranges = [{ range = \"-80\", shard = \"s1\" }, { range = \"70-\", shard = \"s9\" }]\n\
                  [[scheme]]\n\
                  name = \"gap\"\n\
                  function = \"mod\"\n\
                  buckets = 8\n\
                  ranges = [{ buckets = \"0-3\", shard = \"s1\" }]\n\
                  [[database]]\n\
                  name = \"shop\"\n\
                  [database.tables]\n\
                  orders = { scheme = \"by_kee\", shard_key = \"id\" }\n";
    std::fs::write(&config, settings).unwrap();
    std::fs::write(&map, shards).unwrap();
    let told = shardway(&["check", "--config", text(&config)]).await;
    assert!(!told.success);
    let printed = format!("{}{}", told.out, told.err);
    let mut missing = Vec::new();
    for (file, line, word) in [
        (&config, 4, "6033"),
        (&config, 5, "nowhere"),
        (&config, 7, "connections_max"),
        (&config, 8, "soon"),
        (&config, 11, "secret"),
        (&config, 14, "SHARDWAY_TEST_UNSET_VARIABLE"),
        (&config, 16, "app"),
        (&map, 6, "s1"),
        (&map, 11, "two owners"),
        (&map, 11, "s9"),
        (&map, 16, "4-7"),
        (&map, 20, "by_kee"),
    ] {
        let place = format!("{}:{line}:", file.display());
        // Help may stand on the lines below the place.
        let found = printed.split("\n\n").any(|fault| fault.contains(&place) && fault.contains(word));
        if !found {
            missing.push(format!("{place} with {word}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?} not in:\n{printed}");
    let places = printed.lines().filter(|line| line.contains(".toml:")).count();
    assert!(places >= 12, "{places} faults in:\n{printed}");
}

#[tokio::test]
async fn unreadable_files_and_broken_toml_are_faults() {
    let folder = Folder::create().unwrap();
    let config = folder.path().join("shardway.toml");
    let told = shardway(&["check", "--config", text(&config)]).await;
    assert!(!told.success && told.err.contains("shardway.toml"), "{told:?}");
    std::fs::write(&config, "map = \"x.toml\"\n[listen\n").unwrap();
    let told = shardway(&["check", "--config", text(&config)]).await;
    assert!(!told.success && told.err.contains("shardway.toml:2:"), "{told:?}");
    let told = shardway(&["serve", "--config", text(&config)]).await;
    assert!(!told.success && told.err.contains("shardway.toml:2:"), "{told:?}");
}

#[tokio::test]
async fn connect_compares_the_map_with_the_tables() {
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let database = cluster
            .database([
                Table::sharded("good", "k", "(k INT PRIMARY KEY)"),
                Table::sharded("keyless", "missing", "(k INT PRIMARY KEY)"),
                Table::sharded("fractional", "k", "(k DOUBLE PRIMARY KEY)"),
                Table::sharded("differing", "k", "(k INT PRIMARY KEY, v INT)"),
                Table::reference("absent", "(id INT PRIMARY KEY)"),
            ])
            .await;
        cluster
            .primary(1)
            .run(&[
                format!("ALTER TABLE {}.differing MODIFY v BIGINT", database.name),
                format!("DROP TABLE {}.absent", database.name),
            ])
            .await
            .unwrap();
        let folder = Folder::create().unwrap();
        let (config, map) = (folder.path().join("shardway.toml"), folder.path().join("shard-map.toml"));
        let setup = Setup::new(cluster).database(&database);
        std::fs::write(&map, setup.map.text()).unwrap();
        std::fs::write(&config, settings_text(&map, &setup.accounts, "")).unwrap();
        let told = shardway(&["check", "--config", text(&config)]).await;
        assert!(told.success, "without servers nothing is wrong: {told:?}");
        let told = shardway(&["check", "--connect", "--config", text(&config)]).await;
        assert!(!told.success, "{told:?}");
        let printed = format!("{}{}", told.out, told.err);
        let faults: Vec<&str> = printed.lines().filter(|line| line.starts_with("fault")).collect();
        for word in ["missing", "fractional", "differing", "absent"] {
            assert!(faults.iter().any(|fault| fault.contains(word)), "{word} in {faults:#?}");
        }
        assert!(!faults.iter().any(|fault| fault.contains(".good")), "{faults:#?}");
        assert!(!printed.contains("app-secret"), "{printed}");
        let mut small = setup.clone();
        small.map.databases[0].tables.retain(|table| table.name == "good");
        std::fs::write(&map, small.map.text()).unwrap();
        let told = shardway(&["check", "--connect", "--config", text(&config)]).await;
        assert!(told.success, "{told:?}");
        // Without rights on the table of decisions.
        cluster
            .everywhere(&[
                "CREATE DATABASE IF NOT EXISTS shardway".to_owned(),
                "CREATE USER IF NOT EXISTS 'limited'@'%' IDENTIFIED BY 'limited'".to_owned(),
                format!("GRANT ALL ON `{}`.* TO 'limited'@'%'", database.name),
            ])
            .await;
        let mut limited = small.clone();
        (limited.accounts[0].user, limited.accounts[0].password) =
            ("limited".to_owned(), "limited".to_owned());
        std::fs::write(&config, settings_text(&map, &limited.accounts, "")).unwrap();
        let told = shardway(&["check", "--connect", "--config", text(&config)]).await;
        assert!(told.success && told.out.contains("GRANT INSERT, SELECT ON shardway.decision"), "{told:?}");
        small.accounts[0].password = "wrong".to_owned();
        std::fs::write(&config, settings_text(&map, &small.accounts, "")).unwrap();
        let told = shardway(&["check", "--connect", "--config", text(&config)]).await;
        assert!(!told.success && told.out.contains("app"), "{told:?}");
    }
}

#[tokio::test]
async fn explain_tells_the_route_of_a_statement_and_the_rule() {
    let cluster = Cluster::shared(&flavors()[0]).await;
    let database = cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY)")]).await;
    let folder = Folder::create().unwrap();
    let (map, columns) = (folder.path().join("shard-map.toml"), folder.path().join("columns"));
    std::fs::write(&map, Setup::new(cluster).database(&database).map.text()).unwrap();
    std::fs::write(&columns, format!("{}.t: k int\n", database.name)).unwrap();
    let explain = async |sql: &str| {
        let files = ["--map", text(&map), "--columns", text(&columns), "--database", &database.name];
        shardway(&[&["explain"], &files[..], &[sql]].concat()).await
    };
    let one = explain("SELECT * FROM t WHERE k = 7").await;
    assert!(one.success, "{one:?}");
    assert!(one.out.contains("shard1") != one.out.contains("shard2"), "one shard: {}", one.out);
    let all = explain("SELECT * FROM t").await;
    assert!(all.success && all.out.contains("shard1") && all.out.contains("shard2"), "{all:?}");
    let counted = explain("SELECT COUNT(*) FROM t").await;
    assert!(counted.success && counted.out.contains("a count"), "{counted:?}");
    let copied = explain("SELECT ROW_NUMBER() OVER (ORDER BY k) FROM t").await;
    assert!(copied.success && copied.out.contains("copy ") && copied.out.contains("there "), "{copied:?}");
    let refused = explain("SELECT ROW_NUMBER() OVER (ORDER BY k) FROM t FOR UPDATE").await;
    assert!(format!("{}{}", refused.out, refused.err).contains("SW1202"), "{refused:?}");
    let broken = explain("SELEC").await;
    assert!(format!("{}{}", broken.out, broken.err).contains("SW1201"), "{broken:?}");
}
