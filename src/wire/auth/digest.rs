//! The computations of the two plugins. `native`: SHA1(password) ^ SHA1(challenge + SHA1(SHA1(password))).
//! `caching_sha2`: SHA256(password) ^ SHA256(SHA256(SHA256(password)) + challenge), and for the stored form the
//! SHA-256 crypt of glibc with a salt of 20 bytes (the `sha-crypt` crate cuts salts at 16, so it cannot be used).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// SHA256(SHA256(password)): proves a password on caching_sha2_password's fast path. As secret as a password hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FastDigest(pub [u8; 32]);

impl std::fmt::Debug for FastDigest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("FastDigest(..)")
    }
}

pub fn fast_digest(password: &[u8]) -> FastDigest {
    FastDigest(sha256(&[&sha256(&[password])]))
}

/// SHA1(SHA1(password)): what `mysql_native_password` stores.
pub fn native_hash(password: &[u8]) -> [u8; 20] {
    sha1(&[&sha1(&[password])])
}

pub(super) fn native_response(password: &[u8], challenge: &[u8]) -> [u8; 20] {
    let inner = sha1(&[password]);
    let mask = sha1(&[challenge, &sha1(&[&inner])]);
    std::array::from_fn(|at| inner[at] ^ mask[at])
}

/// Whether `response` proves the password behind `hash`.
pub(super) fn native_matches(hash: &[u8; 20], challenge: &[u8], response: &[u8]) -> bool {
    let Ok(response) = <&[u8; 20]>::try_from(response) else { return false };
    let mask = sha1(&[challenge, hash]);
    let inner: [u8; 20] = std::array::from_fn(|at| response[at] ^ mask[at]);
    equal(&sha1(&[&inner]), hash)
}

pub(super) fn fast_response(password: &[u8], challenge: &[u8]) -> [u8; 32] {
    let inner = sha256(&[password]);
    let mask = sha256(&[&sha256(&[&inner]), challenge]);
    std::array::from_fn(|at| inner[at] ^ mask[at])
}

/// Whether `response` proves the password behind `known`.
pub(super) fn fast_matches(known: &FastDigest, challenge: &[u8], response: &[u8]) -> bool {
    let Ok(response) = <&[u8; 32]>::try_from(response) else { return false };
    let mask = sha256(&[&known.0, challenge]);
    let inner: [u8; 32] = std::array::from_fn(|at| response[at] ^ mask[at]);
    equal(&sha256(&[&inner]), &known.0)
}

/// In time that does not tell where the first difference is.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// XOR with a repeated key: how a password is covered inside the RSA message.
pub(super) fn xor_with(bytes: &[u8], key: &[u8]) -> Vec<u8> {
    bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// SHA-256 crypt (glibc's `$5$`) with a salt of any length. Takes milliseconds: not for a runtime's worker.
pub fn sha2_crypt(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let alternate = sha256(&[password, salt, password]);
    let mut context = Context::new(&SHA256);
    context.update(password);
    context.update(salt);
    context.update(&repeated(&alternate, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        context.update(if bits & 1 == 1 { &alternate } else { password });
        bits >>= 1;
    }
    let mut result = finish(context);

    let mut context = Context::new(&SHA256);
    for _ in 0..password.len() {
        context.update(password);
    }
    let p = repeated(&finish(context), password.len());
    let mut context = Context::new(&SHA256);
    for _ in 0..16 + usize::from(result[0]) {
        context.update(salt);
    }
    let s = repeated(&finish(context), salt.len());

    for round in 0..rounds {
        let odd = round & 1 == 1;
        let mut context = Context::new(&SHA256);
        context.update(if odd { &p } else { &result });
        if round % 3 != 0 {
            context.update(&s);
        }
        if round % 7 != 0 {
            context.update(&p);
        }
        context.update(if odd { &result } else { &p });
        result = finish(context);
    }
    result
}

/// The 43 characters that stand for a digest of [`sha2_crypt`] in `mysql.user`.
pub fn sha2_crypt_text(digest: &[u8; 32]) -> [u8; 43] {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [0; 43];
    let mut places = text.iter_mut();
    let (mut a, mut b, mut c) = (0, 10, 20);
    let mut put = |high: u8, middle: u8, low: u8, count: usize| {
        let mut word = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
        for place in places.by_ref().take(count) {
            *place = ALPHABET[(word & 63) as usize];
            word >>= 6;
        }
    };
    for _ in 0..10 {
        put(digest[a], digest[b], digest[c], 4);
        // The next three bytes: one further, and each takes the place of its left neighbour.
        (a, b, c) = ((c + 1) % 30, (a + 1) % 30, (b + 1) % 30);
    }
    put(0, digest[31], digest[30], 3);
    text
}

fn repeated(block: &[u8; 32], length: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(length).collect()
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 20];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    finish(context)
}

fn finish(context: Context) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &[u8; 20] = b"abcdefghijklmnopqrst";

    #[test]
    fn responses_are_those_of_mysql_common() {
        let native = mysql_common::scramble::scramble_native(CHALLENGE, b"secret").unwrap();
        assert_eq!(native_response(b"secret", CHALLENGE), native);
        let fast = mysql_common::scramble::scramble_sha256(CHALLENGE, b"secret").unwrap();
        assert_eq!(fast_response(b"secret", CHALLENGE), fast);
    }

    #[test]
    fn only_the_right_password_matches() {
        let (hash, fast) = (native_hash(b"secret"), fast_digest(b"secret"));
        assert!(native_matches(&hash, CHALLENGE, &native_response(b"secret", CHALLENGE)));
        assert!(!native_matches(&hash, CHALLENGE, &native_response(b"Secret", CHALLENGE)));
        assert!(!native_matches(&hash, CHALLENGE, b""));
        assert!(fast_matches(&fast, CHALLENGE, &fast_response(b"secret", CHALLENGE)));
        assert!(!fast_matches(&fast, CHALLENGE, &fast_response(b"secret ", CHALLENGE)));
        assert!(!fast_matches(&fast, b"another challenge...", &fast_response(b"secret", CHALLENGE)));
    }

    #[test]
    fn crypt_is_that_of_an_independent_implementation_for_salts_it_takes() {
        for (password, salt, rounds) in [
            (&b"Hello world!"[..], &b"saltstringsaltst"[..], 10_000),
            (b"", b"0123456789abcdef", 5000),
            (&[b'x'; 70], b"abc", 1000),
        ] {
            let theirs = sha_crypt::Sha256Params::new(rounds).unwrap();
            let digest = sha2_crypt(password, salt, u32::try_from(rounds).unwrap());
            assert_eq!(digest, sha_crypt::sha256_crypt(password, salt, &theirs).unwrap());
            let text = sha_crypt::sha256_crypt_b64(password, salt, &theirs).unwrap();
            assert_eq!(sha2_crypt_text(&digest), text.as_bytes());
        }
    }

    #[test]
    fn crypt_is_mysqls_with_its_salt_of_20_bytes() {
        // `CREATE USER … IDENTIFIED BY 'correct horse'` on MySQL 9.7: $A$00A$ (hexadecimal: 10,000 rounds), salt, digest.
        let salt = b"\x10\x66\x78\x3f\x2b\x53\x74\x37\x71\x6d\x33\x72\x56\x2c\x25\x27\x75\x7f\x01\x79";
        let digest = sha2_crypt(b"correct horse", salt, 10_000);
        assert_eq!(&sha2_crypt_text(&digest), b"1mYQSx6rsYkRSP4aVz2llQ9BTF0tUh1alq/ajDKzcI6");
    }
}
