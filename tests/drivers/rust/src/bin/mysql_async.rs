//! The checklist by mysql_async.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use mysql_async::prelude::{Protocol, Queryable};
use mysql_async::{
    BinaryProtocol, ChangeUserOpts, Column, Conn, Error, OptsBuilder, Params, Pool, PoolConstraints,
    PoolOpts, QueryResult, Row, SslOpts, TextProtocol, Value as Cell, WhiteListFsHandler,
};
use serde_json::{Value, json};
use shardway_drivers::{Failed, Given, Parameter, bytes, digest, ok, parameters, tagged, text};

type Answer = Result<Value, Failed<Error>>;

struct Driver {
    given: Given,
    open: HashMap<String, Conn>,
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
            janitor.query_drop(text(sql)).await.expect("the fixture is loaded");
        }
        println!("{}", driver.behave(&behaviour).await);
    }
    // Not waiting for connections that the behaviours broke.
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

    fn options(&self, wanted: &Value) -> Result<OptsBuilder, Failed<Error>> {
        for name in ["attributes", "charset", "collation"] {
            if !wanted[name].is_null() {
                return Err(Failed::Unsupported(name.to_owned()));
            }
        }
        let or = |name: &str| wanted[name].as_str().unwrap_or(self.given.get(name)).to_owned();
        let without_database = wanted.get("database").is_some_and(Value::is_null);
        let mut options = OptsBuilder::default()
            .ip_or_hostname(self.given.get("host"))
            .tcp_port(self.given.port())
            .prefer_socket(false)
            .user(Some(or("user")))
            .pass(Some(or("password")))
            .db_name((!without_database).then(|| or("database")))
            .client_found_rows(wanted["found_rows"] == true);
        if let Some(init) = wanted["init"].as_str() {
            options = options.init(vec![init.to_owned()]);
        }
        if wanted["tls"] == true {
            let trusting = SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true);
            options = options.ssl_opts(trusting);
        }
        if wanted["local_infile"] == true {
            options = options.local_infile_handler(Some(WhiteListFsHandler::new(self.files())));
        }
        if wanted["compress"] == true {
            options = options.compression(mysql_async::Compression::fast());
        }
        Ok(options)
    }

    /// The files that the checklist loads.
    fn files(&self) -> Vec<String> {
        let behaviours = self.given.behaviours();
        let steps = behaviours.iter().filter_map(|behaviour| behaviour["steps"].as_array()).flatten();
        let named = steps.filter(|step| step["op"] == "infile").filter_map(|step| {
            let sql = step["arg"]["sql"].as_str()?;
            Some(sql.split('\'').nth(1)?.to_owned())
        });
        named.collect()
    }

    async fn login(&self, wanted: &Value) -> Result<Conn, Failed<Error>> {
        let mut connection = Conn::new(self.options(wanted)?).await?;
        if wanted["autocommit"] == false {
            connection.query_drop("SET autocommit = 0").await?;
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
                    connection.disconnect().await?;
                }
                Ok(ok())
            }
            "terminate" => self.terminate(text(arg)).await,
            "pool" => self.pool(arg).await,
            "kill" => self.kill(text(&step["by"]), text(&arg["sql"])).await,
            "change_user" => self.change_user(text(&step["by"]), arg).await,
            "timeout" => {
                let mut connection = self.login(&Value::Null).await?;
                let seconds = Duration::from_secs(arg["seconds"].as_u64().unwrap_or(1));
                let ended = tokio::time::timeout(seconds, query(&mut connection, text(&arg["sql"]))).await;
                ended.unwrap_or_else(|_| Ok(json!({ "timed out": true })))
            }
            _ => {
                let name = text(&step["by"]);
                if !self.open.contains_key(name) {
                    let connection = self.login(&Value::Null).await?;
                    self.open.insert(name.to_owned(), connection);
                }
                let connection = self.open.get_mut(name).expect("it was opened");
                step_on(connection, text(&step["op"]), arg).await
            }
        }
    }

    async fn change_user(&mut self, name: &str, to: &Value) -> Answer {
        let user = ChangeUserOpts::default()
            .with_user(to["user"].as_str().map(str::to_owned))
            .with_pass(Some(to["password"].as_str().unwrap_or(self.given.get("password")).to_owned()))
            .with_db_name(Some(self.given.get("database").to_owned()));
        match self.open.get_mut(name) {
            Some(connection) => connection.change_user(user).await?,
            None => return Err(Failed::Unsupported("change_user".to_owned())),
        }
        Ok(ok())
    }

    async fn terminate(&mut self, name: &str) -> Answer {
        let mut killer = self.login(&Value::Null).await?;
        let victim = self.open.get_mut(name).expect("it is open");
        killer.query_drop(format!("KILL {}", victim.id())).await?;
        Ok(json!({ "lost": query(victim, "SELECT 1").await.is_err() }))
    }

    async fn kill(&mut self, name: &str, sql: &str) -> Answer {
        if !self.open.contains_key(name) {
            let connection = self.login(&Value::Null).await?;
            self.open.insert(name.to_owned(), connection);
        }
        let mut killer = self.login(&Value::Null).await?;
        let victim = self.open.get_mut(name).expect("it was opened");
        let kill = format!("KILL QUERY {}", victim.id());
        // The statement may not have begun when the first KILL arrives, so it is said again.
        let killing = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if killer.query_drop(&kill).await.is_err() {
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
        let one = PoolOpts::default().with_constraints(PoolConstraints::new(0, 1).expect("one connection"));
        let pool = Pool::new(self.options(&Value::Null)?.pool_opts(one));
        let mut answers = Vec::new();
        for step in steps.as_array().into_iter().flatten() {
            let mut connection = pool.get_conn().await?;
            let answer = query(&mut connection, text(&step["query"])).await;
            answers.push(caught(answer).map_err(Failed::Unsupported)?);
        }
        pool.disconnect().await?;
        Ok(json!({ "results": answers }))
    }
}

