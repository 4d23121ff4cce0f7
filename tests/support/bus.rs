//! A bus of one's own, and a client that speaks on it as the gateway would.

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use gateway_sim::nats_server::NatsServer;
use serde_json::Value;

use super::{DECIDE, LOGGER, REQUEST, soon};

/// The token of every bus here; no broker may ever print it.
pub(crate) const TOKEN: &str = "s3cret-of-the-bus";

pub(crate) struct Bus {
    pub(crate) server: NatsServer,
    pub(crate) client: Client,
}

impl Bus {
    pub(crate) async fn start() -> Self {
        Self::with(0, "").await
    }

    /// On this port (0: any), with further settings of the server.
    pub(crate) async fn with(port: u16, settings: &str) -> Self {
        let server = NatsServer::start(port, TOKEN, settings).unwrap();
        let client = connect(&server).await;
        Self { server, client }
    }

    pub(crate) fn host(&self) -> String {
        self.server.host()
    }

    /// Asks as the gateway asks, and waits for the answer.
    pub(crate) async fn ask(&self, subject: &str, body: impl Into<Bytes>) -> Bytes {
        let answer = self.client.request(subject.to_owned(), body.into()).await;
        answer.unwrap_or_else(|error| panic!("no answer on {subject}: {error}")).payload
    }

    /// Asks for a router; the whole answer.
    pub(crate) async fn decide(&self) -> Value {
        serde_json::from_slice(&self.ask(DECIDE, REQUEST).await).unwrap_or(Value::Null)
    }

    /// Subscribes, and waits until the bus knows it: what others publish from here on comes.
    pub(crate) async fn subscribe(&self, subject: &str) -> Subscriber {
        let subscriber = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.sync().await;
        subscriber
    }

    /// Waits until the bus has processed all that was sent before; `flush` returns when it is written.
    pub(crate) async fn sync(&self) {
        let inbox = self.client.new_inbox();
        let mut echo = self.client.subscribe(inbox.clone()).await.unwrap();
        self.client.publish(inbox, Bytes::new()).await.unwrap();
        soon("an echo", echo.next()).await.unwrap();
    }

    /// Publishes without waiting for anybody.
    pub(crate) async fn tell(&self, subject: &str, body: impl Into<Bytes>) {
        self.client.publish(subject.to_owned(), body.into()).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Publishes an entry of the gateway's log.
    pub(crate) async fn log(&self, entry: impl Into<Bytes>) {
        self.tell(LOGGER, entry).await;
    }
}

/// A client of this bus, beside the bus's own.
pub(crate) async fn connect(server: &NatsServer) -> Client {
    let options = async_nats::ConnectOptions::with_token(server.token().to_owned())
        .reconnect_delay_callback(|_| std::time::Duration::from_millis(10));
    soon("the bus", options.connect(server.host())).await.unwrap()
}
