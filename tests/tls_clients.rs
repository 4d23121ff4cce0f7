//! Clients of the relay and of the HTTP port over TLS: the certificate, its replacement, and clients that do not finish.

use std::fs;
use std::net::SocketAddr;

use futures_util::future::join_all;

use super::support::http;
use super::support::http::Open;
use super::support::scripted::{Scripted, answer};
use super::support::tls::{FOLDER, TlsClient, certificate};
use super::support::{Broker, Bus, PoolsFile, Setup};

/// A broker with a relay that serves TLS, before one target.
struct Server {
    broker: Broker,
    http: SocketAddr,
    relay: SocketAddr,
    target: Scripted,
    /// Holds `cert.pem` and `key.pem`.
    files: PoolsFile,
    setup: Setup,
    _bus: Bus,
}

impl Server {
    async fn start() -> Self {
        let (bus, target) = (Bus::start().await, Scripted::start(answer(200, &[], "{\"choices\":[{}]}")).await);
        let files = PoolsFile::of(&format!(
            r#"{{"pools": [{{"ingress": "/llm/", "targets": [{{"name": "a", "url": "{}", "forward_credentials": true}}]}}]}}"#,
            target.url()
        ));
        put(&files, "server");
        let at = |name| files.folder().join(name);
        let setup = Setup::on(&bus).set("BROKER_CONFIG", files.path()).set("BROKER_RELAY", "127.0.0.1:0");
        let setup = setup.set("BROKER_TLS_CERT", at("cert.pem")).set("BROKER_TLS_KEY", at("key.pem"));
        // Twice as many connections.
        let setup = setup.set("BROKER_RELAY_CALLS", "8");
        let broker = setup.clone().ready().await;
        let (http, relay) = (broker.http().await, broker.relay().await);
        Self { broker, http, relay, target, files, setup, _bus: bus }
    }

    fn ports(&self) -> [(SocketAddr, &'static str); 2] {
        [(self.http, "/livez"), (self.relay, "/llm/chat/completions")]
    }
}

/// Puts a certificate and its key into the broker's files, as `mv` and Kubernetes do.
fn put(files: &PoolsFile, name: &str) {
    for (from, to) in [("pem", "cert.pem"), ("key", "key.pem")] {
        let new = files.folder().join("new");
        fs::copy(format!("{FOLDER}/{name}.{from}"), &new).unwrap();
        fs::rename(&new, files.folder().join(to)).unwrap();
    }
}

fn client() -> TlsClient {
    TlsClient::offering(&["h2", "http/1.1"])
}

#[tokio::test]
async fn s2_relay_page_and_health_command_over_tls() {
    let server = Server::start().await;
    for (address, path) in server.ports() {
        for client in [client(), TlsClient::offering(&[])] {
            let method = if path == "/livez" { "GET" } else { "POST" };
            assert_eq!(client.send(address, method, path, "{}").await.unwrap().status, 200, "{path}");
        }
        let stream = client().connect(address).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(connection.peer_certificates().unwrap(), [certificate("server.pem")]);
        assert!(TlsClient::offering(&["h2"]).connect(address).await.is_err(), "only HTTP/1.1 is spoken");
        assert!(http::send(address, "GET", path, &[], b"").await.is_err(), "plain HTTP is not answered");
    }
    assert_eq!(server.target.calls(), 2);
    for flag in ["--ready", ""] {
        let arguments: Vec<_> = ["health", flag].into_iter().filter(|one| !one.is_empty()).collect();
        let health = server.setup.clone().set("BROKER_HTTP", server.http.to_string());
        let ended = health.arguments(&arguments).ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[tokio::test]
async fn s2_new_connections_get_a_new_certificate_and_bad_files_change_nothing() {
    let server = Server::start().await;
    let seen = async |address| {
        let stream = client().connect(address).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut open = client().connect(server.relay).await.unwrap();
    fs::write(server.files.folder().join("cert.pem"), "not a certificate").unwrap();
    let line = server.broker.until(&["ERROR", "the TLS certificate stays as it was", "no certificate in it"]).await;
    assert!(line.contains("cert.pem"), "{line}");
    for (address, _) in server.ports() {
        assert_eq!(seen(address).await, certificate("server.pem"));
    }
    put(&server.files, "other");
    server.broker.until(&["INFO", "new TLS certificate"]).await;
    // One line for one change.
    server.broker.exactly(&["no certificate in it"], 1).await;
    for (address, path) in server.ports() {
        assert_eq!(seen(address).await, certificate("other.pem"), "{path}");
    }
    let request = b"GET /llm/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(http::exchange(&mut open, request).await.unwrap().status, 200, "an open connection is not closed");
}

#[tokio::test]
async fn s2_handshakes_that_hang_keep_no_client_out_and_delay_no_end() {
    let mut server = Server::start().await;
    // The beginning of a ClientHello, and nothing at all.
    for bytes in [b"\x16\x03\x01\x02\x00\x01\x00".as_slice(), b""] {
        for ((address, path), places) in server.ports().into_iter().zip([72, 16]) {
            let hanging = join_all((0..places + 20).map(|_| Open::raw(address, bytes))).await;
            let method = if path == "/livez" { "GET" } else { "POST" };
            assert_eq!(client().send(address, method, path, "{}").await.unwrap().status, 200, "{path}");
            let mut hanging = hanging.into_iter();
            // Places were taken back in the order in which they were given.
            assert_eq!(hanging.next().unwrap().closed().await, "");
        }
    }
    let hanging = Open::raw(server.relay, b"\x16\x03\x01").await;
    server.broker.signal("TERM");
    assert!(server.broker.exit().await.success());
    // A handshake that is waited for outlasts the time to end: it may take longer.
    assert_eq!(server.broker.count(&["the relay's grace period is over"]), 0, "{}", server.broker.text());
    drop(hanging);
}

#[tokio::test]
async fn s2_what_is_wrong_with_the_files_is_said_at_the_start() {
    let at = |file: &str| format!("{FOLDER}/{file}");
    for (certificate, key, words) in [
        (Some(at("server.pem")), None, vec!["BROKER_TLS_CERT", "needs BROKER_TLS_KEY too"]),
        (None, Some(at("server.key")), vec!["BROKER_TLS_KEY", "needs BROKER_TLS_CERT too"]),
        (Some("/no/such/cert".to_owned()), Some(at("server.key")), vec!["BROKER_TLS_CERT", "cannot read the file"]),
        (Some(at("server.pem")), Some("/no/such/key".to_owned()), vec!["BROKER_TLS_KEY", "cannot read the file"]),
        (Some(at("server.key")), Some(at("server.key")), vec!["BROKER_TLS_CERT", "no certificate in it"]),
        (Some(at("server.pem")), Some(at("server.pem")), vec!["BROKER_TLS_KEY", "no private key in it"]),
        (Some(at("other.pem")), Some(at("server.key")), vec!["BROKER_TLS_KEY", "does not match the certificate"]),
    ] {
        let setup = certificate.iter().fold(Setup::bare(), |setup, path| setup.set("BROKER_TLS_CERT", path));
        let ended = key.iter().fold(setup, |setup, path| setup.set("BROKER_TLS_KEY", path)).ended().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {}", ended.err);
        assert_eq!(ended.err.lines().count(), 2, "nothing else is wrong: {}", ended.err);
    }
}