async fn step_on(connection: &mut Conn, op: &str, arg: &Value) -> Answer {
    match op {
        "query" => query(connection, text(arg)).await,
        "infile" => query(connection, text(&arg["sql"])).await,
        "multi" => multi(connection, text(arg)).await,
        "prepared" => prepared(connection, arg).await,
        "prepared_many" => prepared_many(connection, arg).await,
        "batch" => {
            let rows: Vec<Params> = arg["with"].as_array().into_iter().flatten().map(params).collect();
            connection.exec_batch(text(&arg["sql"]), rows).await?;
            Ok(json!({ "affected": connection.affected_rows() }))
        }
        // The driver's transactions borrow the connection; this is what they send.
        "begin" => query(connection, "START TRANSACTION").await,
        "commit" => query(connection, "COMMIT").await,
        "rollback" => query(connection, "ROLLBACK").await,
        "ping" => {
            connection.ping().await?;
            Ok(ok())
        }
        "reset" => Ok(json!({ "reset": connection.reset().await? })),
        "identity" => {
            let id: Option<u32> = connection.query_first("SELECT CONNECTION_ID()").await?;
            Ok(json!({ "equal": id == Some(connection.id()) }))
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
        Error::Server(error) => json!({ "error": [error.code, error.state, error.message] }),
        Error::Io(_) => json!({ "error": ["I/O"] }),
        Error::Driver(error) => json!({ "error": ["driver", error.to_string()] }),
        Error::Other(error) => json!({ "error": ["other", error.to_string()] }),
        Error::Url(error) => json!({ "error": ["URL", error.to_string()] }),
    }
}

async fn query(connection: &mut Conn, sql: &str) -> Answer {
    let mut found = connection.query_iter(sql).await?;
    let answer = result(&mut found).await?;
    found.drop_result().await?;
    Ok(answer)
}

async fn multi(connection: &mut Conn, sql: &str) -> Answer {
    let mut answers = Vec::new();
    match connection.query_iter(sql).await {
        Ok(mut found) => {
            let ended = loop {
                match result(&mut found).await {
                    Ok(answer) => answers.push(answer),
                    Err(error) => break Err(error),
                }
                if found.is_empty() {
                    break found.drop_result().await;
                }
            };
            answers.extend(ended.err().map(|error| fault(&error)));
        }
        Err(error) => answers.push(fault(&error)),
    }
    Ok(json!({ "results": answers }))
}

/// What a result says of itself, and its rows.
async fn result<P: Protocol>(found: &mut QueryResult<'_, '_, P>) -> Result<Value, Error> {
    let columns: Vec<Value> = found.columns_ref().iter().map(column).collect();
    let has_rows = !columns.is_empty();
    let rows: Vec<Row> = found.collect().await?;
    if !has_rows {
        return Ok(json!({
            "affected": found.affected_rows(), "insert_id": found.last_insert_id(),
            "warnings": found.warnings(), "info": found.info(),
        }));
    }
    let rows: Vec<Value> = rows.into_iter().map(row).collect();
    Ok(json!({ "columns": columns, "rows": rows }))
}

fn row(row: Row) -> Value {
    row.unwrap().iter().map(value).collect()
}

fn column(column: &Column) -> Value {
    json!([
        column.name_str(),
        column.org_name_str(),
        column.table_str(),
        column.org_table_str(),
        column.schema_str(),
        format!("{:?}", column.column_type()),
        format!("{:?}", column.flags()),
        column.character_set(),
        column.column_length(),
        column.decimals(),
    ])
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::NULL => Value::Null,
        Cell::Bytes(found) => bytes(found),
        Cell::Int(number) => tagged("int", number),
        Cell::UInt(number) => tagged("uint", number),
        Cell::Float(number) => tagged("float", number),
        Cell::Double(number) => tagged("double", number),
        Cell::Date(..) => tagged("date", cell.as_sql(false)),
        Cell::Time(..) => tagged("time", cell.as_sql(false)),
    }
}

