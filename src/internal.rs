//! Re-exports for tests, benches and fuzz targets. Nothing here is an interface: it changes without notice.

pub mod connect;
pub mod login;
pub mod merge;
pub mod route;
pub mod sql;

pub mod error {
    pub use crate::error::{ids, page};
}

/// The header of the PROXY protocol.
pub mod arrival {
    pub use crate::listener::{BadHeader, Header, Progress, decode_proxy_header as decode};
}

pub mod wire {
    pub use crate::wire::*;
}

pub mod config {
    use std::path::Path;

    /// Everything that is wrong with a settings file and the map that it names.
    pub fn faults(settings_file: &Path, environment: &dyn Fn(&str) -> Option<String>) -> String {
        crate::config::load_with(settings_file, environment)
            .err()
            .map_or(String::new(), |faults| faults.to_string())
    }
}

/// Local servers for tests and benches.
pub mod local {
    pub use crate::cli::demo::*;
}

/// Plans in words.
pub mod plans {
    pub use crate::cli::explain::Explainer;
}
