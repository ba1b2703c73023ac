//! Programs that tests drive as a user would. `make test` installs them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the Python with PyMySQL when it is not `python3`.
const PYTHON_VARIABLE: &str = "SHARDWAY_TEST_PYTHON";

/// The `mysql` or `mariadb` command-line client; its absence fails the test.
pub(crate) fn command_line_client() -> PathBuf {
    let found = ["mariadb", "mysql"].into_iter().find(|name| runs(Path::new(name), &["--version"]));
    PathBuf::from(found.expect("these tests need the mysql client: scripts/need test"))
}

/// A Python that has PyMySQL; its absence fails the test.
pub(crate) fn python() -> PathBuf {
    let named = std::env::var_os(PYTHON_VARIABLE).map(PathBuf::from);
    let usual = ["python3", "/usr/bin/python3"].map(PathBuf::from);
    let found =
        named.into_iter().chain(usual).find(|python| runs(python, &["-c", "import pymysql, cryptography"]));
    found.expect("these tests need Python with PyMySQL: scripts/need test")
}

/// Prometheus's checker; says loudly when there is none.
pub(crate) fn promtool() -> Option<PathBuf> {
    let found = runs(Path::new("promtool"), &["--version"]).then(|| PathBuf::from("promtool"));
    if found.is_none() {
        // Past the capture of test output: a skip must be seen in a green run.
        let _written = writeln!(std::io::stderr(), "\nSKIPPED: promtool is not here (package prometheus)\n");
    }
    found
}

/// The dump programs that are here: MariaDB's and MySQL's, the latter also beside the server that `SHARDWAY_TEST_MYSQLD`
/// names; says loudly when there is none.
pub(crate) fn dump_programs() -> Vec<PathBuf> {
    let beside =
        std::env::var_os("SHARDWAY_TEST_MYSQLD").map(|server| Path::new(&server).with_file_name("mysqldump"));
    let mut programs = vec![PathBuf::from("mariadb-dump")];
    // Debian's mysqldump is MariaDB's under another name.
    programs.extend(beside);
    programs.retain(|program| runs(program, &["--version"]));
    if programs.is_empty() {
        let _written = writeln!(
            std::io::stderr(),
            "\nSKIPPED: neither mariadb-dump nor mysqldump is here (package mariadb-client)\n"
        );
    }
    programs
}

fn runs(program: &Path, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
