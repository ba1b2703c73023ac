//! Turns sockets into connections under limits. Knows nothing of what is served.
//!
//! * `accept` — the loop, under a limit that may change. * `tls` — the certificate that clients see.

mod accept;
mod tls;

pub(crate) use accept::accept;
pub(crate) use tls::{TlsFault, load as load_certificate};
