//! The settings file as an argument, and how faults in the two files are printed.

use std::path::PathBuf;

use crate::config::Faults;

#[derive(Debug, clap::Args)]
pub(super) struct SettingsFile {
    /// The settings, which name the shard map
    #[arg(
        id = "config",
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/shardway/shardway.toml",
        env = "SHARDWAY_CONFIG",
        hide_env_values = true
    )]
    pub(super) path: PathBuf,
}

/// Every fault with its line, then their number.
pub(super) fn print_faults(faults: &Faults) {
    eprintln!("{}\n{}", faults.pretty(), count(faults.0.len(), "fault"));
}

/// `1 fault`, `2 faults`.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
