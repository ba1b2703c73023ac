//! The poison test: one client leaves behind all that a session can leave behind; the next one on the same server
//! connection finds the defaults and nothing else.

use std::collections::BTreeMap;

use crate::support::{Client, Cluster, Database, Outcome, Proxy, Setup, Table, eventually, flavors};

/// Differ from one look to the next on one and the same connection, or tell of the last statement.
const RESTLESS: &[&str] = &[
    "timestamp",
    "rand_seed1",
    "rand_seed2",
    "pseudo_thread_id",
    "last_insert_id",
    "identity",
    "insert_id",
    "error_count",
    "warning_count",
    "statement_id",
    "last_gtid",
    "gtid_binlog_pos",
    "gtid_binlog_state",
    "gtid_current_pos",
    "gtid_executed",
    "gtid_slave_pos",
    "in_transaction",
    "proxy_user",
    "external_user",
    // Of the server, although SET SESSION takes it.
    "sql_slave_skip_counter",
];

type Variables = BTreeMap<String, String>;

fn variables(outcome: &Outcome) -> Variables {
    let text =
        |cell: &Option<Vec<u8>>| String::from_utf8_lossy(cell.as_deref().unwrap_or(b"NULL")).into_owned();
    let pairs = outcome.rows.iter().map(|row| (text(&row[0]), text(&row[1])));
    pairs.filter(|(name, _)| !RESTLESS.contains(&name.as_str())).collect()
}

async fn seen_by(client: &mut Client) -> Variables {
    variables(&client.ok("SHOW SESSION VARIABLES").await)
}

fn differences(expected: &Variables, found: &Variables) -> Vec<String> {
    let differing = expected.iter().filter(|(name, value)| found.get(*name) != Some(*value));
    differing.map(|(name, value)| format!("{name}: {value} became {:?}", found.get(name))).collect()
}

/// Another plausible value, as SQL.
fn others(name: &str, value: &str) -> Vec<String> {
    let known: &[&str] = match name {
        "sql_mode" => &["'ANSI_QUOTES'"],
        "time_zone" => &["'+05:00'"],
        "tx_isolation" | "transaction_isolation" => &["'READ-UNCOMMITTED'", "'SERIALIZABLE'"],
        "lc_time_names" | "lc_messages" => &["'de_DE'"],
        "character_set_client" | "character_set_connection" | "character_set_results" => {
            &["latin1", "utf8mb3"]
        }
        "character_set_database" | "character_set_server" | "character_set_filesystem" => {
            &["latin1", "utf8mb3"]
        }
        "collation_connection" | "collation_database" | "collation_server" => &["latin1_bin", "utf8mb4_bin"],
        "default_collation_for_utf8mb4" => &["utf8mb4_general_ci"],
        "default_storage_engine"
        | "default_tmp_storage_engine"
        | "storage_engine"
        | "enforce_storage_engine" => &["MEMORY", "MyISAM"],
        "binlog_format" => &["MIXED"],
        "completion_type" => &["'CHAIN'"],
        "old_mode" => &["'NO_PROGRESS_INFO'"],
        "optimizer_switch" => &["'mrr=on'", "'mrr=off'"],
        "session_track_transaction_info" => &["'STATE'"],
        "session_track_system_variables" => &["'*'"],
        "note_verbosity" => &["''"],
        "binlog_row_image" => &["'MINIMAL'"],
        "block_encryption_mode" => &["'aes-256-cbc'"],
        "use_stat_tables" => &["'NEVER'"],
        "histogram_type" => &["'SINGLE_PREC_HB'"],
        // Would end the test's own connections, or is meant to be refused.
        "wait_timeout" | "interactive_timeout" => &["28801", "7200"],
        "max_statement_time" => &["99"],
        "max_execution_time" => &["99000"],
        _ => &[],
    };
    // Read-only for a session, or such that no statement would run any more.
    if ["max_session_mem_used", "max_allowed_packet", "net_buffer_length"].contains(&name) {
        return Vec::new();
    }
    if !known.is_empty() {
        return known.iter().map(|value| (*value).to_owned()).collect();
    }
    match value {
        "ON" | "YES" => vec!["OFF".to_owned()],
        "OFF" | "NO" => vec!["ON".to_owned()],
        "" => vec!["'x'".to_owned(), "1".to_owned()],
        _ => match value.parse::<u64>() {
            Ok(number) => [number.saturating_add(1), number.saturating_mul(2), number / 2, 1, 0]
                .iter()
                .filter(|other| **other != number)
                .map(u64::to_string)
                .collect(),
            Err(_) => {
                value.parse::<f64>().map_or_else(|_| Vec::new(), |number| vec![format!("{}", number / 2.0)])
            }
        },
    }
}

struct Shared {
    cluster: &'static Cluster,
    database: Database,
    proxy: Proxy,
}

