//! Credentials in files that are renewed while the broker runs.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_sim::nats_server::NatsServer;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::support::{Bus, Setup, TOKEN};

/// A file that goes with the test.
struct SecretFile(PathBuf);

impl SecretFile {
    fn of(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("broker-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_token_that_was_renewed_in_its_file_is_used_when_the_bus_asks_for_it() {
    let mut bus = Bus::start().await;
    let port = bus.server.port();
    let file = SecretFile::of("renewed-token", TOKEN);
    let setup = Setup::on(&bus).unset("NATS_TOKEN").set("NATS_TOKEN_FILE", file.path()).secret("the-next-token");
    let broker = setup.ready().await;
    bus.server.kill();
    broker.until_nth(&["the connection to the bus is lost"], 2).await;
    let _next = NatsServer::start(port, "the-next-token", "").unwrap();
    broker.until_nth(&["the bus refuses our credentials"], 2).await;
    std::fs::remove_file(file.path()).unwrap();
    broker.until_nth(&["cannot show the bus our credentials", "NATS_TOKEN_FILE=", "cannot read the file"], 2).await;
    file.write("the-next-token\n");
    broker.until_nth(&["connected to the bus and subscribed"], 4).await;
    // Once per connection.
    broker.exactly(&["cannot show the bus our credentials"], 2).await;
}

/// A JWT in the form of NATS.
fn jwt(subject: &KeyPair, issuer: &KeyPair, kind: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let claims = json!({
        "jti": "one", "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": kind,
    });
    let signed = format!("{head}.{}", part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// A server that knows one account of its own operator's, and a credentials file for it.
fn with_operator(port: u16) -> (NatsServer, String, String) {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let of_operator = jwt(&operator, &operator, json!({"type": "operator", "version": 2}));
    let of_account = jwt(&account, &operator, json!({"type": "account", "version": 2, "limits": limits}));
    let of_user = jwt(
        &user,
        &account,
        json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}),
    );
    let settings = format!(
        "authorization {{}}\noperator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{ {}: {of_account} }}",
        account.public_key()
    );
    let seed = user.seed().unwrap();
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    (NatsServer::start(port, TOKEN, &settings).unwrap(), credentials, seed)
}

#[tokio::test]
async fn a_credentials_file_that_was_renewed_is_used_at_the_next_connection() {
    let (mut bus, credentials, seed) = with_operator(0);
    let port = bus.port();
    let file = SecretFile::of("renewed-creds", &credentials);
    let setup = Setup::at(&bus.host()).unset("NATS_TOKEN").set("NATS_CREDS", file.path()).secret(&seed);
    let broker = setup.clone().ready().await;
    bus.kill();
    broker.until_nth(&["the connection to the bus is lost"], 2).await;
    let (_bus, renewed, _) = with_operator(port);
    broker.until_nth(&["the bus refuses our credentials"], 2).await;
    file.write("no credentials at all");
    broker.until(&["cannot show the bus our credentials", "NATS_CREDS=", "no user's JWT"]).await;
    file.write(&renewed);
    broker.until_nth(&["connected to the bus and subscribed"], 4).await;
    assert_eq!(broker.get("/readyz").await.status, 200);

    file.write("no credentials at all");
    let ended = setup.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("NATS_CREDS=") && ended.out.contains("no user's JWT"), "{ended:?}");
}
