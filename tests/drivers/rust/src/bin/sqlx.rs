//! The checklist by sqlx.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use shardway_drivers::{Failed, Given, Parameter, bytes, digest, ok, parameters, tagged, text};
use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPoolOptions,
    MySqlQueryResult, MySqlRow, MySqlSslMode,
};
use sqlx::{
    Column, ConnectOptions, Connection, Database, Either as Part, Error, Executor, MySql, Row, Statement,
    TransactionManager, TypeInfo, ValueRef,
};

type Answer = Result<Value, Failed<Error>>;
type Transactions = <MySql as Database>::TransactionManager;

struct Driver {
    given: Given,
    open: HashMap<String, MySqlConnection>,
}

#[tokio::main]
async fn main() {
    let mut driver = Driver { given: Given::read(), open: HashMap::new() };
    let mut janitor = match driver.login(&Value::Null).await {
        Ok(janitor) => janitor,
        Err(Failed::Error(error)) => panic!("cannot log in: {error}"),
        Err(Failed::Unsupported(what)) => panic!("cannot log in: {what}"),
    };
    for behaviour in driver.given.behaviours() {
        for sql in behaviour["given"].as_array().into_iter().flatten() {
            janitor.execute(text(sql)).await.expect("the fixture is loaded");
        }
        println!("{}", driver.behave(&behaviour).await);
    }
    std::process::exit(0);
}

impl Driver {
    async fn behave(&mut self, behaviour: &Value) -> Value {
        let mut answers = Ok(Vec::new());
        for step in behaviour["steps"].as_array().into_iter().flatten() {
            let Ok(so_far) = &mut answers else { break };
            match caught(self.step(step).await) {
                Ok(answer) => so_far.push(answer),
                Err(missing) => answers = Err(missing),
            }
        }
        self.open.clear();
        match answers {
            Ok(answers) => json!({ "id": behaviour["id"], "steps": answers }),
            Err(missing) => json!({ "id": behaviour["id"], "unsupported": missing }),
        }
    }

    fn options(&self, wanted: &Value) -> Result<MySqlConnectOptions, Failed<Error>> {
        for name in ["attributes", "init", "found_rows", "compress", "local_infile"] {
            if wanted[name] == true || wanted[name].is_string() || wanted[name].is_object() {
                return Err(Failed::Unsupported(name.to_owned()));
            }
        }
        let or = |name: &str| wanted[name].as_str().unwrap_or(self.given.get(name)).to_owned();
        let tls = if wanted["tls"] == true { MySqlSslMode::Required } else { MySqlSslMode::Disabled };
        let mut options = MySqlConnectOptions::new()
            .host(self.given.get("host"))
            .port(self.given.port())
            .username(&or("user"))
            .password(&or("password"))
            .ssl_mode(tls)
            .disable_statement_logging();
        if !wanted.get("database").is_some_and(Value::is_null) {
            options = options.database(&or("database"));
        }
        if let Some(collation) = wanted["collation"].as_str() {
            options = options.collation(collation);
        }
        if let Some(charset) = wanted["charset"].as_str() {
            options = options.charset(charset);
        }
        Ok(options)
    }

    async fn login(&self, wanted: &Value) -> Result<MySqlConnection, Failed<Error>> {
        let mut connection = self.options(wanted)?.connect().await?;
        if wanted["autocommit"] == false {
            connection.execute("SET autocommit = 0").await?;
        }
        Ok(connection)
    }

    async fn step(&mut self, step: &Value) -> Answer {
        let arg = &step["arg"];
        match text(&step["op"]) {
            "connect" => {
                let name = arg["as"].as_str().unwrap_or("main").to_owned();
                self.open.remove(&name);
                let connection = self.login(arg).await?;
                self.open.insert(name, connection);
                Ok(ok())
            }
            "close" => {
                if let Some(connection) = self.open.remove(text(arg)) {
                    connection.close().await?;
                }
                Ok(ok())
            }
            "terminate" => {
                let mut killer = self.login(&Value::Null).await?;
                let victim = self.open.get_mut(text(arg)).expect("it is open");
                let kill = format!("KILL {}", thread(victim).await?);
                killer.execute(kill.as_str()).await?;
                Ok(json!({ "lost": query(victim, "SELECT 1").await.is_err() }))
            }
            "pool" => self.pool(arg).await,
            "timeout" => {
                let mut connection = self.login(&Value::Null).await?;
                let seconds = Duration::from_secs(arg["seconds"].as_u64().unwrap_or(1));
                let ended = tokio::time::timeout(seconds, query(&mut connection, text(&arg["sql"]))).await;
                ended.unwrap_or_else(|_| Ok(json!({ "timed out": true })))
            }
            op => {
                let name = text(&step["by"]);
                if !self.open.contains_key(name) {
                    let connection = self.login(&Value::Null).await?;
                    self.open.insert(name.to_owned(), connection);
                }
                if op == "kill" {
                    return self.kill(name, text(&arg["sql"])).await;
                }
                step_on(self.open.get_mut(name).expect("it was opened"), op, arg).await
            }
        }
    }

