//! The header that load balancers put in front of a connection to say whom they speak for: the PROXY protocol, version 1
//! (a line of text) and 2 (binary). Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! Pure. A caller reads exactly the bytes that it is told to read, so nothing behind the header is taken with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
const WORD: &[u8] = b"PROXY ";
/// The shortest header of either version, `PROXY UNKNOWN` and its end of line.
const SHORTEST: usize = 15;
/// Of version 1, with its end of line.
const LINE_BYTES_MAX: usize = 107;
/// Of what follows the fixed part in version 2: addresses and additional values, a client's certificate among them.
const REST_BYTES_MAX: usize = 16 << 10;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

/// How far [`decode`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// At least so many bytes are missing.
    More(usize),
    Whole(Header),
}

/// What a header says of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The load balancer speaks for this client.
    Client(SocketAddr),
    /// It speaks for itself (health checks), or does not say for whom.
    Own,
}

/// No header, or a broken one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHeader(&'static str);

/// Reads a header, whose first bytes `bytes` are. Additional values (TLVs) are skipped.
pub fn decode(bytes: &[u8]) -> Result<Progress, BadHeader> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(left, right)| left == right);
    if !begins(WORD) && !begins(SIGNATURE) {
        return Err(BadHeader("no PROXY protocol header"));
    }
    if bytes.len() < SHORTEST {
        return Ok(Progress::More(SHORTEST - bytes.len()));
    }
    if begins(SIGNATURE) { decode_binary(bytes) } else { decode_line(bytes) }
}

fn decode_line(bytes: &[u8]) -> Result<Progress, BadHeader> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        if bytes.len() >= LINE_BYTES_MAX {
            return Err(BadHeader("a PROXY line without an end"));
        }
        // The line may end with the next byte.
        return Ok(Progress::More(if bytes.ends_with(b"\r") { 1 } else { 2 }));
    };
    if end + 2 > LINE_BYTES_MAX {
        return Err(BadHeader("a PROXY line that is too long"));
    }
    let broken = BadHeader("a PROXY line that cannot be read");
    let line = std::str::from_utf8(&bytes[WORD.len()..end]).map_err(|_| broken)?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Progress::Whole(Header::Own));
    }
    let words: Vec<&str> = line.split(' ').collect();
    let &[family, source, destination, source_port, destination_port] = words.as_slice() else {
        return Err(broken);
    };
    let address = |text: &str| -> Result<IpAddr, BadHeader> {
        match family {
            "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| broken),
            "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| broken),
            _ => Err(broken),
        }
    };
    let port = |text: &str| text.parse::<u16>().map_err(|_| broken);
    address(destination)?;
    port(destination_port)?;
    Ok(Progress::Whole(Header::Client(SocketAddr::new(address(source)?, port(source_port)?))))
}

fn decode_binary(bytes: &[u8]) -> Result<Progress, BadHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Progress::More(FIXED_BYTES - bytes.len()));
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > REST_BYTES_MAX {
        return Err(BadHeader("a PROXY header that is too long"));
    }
    if rest.len() < length {
        return Ok(Progress::More(length - rest.len()));
    }
    let rest = &rest[..length];
    let header = match (command, family) {
        (LOCAL, _) | (PROXY, UNSPECIFIED | UNIX_STREAM) => Header::Own,
        (PROXY, TCP4) => Header::Client(tcp4(rest).ok_or(BadHeader("a PROXY header without its addresses"))?),
        (PROXY, TCP6) => Header::Client(tcp6(rest).ok_or(BadHeader("a PROXY header without its addresses"))?),
        (PROXY, _) => return Err(BadHeader("a PROXY header of a family that is not TCP")),
        _ => return Err(BadHeader("a PROXY header of an unknown version or command")),
    };
    Ok(Progress::Whole(header))
}

/// Both addresses, then both ports.
fn tcp4(rest: &[u8]) -> Option<SocketAddr> {
    let addresses = rest.first_chunk::<12>()?;
    let (source, _) = addresses.split_first_chunk::<4>()?;
    Some(SocketAddr::new(Ipv4Addr::from(*source).into(), u16::from_be_bytes([addresses[8], addresses[9]])))
}

