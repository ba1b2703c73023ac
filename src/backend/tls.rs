//! TLS towards servers: one rustls configuration per way to verify, built once and kept. Knows nothing of MySQL.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::topology::ServerTlsMode;

/// Where Linux distributions keep the roots that they trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How a server's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Verification {
    /// Any certificate, but whoever shows it must hold its key.
    None,
    Chain {
        roots: PathBuf,
    },
    ChainAndName {
        roots: PathBuf,
    },
}

impl Verification {
    /// `None` when the mode does without TLS.
    fn of(mode: &ServerTlsMode) -> Option<Verification> {
        let roots = |bundle: &Option<PathBuf>| bundle.clone().unwrap_or_else(|| SYSTEM_ROOTS.into());
        match mode {
            ServerTlsMode::Disabled => None,
            ServerTlsMode::Preferred | ServerTlsMode::Required => Some(Verification::None),
            ServerTlsMode::VerifyCa { bundle } => Some(Verification::Chain { roots: roots(bundle) }),
            ServerTlsMode::VerifyIdentity { bundle } => {
                Some(Verification::ChainAndName { roots: roots(bundle) })
            }
        }
    }
}

/// The configurations built so far; there are as many as the map has modes and bundles.
#[derive(Debug)]
pub(super) struct TlsSettings {
    provider: Arc<CryptoProvider>,
    built: Mutex<HashMap<Verification, Arc<ClientConfig>>>,
}

impl TlsSettings {
    pub(super) fn new() -> TlsSettings {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        TlsSettings { provider, built: Mutex::default() }
    }

    /// The configuration for `mode`; `None` when it does without TLS. The text of an error names the bundle's fault.
    pub(super) async fn of(&self, mode: &ServerTlsMode) -> Result<Option<Arc<ClientConfig>>, String> {
        let Some(verification) = Verification::of(mode) else { return Ok(None) };
        if let Some(config) = self.built.lock().get(&verification) {
            return Ok(Some(Arc::clone(config)));
        }
        let (provider, wanted) = (Arc::clone(&self.provider), verification.clone());
        // Reads a file and parses a hundred certificates: milliseconds.
        let built = tokio::task::spawn_blocking(move || build(provider, &wanted)).await;
        let config = Arc::new(built.map_err(|error| error.to_string())??);
        self.built.lock().insert(verification, Arc::clone(&config));
        Ok(Some(config))
    }

    /// Bundles are read again at the next connect.
    pub(super) fn forget(&self) {
        self.built.lock().clear();
    }
}

fn build(provider: Arc<CryptoProvider>, verification: &Verification) -> Result<ClientConfig, String> {
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ServerCertVerifier> = match verification {
        Verification::None => Arc::new(ChainOnly { roots: None, algorithms }),
        Verification::Chain { roots } => Arc::new(ChainOnly { roots: Some(read_roots(roots)?), algorithms }),
        Verification::ChainAndName { roots } => {
            let roots = Arc::new(read_roots(roots)?);
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| error.to_string())?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let fault = |fault: String| format!("CA bundle {}: {fault}", path.display());
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // System bundles hold a few certificates that rustls does not read; the others still count.
    let (added, _ignored) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(fault("no certificate that can be used".to_owned()));
    }
    Ok(roots)
}

/// Verifies the chain (when there are roots), not the name; always verifies that the peer holds the certificate's key.
#[derive(Debug)]
struct ChainOnly {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
