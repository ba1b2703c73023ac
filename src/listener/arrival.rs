//! Who is at the other end of a connection: the socket's peer, or whom a trusted load balancer speaks for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::proxy_header::{BadHeader, Header, Progress, decode};
use crate::config::Network;

/// Why a connection from a trusted network is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArrivalError {
    /// Health checks end so.
    #[error("it was closed before a PROXY protocol header came")]
    Gone(#[source] io::Error),
    #[error("{0}")]
    Bad(#[from] BadHeader),
    #[error("no PROXY protocol header within {limit:?}")]
    Timeout { limit: Duration },
}

/// The client's address. From `trusted` networks the header is required; from elsewhere it is not looked for, so that
/// nobody can pretend to be somebody else.
pub(crate) async fn client_address<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    trusted: &[Network],
    limit: Duration,
) -> Result<SocketAddr, ArrivalError> {
    if !trusted.iter().any(|network| network.contains(peer.ip())) {
        return Ok(peer);
    }
    match tokio::time::timeout(limit, read_header(stream)).await {
        Ok(Ok(Header::Client(client))) => Ok(SocketAddr::new(client.ip().to_canonical(), client.port())),
        Ok(Ok(Header::Own)) => Ok(peer),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ArrivalError::Timeout { limit }),
    }
}

async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, ArrivalError> {
    let mut header = Vec::new();
    loop {
        match decode(&header)? {
            Progress::Whole(whole) => return Ok(whole),
            Progress::More(missing) => {
                let start = header.len();
                header.resize(start + missing, 0);
                let mut filled = start;
                // Judged as it comes: what is no header shows in its first byte, and more may never follow.
                while filled < header.len() {
                    let count = stream.read(&mut header[filled..]).await.map_err(ArrivalError::Gone)?;
                    if count == 0 {
                        return Err(ArrivalError::Gone(io::ErrorKind::UnexpectedEof.into()));
                    }
                    filled += count;
                    decode(&header[..filled])?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const LINE: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 51234 3306\r\n";

    async fn arrived(mut bytes: &[u8], peer: &str) -> (Result<SocketAddr, ArrivalError>, usize) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let address = client_address(&mut bytes, peer.parse().unwrap(), &trusted, LIMIT).await;
        (address, bytes.len())
    }

    #[tokio::test]
    async fn a_header_is_believed_from_trusted_networks_only() {
        for peer in ["10.1.2.3:999", "[::1]:999", "[::ffff:10.1.2.3]:999"] {
            let (address, left) = arrived(&[LINE, b"rest"].concat(), peer).await;
            assert_eq!((address.unwrap().to_string().as_str(), left), ("203.0.113.9:51234", 4), "{peer}");
        }
        let (address, left) = arrived(LINE, "192.0.2.1:999").await;
        assert_eq!((address.unwrap().to_string().as_str(), left), ("192.0.2.1:999", LINE.len()));
        let (address, _) = arrived(b"PROXY UNKNOWN\r\n", "10.1.2.3:999").await;
        assert_eq!(address.unwrap().to_string(), "10.1.2.3:999");
    }

    #[tokio::test]
    async fn a_mapped_client_is_its_ipv4_address() {
        let (address, _) = arrived(b"PROXY TCP6 ::ffff:203.0.113.9 ::1 51234 3306\r\n", "10.1.2.3:999").await;
        assert_eq!(address.unwrap().to_string(), "203.0.113.9:51234");
    }

    #[tokio::test]
    async fn a_connection_without_its_header_is_not_served() {
        assert!(matches!(arrived(b"", "10.0.0.1:1").await.0, Err(ArrivalError::Gone(_))));
        assert!(matches!(arrived(&LINE[..20], "10.0.0.1:1").await.0, Err(ArrivalError::Gone(_))));
        assert!(matches!(arrived(b"\x20\0\0\x01", "10.0.0.1:1").await.0, Err(ArrivalError::Bad(_))));
        let (_near, mut far) = tokio::io::duplex(10);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let limit = Duration::from_millis(1);
        let silent = client_address(&mut far, "10.0.0.1:1".parse().unwrap(), &trusted, limit).await;
        assert!(matches!(silent, Err(ArrivalError::Timeout { .. })));
    }
}