impl Shared {
    async fn open(program: &shardway::internal::local::Installed, connections: usize) -> Shared {
        let cluster = Cluster::shared(program).await;
        let database = cluster.database([Table::single("t", 0, "(id INT, v INT)")]).await;
        let settings =
            format!("[pool]\nidle_min = 0\nconnections_max = {connections}\nborrow_timeout = \"5s\"");
        let proxy = Proxy::start(&Setup::new(cluster).database(&database).settings(&settings)).await;
        Shared { cluster, database, proxy }
    }

    /// On the first shard, so that everybody is on one server.
    async fn client(&self) -> Client {
        let mut client = self.proxy.client(&self.database).await;
        client.ok(format!("USE `{}:shard1`", self.database.name)).await;
        client
    }
}

#[tokio::test]
async fn a_client_sees_the_defaults_beside_and_after_one_that_set_every_variable() {
    for program in flavors() {
        let shared = Shared::open(&program, 1).await;
        let mut b = shared.client().await;
        let defaults = seen_by(&mut b).await;
        let names: Vec<(&String, &String)> = defaults.iter().collect();
        let mut operator = shared.proxy.operator().await;
        let (mut set, mut pins, mut groups, mut wrong) = (0, 0, 0, Vec::new());
        for group in names.chunks(6) {
            let mut a = shared.client().await;
            let mut own = Vec::new();
            for (name, value) in group {
                for other in others(name, value) {
                    if a.run(format!("SET SESSION {name} = {other}")).await.is_ok() {
                        own.push((name.as_str(), a.one(format!("SELECT @@{name}")).await));
                        break;
                    }
                }
            }
            set += own.len();
            groups += 1;
            let shown: Vec<&str> = own.iter().map(|(name, _)| *name).collect();
            // A session keeps its connection as long as SHOW WARNINGS could still ask for what is on it.
            a.ok("DO 1").await;
            // A pinned client holds the one connection: B would have to wait for it.
            let pinned = !operator.rows("SHARDWAY SHOW PINS").await.is_empty();
            let beside = match pinned {
                true => Vec::new(),
                false => match b.run("SHOW SESSION VARIABLES").await {
                    Ok(outcome) => differences(&defaults, &variables(&outcome)),
                    Err(fault) => vec![fault.message],
                },
            };
            if !beside.is_empty() {
                wrong.push(format!("beside a client that set {shown:?}: {beside:?}"));
            }
            pins += usize::from(pinned);
            for (name, value) in &own {
                // One that depends on another (a charset and its collation) may be changed by a later SET.
                let dependent = name.starts_with("character_set")
                    || name.starts_with("collation")
                    || name.contains("_isolation")
                    || name.contains("_read_only");
                let now = a.one(format!("SELECT @@{name}")).await;
                if !dependent && now != *value && !RESTLESS.contains(name) {
                    wrong.push(format!("{name} was {value:?} and did not follow its session: {now:?}"));
                }
            }
            drop(a);
            let after = differences(&defaults, &seen_by(&mut shared.client().await).await);
            if !after.is_empty() {
                wrong.push(format!("after a client that set {shown:?}: {after:?}"));
            }
        }
        assert!(set > 80, "only {set} variables could be set");
        assert!(pins * 2 < groups, "{pins} of {groups} groups pinned");
        assert!(wrong.is_empty(), "{}:\n{}", program.flavor.name(), wrong.join("\n"));
    }
}

#[tokio::test]
async fn a_client_sees_what_one_without_a_proxy_sees() {
    for program in flavors() {
        let shared = Shared::open(&program, 1).await;
        let mut direct = shared.cluster.direct(0).await;
        direct.ok(format!("USE {}", shared.database.name)).await;
        let expected = seen_by(&mut direct).await;
        let found = seen_by(&mut shared.client().await).await;
        let mut differing = differences(&expected, &found);
        // The proxy listens to the server's session tracker.
        differing.retain(|line| !line.starts_with("session_track"));
        assert!(differing.is_empty(), "{differing:#?}");
    }
}

