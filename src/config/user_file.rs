//! Reads one `[[user]]`: how the client proves itself and who it is on the servers.

use std::sync::Arc;

use super::map_file::{Names, read_name};
use super::read::{At, Reader, suggest};
use super::scheme_file::parse_hex;
use super::secret::{Surroundings, secret};
use super::settings::{
    AuthPlugin, CertificateNames, Credential, PasswordProof, ReadConsistency, Requirement, User,
};

const PLUGINS: [&str; 2] = ["mysql_native_password", "caching_sha2_password"];
const SHA2_PREFIX: &[u8] = b"$A$";
const SHA2_SALT_BYTES: usize = 20;
const SHA2_DIGEST_BYTES: usize = 43;
/// `caching_sha2_password_digest_rounds` at most.
const SHA2_ROUNDS_MAX: u32 = 4_095_000;

/// What clients are asked for, so that a user can require it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) tls: bool,
    pub(super) certificates: bool,
}

pub(super) fn read_user(
    reader: Reader<'_>,
    around: Surroundings<'_>,
    asked: Asked,
    names: &mut Names,
    databases: &mut Vec<At<String>>,
) -> Option<User> {
    let name = read_name(&reader, "name = \"shop\"");
    if let Some(name) = &name {
        names.claim(reader.document, "user", name);
    }
    let password = secret(&reader, "password", around);
    let hash = secret(&reader, "password_hash", around);
    let given = [reader.has("password"), reader.has("password_hash")];
    let proof = match (&password, &hash) {
        (Some(password), None) => Some(PasswordProof::Plain(password.value.clone())),
        (None, Some(hash)) => {
            let proof = parse_hash(&hash.value);
            if proof.is_none() {
                let help = "write it as in mysql.user: \"*\" and 40 hexadecimal digits, or \"$A$005$…\" (or HEX of that, \
                            as \"0x24412430303524…\")";
                reader.fault(&hash.span, "not a password hash", help);
            }
            proof
        }
        (None, None) | (Some(_), Some(_)) => None,
    };
    match &given {
        [None, None] => reader.missing("password", "password = { env = \"NAME\" }, or password_hash"),
        [Some(_), Some(hash)] => {
            reader.fault(hash, "both \"password\" and \"password_hash\"", "remove one of them");
        }
        [Some(_), None] | [None, Some(_)] => {}
    }
    let plugin = read_plugin(&reader, proof.as_ref());
    let server = read_server_account(&reader, around, name.as_ref(), password.as_ref());
    let requirement = read_requirement(&reader, asked);
    let admin = reader.boolean("admin").is_some_and(|admin| admin.value);
    let allowed = reader.texts("databases");
    databases.extend(allowed.iter().flatten().cloned());
    let clients_max = reader.integer("clients_max", 0..=1_000_000);
    let read_consistency = read_read_consistency(&reader);
    reader.finish();
    Some(User {
        name: name?.value,
        proof: proof?,
        plugin,
        requirement,
        admin,
        databases: allowed.map(|allowed| allowed.into_iter().map(|database| database.value).collect()),
        server: server?,
        clients_max: clients_max.and_then(|most| usize::try_from(most.value).ok()).unwrap_or(0),
        read_consistency,
    })
}

fn read_read_consistency(reader: &Reader<'_>) -> ReadConsistency {
    let Some(word) = reader.text("read_consistency") else { return ReadConsistency::default() };
    ReadConsistency::named(word.value.as_bytes()).unwrap_or_else(|| {
        let help = suggest(&word.value, "value", ReadConsistency::NAMES);
        reader.fault(&word.span, format!("unknown read consistency \"{}\"", word.value), help);
        ReadConsistency::default()
    })
}

fn read_plugin(reader: &Reader<'_>, proof: Option<&PasswordProof>) -> AuthPlugin {
    let only = match proof {
        Some(PasswordProof::Native(_)) => Some(AuthPlugin::NativePassword),
        Some(PasswordProof::Sha2 { .. }) => Some(AuthPlugin::CachingSha2Password),
        Some(PasswordProof::Plain(_)) | None => None,
    };
    let Some(word) = reader.text("plugin") else {
        return only.unwrap_or(AuthPlugin::CachingSha2Password);
    };
    let plugin = match word.value.as_str() {
        "mysql_native_password" => AuthPlugin::NativePassword,
        "caching_sha2_password" => AuthPlugin::CachingSha2Password,
        other => {
            let help = suggest(other, "plugin", PLUGINS);
            reader.fault(&word.span, format!("unknown plugin \"{other}\""), help);
            return AuthPlugin::CachingSha2Password;
        }
    };
    if let Some(only) = only.filter(|only| *only != plugin) {
        let message = format!("the hash is one of {}, the plugin is {}", only.name(), plugin.name());
        reader.fault(&word.span, message, "remove \"plugin\", or write \"password\" instead of the hash");
    }
    plugin
}

