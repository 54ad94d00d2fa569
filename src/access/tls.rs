//! TLS of both ends: version 1.3 only, both sides with certificates of one authority.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;

use super::pki::{self, PkiError};

/// The application protocol (RFC 7301).
pub const ALPN: &[u8] = b"hexcast/1";

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// What is in them.
    #[error("the certificates in {0} cannot be used ({1}): make new ones with `hexcast pki init`")]
    Unusable(String, String),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn roots(dir: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pki::certificates(&dir.join(pki::CA_CERTIFICATE))? {
        roots.add(certificate).map_err(|why| unusable(dir, &why))?;
    }
    Ok(roots)
}

fn unusable(dir: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable(dir.display().to_string(), why.to_string())
}

/// The server's side: its certificate in `dir`, and clients of the same authority only.
///
/// # Errors
/// Where a file is missing or not what its name says.
pub fn server_config(dir: &Path) -> Result<rustls::ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(dir)?), provider())
        .build()
        .map_err(|why| unusable(dir, &why))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| unusable(dir, &why))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            pki::certificates(&dir.join(pki::SERVER_CERTIFICATE))?,
            pki::private_key(&dir.join(pki::SERVER_KEY))?,
        )
        .map_err(|why| unusable(dir, &why))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the certificate, and outlive its end.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A client's side: the identity `name` in `dir`, and a server of the same authority only.
///
/// # Errors
/// Where a file is missing or not what its name says.
pub fn client_config(dir: &Path, name: &str) -> Result<rustls::ClientConfig, TlsError> {
    let files = pki::identity_files(dir, name)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| unusable(dir, &why))?
        .with_root_certificates(roots(dir)?)
        .with_client_auth_cert(pki::certificates(&files.certificate)?, pki::private_key(&files.key)?)
        .map_err(|why| unusable(dir, &why))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
