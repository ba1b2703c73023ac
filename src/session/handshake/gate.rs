//! Who may enter and how: the rules (replaced by a reload), the RSA key for full exchanges without TLS, and the fast
//! digests learned from them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use super::error::LoginError;
use crate::config::{AuthPlugin, CompressionOffer, PasswordProof, User};
use crate::wire::{Check, Checked, FastDigest, MARIADB_PREFIX, Offer, Plugin, Secret, is_mariadb};

/// Full exchanges that compute at once: milliseconds of a core each.
const CHECKS_MAX: usize = 4;

/// Characters per line of a PEM file.
const PEM_LINE: usize = 64;

const UTF8MB4_GENERAL_CI: u8 = 45;
const UTF8MB4_0900_AI_CI: u8 = 255;

/// What a reload may change.
#[derive(Debug, Clone)]
pub(crate) struct GateRules {
    /// By name.
    pub(crate) users: Arc<HashMap<String, Arc<User>>>,
    /// What clients see, e.g. `8.4.6`.
    pub(crate) server_version: String,
    /// Every server of the fleet has DEPRECATE_EOF.
    pub(crate) deprecate_eof: bool,
    /// `None` offers no TLS.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) tls_required: bool,
    pub(crate) compression: CompressionOffer,
}

impl GateRules {
    /// The plugin that the greeting names: that of most users. Behind the version of an old MariaDB it is native, as there: Connector/J
    /// reads the rounds of other plugins in the form of MySQL 5.5.5 then. Whose secret needs another plugin is asked to switch.
    pub(super) fn plugin(&self) -> AuthPlugin {
        let users = || self.users.values();
        let native = users().filter(|user| user.plugin == AuthPlugin::NativePassword).count();
        let possible = users().any(|user| !matches!(user.proof, PasswordProof::Sha2 { .. }));
        if native * 2 > self.users.len() || self.greets_as_old_mariadb() && possible {
            AuthPlugin::NativePassword
        } else {
            AuthPlugin::CachingSha2Password
        }
    }

    pub(super) fn offer(&self) -> Offer {
        Offer {
            deprecate_eof: self.deprecate_eof,
            tls: self.tls.is_some(),
            zlib: self.compression.zlib,
            zstd: self.compression.zstd,
        }
    }

    /// The version as a server writes it into its greeting: MariaDB before 11.0 puts 5.5.5 in front, and there are drivers
    /// that would take its own numbers for those of a newer MySQL.
    pub(super) fn greeted_version(&self) -> String {
        match self.greets_as_old_mariadb() {
            true => format!("{MARIADB_PREFIX}{}", self.server_version),
            false => self.server_version.clone(),
        }
    }

    fn greets_as_old_mariadb(&self) -> bool {
        is_mariadb(&self.server_version) && self.server_version.starts_with("10.")
    }

    /// What a server of that version greets with.
    pub(super) fn collation(&self) -> u8 {
        let major = self.server_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if is_mariadb(&self.server_version) || major.is_none_or(|major| major < 8) {
            UTF8MB4_GENERAL_CI
        } else {
            UTF8MB4_0900_AI_CI
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the RSA key for logins without TLS could not be made")]
pub(crate) struct GateError;

/// Shared by all sessions.
pub(crate) struct Gate {
    rules: RwLock<Arc<GateRules>>,
    key: Arc<OaepPrivateDecryptingKey>,
    public_key_pem: Vec<u8>,
    /// By user, with the proof that the digest was learned for. Users without a place in the rules are removed, so it
    /// is no larger than the list of users.
    learned: Mutex<HashMap<String, (PasswordProof, FastDigest)>>,
    /// Chooses whom an unknown user imitates, so that asking twice shows no difference.
    disguise: RandomState,
    checks: Semaphore,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gate").field("rules", &self.rules()).finish_non_exhaustive()
    }
}

/// Who an applicant is taken for.
pub(super) struct Candidate {
    /// `None`: nobody of that name.
    pub(super) user: Option<Arc<User>>,
    pub(super) secret: Secret,
    pub(super) preferred: Plugin,
    pub(super) fast: Option<FastDigest>,
}

impl Gate {
    /// Makes the RSA key: a fraction of a second of computing.
    pub(crate) fn new(rules: GateRules) -> Result<Gate, GateError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| GateError)?;
        let der = key.public_key().as_der().map_err(|_| GateError)?;
        let public_key_pem = pem(der.as_ref());
        let key = Arc::new(OaepPrivateDecryptingKey::new(key).map_err(|_| GateError)?);
        Ok(Gate {
            rules: RwLock::new(Arc::new(rules)),
            key,
            public_key_pem,
            learned: Mutex::default(),
            disguise: RandomState::new(),
            checks: Semaphore::new(CHECKS_MAX),
        })
    }

