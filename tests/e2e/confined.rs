//! A user who is confined to some databases of the map reaches no other, by whatever statement names it.

use mysql_async::prelude::Queryable;

use crate::support::{Access, Client, Cluster, Database, Proxy, Setup, Table, flavors};

const DENIED: u16 = 1044;

/// Statements with FORBIDDEN for the database that the user may not name. All of its tables are on the shard of the user's
/// own, so that whatever passes would read them.
const FORMS: &[&str] = &[
    // Read by the grammar.
    "SELECT n FROM FORBIDDEN.ledger",
    "SELECT n FROM `FORBIDDEN` . `ledger`",
    "SELECT /*!50000 n FROM FORBIDDEN.ledger*/",
    "SELECT * FROM (SELECT n FROM FORBIDDEN.ledger) AS d",
    "WITH log AS (SELECT n FROM FORBIDDEN.ledger) SELECT n FROM log",
    "WITH ledger AS (SELECT 1 AS n) SELECT n FROM FORBIDDEN.ledger",
    "SELECT n FROM log UNION ALL SELECT n FROM FORBIDDEN.ledger",
    "SELECT n FROM log WHERE n IN (SELECT n FROM FORBIDDEN.ledger)",
    "SELECT FORBIDDEN.secret()",
    "SELECT n FROM log WHERE n = FORBIDDEN.secret()",
    "INSERT INTO log (n) VALUES (FORBIDDEN.secret())",
    "INSERT INTO log (n) SELECT n FROM FORBIDDEN.ledger",
    "INSERT INTO FORBIDDEN.ledger (n) VALUES (1)",
    "REPLACE INTO FORBIDDEN.ledger (n) VALUES (1)",
    "UPDATE log SET n = (SELECT MAX(n) FROM FORBIDDEN.ledger)",
    "UPDATE log, FORBIDDEN.ledger AS l SET l.n = 1",
    "DELETE FROM FORBIDDEN.ledger",
    "DELETE l FROM log JOIN FORBIDDEN.ledger AS l ON l.n = log.n",
    "TABLE FORBIDDEN.ledger",
    // A shard is chosen: refused plans run there.
    "/* shardway: shard=shard1 */ SELECT n FROM FORBIDDEN.ledger",
    "/* shardway: shard=shard1 */ SELECT n FROM FORBIDDEN.ledger PROCEDURE ANALYSE()",
    "/* shardway: shard=shard1 */ HANDLER FORBIDDEN.ledger OPEN",
    "/* shardway: shard=shard1 */ ANALYZE TABLE FORBIDDEN.ledger",
    "/* shardway: shard=shard1 */ FLUSH TABLES FORBIDDEN.ledger",
    "/* shardway: shard=shard1 */ GRANT SELECT ON FORBIDDEN.* TO someone",
    // By their names.
    "EXPLAIN SELECT n FROM FORBIDDEN.ledger",
    "EXPLAIN ANALYZE SELECT n FROM FORBIDDEN.ledger",
    "ANALYZE SELECT n FROM FORBIDDEN.ledger",
    "EXPLAIN FOR DATABASE FORBIDDEN SELECT n FROM ledger",
    "DESCRIBE FORBIDDEN.ledger",
    "SHOW TABLES FROM FORBIDDEN",
    "SHOW TABLES IN FORBIDDEN",
    "SHOW FULL TABLES FROM `FORBIDDEN`",
    "SHOW TABLE STATUS FROM FORBIDDEN",
    "SHOW TRIGGERS FROM FORBIDDEN",
    "SHOW EVENTS FROM FORBIDDEN",
    "SHOW OPEN TABLES FROM FORBIDDEN",
    "SHOW COLUMNS FROM ledger FROM FORBIDDEN",
    "SHOW INDEX FROM ledger IN FORBIDDEN",
    "SHOW CREATE TABLE FORBIDDEN.ledger",
    "SHOW CREATE DATABASE FORBIDDEN",
    "SHOW CREATE FUNCTION FORBIDDEN.secret",
    "SHOW COLUMNS FROM log WHERE EXISTS (SELECT 1 FROM FORBIDDEN.ledger)",
    "SHOW VARIABLES WHERE Value = (SELECT n FROM FORBIDDEN.ledger)",
    "SHOW STATUS WHERE Value = FORBIDDEN.secret()",
    "CREATE TABLE stolen AS SELECT n FROM FORBIDDEN.ledger",
    "CREATE TABLE stolen SELECT FORBIDDEN.secret() AS n",
    "CREATE TABLE stolen LIKE FORBIDDEN.ledger",
    "CREATE TABLE FORBIDDEN.planted (n INT)",
    "CREATE TEMPORARY TABLE stolen AS SELECT n FROM FORBIDDEN.ledger",
    "CREATE VIEW shown AS SELECT n FROM FORBIDDEN.ledger",
    "CREATE TRIGGER t BEFORE INSERT ON log FOR EACH ROW SET NEW.n = (SELECT MAX(n) FROM FORBIDDEN.ledger)",
    "CREATE FUNCTION f() RETURNS INT READS SQL DATA RETURN (SELECT MAX(n) FROM FORBIDDEN.ledger)",
    "CREATE PROCEDURE p() SELECT n FROM FORBIDDEN.ledger",
    "CREATE PROCEDURE p(t TEXT) BEGIN PREPARE s FROM @t; EXECUTE s; END",
    "CREATE PROCEDURE p(t TEXT) CALL sys.execute_prepared_stmt(t)",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM FORBIDDEN.ledger",
    "RENAME TABLE FORBIDDEN.ledger TO ledger",
    "ALTER TABLE log RENAME TO FORBIDDEN.log",
    "ALTER TABLE FORBIDDEN.ledger ADD m INT",
    "TRUNCATE TABLE FORBIDDEN.ledger",
    "DROP TABLE FORBIDDEN.ledger",
    "DROP DATABASE FORBIDDEN",
    "LOCK TABLES log READ, FORBIDDEN.ledger WRITE",
    "CHECK TABLE FORBIDDEN.ledger",
    "CHECKSUM TABLE FORBIDDEN.ledger",
    "HANDLER FORBIDDEN.ledger OPEN",
    "CALL FORBIDDEN.tell()",
    "CALL keep((SELECT MAX(n) FROM FORBIDDEN.ledger))",
    "CALL keep(FORBIDDEN.secret())",
    "CALL sys.execute_prepared_stmt(CONCAT('SELECT n FROM ', 'some.table'))",
    "DO FORBIDDEN.secret()",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE FORBIDDEN.ledger",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE log (@n) SET n = (SELECT MAX(n) FROM FORBIDDEN.ledger)",
    "LOAD DATA INFILE '/x' INTO TABLE FORBIDDEN.ledger",
    // Values of SET.
    "SET @n = (SELECT MAX(n) FROM FORBIDDEN.ledger)",
    "SET @n = FORBIDDEN.secret()",
    "SET STATEMENT max_statement_time = 9 FOR SELECT n FROM FORBIDDEN.ledger",
    // Text that is run.
    "PREPARE s FROM 'SELECT n FROM FORBIDDEN.ledger'",
    "PREPARE s FROM 'SELECT n FROM FORBI' 'DDEN.ledger'",
    "PREPARE s FROM 'SELECT n FROM \\x46ORBIDDEN.ledger'",
    "PREPARE s FROM @text",
    "PREPARE s FROM 0x53454C4543542031",
    "EXECUTE IMMEDIATE 'SELECT n FROM FORBIDDEN.ledger'",
    "EXECUTE IMMEDIATE CONCAT('SELECT n FROM ', @database, '.ledger')",
    "EXECUTE IMMEDIATE @text",
    // Words that no rule reads.
    "SELECT n FROM log INTO OUTFILE '/x' FROM FORBIDDEN.ledger",
    "/*!50000FORBIDDEN.ledger*/",
    "WITH x AS (SELECT 1) DELETE FROM FORBIDDEN.ledger",
];