fn tcp6(rest: &[u8]) -> Option<SocketAddr> {
    let addresses = rest.first_chunk::<36>()?;
    let (source, _) = addresses.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes([addresses[32], addresses[33]]);
    Some(SocketAddr::new(Ipv6Addr::from(*source).into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family, length[0], length[1]], rest].concat()
    }

    /// Feeds `bytes` as they are asked for.
    fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, BadHeader> {
        let mut have = 0;
        loop {
            match decode(&bytes[..have])? {
                Progress::Whole(header) => return Ok(Some((header, have))),
                Progress::More(missing) => {
                    assert!(missing > 0);
                    have += missing;
                }
            }
            if have > bytes.len() {
                return decode(bytes).map(|_| None);
            }
        }
    }

    fn client(address: &str) -> Header {
        Header::Client(address.parse().unwrap())
    }

    #[test]
    fn a_line_names_the_client_and_nothing_behind_it_is_read() {
        for (line, header) in [
            ("PROXY TCP4 203.0.113.9 10.0.0.1 51234 3306\r\n", client("203.0.113.9:51234")),
            ("PROXY TCP6 2001:db8::9 ::1 51234 3306\r\n", client("[2001:db8::9]:51234")),
            ("PROXY UNKNOWN\r\n", Header::Own),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header::Own),
        ] {
            for behind in ["", "\r\n", "\x16\x03\x01"] {
                let bytes = format!("{line}{behind}");
                assert_eq!(read(bytes.as_bytes()), Ok(Some((header, line.len()))), "{line}");
            }
        }
    }

    #[test]
    fn a_binary_header_names_the_client_and_its_additional_values_are_skipped() {
        let four = [203, 0, 113, 9, 10, 0, 0, 1, 0xc8, 0x22, 0x0c, 0xea];
        let mut six = vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        six.extend_from_slice(&[0; 16]);
        six.extend_from_slice(&[0xc8, 0x22, 0x0c, 0xea]);
        let values = [3, 0, 4, 1, 2, 3, 4];
        for (command, family, rest, header) in [
            (PROXY, TCP4, &four[..], client("203.0.113.9:51234")),
            (PROXY, TCP6, &six, client("[2001:db8::9]:51234")),
            (LOCAL, UNSPECIFIED, &[], Header::Own),
            (LOCAL, TCP4, &four, Header::Own),
            (PROXY, UNSPECIFIED, &[], Header::Own),
            (PROXY, UNIX_STREAM, &[0; 216], Header::Own),
        ] {
            for values in [&values[..], &[]] {
                let whole = binary(command, family, &[rest, values].concat());
                let sent = [&whole[..], b"behind"].concat();
                assert_eq!(read(&sent), Ok(Some((header, whole.len()))), "{command:x} {family:x}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_shows() {
        for bytes in [
            &b"x"[..],
            b"\r\n\r\nGET",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 51234\r\n",
            b"PROXY TCP4 2001:db8::9 ::1 51234 3306\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 65536 3306\r\n",
            b"PROXY UDP4 203.0.113.9 10.0.0.1 51234 3306\r\n",
            b"PROXY  TCP4 203.0.113.9 10.0.0.1 51234 3306\r\n",
            &[b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat(),
            &binary(PROXY, 0x12, &[0; 12]),
            &binary(0x22, TCP4, &[0; 12]),
            &binary(0x11, TCP4, &[0; 12]),
            &binary(PROXY, TCP4, &[0; 11]),
            &binary(PROXY, TCP6, &[0; 35]),
            &binary(LOCAL, UNSPECIFIED, &[0; REST_BYTES_MAX + 1]),
        ] {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn hostile_headers_do_not_panic(version in 0..3, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let start: &[u8] = match version { 0 => b"", 1 => WORD, _ => SIGNATURE };
            let _header = read(&[start, &bytes].concat());
        }
    }
}
