//! Logins at the admin port: users with `admin = true`, by mysql_native_password. Users who are known by a
//! caching_sha2_password hash alone cannot be checked this way; they use `SHARDWAY …` on a client connection.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::config::{PasswordProof, User};

pub(crate) const SALT_BYTES: usize = 20;

/// Why a login failed, for the log: the client is told that it failed and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("no such user")]
    UnknownUser,
    #[error("the user lacks admin = true")]
    NotAdmin,
    #[error("the password is wrong")]
    WrongPassword,
    #[error(
        "the user is known by a caching_sha2_password hash only, which the admin port cannot check; \
         use SHARDWAY on a client connection"
    )]
    OtherPlugin,
}

/// A salt as the protocol allows it: no byte is zero or `$`, all are ASCII.
pub(crate) fn salt() -> Option<[u8; SALT_BYTES]> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    for byte in &mut salt {
        *byte = (*byte & 0x7f).max(1);
        if *byte == b'$' {
            *byte += 1;
        }
    }
    Some(salt)
}

pub(crate) fn check(user: Option<&User>, salt: &[u8], answer: &[u8]) -> Result<(), LoginError> {
    let user = user.ok_or(LoginError::UnknownUser)?;
    let stored: [u8; SALT_BYTES] = match &user.proof {
        PasswordProof::Plain(password) if password.is_empty() => {
            return admit(user, answer.is_empty());
        }
        PasswordProof::Plain(password) => sha1(&[&sha1(&[password.as_bytes()])]),
        PasswordProof::Native(stored) => *stored,
        PasswordProof::Sha2 { .. } => return Err(LoginError::OtherPlugin),
    };
    admit(user, proves(&stored, salt, answer))
}

/// Rights are looked at after the password: who does not know it learns nothing of them.
fn admit(user: &User, password_matches: bool) -> Result<(), LoginError> {
    match (password_matches, user.admin) {
        (true, true) => Ok(()),
        (true, false) => Err(LoginError::NotAdmin),
        (false, _) => Err(LoginError::WrongPassword),
    }
}

/// mysql_native_password: the answer is SHA1(password) XOR SHA1(salt + SHA1(SHA1(password))).
fn proves(stored: &[u8; SALT_BYTES], salt: &[u8], answer: &[u8]) -> bool {
    let Ok(answer) = <[u8; SALT_BYTES]>::try_from(answer) else { return false };
    let mut hashed = sha1(&[salt, stored]);
    for (byte, mask) in hashed.iter_mut().zip(answer) {
        *byte ^= mask;
    }
    verify_slices_are_equal(&sha1(&[&hashed]), stored).is_ok()
}

fn sha1(parts: &[&[u8]]) -> [u8; SALT_BYTES] {
    let whole = digest(&SHA1_FOR_LEGACY_USE_ONLY, &parts.concat());
    let mut bytes = [0; SALT_BYTES];
    bytes.copy_from_slice(whole.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{AuthPlugin, Credential};

    /// Made with another implementation of SHA-1: the answer to the salt 1, 2, … 20 for the password `opensesame`.
    const ANSWER: &str = "a5896710070e142a796df52d67a37d8b9dd281fa";
    const STORED: &str = "cd084af663d43ec51ada2c369b9478dfde41533f";

    fn bytes(hexadecimal: &str) -> [u8; SALT_BYTES] {
        std::array::from_fn(|index| u8::from_str_radix(&hexadecimal[index * 2..index * 2 + 2], 16).unwrap())
    }

    fn user(proof: PasswordProof, admin: bool) -> User {
        User {
            name: "ops".to_owned(),
            proof,
            requirement: crate::config::Requirement::Nothing,
            plugin: AuthPlugin::NativePassword,
            admin,
            databases: None,
            server: Arc::new(Credential { user: "ops".to_owned(), password: String::new() }),
            clients_max: 0,
            read_consistency: crate::config::ReadConsistency::Primary,
        }
    }

    fn login(proof: PasswordProof, admin: bool, answer: &[u8]) -> Result<(), LoginError> {
        let salt: [u8; SALT_BYTES] = std::array::from_fn(|index| index as u8 + 1);
        check(Some(&user(proof, admin)), &salt, answer)
    }

    #[test]
    fn a_password_and_its_hash_prove_the_same() {
        for proof in [PasswordProof::Plain("opensesame".to_owned()), PasswordProof::Native(bytes(STORED))] {
            assert_eq!(login(proof.clone(), true, &bytes(ANSWER)), Ok(()));
            assert_eq!(login(proof.clone(), false, &bytes(ANSWER)), Err(LoginError::NotAdmin));
            let mut wrong = bytes(ANSWER);
            wrong[19] ^= 1;
            assert_eq!(login(proof.clone(), true, &wrong), Err(LoginError::WrongPassword));
            assert_eq!(login(proof.clone(), false, &wrong), Err(LoginError::WrongPassword));
            assert_eq!(login(proof, true, b""), Err(LoginError::WrongPassword));
        }
    }

    #[test]
    fn an_empty_answer_proves_the_empty_password_only() {
        assert_eq!(login(PasswordProof::Plain(String::new()), true, b""), Ok(()));
        assert_eq!(
            login(PasswordProof::Plain(String::new()), true, &[0; 20]),
            Err(LoginError::WrongPassword)
        );
    }

    #[test]
    fn users_that_cannot_be_checked_are_refused() {
        let sha2 = PasswordProof::Sha2 { rounds: 5000, salt: vec![1; 20], digest: vec![2; 43] };
        assert_eq!(login(sha2, true, &bytes(ANSWER)), Err(LoginError::OtherPlugin));
        assert_eq!(check(None, &[1; 20], &bytes(ANSWER)), Err(LoginError::UnknownUser));
    }

    #[test]
    fn salts_are_of_the_bytes_that_the_protocol_allows_and_differ() {
        let (one, other) = (salt().unwrap(), salt().unwrap());
        assert_ne!(one, other);
        assert!(one.iter().all(|byte| (1..0x80).contains(byte) && *byte != b'$'), "{one:?}");
    }
}
