//! Reads both files as a whole: all their faults, or settings and map.

use std::path::{Path, PathBuf};

use super::fault::{Fault, Faults, Source};
use super::map::Map;
use super::map_file::read_map;
use super::read::{Document, suggest};
use super::secret::Surroundings;
use super::settings::Settings;
use super::settings_file::read_settings;

/// Largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) map: Map,
}

/// Reads the settings in `settings_file` and the map that they name. Blocks: a reload calls it off the runtime's workers.
pub(crate) fn load(settings_file: &Path) -> Result<Loaded, Faults> {
    load_with(settings_file, &|name| std::env::var(name).ok())
}

/// As [`load`], with an environment of the caller.
pub(crate) fn load_with(
    settings_file: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Faults> {
    let around = Surroundings { folder: folder_of(settings_file), environment };
    let source = read(settings_file).map_err(|fault| Faults(vec![*fault]))?;
    let document = Document::new(source);
    let file = read_settings(&document, &document.parse(), around);
    let (map, map_faults) = match read(&file.map.value) {
        Ok(source) => read_map_source(source, environment),
        Err(fault) => {
            document.fault(&file.map.span, fault.to_string(), "name the file of the shard map: map = \"…\"");
            (None, Vec::new())
        }
    };
    if let Some(map) = &map {
        for database in &file.databases {
            let names = map.databases.iter().map(|database| database.name.as_str());
            if !names.clone().any(|name| name.eq_ignore_ascii_case(&database.value)) {
                let message = format!("the map has no database \"{}\"", database.value);
                document.fault(&database.span, message, suggest(&database.value, "[[database]]", names));
            }
        }
    }
    let mut faults = document.into_faults();
    faults.extend(map_faults);
    match (file.settings, map) {
        (Some(settings), Some(map)) if faults.is_empty() => Ok(Loaded { settings, map }),
        _ => Err(Faults(faults)),
    }
}

/// Reads one shard map; relative paths in it begin in its folder.
pub(crate) fn load_map(map_file: &Path) -> Result<Map, Faults> {
    let source = read(map_file).map_err(|fault| Faults(vec![*fault]))?;
    let (map, faults) = read_map_source(source, &|name| std::env::var(name).ok());
    map.ok_or(Faults(faults))
}

fn read_map_source(
    source: Source,
    environment: &dyn Fn(&str) -> Option<String>,
) -> (Option<Map>, Vec<Fault>) {
    let file = source.file.clone();
    let around = Surroundings { folder: folder_of(&file), environment };
    let document = Document::new(source);
    let map = read_map(&document, &document.parse(), around);
    (map, document.into_faults())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn read(file: &Path) -> Result<Source, Box<Fault>> {
    let refuse = |cause: String| {
        let fault = Fault::of_file(file, format!("cannot read the file: {cause}"));
        Box::new(fault.help("correct the path or the file's rights"))
    };
    let length = std::fs::metadata(file).map_err(|cause| refuse(cause.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(refuse(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|cause| refuse(cause.to_string()))?;
    Ok(Source { file: PathBuf::from(file), text })
}
