//! LOAD DATA LOCAL over shards: the rows are those that one server would have, or none.

use crate::support::{
    APP, Cluster, Database, LOCAL_FILES, Plain, Proxy, Random, Raw, Setup, Table, eventually, flavors,
};
use shardway::internal::local::{Installed, even_xxhash};

struct Target {
    database: Database,
    plain: &'static Plain,
    proxy: Proxy,
}

impl Target {
    async fn open(program: &Installed) -> Target {
        let cluster = Cluster::shared(program).await;
        cluster.everywhere(&["SET GLOBAL local_infile = 1"]).await;
        let database = cluster
            .database([
                Table::sharded(
                    "t",
                    "id",
                    "(id INT PRIMARY KEY, a VARCHAR(60), b VARCHAR(60), c VARCHAR(60))",
                ),
                Table::of_scheme(
                    "by_name",
                    "named",
                    "name",
                    "(name VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT)",
                ),
                Table::reference("countries", "(code CHAR(2) PRIMARY KEY, n INT)"),
                Table::reference("numbered", "(id INT AUTO_INCREMENT PRIMARY KEY, n INT)"),
            ])
            .await;
        let plain = Plain::shared(program).await;
        plain.server.run(&["SET GLOBAL local_infile = 1"]).await.unwrap();
        plain.create(&database).await;
        // caching_sha2_password: the raw client knows the fast path alone.
        plain.client(&database).await.quit().await;
        let proxy = Proxy::start(
            &Setup::new(cluster).scheme(&even_xxhash("by_name", &["shard1", "shard2"])).database(&database),
        )
        .await;
        Target { database, plain, proxy }
    }

    async fn raw(&self) -> Raw {
        Raw::login(self.proxy.mysql, APP.0, APP.1, Some(&self.database.name), LOCAL_FILES).await
    }

    async fn plain_raw(&self) -> Raw {
        let address = ([127, 0, 0, 1], self.plain.server.port).into();
        Raw::login(address, APP.0, APP.1, Some(&self.database.name), LOCAL_FILES).await
    }
}

/// The last packet: OK as `0` with rows, or the number of the error.
fn ended(packets: &[(u8, Vec<u8>)]) -> (u16, u64, String) {
    let (_, last) = packets.last().unwrap();
    if last[0] == 0xff {
        return (u16::from_le_bytes([last[1], last[2]]), 0, String::from_utf8_lossy(&last[9..]).into_owned());
    }
    let mut reader = shardway::internal::wire::Reader::new(&last[1..], "OK");
    let affected = reader.lenenc_int().unwrap();
    (0, affected, String::from_utf8_lossy(&last[7..]).into_owned())
}

async fn sorted(raw: &mut Raw, sql: &str) -> Vec<String> {
    let mut rows = raw.results(sql).await.0.swap_remove(0);
    rows.sort();
    rows
}

