//! Reading the files again: everything or nothing, and what changed.

use std::path::{Path, PathBuf};

use crate::config::{self, Fault, Faults, Loaded};

/// Loads both files off the runtime's workers: files may be on slow disks.
pub(super) async fn load(settings_file: &Path) -> Result<Loaded, Faults> {
    let file: PathBuf = settings_file.to_owned();
    let reading = tokio::task::spawn_blocking(move || config::load(&file)).await;
    reading.unwrap_or_else(|error| {
        Err(Faults(vec![Fault::of_file(settings_file, format!("reading the files ended early: {error}"))]))
    })
}