/// What stays allowed beside them.
const ALLOWED: &[&str] = &[
    "SELECT n FROM log",
    "SELECT log.n, FORBIDDEN.n FROM log JOIN log AS FORBIDDEN ON FORBIDDEN.n = log.n",
    "SELECT 'FORBIDDEN.ledger' FROM log",
    "SET @text = 'FORBIDDEN.ledger'",
    "DESCRIBE FORBIDDEN",
    "SHOW COLUMNS FROM FORBIDDEN",
    "INSERT INTO FORBIDDEN (n) VALUES (1)",
    "LOCK TABLES FORBIDDEN WRITE",
    "UNLOCK TABLES",
    "SHOW TABLES",
    "PREPARE s FROM 'SELECT n FROM log'",
    "EXECUTE s",
    "DEALLOCATE PREPARE s",
    "/* shardway: shard=shard1 */ CALL keep(1)",
    "EXPLAIN SELECT n FROM log",
    "SELECT TABLE_NAME FROM information_schema.TABLES LIMIT 1",
];

struct Office {
    own: Database,
    forbidden: Database,
    proxy: Proxy,
}

impl Office {
    async fn open(program: &shardway::internal::local::Installed) -> Office {
        let cluster = Cluster::shared(program).await;
        let ledger = [Table::single("ledger", 0, "(n INT)")];
        let forbidden = cluster.database(ledger).await;
        let log = Table::single("log", 0, "(n INT)");
        // A table may have the name of the other database.
        let own = cluster.database([log, Table::single(&forbidden.name, 0, "(n INT)")]).await;
        let mut direct = cluster.direct(0).await;
        for sql in [
            "INSERT INTO FORBIDDEN.ledger VALUES (1)",
            "CREATE FUNCTION FORBIDDEN.secret() RETURNS INT READS SQL DATA RETURN (SELECT MAX(n) FROM FORBIDDEN.ledger)",
            "CREATE PROCEDURE FORBIDDEN.tell() SELECT n FROM FORBIDDEN.ledger",
            "CREATE PROCEDURE OWN.keep(n INT) SET @kept = n",
        ] {
            direct.ok(sql.replace("FORBIDDEN", &forbidden.name).replace("OWN", &own.name)).await;
        }
        let narrow = format!(
            "[[user]]\nname = \"narrow\"\npassword = \"narrow-secret\"\nserver_user = \"app\"\n\
             server_password = \"app-secret\"\ndatabases = [\"{}\"]",
            own.name
        );
        let setup = Setup::new(cluster).database(&own).database(&forbidden).settings(&narrow);
        Office { proxy: Proxy::start(&setup).await, own, forbidden }
    }

