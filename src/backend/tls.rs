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

/// Where distributions keep the roots that they trust; the first that is there counts.
const SYSTEM_BUNDLES: [&str; 5] = [
    // Debian, Ubuntu, Arch, Alpine
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL, Amazon Linux
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // openSUSE
    "/etc/ssl/ca-bundle.pem",
    // Alpine without the package of roots, BSD
    "/etc/ssl/cert.pem",
];

/// How a server's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Verification {
    /// Any certificate, but whoever shows it must hold its key.
    None,
    /// `None`: the system's roots.
    Chain {
        bundle: Option<PathBuf>,
    },
    ChainAndName {
        bundle: Option<PathBuf>,
    },
}

impl Verification {
    /// `None` when the mode does without TLS.
    fn of(mode: &ServerTlsMode) -> Option<Verification> {
        match mode {
            ServerTlsMode::Disabled => None,
            ServerTlsMode::Preferred | ServerTlsMode::Required => Some(Verification::None),
            ServerTlsMode::VerifyCa { bundle } => Some(Verification::Chain { bundle: bundle.clone() }),
            ServerTlsMode::VerifyIdentity { bundle } => {
                Some(Verification::ChainAndName { bundle: bundle.clone() })
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
        Verification::Chain { bundle } => {
            Arc::new(ChainOnly { roots: Some(read_roots(bundle.as_deref())?), algorithms })
        }
        Verification::ChainAndName { bundle } => {
            let roots = Arc::new(read_roots(bundle.as_deref())?);
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

fn read_roots(bundle: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted_certificates(bundle)?);
    Ok(roots)
}

/// The certificates of the bundle, or of the system, that can be used; never none. Both planes trust these. Blocks.
pub(crate) fn trusted_certificates(bundle: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = match bundle {
        Some(path) => path,
        None => system_bundle(&SYSTEM_BUNDLES)?,
    };
    let fault = |fault: String| format!("CA bundle {}: {fault}", path.display());
    let mut certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(error.to_string()))?;
    // System bundles hold a few certificates that rustls does not read; the others still count.
    certificates.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    if certificates.is_empty() {
        return Err(fault("no certificate that can be used".to_owned()));
    }
    Ok(certificates)
}

fn system_bundle<'a>(places: &'a [&'a str]) -> Result<&'a Path, String> {
    let found = places.iter().map(Path::new).find(|place| place.exists());
    found.ok_or_else(|| {
        format!("the system has no CA bundle at {}; name one in the map: ca = \"…\"", places.join(", "))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bundle_that_the_system_has_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (first, second, third) = (path("debian"), path("fedora"), path("suse"));
        let places = [first.as_str(), second.as_str(), third.as_str()];
        let nowhere = system_bundle(&places).unwrap_err();
        assert!(places.iter().all(|place| nowhere.contains(place)), "{nowhere}");
        std::fs::write(&third, "").unwrap();
        std::fs::write(&second, "").unwrap();
        assert_eq!(system_bundle(&places), Ok(Path::new(&second)));
    }

    #[test]
    fn certificates_that_cannot_be_used_do_not_spoil_a_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle.pem");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let odd = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        std::fs::write(&bundle, format!("{odd}{}", made.cert.pem())).unwrap();
        assert_eq!(trusted_certificates(Some(&bundle)).unwrap().len(), 1);
        std::fs::write(&bundle, odd).unwrap();
        assert!(trusted_certificates(Some(&bundle)).unwrap_err().contains("no certificate that can be used"));
    }
}
