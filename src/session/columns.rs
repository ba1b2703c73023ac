//! Columns of what the proxy answers in a server's place, as a server of the same flavor defines them: drivers choose their types
//! by these. Checked with MariaDB 10.11 and MySQL 9.

use super::variables::Variables;
use crate::sql::Flavor;
use crate::wire::{ColumnDefinition, ColumnKind, character_bytes, collation_of, default_collation_of};

const TYPE_LONG: u8 = 3;
const TYPE_VAR_STRING: u8 = 253;
const FLAG_NOT_NULL: u16 = 1;
const UTF8MB3_GENERAL_CI: u16 = 33;
const UTF8MB4_0900_AI_CI: u16 = 255;
const LEVEL_CHARACTERS: u32 = 7;
const MESSAGE_CHARACTERS: u32 = 512;

/// Level, Code and Message of SHOW WARNINGS and SHOW ERRORS.
pub(super) fn conditions(variables: &Variables) -> Vec<ColumnDefinition> {
    let mysql = variables.context().flavor == Flavor::MySql;
    let collation = results_collation(variables);
    let text = |name: &str, characters: u32| ColumnDefinition {
        kind: TYPE_VAR_STRING,
        length: characters * character_bytes(collation),
        flags: FLAG_NOT_NULL,
        decimals: if mysql { 31 } else { 39 },
        ..ColumnDefinition::local(name, ColumnKind::Text, collation)
    };
    let code = ColumnDefinition { length: if mysql { 5 } else { 4 }, ..int("Code") };
    vec![text("Level", LEVEL_CHARACTERS), code, text("Message", MESSAGE_CHARACTERS)]
}

/// A system variable that counts, as SHOW COUNT(*) WARNINGS shows it.
pub(super) fn count(name: &str) -> ColumnDefinition {
    let column = number(name);
    ColumnDefinition { flags: column.flags & !FLAG_NOT_NULL, ..column }
}

pub(super) fn connection_id(name: &str, flavor: Flavor) -> ColumnDefinition {
    match flavor {
        Flavor::MySql => number(name),
        Flavor::MariaDb => ColumnDefinition { length: 10, ..int(name) },
    }
}

/// BIGINT UNSIGNED.
pub(super) fn number(name: &str) -> ColumnDefinition {
    ColumnDefinition::local(name, ColumnKind::Number, UTF8MB3_GENERAL_CI)
}

/// BIGINT.
pub(super) fn signed(name: &str) -> ColumnDefinition {
    ColumnDefinition::local(name, ColumnKind::Signed, UTF8MB3_GENERAL_CI)
}

/// INT UNSIGNED, but for its length.
fn int(name: &str) -> ColumnDefinition {
    ColumnDefinition { kind: TYPE_LONG, ..number(name) }
}

/// What text in results is encoded in; where nothing is converted, the servers' own text is utf8mb3.
fn results_collation(variables: &Variables) -> u16 {
    if let Some(collation) = variables.results_collation().and_then(collation_of) {
        return collation;
    }
    let context = variables.context();
    let mysql8 = context.flavor == Flavor::MySql && context.server_version >= 80_000;
    match variables.results_charset() {
        None => UTF8MB3_GENERAL_CI,
        Some(charset) if mysql8 && charset.eq_ignore_ascii_case("utf8mb4") => UTF8MB4_0900_AI_CI,
        Some(charset) => default_collation_of(charset).unwrap_or(UTF8MB3_GENERAL_CI),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Charset, Context, SqlMode};

    fn on(flavor: Flavor, server_version: u32) -> Context {
        Context { mode: SqlMode::default(), charset: Charset::AsciiSafe, flavor, server_version }
    }

    /// Collation, length, type, flags and decimals.
    fn shown(column: &ColumnDefinition) -> (u16, u32, u8, u16, u8) {
        (column.collation, column.length, column.kind, column.flags, column.decimals)
    }

    #[test]
    fn columns_of_show_warnings_are_those_of_the_servers() {
        for (login, context, expected) in [
            (
                45,
                on(Flavor::MariaDb, 101_100),
                [(45, 28, 253, 1, 39), (63, 4, 3, 161, 0), (45, 2048, 253, 1, 39)],
            ),
            (8, on(Flavor::MariaDb, 101_100), [(8, 7, 253, 1, 39), (63, 4, 3, 161, 0), (8, 512, 253, 1, 39)]),
            (
                255,
                on(Flavor::MySql, 90_700),
                [(255, 28, 253, 1, 31), (63, 5, 3, 161, 0), (255, 2048, 253, 1, 31)],
            ),
            (
                224,
                on(Flavor::MySql, 90_700),
                [(224, 28, 253, 1, 31), (63, 5, 3, 161, 0), (224, 2048, 253, 1, 31)],
            ),
            (
                33,
                on(Flavor::MySql, 90_700),
                [(33, 21, 253, 1, 31), (63, 5, 3, 161, 0), (33, 1536, 253, 1, 31)],
            ),
        ] {
            let variables = Variables::from_login(login, None, context);
            let columns: Vec<_> = conditions(&variables).iter().map(shown).collect();
            assert_eq!(columns, expected, "a login with collation {login}");
        }
    }

    #[test]
    fn numbers_about_the_session_have_the_types_of_the_servers() {
        assert_eq!(shown(&count("@@session.warning_count")), (63, 21, 8, 160, 0));
        assert_eq!(shown(&connection_id("CONNECTION_ID()", Flavor::MySql)), (63, 21, 8, 161, 0));
        assert_eq!(shown(&connection_id("CONNECTION_ID()", Flavor::MariaDb)), (63, 10, 3, 161, 0));
        assert_eq!(shown(&signed("ROW_COUNT()")), (63, 21, 8, 129, 0));
    }
}