#[tokio::test]
async fn lines_end_where_they_end_for_a_server() {
    let formats: [(&str, &[u8]); 6] = [
        ("", b"\t\n\\Nax"),
        ("FIELDS TERMINATED BY ',' ENCLOSED BY '\"' LINES TERMINATED BY '\\r\\n'", b",\"\r\n\\Na"),
        ("FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '\"'", b",\"\n\\Na"),
        ("FIELDS TERMINATED BY '||' ESCAPED BY ''", b"|\n\\a"),
        ("FIELDS TERMINATED BY ',' LINES STARTING BY '>>' TERMINATED BY ';'", b",;>\\\na"),
        ("FIELDS TERMINATED BY 'ab' ENCLOSED BY '''' LINES TERMINATED BY 'ac' IGNORE 2 LINES", b"abc'\\\n"),
    ];
    for program in flavors() {
        let target = Target::open(&program).await;
        let (mut proxy, mut plain) = (target.raw().await, target.plain_raw().await);
        let mut random = Random::new();
        let mut loaded = 0;
        for (format, letters) in formats {
            let end: &[u8] = match format {
                _ if format.contains("\\r\\n") => b"\r\n",
                _ if format.contains("';'") => b";",
                _ if format.contains("'ac'") => b"ac",
                _ => b"\n",
            };
            let field: &[u8] = match format {
                "" => b"\t",
                _ if format.contains("'||'") => b"||",
                _ if format.contains("'ab'") => b"ab",
                _ => b",",
            };
            for round in 0..20 {
                let mut file = Vec::new();
                for id in 0..1 + random.below(6) {
                    if format.contains(">>") {
                        file.extend_from_slice(if random.one_in(8) { b">x>>" } else { b">>" });
                    }
                    file.extend_from_slice(id.to_string().as_bytes());
                    file.extend_from_slice(field);
                    for _ in 0..random.below(14) {
                        file.push(if random.one_in(3) { letters[random.below(letters.len())] } else { b'x' });
                    }
                    if !random.one_in(10) {
                        file.extend_from_slice(end);
                    }
                }
                let cut = random.below(file.len() + 1);
                let pieces = [&file[..cut], &file[cut..]];
                let pieces: Vec<&[u8]> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
                let sql = format!("LOAD DATA LOCAL INFILE 'x' INTO TABLE t {format} (id, a, b)");
                for raw in [&mut proxy, &mut plain] {
                    raw.results("DELETE FROM t").await;
                }
                let found = ended(&proxy.load(&sql, &pieces).await);
                let rows = sorted(&mut proxy, "SELECT id, HEX(a), HEX(b) FROM t").await;
                let shown = file.escape_ascii().to_string();
                if found.0 != 0 {
                    // A key that is no integer as it stands: then nothing of the file is there.
                    assert!(matches!(found.0, 1210 | 1364 | 1526), "{format} {shown}: {found:?}");
                    assert!(rows.is_empty(), "{format} {shown}: {rows:?}");
                    continue;
                }
                loaded += 1;
                let expected = ended(&plain.load(&sql, &pieces).await);
                assert_eq!(
                    (expected.0, expected.1),
                    (0, found.1),
                    "{format} {shown}: {expected:?} {found:?}"
                );
                let there = sorted(&mut plain, "SELECT id, HEX(a), HEX(b) FROM t").await;
                assert_eq!(rows, there, "{program:?} {format} round {round}: {shown}");
            }
        }
        assert!(loaded > 20, "too few files were good: {loaded}");
    }
}

#[tokio::test]
async fn a_large_file_is_spread_and_counted_as_one() {
    for program in flavors() {
        let target = Target::open(&program).await;
        let mut raw = target.raw().await;
        let lines: Vec<String> = (0..60_000).map(|id| format!("{id}\tx{id}\t\\N\tz\n")).collect();
        let file = lines.concat();
        let packets: Vec<&[u8]> = file.as_bytes().chunks(10_007).collect();
        let found = ended(&raw.load("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", &packets).await);
        assert_eq!((found.0, found.1), (0, 60_000), "{found:?}");
        assert!(found.2.contains("Records: 60000  Deleted: 0  Skipped: 0  Warnings: 0"), "{found:?}");
        let mut whole = target.proxy.client(&target.database).await;
        assert_eq!(whole.ok("SELECT a FROM t WHERE id IN (1, 59999)").await.sorted(), ["x1", "x59999"]);
        let mut counted = 0;
        for shard in 0..2 {
            let mut direct = Cluster::shared(&program).await.direct(shard).await;
            let count = direct.one(format!("SELECT COUNT(*) FROM {}.t", target.database.name)).await;
            let count: u32 = count.unwrap().parse().unwrap();
            assert!(count > 10_000, "shard {shard} has {count}");
            counted += count;
        }
        assert_eq!(counted, 60_000);
        // Once more: each row is a duplicate, which LOCAL passes over.
        let again = ended(&raw.load("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", &packets).await);
        assert!(again.2.contains("Records: 60000  Deleted: 0  Skipped: 60000"), "{again:?}");
    }
}

