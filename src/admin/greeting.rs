//! What clients send on their own around an operator's statements: settings, questions about versions and users. They
//! are answered so that the `mysql` and `mariadb` command lines and drivers feel at home; nothing here changes anything.

/// An answer with column names that are the client's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Courtesy {
    Done,
    Table { columns: Vec<String>, rows: Vec<Vec<Option<String>>> },
}

/// What such questions are about.
pub(crate) struct Caller<'a> {
    pub(crate) user: &'a str,
    pub(crate) host: &'a str,
    pub(crate) connection: u32,
    pub(crate) version: &'a str,
}

/// `None`: the statement is not one of these.
pub(crate) fn answer(statement: &str, caller: &Caller<'_>) -> Option<Courtesy> {
    let statement = statement.trim_matches(|c: char| c.is_whitespace() || c == ';');
    let lower = statement.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_ascii_whitespace().collect();
    let empty = |columns: &[&str]| {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Some(Courtesy::Table { columns, rows: Vec::new() })
    };
    match words.as_slice() {
        ["set", ..] | ["begin" | "commit" | "rollback"] | ["start", "transaction", ..] => {
            Some(Courtesy::Done)
        }
        ["show", "warnings", ..] => empty(&["Level", "Code", "Message"]),
        ["show", "databases"] => empty(&["Database"]),
        ["show", "tables"] => empty(&["Tables"]),
        ["select", ..] => select(statement["select".len()..].trim(), caller),
        _ => None,
    }
}

/// A list of `@@variable`, functions without arguments and the number 1, each with an optional alias.
fn select(list: &str, caller: &Caller<'_>) -> Option<Courtesy> {
    let lower = list.to_ascii_lowercase();
    let list = lower.find(" limit ").map_or(list, |at| list[..at].trim());
    let mut columns = Vec::new();
    let mut row = Vec::new();
    for item in list.split(',') {
        let words: Vec<&str> = item.split_ascii_whitespace().collect();
        let (expression, alias) = match *words.as_slice() {
            [expression] => (expression, expression),
            [expression, alias] => (expression, alias),
            [expression, word, alias] if word.eq_ignore_ascii_case("as") => (expression, alias),
            _ => return None,
        };
        columns.push(alias.trim_matches(['`', '\'', '"']).to_owned());
        row.push(value(&expression.to_ascii_lowercase(), caller)?);
    }
    Some(Courtesy::Table { columns, rows: vec![row] })
}

/// The inner `None` is NULL.
fn value(expression: &str, caller: &Caller<'_>) -> Option<Option<String>> {
    let Some(variable) = expression.strip_prefix("@@") else {
        return match expression {
            "1" => Some(Some("1".to_owned())),
            "database()" | "schema()" => Some(None),
            "version()" => Some(Some(caller.version.to_owned())),
            "connection_id()" => Some(Some(caller.connection.to_string())),
            "user()" | "current_user()" | "current_user" | "session_user()" => {
                Some(Some(format!("{}@{}", caller.user, caller.host)))
            }
            _ => None,
        };
    };
    let variable = variable.strip_prefix("session.").or(variable.strip_prefix("global.")).unwrap_or(variable);
    let value = match variable {
        "version_comment" => "Shardway admin port",
        "version" => caller.version,
        "max_allowed_packet" => "16777216",
        "autocommit" => "1",
        "sql_mode" | "init_connect" => "",
        "character_set_client"
        | "character_set_connection"
        | "character_set_results"
        | "character_set_server"
        | "character_set_database" => "utf8mb4",
        "collation_connection" | "collation_server" | "collation_database" => "utf8mb4_general_ci",
        "time_zone" | "system_time_zone" => "SYSTEM",
        "transaction_isolation" | "tx_isolation" => "REPEATABLE-READ",
        "transaction_read_only"
        | "tx_read_only"
        | "lower_case_table_names"
        | "warning_count"
        | "error_count" => "0",
        "wait_timeout" | "interactive_timeout" => "28800",
        "auto_increment_increment" => "1",
        "license" => "Apache-2.0",
        "port" | "socket" | "hostname" => return Some(None),
        _ => return None,
    };
    Some(Some(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: Caller<'static> =
        Caller { user: "ops", host: "127.0.0.1", connection: 7, version: "8.4.0" };

    fn row(statement: &str) -> Vec<Option<String>> {
        match answer(statement, &CALLER) {
            Some(Courtesy::Table { rows, .. }) => rows.into_iter().next().unwrap_or_default(),
            other => panic!("{statement}: {other:?}"),
        }
    }

    #[test]
    fn command_lines_and_drivers_get_what_they_ask_at_connect() {
        assert_eq!(row("select @@version_comment limit 1"), [Some("Shardway admin port".to_owned())]);
        assert_eq!(row("SELECT DATABASE()"), [None]);
        assert_eq!(row("select USER()"), [Some("ops@127.0.0.1".to_owned())]);
        assert_eq!(row("SELECT @@session.autocommit, @@max_allowed_packet AS p").len(), 2);
        for statement in ["SET NAMES utf8mb4", "set autocommit=0;", "COMMIT"] {
            assert_eq!(answer(statement, &CALLER), Some(Courtesy::Done), "{statement}");
        }
        assert!(row("SHOW WARNINGS").is_empty());
    }

    #[test]
    fn columns_are_named_as_the_client_wrote_them() {
        let Some(Courtesy::Table { columns, .. }) = answer("SELECT @@Version, USER() `who`", &CALLER) else {
            panic!("a table");
        };
        assert_eq!(columns, ["@@Version", "who"]);
    }

    #[test]
    fn other_statements_are_not_answered_here() {
        for statement in ["SELECT * FROM orders", "SHOW SHARDS", "SELECT @@secret", "DROP TABLE t", ""] {
            assert_eq!(answer(statement, &CALLER), None, "{statement}");
        }
    }
}
