//! Secrets: literal, from the environment or from a file.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::read::{At, Reader};

/// Longest secret file that is read.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where relative paths begin and what the environment holds.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) folder: &'a Path,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// `path` as seen from the folder of the settings file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// `key = "literal"`, `{ env = "NAME" }` or `{ file = "path" }`; faults are reported and give `None`.
pub(super) fn secret(reader: &Reader<'_>, key: &'static str, around: Surroundings<'_>) -> Option<At<String>> {
    let value: &Spanned<DeValue<'_>> = reader.value(key)?;
    if value.get_ref().is_str() {
        return reader.text(key);
    }
    let source = reader.as_table(key, value, format!("\"{key}\""))?;
    let (env, file) = (source.text("env"), source.text("file"));
    let span = source.span.clone();
    source.finish();
    let found = match (env, file) {
        (Some(name), None) => match (around.environment)(&name.value) {
            Some(found) => found,
            None => {
                let message = format!("the environment has no {}", name.value);
                reader.fault(&name.span, message, format!("set {} before starting the proxy", name.value));
                return None;
            }
        },
        (None, Some(path)) => match read_secret(&around.resolve(&path.value)) {
            Ok(found) => found,
            Err(cause) => {
                let message = format!("cannot read the secret in {}: {cause}", path.value);
                reader.fault(&path.span, message, "correct the path or the file's rights");
                return None;
            }
        },
        (None, None) | (Some(_), Some(_)) => {
            let help = "write \"…\", { env = \"NAME\" } or { file = \"path\" }";
            reader.fault(&span, format!("\"{key}\" names no single source"), help);
            return None;
        }
    };
    Some(At { value: found, span })
}

fn read_secret(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > SECRET_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {SECRET_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path)?;
    // Editors and `echo` end a file with a newline that is not part of the password.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
