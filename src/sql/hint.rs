//! The routing hint: `/* shardway: shard=NAME role=primary|replica timeout=2s */`. Knows the form, not whether such a
//! shard exists. Whatever it cannot read is an error: a hint that is ignored sends a statement to the wrong place.

use std::time::Duration;

use super::{Hint, HintRole, comment::ROUTING_WORD};

/// A shard's name is at most as long as the map allows it to be written here.
const SHARD_NAME_BYTES_MAX: usize = 128;

/// Adds what the comment says (`/*` and `*/` included) to `hint`.
pub(super) fn read(comment: &[u8], hint: &mut Hint) -> Result<(), String> {
    let content = comment.get(2..comment.len().saturating_sub(2)).unwrap_or_default().trim_ascii_start();
    let Some(settings) = content.get(ROUTING_WORD.len()..) else { return Ok(()) };
    let settings = std::str::from_utf8(settings).map_err(|_| "it is not UTF-8".to_owned())?;
    for setting in settings.split([' ', '\t', '\n', '\r', ',']).filter(|setting| !setting.is_empty()) {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(format!("`{}` is not of the form key=value", shown(setting)));
        };
        read_setting(key, value, hint)?;
    }
    Ok(())
}

fn read_setting(key: &str, value: &str, hint: &mut Hint) -> Result<(), String> {
    let twice = || Err(format!("{key} is given twice"));
    match key.to_ascii_lowercase().as_str() {
        "shard" if hint.shard.is_some() => twice(),
        "shard" if value.is_empty() || value.len() > SHARD_NAME_BYTES_MAX => {
            Err("shard needs the name of a shard".to_owned())
        }
        "shard" => {
            hint.shard = Some(value.to_owned());
            Ok(())
        }
        "role" if hint.role.is_some() => twice(),
        "role" => {
            hint.role = Some(match value.to_ascii_lowercase().as_str() {
                "primary" => HintRole::Primary,
                "replica" => HintRole::Replica,
                _ => return Err(format!("role is primary or replica, not `{}`", shown(value))),
            });
            Ok(())
        }
        "timeout" if hint.timeout.is_some() => twice(),
        "timeout" => {
            hint.timeout = Some(read_duration(value).ok_or_else(|| {
                format!("timeout is a number with ms, s or m, such as 200ms, not `{}`", shown(value))
            })?);
            Ok(())
        }
        _ => Err(format!("`{}` is not one of shard, role, timeout", shown(key))),
    }
}

fn read_duration(value: &str) -> Option<Duration> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let number: u32 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    (number > 0).then(|| Duration::from_millis(u64::from(number) * milliseconds))
}

/// A piece of the hint, short enough for an error.
fn shown(piece: &str) -> String {
    piece.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(comment: &str) -> Result<Hint, String> {
        let mut hint = Hint::default();
        read(comment.as_bytes(), &mut hint)?;
        Ok(hint)
    }

    #[test]
    fn all_settings_are_read() {
        let read = hint("/* shardway: shard=eu-1 role=replica timeout=200ms */").unwrap();
        assert_eq!(read.shard.as_deref(), Some("eu-1"));
        assert_eq!(read.role, Some(HintRole::Replica));
        assert_eq!(read.timeout, Some(Duration::from_millis(200)));
        assert_eq!(hint("/*SHARDWAY:timeout=2s*/").unwrap().timeout, Some(Duration::from_secs(2)));
        assert_eq!(hint("/* shardway: */").unwrap(), Hint::default());
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for (comment, reason) in [
            ("/* shardway: shrad=a */", "shrad"),
            ("/* shardway: shard */", "key=value"),
            ("/* shardway: shard= */", "needs the name"),
            ("/* shardway: role=master */", "master"),
            ("/* shardway: timeout=2 */", "timeout"),
            ("/* shardway: timeout=0s */", "timeout"),
            ("/* shardway: shard=a shard=b */", "twice"),
        ] {
            let error = hint(comment).unwrap_err();
            assert!(error.contains(reason), "{comment}: {error}");
        }
    }
}