/// As MySQL's REQUIRE: what cannot be met by anybody is a fault.
fn read_requirement(reader: &Reader<'_>, asked: Asked) -> Requirement {
    let word = reader.text("require");
    let (subject, issuer) = (reader.text("require_subject"), reader.text("require_issuer"));
    let names = subject.is_some() || issuer.is_some();
    let requirement = match word.as_ref().map(|word| word.value.as_str()) {
        None | Some("x509") if names || word.is_some() => Requirement::Certificate(CertificateNames {
            subject: subject.as_ref().map(|subject| subject.value.clone()),
            issuer: issuer.as_ref().map(|issuer| issuer.value.clone()),
        }),
        None | Some("none") => Requirement::Nothing,
        Some("tls" | "ssl") => Requirement::Tls,
        Some(other) => {
            let span = word.as_ref().map(|word| word.span.clone()).unwrap_or_default();
            let help = suggest(other, "requirement", ["none", "tls", "x509"]);
            reader.fault(&span, format!("unknown requirement \"{other}\""), help);
            Requirement::Nothing
        }
    };
    let Some(place) = word.or(subject).or(issuer) else { return requirement };
    if names && !matches!(requirement, Requirement::Certificate(_)) {
        let help = "write require = \"x509\", or remove require_subject and require_issuer";
        reader.fault(&place.span, "names of a certificate, and no certificate is required", help);
    }
    match requirement {
        Requirement::Tls if !asked.tls => {
            reader.fault(&place.span, "clients are not offered TLS", "add [tls] with certificate and key");
        }
        Requirement::Certificate(_) if !asked.certificates => {
            let help = "add client_ca = \"path of a PEM file\" to [tls]";
            reader.fault(&place.span, "clients are not asked for certificates", help);
        }
        Requirement::Nothing | Requirement::Tls | Requirement::Certificate(_) => {}
    }
    requirement
}

/// By default the user itself with its own password, so that MySQL's grants still apply.
fn read_server_account(
    reader: &Reader<'_>,
    around: Surroundings<'_>,
    name: Option<&At<String>>,
    password: Option<&At<String>>,
) -> Option<Arc<Credential>> {
    let user = reader.text("server_user");
    let own = secret(reader, "server_password", around);
    let own_given = reader.has("server_password").is_some();
    let password = match (own_given, &user) {
        (true, _) => own.as_ref(),
        (false, Some(user)) => {
            reader.fault(
                &user.span,
                "\"server_user\" without \"server_password\"",
                "add server_password = …",
            );
            None
        }
        (false, None) if reader.has("password_hash").is_some() => {
            let help =
                "server_password = { env = \"NAME\" }: the proxy cannot log in to the servers with a hash";
            reader.missing("server_password", help);
            None
        }
        (false, None) => password,
    };
    let user = user.as_ref().or(name)?.value.clone();
    Some(Arc::new(Credential { user, password: password?.value.clone() }))
}

fn parse_hash(text: &str) -> Option<PasswordProof> {
    if let Some(digits) = text.strip_prefix('*') {
        let digest = parse_hex(digits)?;
        return Some(PasswordProof::Native(digest.try_into().ok()?));
    }
    let bytes = match text.strip_prefix("0x") {
        Some(digits) => parse_hex(digits)?,
        None => text.as_bytes().to_vec(),
    };
    let rest = bytes.strip_prefix(SHA2_PREFIX)?;
    // Three hexadecimal digits count thousands of rounds.
    let (rounds, rest) = rest.split_at_checked(3)?;
    let rounds = u32::from_str_radix(std::str::from_utf8(rounds).ok()?, 16).ok()?.checked_mul(1000)?;
    let rest = rest.strip_prefix(b"$")?;
    let whole =
        rest.len() == SHA2_SALT_BYTES + SHA2_DIGEST_BYTES && (1000..=SHA2_ROUNDS_MAX).contains(&rounds);
    whole.then(|| {
        let (salt, digest) = rest.split_at(SHA2_SALT_BYTES);
        PasswordProof::Sha2 { rounds, salt: salt.to_vec(), digest: digest.to_vec() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_both_plugins_are_read() {
        let native = parse_hash("*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4");
        assert!(matches!(native, Some(PasswordProof::Native(digest)) if digest[0] == 0x6c));
        let text = format!("$A$005${}{}", "s".repeat(20), "d".repeat(43));
        let hex = text.bytes().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02X}"));
        for form in [text, hex] {
            let Some(PasswordProof::Sha2 { rounds, salt, digest }) = parse_hash(&form) else {
                panic!("{form} is not read")
            };
            assert_eq!((rounds, salt.len(), digest.len()), (5000, 20, 43));
        }
        for wrong in ["", "*6C", "$A$005$short", "0x24", "plain", "$A$é05$"] {
            assert!(parse_hash(wrong).is_none(), "{wrong}");
        }
    }
}