    async fn kill(&mut self, name: &str, sql: &str) -> Answer {
        let mut killer = self.login(&Value::Null).await?;
        let victim = self.open.get_mut(name).expect("it was opened");
        let kill = format!("KILL QUERY {}", thread(victim).await?);
        // The statement may not have begun when the first KILL arrives, so it is said again.
        let killing = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if killer.execute(kill.as_str()).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match select(Box::pin(query(victim, sql)), Box::pin(killing)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Ok(Value::Null),
        }
    }

    async fn pool(&self, steps: &Value) -> Answer {
        let pool =
            MySqlPoolOptions::new().max_connections(1).connect_with(self.options(&Value::Null)?).await?;
        let mut answers = Vec::new();
        for step in steps.as_array().into_iter().flatten() {
            let mut connection = pool.acquire().await?;
            let answer = query(&mut connection, text(&step["query"])).await;
            answers.push(caught(answer).map_err(Failed::Unsupported)?);
        }
        pool.close().await;
        Ok(json!({ "results": answers }))
    }
}

async fn step_on(connection: &mut MySqlConnection, op: &str, arg: &Value) -> Answer {
    match op {
        "query" => query(connection, text(arg)).await,
        "multi" => multi(connection, text(arg)).await,
        "prepared" => prepared(connection, arg).await,
        "prepared_many" => prepared_many(connection, arg).await,
        "begin" => {
            Transactions::begin(connection, None).await?;
            Ok(ok())
        }
        // Without a transaction of its own the driver says nothing to the server.
        "commit" if Transactions::get_transaction_depth(connection) == 0 => query(connection, "COMMIT").await,
        "rollback" if Transactions::get_transaction_depth(connection) == 0 => {
            query(connection, "ROLLBACK").await
        }
        "commit" => {
            Transactions::commit(connection).await?;
            Ok(ok())
        }
        "rollback" => {
            Transactions::rollback(connection).await?;
            Ok(ok())
        }
        "ping" => {
            connection.ping().await?;
            Ok(ok())
        }
        "stream" => stream(connection, arg).await,
        _ => Err(Failed::Unsupported(op.to_owned())),
    }
}

/// The answer, or the error as one; what the driver has no means for is returned.
fn caught(answer: Answer) -> Result<Value, String> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(Failed::Error(error)) => Ok(fault(&error)),
        Err(Failed::Unsupported(what)) => Err(what),
    }
}

fn fault(error: &Error) -> Value {
    match error {
        Error::Database(error) => {
            let error = error.downcast_ref::<MySqlDatabaseError>();
            json!({ "error": [error.number(), error.code(), error.message()] })
        }
        Error::Io(_) => json!({ "error": ["I/O"] }),
        error => json!({ "error": [error.to_string()] }),
    }
}

async fn thread(connection: &mut MySqlConnection) -> Result<u64, Error> {
    sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(connection).await
}

/// In the text protocol.
async fn query(connection: &mut MySqlConnection, sql: &str) -> Answer {
    let mut answers = collected(sqlx::raw_sql(sql).fetch_many(connection)).await;
    Ok(if answers.is_empty() { Value::Null } else { answers.remove(0) })
}

async fn multi(connection: &mut MySqlConnection, sql: &str) -> Answer {
    Ok(json!({ "results": collected(sqlx::raw_sql(sql).fetch_many(connection)).await }))
}

/// Results with their rows; the last is the error, if there was one.
async fn collected(
    mut parts: impl futures_util::Stream<Item = Result<Part<MySqlQueryResult, MySqlRow>, Error>> + Unpin,
) -> Vec<Value> {
    let mut answers = Vec::new();
    let mut rows: Vec<Value> = Vec::new();
    let mut columns = Value::Null;
    while let Some(part) = parts.next().await {
        match part {
            Ok(Part::Right(found)) => {
                columns = found
                    .columns()
                    .iter()
                    .map(|column| json!([column.name(), column.type_info().name()]))
                    .collect();
                rows.push(row(&found));
            }
            Ok(Part::Left(result)) => {
                answers.push(json!({
                    "columns": columns, "rows": rows,
                    "affected": result.rows_affected(), "insert_id": result.last_insert_id(),
                }));
                (rows, columns) = (Vec::new(), Value::Null);
            }
            Err(error) => {
                answers.push(fault(&error));
                break;
            }
        }
    }
    answers
}

