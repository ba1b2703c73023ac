//! Collation ids that clients name in the handshake. MySQL and MariaDB agree up to 255; the handshake carries one
//! byte, so that is all that has to be known here.

use mysql_common::collations::{Collation, CollationId};

/// `utf8mb4_general_ci`: known to every server since 5.5, so the proxy names it in its own logins.
pub const UTF8MB4_GENERAL_CI: u16 = 45;

/// Above the ids that MySQL gives to its collations.
const COLLATIONS_END: u16 = 400;

/// The name of collation `id`.
pub fn collation_name(id: u16) -> Option<String> {
    resolve(id).map(|collation| collation.collation().to_ascii_lowercase())
}

/// The character set that collation `id` belongs to.
pub fn charset_of(id: u16) -> Option<String> {
    resolve(id).map(|collation| collation.charset().to_ascii_lowercase())
}

/// The id of the default collation of a character set, as MySQL 5.7 and MariaDB 10 have it (a server of another
/// version may have another default: `SET NAMES` without COLLATE must be sent to it, not replaced).
pub fn default_collation_of(charset: &str) -> Option<u16> {
    let charset = charset.to_ascii_lowercase();
    match charset.as_str() {
        "utf8mb4" => return Some(UTF8MB4_GENERAL_CI),
        "utf8" | "utf8mb3" => return Some(33),
        _ => {}
    }
    (1..256).find(|&id| {
        resolve(id).is_some_and(|found| found.is_default() && found.charset().eq_ignore_ascii_case(&charset))
    })
}

/// The id of a collation by its name, as far as ids are known here.
pub fn collation_of(name: &str) -> Option<u16> {
    (1..COLLATIONS_END)
        .find(|&id| resolve(id).is_some_and(|found| found.collation().eq_ignore_ascii_case(name)))
}

/// The most bytes that one character has.
pub fn character_bytes(id: u16) -> u32 {
    resolve(id).map_or(1, |collation| u32::from(collation.max_len()))
}

fn resolve(id: u16) -> Option<Collation<'static>> {
    let collation = Collation::resolve(CollationId::from(id));
    (collation.id() != CollationId::UNKNOWN_COLLATION_ID).then_some(collation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_common_clients_have_their_names() {
        for (id, charset, collation) in [
            (8, "latin1", "latin1_swedish_ci"),
            (33, "utf8mb3", "utf8mb3_general_ci"),
            (45, "utf8mb4", "utf8mb4_general_ci"),
            (63, "binary", "binary"),
            (224, "utf8mb4", "utf8mb4_unicode_ci"),
            (255, "utf8mb4", "utf8mb4_0900_ai_ci"),
        ] {
            assert_eq!(charset_of(id).map(|name| name.replace("utf8_", "utf8mb3_")), Some(charset.into()));
            assert_eq!(collation_name(id), Some(collation.into()));
        }
        assert_eq!(collation_name(0), None);
        assert_eq!(collation_name(60_000), None);
    }

    #[test]
    fn collations_are_found_by_name_and_know_their_widest_character() {
        for (name, id, bytes) in
            [("UTF8MB4_unicode_ci", 224, 4), ("latin1_german1_ci", 5, 1), ("gbk_bin", 87, 2)]
        {
            assert_eq!(collation_of(name), Some(id));
            assert_eq!(character_bytes(id), bytes);
        }
        assert_eq!(collation_of("utf8mb4_klingon_ci"), None);
    }

    #[test]
    fn charsets_have_their_default_collation() {
        assert_eq!(default_collation_of("utf8mb4"), Some(45));
        assert_eq!(default_collation_of("LATIN1"), Some(8));
        assert_eq!(default_collation_of("binary"), Some(63));
        assert_eq!(default_collation_of("klingon"), None);
    }
}
