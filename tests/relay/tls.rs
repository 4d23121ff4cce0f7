//! Targets over TLS: the authority that signed their certificate must be known to the system, or be named.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::support::scripted::Scripted;
use super::super::support::tls::FOLDER;
use super::{HELLO, Harness, good, pools, target};

/// An upstream that answers everything well, over TLS with this certificate; its port.
pub(super) async fn upstream(name: &str) -> u16 {
    let chain = CertificateDer::pem_file_iter(format!("{FOLDER}/{name}.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(format!("{FOLDER}/{name}.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                stream.read(&mut [0; 4_096]).await.ok().filter(|read| *read > 0)?;
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", HELLO.len());
                stream.write_all(format!("{head}{HELLO}").as_bytes()).await.ok()?;
                stream.shutdown().await.ok()
            });
        }
    });
    port
}

#[tokio::test]
async fn a_named_authority_is_trusted_and_no_others_is() {
    let (port, backup) = (upstream("server").await, Scripted::start(good()).await);
    let text = |host: &str| pools(&[target("a", &format!("https://{host}:{port}/")), target("b", &backup.url())]);
    let trusting = |setup: super::Setup| setup.set("BROKER_RELAY_CA", format!("{FOLDER}/ca.pem"));
    for host in ["localhost", "127.0.0.1"] {
        let harness = Harness::with(&text(host), trusting).await;
        let answer = harness.call().await;
        assert_eq!((answer.text().as_str(), answer.header("x-broker-router")), (HELLO, Some("/llm/a/")), "{host}");
    }
    let harness = Harness::of(&text("localhost")).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"), "unknown authority");
    harness.broker.until(&["the target cannot be connected to", "/llm/a/", "UnknownIssuer"]).await;
    let harness = Harness::with(&text("localhost.localdomain"), trusting).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"), "another name than the certificate's");
}
