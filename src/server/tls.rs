//! TLS for the clients of the relay and the HTTP port. Certificate and key are two PEM files, which are read again when they
//! change: connections made after that get the new certificate, and files that cannot be used change nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::ConnectionSlot;
use crate::system::files::{self, Unreadable};

/// The largest file of a certificate chain or a key, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What can be wrong with the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// With the file of `BROKER_TLS_CERT`.
    Certificate(String),
    /// With the file of `BROKER_TLS_KEY`, or with the two together.
    Key(String),
}

/// Certificate and key of this process. Clones share them.
#[derive(Clone)]
pub struct ServerTls {
    files: TlsFiles,
    /// What the files held at the start.
    opened: Arc<Contents>,
    current: Arc<RwLock<TlsAcceptor>>,
}

#[derive(Debug, Clone)]
struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// What the files hold, each.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Result<Vec<u8>, String>,
    key: Result<Vec<u8>, String>,
}

/// A client's connection, with TLS or without.
pub type ClientStream = Pin<Box<dyn ByteStream>>;

/// Bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> ByteStream for S {}

impl ServerTls {
    /// Reads the two files.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, Vec<TlsFault>> {
        let files = TlsFiles { certificate, key };
        let contents = Contents {
            certificate: text_of_error(files::read(&files.certificate, MAX_FILE_BYTES)),
            key: text_of_error(files::read(&files.key, MAX_FILE_BYTES)),
        };
        let acceptor = contents.acceptor()?;
        Ok(Self { files, opened: Arc::new(contents), current: Arc::new(RwLock::new(acceptor)) })
    }

    /// Reads the files again whenever they change, if there are any.
    pub async fn follow(tls: Option<Self>) {
        let Some(tls) = tls else { return };
        let mut polls = files::polls();
        let mut seen = Arc::clone(&tls.opened);
        loop {
            polls.tick().await;
            let now = tls.files.read().await;
            if *seen != now {
                tls.replace(&now);
                seen = Arc::new(now);
            }
        }
    }

    fn replace(&self, contents: &Contents) {
        let files = &self.files;
        match contents.acceptor() {
            Ok(acceptor) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                tracing::info!(certificate = %files.certificate.display(), "new TLS certificate: new connections get it");
            }
            Err(faults) => {
                let faults: Vec<_> = faults.iter().map(|fault| files.describe(fault)).collect();
                tracing::error!("the TLS certificate stays as it was: {}", faults.join("; "));
            }
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.files).finish()
    }
}

/// The same files.
impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.current, &other.current)
    }
}

impl TlsFiles {
    async fn read(&self) -> Contents {
        Contents {
            certificate: text_of_error(files::read_beside(&self.certificate, MAX_FILE_BYTES).await),
            key: text_of_error(files::read_beside(&self.key, MAX_FILE_BYTES).await),
        }
    }

    fn describe(&self, fault: &TlsFault) -> String {
        let (path, problem): (&Path, _) = match fault {
            TlsFault::Certificate(problem) => (&self.certificate, problem),
            TlsFault::Key(problem) => (&self.key, problem),
        };
        format!("{}: {problem}", path.display())
    }
}

fn text_of_error(read: Result<Vec<u8>, Unreadable>) -> Result<Vec<u8>, String> {
    read.map_err(|error| error.to_string())
}

impl Contents {
    fn acceptor(&self) -> Result<TlsAcceptor, Vec<TlsFault>> {
        let chain = self.certificate.clone().and_then(|pem| chain(&pem)).map_err(TlsFault::Certificate);
        let key = self.key.clone().and_then(|pem| private_key(&pem)).map_err(TlsFault::Key);
        match (chain, key) {
            (Ok(chain), Ok(key)) => config(chain, key).map_err(|fault| vec![fault]),
            (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
        }
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("there is no certificate in it (PEM: BEGIN CERTIFICATE)".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("is not a PEM file: {error}")),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            "there is no private key in it (PEM: BEGIN PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY; not encrypted)"
                .to_owned()
        }
        error => format!("is not a PEM file: {error}"),
    })
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<TlsAcceptor, TlsFault> {
    let key = ring::sign::any_supported_type(&key).map_err(|_| {
        TlsFault::Key(
            "the private key is damaged, or of a kind that is not supported: RSA, ECDSA P-256 and P-384, Ed25519 are"
                .to_owned(),
        )
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(TlsFault::Key(
                "the private key does not match the certificate, which must be the first in its file".to_owned(),
            ));
        }
        Err(error) => return Err(TlsFault::Certificate(format!("the first certificate is damaged: {error}"))),
    }
    let versions =
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| TlsFault::Certificate(error.to_string()))?;
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = versions.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The stream to speak HTTP on: without `tls` the connection itself, otherwise after its handshake.
///
/// # Errors
/// The handshake failed, took longer than `timeout`, or the connection was evicted meanwhile.
pub async fn handshake<S: AsyncRead + AsyncWrite + Send + 'static>(
    tls: Option<&ServerTls>,
    stream: TimeoutStream<S>,
    slot: &ConnectionSlot,
    timeout: Duration,
) -> io::Result<ClientStream> {
    let Some(tls) = tls else { return Ok(Box::pin(stream)) };
    tokio::select! {
        biased;
        accepted = tokio::time::timeout(timeout, tls.acceptor().accept(Box::pin(stream))) => Ok(Box::pin(accepted??)),
        () = slot.evicted() => Err(io::Error::other("the connection was closed to make room for another one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/fixtures/tls/server.pem");
    const KEY: &[u8] = include_bytes!("../../tests/fixtures/tls/server.key");
    /// Of another pair.
    const OTHER_CERTIFICATE: &[u8] = include_bytes!("../../tests/fixtures/tls/other.pem");

    fn faults(certificate: &[u8], key: &[u8]) -> Vec<TlsFault> {
        let contents = Contents { certificate: Ok(certificate.to_vec()), key: Ok(key.to_vec()) };
        contents.acceptor().err().unwrap_or_default()
    }

    #[test]
    fn what_is_wrong_with_certificate_and_key_is_said_of_the_right_file() {
        assert_eq!(faults(CERTIFICATE, KEY), []);
        assert_eq!(faults(&[CERTIFICATE, OTHER_CERTIFICATE].concat(), KEY), [], "a chain");
        let one = |faults: Vec<TlsFault>| match <[TlsFault; 1]>::try_from(faults).unwrap() {
            [TlsFault::Certificate(problem)] => ("certificate", problem),
            [TlsFault::Key(problem)] => ("key", problem),
        };
        let damaged = |pem: &[u8]| String::from_utf8(pem.to_vec()).unwrap().replacen("\nMI", "\nMA", 1).into_bytes();
        for (certificate, key, file, words) in [
            (b"".as_slice(), KEY, "certificate", "no certificate in it"),
            (KEY, KEY, "certificate", "no certificate in it"),
            (b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", KEY, "certificate", "not a PEM file"),
            (&damaged(CERTIFICATE), KEY, "certificate", "damaged"),
            (CERTIFICATE, b"", "key", "no private key in it"),
            (CERTIFICATE, CERTIFICATE, "key", "no private key in it"),
            (CERTIFICATE, &damaged(KEY), "key", "damaged"),
            (OTHER_CERTIFICATE, KEY, "key", "does not match"),
            (&[OTHER_CERTIFICATE, CERTIFICATE].concat(), KEY, "key", "does not match"),
        ] {
            let (of, problem) = one(faults(certificate, key));
            assert!(of == file && problem.contains(words), "{of}: {problem}; expected {file}: {words}");
        }
        assert_eq!(faults(b"", b"").len(), 2, "all at once");
    }
}