fn params(row: &Value) -> Params {
    let cells: Vec<Cell> = parameters(row)
        .into_iter()
        .map(|parameter| match parameter {
            Parameter::Null => Cell::NULL,
            Parameter::Integer(number) => Cell::Int(number),
            Parameter::Unsigned(number) => Cell::UInt(number),
            Parameter::Float(number) => Cell::Double(number),
            Parameter::Text(text) => Cell::Bytes(text.into_bytes()),
            Parameter::Bytes(bytes) => Cell::Bytes(bytes),
        })
        .collect();
    if cells.is_empty() { Params::Empty } else { Params::Positional(cells) }
}

async fn prepared(connection: &mut Conn, given: &Value) -> Answer {
    let statement = match connection.prep(text(&given["sql"])).await {
        Ok(statement) => statement,
        Err(error) => return Ok(json!({ "prepare": fault(&error) })),
    };
    let mut runs = Vec::new();
    for (number, row) in given["with"].as_array().into_iter().flatten().enumerate() {
        if let Some(between) = given["between"].as_str().filter(|_| number == 1) {
            connection.query_drop(between).await?;
        }
        let answer = executed(connection, &statement, row).await;
        runs.push(answer.unwrap_or_else(|error| fault(&error)));
    }
    let about: Vec<Value> = statement.columns().iter().map(column).collect();
    let parameters = statement.num_params();
    connection.close(statement).await?;
    Ok(json!({ "prepared": about, "parameters": parameters, "runs": runs }))
}

async fn executed(
    connection: &mut Conn,
    statement: &mysql_async::Statement,
    row: &Value,
) -> Result<Value, Error> {
    let mut found: QueryResult<'_, 'static, BinaryProtocol> =
        connection.exec_iter(statement, params(row)).await?;
    let answer = result(&mut found).await?;
    found.drop_result().await?;
    Ok(answer)
}

async fn prepared_many(connection: &mut Conn, given: &Value) -> Answer {
    let mut answers = Vec::new();
    for number in 0..given["count"].as_u64().unwrap_or(0) {
        let sql = text(&given["sql"]).replace("{number}", &number.to_string());
        let rows: Vec<Row> = connection.exec(sql, params(&given["with"])).await?;
        answers.extend(rows.into_iter().map(row));
    }
    Ok(digest(&answers))
}

async fn stream(connection: &mut Conn, given: &Value) -> Answer {
    let take = given["take"].as_u64().map_or(usize::MAX, |take| usize::try_from(take).unwrap_or(usize::MAX));
    let mut rows = Vec::new();
    {
        let mut found: QueryResult<'_, 'static, TextProtocol> =
            connection.query_iter(text(&given["sql"])).await?;
        if let Some(mut stream) = found.stream::<Row>().await? {
            while rows.len() < take {
                let Some(next) = stream.next().await else { break };
                rows.push(row(next?));
            }
        }
    }
    // A connection that is dropped now closes in the middle of its result; one that is used again reads it away.
    Ok(json!({ "rows": rows }))
}
