//! The proxy as a child process of its own: a crash of it is then seen, not shared.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::server::{LocalError, tail};
use super::supervise::{POLL, Supervised};

/// Reading two files and binding three ports takes milliseconds.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Where a proxy listens, from the line that it prints when it does:
/// `ready mysql=127.0.0.1:1 admin=127.0.0.1:2 http=127.0.0.1:3`, without the ports that are turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub mysql: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub http: Option<SocketAddr>,
}

impl Addresses {
    fn read(line: &str) -> Option<Addresses> {
        let words = line.strip_prefix("ready ")?;
        let address = |name: &str| {
            let mut pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
            pairs.find(|(found, _)| *found == name)?.1.parse().ok()
        };
        Some(Addresses { mysql: address("mysql")?, admin: address("admin"), http: address("http") })
    }
}

/// A running proxy; ends when dropped or when this process ends.
#[derive(Debug)]
pub struct ProxyProcess {
    pub process: Supervised,
    pub addresses: Addresses,
    home: PathBuf,
}

impl ProxyProcess {
    /// Starts `binary serve --config config` and waits until it listens; its output is kept in `home`.
    pub async fn start(
        binary: &Path,
        home: &Path,
        config: &Path,
        variables: &[(&str, &str)],
    ) -> Result<ProxyProcess, LocalError> {
        let arguments = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
        let (out, log) = (home.join("out"), home.join("log"));
        let mut process = Supervised::start(binary, arguments, variables, &out, &log)
            .map_err(LocalError::files(format!("starting {}", binary.display())))?;
        let name = || "the proxy".to_owned();
        let said = || [tail(&out), tail(&log)].join("\n").trim().to_owned();
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            if process.exited().map_err(LocalError::files("watching the proxy"))?.is_some() {
                return Err(LocalError::Ended { name: name(), log: said() });
            }
            let printed = std::fs::read_to_string(&out).unwrap_or_default();
            // The last line may be half written.
            let whole = printed.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(addresses) = whole.lines().find_map(Addresses::read) {
                return Ok(ProxyProcess { process, addresses, home: home.to_owned() });
            }
            if Instant::now() >= deadline {
                return Err(LocalError::Slow { name: name(), log: said() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// All that it printed and logged so far.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read(self.home.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("out"), read("log")].concat()).into_owned()
    }

    pub fn log_tail(&self) -> String {
        tail(&self.home.join("log"))
    }

    /// Returns when the process has ended, with the end of its log.
    pub async fn crash(&mut self) -> String {
        while matches!(self.process.exited(), Ok(None)) {
            tokio::time::sleep(POLL * 10).await;
        }
        self.log_tail()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_ports_that_are_on() {
        let addresses = Addresses::read("ready mysql=127.0.0.1:1 http=127.0.0.1:3").unwrap();
        assert_eq!(addresses.mysql.port(), 1);
        assert_eq!(addresses.admin, None);
        assert_eq!(addresses.http.map(|address| address.port()), Some(3));
        assert_eq!(Addresses::read("ready admin=127.0.0.1:2"), None);
        assert_eq!(Addresses::read("not ready mysql=127.0.0.1:1"), None);
    }
}
