//! Which MySQL-family server programs this machine has. Knows names and places of programs, nothing of how they are
//! run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names a MySQL server program to use beside or instead of the machine's own.
pub const MYSQLD_VARIABLE: &str = "SHARDWAY_TEST_MYSQLD";

/// What to run when no server program is found.
pub const INSTALL: &str = "sudo apt-get update && sudo apt-get install -y --no-install-recommends mariadb-server-core mariadb-client-core";

/// Searched after `PATH`: distributions put servers where an ordinary user's `PATH` does not look.
const PLACES: &[&str] =
    &["/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin", "/usr/local/mysql/bin"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    MariaDb,
    MySql,
}

impl Flavor {
    pub fn name(self) -> &'static str {
        match self {
            Flavor::MariaDb => "MariaDB",
            Flavor::MySql => "MySQL",
        }
    }
}

/// A server program that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub flavor: Flavor,
    /// As the program says it, e.g. `10.11.6-MariaDB`.
    pub version: String,
    pub path: PathBuf,
}

impl Installed {
    /// Asks the program at `path` what it is; `None` when it cannot be run.
    pub fn at(path: &Path) -> Option<Installed> {
        let output = Command::new(path).arg("--version").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (flavor, version) = read_version(&text)?;
        Some(Installed { flavor, version, path: path.to_owned() })
    }

    pub fn mariadb() -> Option<Installed> {
        ["mariadbd", "mysqld"]
            .iter()
            .flat_map(|name| everywhere(name))
            .find_map(|path| Installed::at(&path).filter(|found| found.flavor == Flavor::MariaDb))
    }

    pub fn mysql() -> Option<Installed> {
        std::env::var_os(MYSQLD_VARIABLE)
            .map(PathBuf::from)
            .into_iter()
            .chain(everywhere("mysqld"))
            .find_map(|path| Installed::at(&path).filter(|found| found.flavor == Flavor::MySql))
    }

    /// Whatever is there, MariaDB first since it needs less memory.
    pub fn any() -> Option<Installed> {
        Installed::mariadb().or_else(Installed::mysql)
    }
}

/// The program that lays out a data directory for MariaDB.
pub(super) fn mariadb_install() -> Option<PathBuf> {
    ["mariadb-install-db", "mysql_install_db"].iter().find_map(|name| everywhere(name).next())
}

/// Every executable file called `name`, in the order of search.
fn everywhere(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from)).collect();
    let name = name.to_owned();
    places.into_iter().map(move |place| place.join(&name)).filter(|path| path.is_file())
}

/// From `mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)`.
fn read_version(text: &str) -> Option<(Flavor, String)> {
    let word = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1)?;
    let flavor = if text.contains("MariaDB") { Flavor::MariaDb } else { Flavor::MySql };
    Some((flavor, word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flavor_is_read_from_what_the_program_says_and_not_from_its_name() {
        let mariadb = "mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)";
        assert_eq!(read_version(mariadb), Some((Flavor::MariaDb, "10.11.6-MariaDB-0+deb12u1".to_owned())));
        let mysql = "/usr/sbin/mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)";
        assert_eq!(read_version(mysql), Some((Flavor::MySql, "8.4.3".to_owned())));
    }

    #[test]
    fn a_program_that_does_not_speak_of_a_version_is_not_a_server() {
        assert_eq!(read_version("usage: something"), None);
        assert_eq!(Installed::at(Path::new("/nonexistent/mysqld")), None);
        assert_eq!(Installed::at(Path::new("/bin/true")), None);
    }
}