#[tokio::test]
async fn every_copy_of_a_reference_table_loads_the_file() {
    for program in flavors() {
        let target = Target::open(&program).await;
        let mut raw = target.raw().await;
        let sql =
            "LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE countries FIELDS TERMINATED BY ',' IGNORE 1 LINES";
        let found = ended(&raw.load(sql, &[b"code,n\nat,1\n", b"ch,2\nat,3\n"]).await);
        assert_eq!(found.0, 0, "{found:?}");
        for shard in 0..2 {
            let mut direct = Cluster::shared(&program).await.direct(shard).await;
            let rows =
                direct.ok(format!("SELECT code, n FROM {}.countries", target.database.name)).await.sorted();
            assert_eq!(rows, ["at|3", "ch|2"], "shard {shard}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_placed_is_refused_and_leaves_nothing() {
    for program in flavors() {
        let target = Target::open(&program).await;
        let mut raw = target.raw().await;
        let load = "LOAD DATA LOCAL INFILE 'x' INTO TABLE";
        for (sql, file, code, words) in [
            (format!("{load} t (a, b)"), "x\ty\n", 1235, "shard key"),
            (format!("{load} t (@id, a) SET id = @id"), "1\ty\n", 1235, "shard key"),
            (format!("{load} t (id, a) SET id = 5"), "1\ty\n", 1235, "shard key"),
            (format!("{load} t (id, a) SET b = @other"), "1\ty\n", 1235, "user variable"),
            (format!("{load} t FIELDS TERMINATED BY '' (id)"), "1\n", 1235, "fixed length"),
            (format!("{load} t CHARACTER SET gbk (id)"), "1\n", 1235, "character set"),
            (format!("{load} t (id)"), "1\n2\nx\n3\n", 1210, "line 3"),
            (format!("{load} t (id)"), "1\n\\N\n", 1364, "line 2"),
            (format!("{load} t (a, id)"), "1\t1\n2\n", 1364, "line 2"),
            (format!("{load} named (name)"), "x\ny\u{e9}\n", 1210, "line 2"),
            (format!("{load} numbered (n)"), "1\n", 1235, "number rows"),
            (format!("{load} countries (code) SET n = RAND()"), "at\n", 1235, "reference"),
            ("LOAD DATA INFILE '/x' INTO TABLE t".to_owned(), "", 1235, "not whole on one shard"),
            (format!("{load} t (id, no_such_column)"), "1\tx\n", 1054, "no_such_column"),
        ] {
            let found = ended(&raw.load(&sql, &[file.as_bytes()]).await);
            assert_eq!(found.0, code, "{sql}: {found:?}");
            assert!(found.2.contains(words), "{sql}: {found:?}");
            for table in ["t", "named", "countries", "numbered"] {
                assert_eq!(raw.results(&format!("SELECT * FROM {table}")).await, (vec![vec![]], 0), "{sql}");
            }
        }
        let found = ended(
            &raw.load(&format!("{load} named (@skip, name, @n) SET n = @n + 1"), &[b"-\tx\t1\n-\tY \t2\n"])
                .await,
        );
        assert_eq!(found.0, 0, "{found:?}");
        assert_eq!(sorted(&mut raw, "SELECT n FROM named WHERE name IN ('X', 'y')").await, ["2", "3"]);
        raw.results("BEGIN").await;
        assert_eq!(ended(&raw.load(&format!("{load} t (id)"), &[b"1\n2\n3\n"]).await).0, 1235);
        let mut without = Raw::login(target.proxy.mysql, APP.0, APP.1, Some(&target.database.name), 0).await;
        assert_eq!(ended(&without.load(&format!("{load} t (id)"), &[]).await).0, 3948);
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_file_leaves_nothing() {
    for program in flavors() {
        let target = Target::open(&program).await;
        for (table, line) in [("t", &b"1\tx\n2\tx\n3\tx\n"[..]), ("countries", b"at\t1\n")] {
            let mut raw = target.raw().await;
            raw.command(3, format!("LOAD DATA LOCAL INFILE 'x' INTO TABLE {table}").as_bytes()).await;
            assert_eq!(raw.packet().await.unwrap().1[0], 0xfb);
            raw.send(2, line).await;
            drop(raw);
        }
        let mut operator = target.proxy.operator().await;
        eventually("the sessions end", async || operator.ok("SHARDWAY SHOW SESSIONS").await.rows.len() == 1)
            .await;
        let mut client = target.proxy.client(&target.database).await;
        for table in ["t", "countries"] {
            assert!(client.ok(format!("SELECT * FROM {table}")).await.rows.is_empty(), "{table}");
        }
        // A KILL waits for the client to end its file, and the session goes on.
        let mut raw = target.raw().await;
        let id = raw.results("SELECT CONNECTION_ID()").await.0[0][0].clone();
        raw.command(3, b"LOAD DATA LOCAL INFILE 'x' INTO TABLE t (id)").await;
        assert_eq!(raw.packet().await.unwrap().1[0], 0xfb);
        raw.send(2, b"1\n2\n3\n").await;
        client.ok(format!("KILL QUERY {id}")).await;
        raw.send(3, b"4\n").await;
        raw.send(4, b"").await;
        let answer = raw.packet().await.unwrap();
        assert_eq!((answer.0, answer.1[0], u16::from_le_bytes([answer.1[1], answer.1[2]])), (5, 0xff, 1317));
        assert_eq!(raw.results("SELECT id FROM t").await, (vec![vec![]], 0));
    }
}
