//! The certificate that clients see. Read whole at start and at each reload; a certificate that cannot be used is a
//! fault of the file, named, and the old one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::{ClientCertificates, ClientTls};

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error("the certificate {path} cannot be read: {cause}")]
    Certificate { path: PathBuf, cause: String },
    #[error("the private key {path} cannot be read: {cause}")]
    Key { path: PathBuf, cause: String },
    #[error("the CA of clients {path} cannot be used: {cause}")]
    ClientCa { path: PathBuf, cause: String },
    #[error("certificate {certificate} and key {key} cannot be used: {cause}")]
    Unusable { certificate: PathBuf, key: PathBuf, cause: String },
}

/// Reads certificate chain and key (PEM). Blocks on the file system: for start and reload.
pub(crate) fn load(tls: &ClientTls) -> Result<Arc<ServerConfig>, TlsFault> {
    let chain = read_chain(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| TlsFault::Key { path: tls.key.clone(), cause: error.to_string() })?;
    let unusable = |cause: String| TlsFault::Unusable {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        cause,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = client_verifier(&tls.client_certificates, Arc::clone(&provider))?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Arc::new(config))
}

/// A certificate that is shown and not signed by the CA ends the handshake, as with servers.
fn client_verifier(
    certificates: &ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsFault> {
    let (path, optional) = match certificates {
        ClientCertificates::NotAskedFor => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientCertificates::Optional { ca } => (ca, true),
        ClientCertificates::Required { ca } => (ca, false),
    };
    let fault = |cause: String| TlsFault::ClientCa { path: path.clone(), cause };
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| fault(error.to_string()))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |cause: String| TlsFault::Certificate { path: path.to_owned(), cause };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| fault(error.to_string()))?;
    if chain.is_empty() {
        return Err(fault("it holds no certificate".to_owned()));
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a fresh certificate for `localhost` and its key.
    fn files(directory: &Path) -> ClientTls {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        ClientTls { certificate, key, required: false, client_certificates: ClientCertificates::NotAskedFor }
    }

    #[test]
    fn a_chain_and_its_key_are_loaded() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(&files(directory.path())).is_ok());
    }

    #[test]
    fn faults_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let tls = files(directory.path());
        let missing = ClientTls { key: directory.path().join("none.pem"), ..tls.clone() };
        assert!(load(&missing).unwrap_err().to_string().contains("none.pem"));
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        let wrong = ClientTls { certificate: empty, ..tls.clone() };
        assert!(load(&wrong).unwrap_err().to_string().contains("empty.pem"));
        let other = tempfile::tempdir().unwrap();
        let mixed = ClientTls { key: files(other.path()).key, ..tls };
        assert!(matches!(load(&mixed), Err(TlsFault::Unusable { .. })));
    }
}
