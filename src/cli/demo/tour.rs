//! The sample statements through the proxy: the route of each, and with `--once` its result.

use std::fmt::Write;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::super::files::count;
use super::shop::{SAMPLES, Sample};

/// Rows of a result that are shown.
const SHOWN_ROWS: usize = 5;

/// What the proxy says about where a statement goes.
pub(super) async fn route(connection: &mut Conn, statement: &str) -> Result<String, mysql_async::Error> {
    let mut result = connection.query_iter(format!("SHARDWAY EXPLAIN {statement}")).await?;
    let names: Vec<String> =
        result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    let rows: Vec<Row> = result.collect().await?;
    let rows: Vec<Vec<String>> = rows.into_iter().map(cells).collect();
    Ok(read_route(&names, &rows))
}

/// EXPLAIN answers with lines of a name and a value; those called `route` are what is looked for. Anything else is
/// shown as it is.
fn read_route(names: &[String], rows: &[Vec<String>]) -> String {
    let wanted = |name: &String| name.eq_ignore_ascii_case("route");
    let lines: Vec<&str> = match names.iter().position(wanted) {
        Some(column) => rows.iter().filter_map(|row| row.get(column)).map(String::as_str).collect(),
        None => rows
            .iter()
            .filter(|row| row.first().is_some_and(wanted))
            .filter_map(|row| row.get(1))
            .map(String::as_str)
            .collect(),
    };
    if lines.is_empty() {
        return rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join("; ");
    }
    lines.join("; ")
}

/// The samples with their routes, as lines to print.
pub(super) async fn routes(connection: &mut Conn) -> Result<String, mysql_async::Error> {
    let mut out = String::new();
    for Sample { shows, statement } in SAMPLES {
        let route = route(connection, statement).await?;
        push(&mut out, format_args!("  {statement};\n      -- {shows}\n      -- route: {route}\n\n"));
    }
    Ok(out)
}

/// Runs one sample; the text says what happened, the flag whether it went well.
pub(super) async fn run(connection: &mut Conn, sample: &Sample) -> (String, bool) {
    let statement = sample.statement;
    let mut out = format!("{statement};\n  shows:  {}\n", sample.shows);
    let mut well = true;
    match route(connection, statement).await {
        Ok(route) => push(&mut out, format_args!("  route:  {route}\n")),
        Err(error) => {
            well = false;
            push(&mut out, format_args!("  route:  FAILED: {error}\n"));
        }
    }
    match outcome(connection, statement).await {
        Ok(text) => out.push_str(&text),
        Err(error) => {
            well = false;
            push(&mut out, format_args!("  result: FAILED: {error}\n"));
        }
    }
    (out, well)
}

async fn outcome(connection: &mut Conn, statement: &str) -> Result<String, mysql_async::Error> {
    let mut result = connection.query_iter(statement).await?;
    let names: Vec<String> =
        result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    if names.is_empty() {
        return Ok(format!("  result: {} affected\n", count(result.affected_rows() as usize, "row")));
    }
    let rows: Vec<Row> = result.collect().await?;
    let rows: Vec<Vec<String>> = rows.into_iter().map(cells).collect();
    Ok(format!("  result: {}\n{}", count(rows.len(), "row"), table(&names, &rows)))
}

fn cells(row: Row) -> Vec<String> {
    let cell = |value: Value| match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => other.as_sql(true),
    };
    row.unwrap_raw().into_iter().map(|value| value.map_or_else(String::new, cell)).collect()
}

/// A table drawn as `mysql` draws it; long results are cut and say so.
fn table(names: &[String], rows: &[Vec<String>]) -> String {
    let shown = &rows[..rows.len().min(SHOWN_ROWS)];
    let width = |column: usize| {
        let cells = shown.iter().filter_map(|row| row.get(column)).chain(names.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} ")).collect();
        format!("    |{}|\n", cells.join("|"))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    let rule = format!("    +{}+\n", rule.join("+"));
    let mut out = format!("{rule}{}{rule}", line(names));
    for row in shown {
        out.push_str(&line(row));
    }
    out.push_str(&rule);
    if rows.len() > shown.len() {
        push(&mut out, format_args!("    and {} more\n", count(rows.len() - shown.len(), "row")));
    }
    out
}

/// Writing to a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cell_and_says_what_it_left_out() {
        let rows: Vec<Vec<String>> = (0..7).map(|number| words(&[&number.to_string(), "é"])).collect();
        let text = table(&words(&["id", "name"]), &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "    | id | name |");
        assert_eq!(lines[3], "    | 0  | é    |");
        assert_eq!(lines.last(), Some(&"    and 2 rows more"));
    }

    #[test]
    fn the_route_is_found_as_a_column_or_as_a_line() {
        let rows = [words(&["passthrough", "shard1"])];
        assert_eq!(read_route(&words(&["plan", "route"]), &rows), "shard1");
        let rows = [words(&["plan", "passthrough"]), words(&["route", "shard2"])];
        assert_eq!(read_route(&words(&["item", "value"]), &rows), "shard2");
        assert_eq!(read_route(&words(&["explanation"]), &[words(&["to shard1"])]), "to shard1");
    }
}
