//! `broker health`: calls the running process over HTTP, for a container's health check.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Calls `/livez` or `/readyz` at an address. Returns the text of the answer.
///
/// Over TLS the certificate is not verified: the machine calls itself, by an address that few certificates contain, and sends no
/// secret.
///
/// # Errors
/// No answer, or not alive or ready.
pub fn probe(address: SocketAddr, tls: bool, ready: bool) -> anyhow::Result<String> {
    get(address, tls, if ready { "/readyz" } else { "/livez" })
}

/// The body of the 200 that the broker of this machine answers at a path. `path` may have a query.
///
/// # Errors
/// No answer, or another one.
pub(super) fn get(address: SocketAddr, tls: bool, path: &str) -> anyhow::Result<String> {
    let url = format!("{}://{address}{path}", if tls { "https" } else { "http" });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { timeout(ANSWER_TIMEOUT, fetch(address, tls, path)).await? });
    let (status, text) = answer.with_context(|| {
        format!("no answer from {url}: does a broker run on this machine, and is BROKER_HTTP the same for both?")
    })?;
    if status == StatusCode::OK { Ok(text) } else { bail!("{url} says {status}: {text}") }
}

async fn fetch(address: SocketAddr, tls: bool, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let tcp = TcpStream::connect(address).await?;
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::new())?;
    if !tls {
        return exchange(tcp, request).await;
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(AnyCertificate(provider));
    let config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    exchange(TlsConnector::from(Arc::new(config)).connect(address.ip().into(), tcp).await?, request).await
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> anyhow::Result<(StatusCode, String)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
