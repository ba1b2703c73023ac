//! What the tests of this module share: contexts and a scan.

use super::{Charset, Context, Flavor, ScanError, SqlMode, Statement};

pub(super) const MODE: SqlMode = SqlMode {
    ansi_quotes: false,
    no_backslash_escapes: false,
    pipes_as_concat: false,
    ignore_space: false,
    high_not_precedence: false,
};

pub(super) const MYSQL: Context =
    Context { mode: MODE, charset: Charset::AsciiSafe, flavor: Flavor::MySql, server_version: 90_704 };

pub(super) const MARIADB: Context = Context { flavor: Flavor::MariaDb, server_version: 101_119, ..MYSQL };

pub(super) fn scan(text: impl AsRef<[u8]>) -> Statement {
    scan_in(text, &MYSQL).unwrap()
}

pub(super) fn scan_in(text: impl AsRef<[u8]>, context: &Context) -> Result<Statement, ScanError> {
    let mut statement = Statement::seeded(7);
    statement.scan(text.as_ref(), context)?;
    Ok(statement)
}
