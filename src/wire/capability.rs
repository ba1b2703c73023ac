//! What the proxy offers to clients and asks of servers. Flags that would change bytes in a way that nothing here
//! reads (QUERY_ATTRIBUTES, optional metadata) are never negotiated; SESSION_TRACK with servers only.

pub use mysql_common::constants::{CapabilityFlags, StatusFlags};

/// What the proxy offers beyond the fixed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// Every server of the fleet has it: it changes how results end, and results pass through unchanged.
    pub deprecate_eof: bool,
    pub tls: bool,
    pub zlib: bool,
    pub zstd: bool,
}

/// What clients may choose from.
pub fn offered_to_clients(offer: Offer) -> CapabilityFlags {
    let mut flags = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_FOUND_ROWS
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_NO_SCHEMA
        | CapabilityFlags::CLIENT_ODBC
        | CapabilityFlags::CLIENT_LOCAL_FILES
        | CapabilityFlags::CLIENT_IGNORE_SPACE
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_INTERACTIVE
        | CapabilityFlags::CLIENT_IGNORE_SIGPIPE
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_RESERVED
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    flags.set(CapabilityFlags::CLIENT_DEPRECATE_EOF, offer.deprecate_eof);
    flags.set(CapabilityFlags::CLIENT_SSL, offer.tls);
    flags.set(CapabilityFlags::CLIENT_COMPRESS, offer.zlib);
    flags.set(CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM, offer.zstd);
    flags
}

/// What a connection to a server must have beyond the fixed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerWishes {
    pub found_rows: bool,
    pub deprecate_eof: bool,
    pub multi_results: bool,
    pub tls: bool,
}

/// What the proxy asks of a server that offers `offered`. `None` when the server lacks something that cannot be done
/// without: protocol 4.1 with its authentication, or a flag of `wishes` other than TLS.
pub fn wanted_from_server(offered: CapabilityFlags, wishes: ServerWishes) -> Option<CapabilityFlags> {
    let mut needed = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
    needed.set(CapabilityFlags::CLIENT_FOUND_ROWS, wishes.found_rows);
    needed.set(CapabilityFlags::CLIENT_DEPRECATE_EOF, wishes.deprecate_eof);
    needed.set(CapabilityFlags::CLIENT_MULTI_RESULTS, wishes.multi_results);
    if !offered.contains(needed) {
        return None;
    }
    // LONG_PASSWORD unset means "a MariaDB client" to MariaDB, which then expects its own flags in the filler.
    let mut always = CapabilityFlags::CLIENT_LONG_PASSWORD;
    always.set(CapabilityFlags::CLIENT_SSL, wishes.tls);
    let where_offered = CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_TRANSACTIONS
        // A client that cannot send files is told so by the proxy; a file that was not asked for by a statement is not sent.
        | CapabilityFlags::CLIENT_LOCAL_FILES
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_SESSION_TRACK;
    Some(needed | always | (where_offered & offered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_here_reads_is_never_negotiated() {
        let refused =
            CapabilityFlags::CLIENT_QUERY_ATTRIBUTES | CapabilityFlags::CLIENT_OPTIONAL_RESULTSET_METADATA;
        let offer = Offer { deprecate_eof: true, tls: true, zlib: true, zstd: true };
        assert!(!offered_to_clients(offer).intersects(refused | CapabilityFlags::CLIENT_SESSION_TRACK));
        let wishes = ServerWishes { found_rows: true, deprecate_eof: true, multi_results: true, tls: true };
        let wanted = wanted_from_server(CapabilityFlags::all(), wishes).unwrap();
        let compressed =
            CapabilityFlags::CLIENT_COMPRESS | CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM;
        assert!(!wanted.intersects(refused | compressed | CapabilityFlags::CLIENT_MULTI_STATEMENTS));
        assert!(!wanted.contains(CapabilityFlags::CLIENT_CONNECT_WITH_DB));
    }

    #[test]
    fn a_server_without_what_the_client_negotiated_is_refused() {
        let offered = CapabilityFlags::all() - CapabilityFlags::CLIENT_DEPRECATE_EOF;
        let wishes = ServerWishes { found_rows: false, deprecate_eof: true, multi_results: true, tls: false };
        assert_eq!(wanted_from_server(offered, wishes), None);
    }
}
