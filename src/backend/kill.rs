//! Ends a statement that runs on a server, over a fresh connection: the pool may be exhausted by what is to be ended.

use std::time::Duration;

use super::connect::Connector;
use super::connection::Flavor;
use super::error::BackendError;
use crate::config::Credential;
use crate::topology::Server;

const COM_QUERY: u8 = 0x03;
const ERR_HEADER: u8 = 0xff;
/// The connection ended meanwhile, and its statement with it.
const ER_NO_SUCH_THREAD: u16 = 1094;

/// `KILL QUERY thread_id`. Connecting and killing share `timeout`. Success does not say that the statement was still running.
pub(crate) async fn kill_query(
    connector: &Connector,
    server: &Server,
    credential: &Credential,
    thread_id: u32,
    timeout: Duration,
) -> Result<(), BackendError> {
    let work = async {
        let mut connection = connector.open(server, credential, Flavor::default(), timeout).await?;
        connection.command(&command(thread_id)).await?;
        let answer = connection.packet().await?;
        super::checkout::quit(connection);
        verdict(server, &answer)
    };
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        Err(BackendError::ConnectTimeout { server: server.name.clone(), waited: timeout })
    })
}

fn command(thread_id: u32) -> Vec<u8> {
    let mut command = vec![COM_QUERY];
    command.extend_from_slice(format!("KILL QUERY {thread_id}").as_bytes());
    command
}

fn verdict(server: &Server, answer: &[u8]) -> Result<(), BackendError> {
    let [ERR_HEADER, low, high, rest @ ..] = answer else { return Ok(()) };
    let code = u16::from_le_bytes([*low, *high]);
    if code == ER_NO_SUCH_THREAD {
        return Ok(());
    }
    let what = format!("error {code} to KILL QUERY: {}", String::from_utf8_lossy(rest));
    Err(BackendError::Protocol { server: server.name.clone(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::ServerTlsMode;

    fn server() -> Server {
        Server { name: "h:1".into(), host: "h".into(), port: 1, tls: ServerTlsMode::Disabled }
    }

    #[test]
    fn the_command_names_the_thread() {
        assert_eq!(command(u32::MAX), b"\x03KILL QUERY 4294967295");
    }

    #[test]
    fn a_thread_that_is_gone_counts_as_killed_and_a_refusal_does_not() {
        assert!(verdict(&server(), &[0, 0, 0, 2, 0, 0, 0]).is_ok());
        assert!(verdict(&server(), b"\xff\x46\x04#HY000Unknown thread id: 7").is_ok());
        let denied = verdict(&server(), b"\xff\x47\x04#HY000You are not owner of thread 7");
        assert!(denied.unwrap_err().to_string().contains("error 1095"));
    }
}
