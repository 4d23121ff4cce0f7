//! A client that speaks TLS: it trusts the certificates in a file and sees which one the server has.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::http::{self, Answer};
use super::soon;

/// Where the test certificates are: `server.pem` is signed by `ca.pem`, `other.pem` by itself; both are for `localhost`, and
/// `other.pem` is for `llm.test` too. `elsewhere.pem` is signed by itself, for `elsewhere.test` alone.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");

#[derive(Clone)]
pub(crate) struct TlsClient(ClientConfig);

impl TlsClient {
    /// Trusts both certificates, and offers these protocols.
    pub(crate) fn offering(protocols: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        for file in ["ca.pem", "other.pem"] {
            roots.add(CertificateDer::from_pem_file(format!("{FOLDER}/{file}")).unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self(config)
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        let stream = TcpStream::connect(address).await?;
        soon("a handshake", connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await
    }

    /// Sends one request over a connection of its own.
    pub(crate) async fn send(&self, address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let request = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut stream = self.connect(address).await?;
        soon("an answer", http::exchange(&mut stream, request.as_bytes())).await
    }
}

/// The certificate in a file.
pub(crate) fn certificate(file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(format!("{FOLDER}/{file}")).unwrap()
}
