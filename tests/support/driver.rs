//! Clients that others wrote: the command line client of the distribution and PyMySQL.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::client::Access;
use super::tools::{command_line_client, python};
use super::wait::DEADLINE;

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `mariadb` (the command line client) with `sql` on standard input; rows come back as lines with tabs.
pub(crate) async fn command_line(access: &Access, options: &[&str], sql: &str) -> Said {
    let mut command = Command::new(command_line_client());
    command
        .arg("--no-defaults")
        .args(["--protocol=tcp", "--batch", "--skip-column-names"])
        .arg(format!("--host={}", access.address.ip()))
        .arg(format!("--port={}", access.address.port()))
        .arg(format!("--user={}", access.user))
        .arg(format!("--password={}", access.password))
        .args(options)
        .args(&access.database);
    said(command, sql).await
}

/// Runs a Python script in which `connect(**options)` logs in by PyMySQL.
pub(crate) async fn pymysql(access: &Access, script: &str) -> Said {
    let database = access.database.as_ref().map_or("None".to_owned(), |name| format!("{name:?}"));
    let program = format!(
        "import pymysql\n\
         def connect(**options):\n    \
             login = dict(host='{}', port={}, user={:?}, password={:?}, database={database}, connect_timeout=20)\n    \
             login.update(options)\n    \
             return pymysql.connect(**login)\n\
         {script}",
        access.address.ip(),
        access.address.port(),
        access.user,
        access.password
    );
    let mut command = Command::new(python());
    command.arg("-");
    said(command, &program).await
}

/// Runs any program to its end with `input` on standard input.
pub(crate) async fn said(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let shown = format!("{command:?}");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut pipe = child.stdin.take().unwrap();
    // A program that ends without reading is no fault here.
    let _written = pipe.write_all(input.as_bytes()).await;
    drop(pipe);
    let ended = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{shown} does not end")).unwrap();
    Said {
        success: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