    fn access(&self) -> Access {
        Access::new(self.proxy.mysql, "narrow", "narrow-secret").database(&self.own.name)
    }

    fn written(&self, form: &str) -> String {
        let (first, rest) = self.forbidden.name.split_at(3);
        form.replace("FORBIDDEN", &self.forbidden.name).replace("FORBI' 'DDEN", &format!("{first}' '{rest}"))
    }
}

#[tokio::test]
async fn no_statement_reaches_a_database_that_the_user_may_not_name() {
    for program in flavors() {
        let office = Office::open(&program).await;
        let mut narrow = Client::connect(&office.access()).await;
        let mut faults = Vec::new();
        for form in FORMS {
            let sql = office.written(form);
            match narrow.run(&sql).await {
                Err(fault) if fault.code == DENIED => {}
                Err(fault) => faults.push(format!("{form}: {} {}", fault.code, fault.message)),
                Ok(_) => faults.push(format!("{form}: ran")),
            }
        }
        assert!(faults.is_empty(), "{:?}:\n{}", program.flavor, faults.join("\n"));
        let rows = office.proxy.client(&office.forbidden).await.rows("SELECT n FROM ledger").await;
        assert_eq!(rows, ["1"], "the rows of the other database are as they were");
    }
}

#[tokio::test]
async fn no_prepared_statement_names_a_database_that_the_user_may_not_name() {
    for program in flavors() {
        let office = Office::open(&program).await;
        let mut narrow = Client::connect(&office.access()).await;
        for form in [
            "SELECT n FROM FORBIDDEN.ledger WHERE n = ?",
            "SELECT FORBIDDEN.secret()",
            "/* shardway: shard=shard1 */ CALL FORBIDDEN.tell()",
            "SHOW TABLES FROM FORBIDDEN",
            "DO FORBIDDEN.secret()",
        ] {
            let sql = office.written(form);
            match narrow.inner().exec_drop(&sql, mysql_async::Params::Empty).await {
                Err(mysql_async::Error::Server(fault)) => assert_eq!(fault.code, DENIED, "{form}: {fault}"),
                // The parameter is missing: it was prepared.
                other => panic!("{form}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_confined_user_works_with_what_bears_the_name_of_another_database() {
    for program in flavors() {
        let office = Office::open(&program).await;
        let mut narrow = Client::connect(&office.access()).await;
        for form in ALLOWED {
            narrow.ok(office.written(form)).await;
        }
        for form in ["USE FORBIDDEN", "USE `FORBIDDEN:shard1`"] {
            assert_eq!(narrow.refused(office.written(form)).await.code, 1049, "{form}");
        }
    }
}