/// What a session can leave behind besides variables: statements, and how the next one would notice.
const POISONS: &[&[&str]] = &[
    &["SET @mine = 7"],
    &["SELECT @mine := 7"],
    &["CREATE TEMPORARY TABLE mine (id INT)", "INSERT INTO mine VALUES (1)"],
    &["SELECT GET_LOCK('mine', 0)"],
    &["LOCK TABLES t WRITE"],
    &["LOCK TABLES t READ"],
    &["BEGIN", "INSERT INTO t (v) VALUES (1)"],
    &["SET autocommit = 0", "INSERT INTO t (v) VALUES (1)"],
    &["BEGIN", "INSERT INTO t (v) VALUES (1)", "SET sql_mode = 'ANSI_QUOTES'", "SET @mine = 7"],
    &["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
    &["SET TRANSACTION READ ONLY"],
    &["SET SESSION TRANSACTION READ ONLY"],
    &["START TRANSACTION READ ONLY", "SELECT * FROM t"],
    &["/*!50000 SET sql_mode = 'ANSI_QUOTES' */"],
    &["SET /*! SESSION */ sql_mode = 'ANSI_QUOTES', /*!50000 time_zone = '+05:00', */ @mine = 7"],
    &["SET @@SESSION.sql_mode := \"ANSI_QUOTES\", NAMES latin1"],
    &["SET `sql_mode` = 'ANSI_QUOTES'"],
    &["SET NAMES gbk"],
    &["SET CHARACTER SET latin1"],
    &["SET timestamp = 1000000000"],
    &["SET sql_select_limit = 0"],
    &["SET foreign_key_checks = 0, unique_checks = 0"],
    &["SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1"],
    &["SAVEPOINT mine"],
    &["HANDLER t OPEN"],
    &["PREPARE mine FROM 'SELECT 7'"],
    &["PREPARE mine FROM 'SET @mine = 7, sql_mode = ''ANSI_QUOTES'''", "EXECUTE mine"],
    &["SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT 1"],
    &["SET ROLE NONE"],
    &["SELECT LAST_INSERT_ID(4711)"],
    &["SELECT 1 INTO @mine"],
    &["FLUSH TABLES t WITH READ LOCK"],
    &["USE information_schema"],
    &["SET @mine = (SELECT 7), @@sql_mode = CONCAT('ANSI', '_QUOTES')"],
];

/// Everything that one of `POISONS` could have left on a connection.
async fn traces(client: &mut Client, defaults: &Variables, database: &str) -> Vec<String> {
    let mut traces = differences(defaults, &seen_by(client).await);
    let mut expect = async |sql: &str, expected: &[&str]| match client.run(sql).await {
        Ok(outcome) if outcome.lines() == expected => {}
        Ok(outcome) => traces.push(format!("{sql}: {:?}", outcome.lines())),
        Err(fault) => traces.push(format!("{sql}: {} {}", fault.code, fault.message)),
    };
    expect("SELECT @mine", &["NULL"]).await;
    expect("SELECT IS_FREE_LOCK('mine')", &["1"]).await;
    expect("SELECT LAST_INSERT_ID()", &["0"]).await;
    expect("SELECT DATABASE()", &[database]).await;
    expect("SELECT \"text\"", &["text"]).await;
    expect("SELECT COUNT(*) FROM t", &["0"]).await;
    expect("INSERT INTO t (v) VALUES (1)", &[]).await;
    expect("ROLLBACK", &[]).await;
    expect("SELECT COUNT(*) FROM t", &["1"]).await;
    expect("DELETE FROM t", &[]).await;
    for (sql, code) in [("SELECT * FROM mine", 1146), ("EXECUTE mine", 1243), ("HANDLER t READ FIRST", 1109)]
    {
        match client.run(sql).await {
            Err(fault) if fault.code == code || fault.message.starts_with("SW12") => {}
            other => traces.push(format!("{sql}: {other:?}")),
        }
    }
    traces
}

#[tokio::test]
async fn nothing_of_a_session_is_on_its_connection_when_it_vanished() {
    for program in flavors() {
        let shared = Shared::open(&program, 1).await;
        let defaults = seen_by(&mut shared.client().await).await;
        let mut wrong = Vec::new();
        for poison in POISONS {
            let mut a = shared.client().await;
            for sql in *poison {
                // Not every server knows every statement, and the proxy may refuse one: then nothing is left either.
                let _answer = a.run(sql).await;
            }
            drop(a);
            let mut b = shared.client().await;
            let traces = traces(&mut b, &defaults, &shared.database.name).await;
            if !traces.is_empty() {
                wrong.push(format!("after {poison:?}: {traces:#?}"));
            }
        }
        assert!(wrong.is_empty(), "{}:\n{}", program.flavor.name(), wrong.join("\n"));
    }
}

#[tokio::test]
async fn nothing_of_a_session_is_seen_by_another_beside_it() {
    for program in flavors() {
        // One connection for a pin, one for the rest.
        let shared = Shared::open(&program, 2).await;
        let mut b = shared.client().await;
        let defaults = seen_by(&mut b).await;
        let mut wrong = Vec::new();
        for poison in POISONS {
            if poison.iter().any(|sql| sql.contains("LOCK") || sql.contains("autocommit") || *sql == "BEGIN")
            {
                // Rows and locks that others have to wait for, as on one server.
                continue;
            }
            let mut a = shared.client().await;
            for sql in *poison {
                let _answer = a.run(sql).await;
            }
            let traces = traces(&mut b, &defaults, &shared.database.name).await;
            if !traces.is_empty() {
                wrong.push(format!("beside {poison:?}: {traces:#?}"));
            }
        }
        assert!(wrong.is_empty(), "{}:\n{}", program.flavor.name(), wrong.join("\n"));
        let mut operator = shared.proxy.operator().await;
        b.quit().await;
        eventually("no pin is left when its session has gone", async || {
            operator.rows("SHARDWAY SHOW PINS").await.is_empty()
        })
        .await;
    }
}
