//! Turns sockets into connections under limits. Knows nothing of what is served.
//!
//! * `accept` — the loop, under a limit that may change. * `arrival`, `proxy_header` — who is at the other end of a
//!   connection that a load balancer opened. * `tls` — the certificate that clients see.

mod accept;
mod arrival;
mod proxy_header;
mod tls;

pub(crate) use accept::accept;
pub(crate) use arrival::{ArrivalError, client_address};
pub use proxy_header::{BadHeader, Header, Progress, decode as decode_proxy_header};
pub(crate) use tls::{TlsFault, load as load_certificate};