    pub(crate) fn rules(&self) -> Arc<GateRules> {
        Arc::clone(&self.rules.read())
    }

    /// For logins from now on.
    pub(crate) fn replace(&self, rules: GateRules) {
        self.learned
            .lock()
            .retain(|name, (proof, _)| rules.users.get(name).is_some_and(|user| user.proof == *proof));
        *self.rules.write() = Arc::new(rules);
    }

    pub(super) fn public_key_pem(&self) -> &[u8] {
        &self.public_key_pem
    }

    pub(super) fn candidate(&self, rules: &GateRules, name: &[u8]) -> Candidate {
        let user = std::str::from_utf8(name).ok().and_then(|name| rules.users.get(name));
        if let Some(user) = user {
            return Candidate {
                user: Some(Arc::clone(user)),
                secret: secret(&user.proof),
                preferred: plugin(user.plugin),
                fast: self.learned(user),
            };
        }
        let model = rules.users.values().min_by_key(|user| self.disguise.hash_one((name, &user.name)));
        let (imitated, preferred) = match model {
            Some(model) => (secret(&model.proof), plugin(model.plugin)),
            None => (Secret::Plain(vec![b'x']), Plugin::CachingSha2),
        };
        Candidate { user: None, secret: Secret::Unknown(Box::new(imitated)), preferred, fast: None }
    }

    /// Computes away from the runtime's workers.
    pub(super) async fn check(&self, check: Check) -> Result<Checked, LoginError> {
        let failed = |what: String| LoginError::Internal { what };
        let _permit = self.checks.acquire().await.map_err(|error| failed(error.to_string()))?;
        let key = Arc::clone(&self.key);
        let running = tokio::task::spawn_blocking(move || check.run(|bytes| decrypt(&key, bytes)));
        running.await.map_err(|error| failed(error.to_string()))
    }

    /// Keeps what a full exchange showed, for the fast path.
    pub(super) fn learn(&self, user: &User, fast: FastDigest) {
        self.learned.lock().insert(user.name.clone(), (user.proof.clone(), fast));
    }

    fn learned(&self, user: &User) -> Option<FastDigest> {
        let learned = self.learned.lock();
        learned.get(&user.name).filter(|(proof, _)| *proof == user.proof).map(|(_, fast)| *fast)
    }
}

/// Random bytes for a challenge.
pub(super) fn random<const N: usize>() -> Result<[u8; N], LoginError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|error| LoginError::Internal { what: error.to_string() })?;
    Ok(bytes)
}

fn secret(proof: &PasswordProof) -> Secret {
    match proof {
        PasswordProof::Plain(password) => Secret::Plain(password.as_bytes().to_vec()),
        PasswordProof::Native(hash) => Secret::NativeHash(*hash),
        PasswordProof::Sha2 { rounds, salt, digest } => {
            Secret::Sha2 { rounds: *rounds, salt: salt.clone(), digest: digest.clone() }
        }
    }
}

fn plugin(plugin: AuthPlugin) -> Plugin {
    match plugin {
        AuthPlugin::NativePassword => Plugin::Native,
        AuthPlugin::CachingSha2Password => Plugin::CachingSha2,
    }
}

fn decrypt(key: &OaepPrivateDecryptingKey, bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() != key.key_size_bytes() {
        return None;
    }
    let mut out = vec![0; key.min_output_size()];
    let length = key.decrypt(&OAEP_SHA1_MGF1SHA1, bytes, &mut out, None).ok()?.len();
    out.truncate(length);
    Some(out)
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = base64::engine::general_purpose::STANDARD.encode(der).into_bytes();
    let mut out = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
    for line in text.chunks(PEM_LINE) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END PUBLIC KEY-----\n");
    out
}