fn row(found: &MySqlRow) -> Value {
    (0..found.len()).map(|column| value(found, column)).collect()
}

fn value(row: &MySqlRow, column: usize) -> Value {
    let Ok(raw) = row.try_get_raw(column) else { return "unreadable".into() };
    if raw.is_null() {
        return Value::Null;
    }
    let name = raw.type_info().name().to_owned();
    let read = match name.as_str() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            row.try_get_unchecked::<i64, _>(column).map(|number| tagged(&name, number))
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
        | "BIGINT UNSIGNED" | "BIT" | "YEAR" => {
            row.try_get_unchecked::<u64, _>(column).map(|number| tagged(&name, number))
        }
        "FLOAT" => row.try_get_unchecked::<f32, _>(column).map(|number| tagged(&name, number)),
        "DOUBLE" => row.try_get_unchecked::<f64, _>(column).map(|number| tagged(&name, number)),
        "DATE" => {
            row.try_get_unchecked::<sqlx::types::chrono::NaiveDate, _>(column).map(|day| tagged(&name, day))
        }
        "DATETIME" | "TIMESTAMP" => row
            .try_get_unchecked::<sqlx::types::chrono::NaiveDateTime, _>(column)
            .map(|moment| tagged(&name, moment)),
        "TIME" => {
            row.try_get_unchecked::<sqlx::mysql::types::MySqlTime, _>(column).map(|time| tagged(&name, time))
        }
        _ => row.try_get_unchecked::<Vec<u8>, _>(column).map(|found| json!([name, bytes(&found)])),
    };
    read.unwrap_or_else(|error| error.to_string().into())
}

fn arguments(row: &Value) -> MySqlArguments {
    let mut arguments = MySqlArguments::default();
    for parameter in parameters(row) {
        use sqlx::Arguments;
        let added = match parameter {
            Parameter::Null => arguments.add(None::<String>),
            Parameter::Integer(number) => arguments.add(number),
            Parameter::Unsigned(number) => arguments.add(number),
            Parameter::Float(number) => arguments.add(number),
            Parameter::Text(text) => arguments.add(text),
            Parameter::Bytes(bytes) => arguments.add(bytes),
        };
        added.expect("the parameter can be written");
    }
    arguments
}

async fn prepared(connection: &mut MySqlConnection, given: &Value) -> Answer {
    let sql = text(&given["sql"]);
    let about = match connection.prepare(sql).await {
        Ok(statement) => {
            let columns: Value = statement
                .columns()
                .iter()
                .map(|column| json!([column.name(), column.type_info().name()]))
                .collect();
            let parameters = statement.parameters().map(|parameters| parameters.right_or(0));
            json!([columns, parameters])
        }
        Err(error) => return Ok(json!({ "prepare": fault(&error) })),
    };
    let mut runs = Vec::new();
    for (number, row) in given["with"].as_array().into_iter().flatten().enumerate() {
        if let Some(between) = given["between"].as_str().filter(|_| number == 1) {
            connection.execute(sqlx::raw_sql(between)).await?;
        }
        runs.push(collected(connection.fetch_many(sqlx::query_with(sql, arguments(row)))).await);
    }
    connection.clear_cached_statements().await?;
    Ok(json!({ "prepared": about, "runs": runs.into_iter().map(|mut run| run.pop()).collect::<Vec<_>>() }))
}

async fn prepared_many(connection: &mut MySqlConnection, given: &Value) -> Answer {
    let mut answers = Vec::new();
    for number in 0..given["count"].as_u64().unwrap_or(0) {
        let sql = text(&given["sql"]).replace("{number}", &number.to_string());
        let found = connection.fetch_all(sqlx::query_with(&sql, arguments(&given["with"]))).await?;
        answers.extend(found.iter().map(row));
    }
    Ok(digest(&answers))
}

async fn stream(connection: &mut MySqlConnection, given: &Value) -> Answer {
    let take = given["take"].as_u64().map_or(usize::MAX, |take| usize::try_from(take).unwrap_or(usize::MAX));
    let mut rows = Vec::new();
    let mut found = sqlx::raw_sql(text(&given["sql"])).fetch(connection);
    while rows.len() < take {
        let Some(next) = found.next().await else { break };
        rows.push(row(&next?));
    }
    // A connection that is dropped now closes in the middle of its result; one that is used again reads it away.
    Ok(json!({ "rows": rows }))
}
