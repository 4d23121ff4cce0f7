//! A bus that cannot be connected to: the log and `/readyz` say what of it is wrong.

use gateway_sim::nats_server::NatsServer;

use super::support::tls::FOLDER;
use super::support::{Setup, TOKEN};

/// A bus with TLS and this certificate.
fn bus(certificate: &str, settings: &str) -> NatsServer {
    let files = format!("cert_file: \"{FOLDER}/{certificate}.pem\", key_file: \"{FOLDER}/{certificate}.key\"");
    NatsServer::start(0, TOKEN, &format!("tls {{ {files}{settings} }}")).unwrap()
}

/// The broker on a bus with TLS under this name, trusting our authority.
fn setup(bus: &NatsServer, name: &str) -> Setup {
    let setup = Setup::bare().set("NATS_URL", format!("tls://{name}:{}", bus.port())).set("NATS_TOKEN", TOKEN);
    setup.set("BROKER_HTTP", "127.0.0.1:0").set("NATS_CA", format!("{FOLDER}/ca.pem"))
}

/// Waits for the line about no connection; it and `/readyz` have these words.
async fn says(setup: Setup, words: &[&str]) {
    let broker = setup.spawn();
    let line = broker.until(&["no connection to the bus"]).await;
    let answer = broker.get("/readyz").await;
    assert_eq!(answer.status, 503);
    for text in [line, answer.text()] {
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_certificates_is_said() {
    let good = bus("server", "");
    setup(&good, "localhost").ready().await;
    says(setup(&good, "localhost").unset("NATS_CA"), &["certificate", "UnknownIssuer"]).await;
    let elsewhere = bus("elsewhere", "");
    let trusting = setup(&elsewhere, "localhost").set("NATS_CA", format!("{FOLDER}/elsewhere.pem"));
    says(trusting, &["certificate", "not valid for name", "localhost", "elsewhere.test"]).await;
    let mutual = bus("server", &format!(", ca_file: \"{FOLDER}/ca.pem\", verify: true"));
    says(setup(&mutual, "localhost"), &["ertificate", "equired"]).await;
    let plain = NatsServer::start(0, TOKEN, "").unwrap();
    says(setup(&plain, "localhost"), &["InvalidContentType"]).await;
}

#[tokio::test]
async fn the_servers_own_reason_is_said() {
    let bus = NatsServer::start(0, TOKEN, "max_connections: 1").unwrap();
    says(Setup::at(&bus.host()), &["maximum connections exceeded"]).await;
}

#[tokio::test]
async fn an_error_that_comes_after_another_is_said_too() {
    let port = bus("server", "").port();
    let url = format!("tls://localhost:{port}");
    let setup = Setup::bare().set("NATS_URL", url).set("NATS_TOKEN", TOKEN).set("BROKER_HTTP", "127.0.0.1:0");
    let broker = setup.spawn();
    broker.until_nth(&["no connection to the bus", "refused"], 2).await;
    let files = format!("cert_file: \"{FOLDER}/server.pem\", key_file: \"{FOLDER}/server.key\"");
    let _bus = NatsServer::start(port, TOKEN, &format!("tls {{ {files} }}")).unwrap();
    broker.until_nth(&["no connection to the bus", "UnknownIssuer"], 2).await;
    let answer = broker.get("/readyz").await;
    assert!(answer.text().contains("UnknownIssuer"), "{}", answer.text());
}
