//! The service bus: requests to processors, published logs, replies to isalive.
//!
//! Nothing is retried. While the connection is lost, each request takes its whole timeout, and logs wait in the client until
//! it has reconnected.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, PublishErrorKind, Request, RequestErrorKind};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Moment;
use crate::config;

const CONNECTED: &str = "running & connected to message bus";
const LISTENING: &str = "HTTP(s) server listening";

/// For the message with which a client waits for the server. After this it goes on without.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);
const PAYLOAD_TOO_LARGE: &str = "nats: maximum payload exceeded";

#[derive(Debug)]
pub(crate) struct Bus {
    client: Client,
    subjects: config::Bus,
    health: Mutex<Health>,
}

/// What isalive reports; the gateway never sets the ingress time and never clears an error.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    #[serde(rename = "LastTransactionID")]
    last_transaction_id: String,
    last_ingress_time: String,
    last_error: String,
    last_error_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IsAliveReply {
    status: u16,
    body: Health,
    error: Option<()>,
}

/// Why a processor did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoReply {
    NoResponders,
    TimedOut,
    PayloadTooLarge,
}

impl NoReply {
    /// The text that the gateway writes into the log.
    pub(crate) fn details(self) -> &'static str {
        match self {
            NoReply::NoResponders => "nats: no responders available for request",
            NoReply::TimedOut => "context deadline exceeded",
            NoReply::PayloadTooLarge => PAYLOAD_TOO_LARGE,
        }
    }
}

impl Bus {
    pub(crate) async fn connect(subjects: config::Bus) -> Result<Bus, async_nats::ConnectError> {
        let client = ConnectOptions::with_token(subjects.token.clone())
            .name("gateway-sim")
            .connect(format!("nats://{}", subjects.host))
            .await?;
        let bus = Bus { client, subjects, health: Mutex::default() };
        bus.publish_status(CONNECTED).await;
        Ok(bus)
    }

    pub(crate) async fn publish_listening(&self) {
        self.publish_status(LISTENING).await;
    }

    async fn publish_status(&self, text: &'static str) {
        let published = self.client.publish(self.subjects.status.clone(), Bytes::from_static(text.as_bytes())).await;
        if let Err(error) = published {
            tracing::warn!(%error, text, "status not published");
        }
    }

    /// The first reply, if one comes in time. A subject that is invalid for NATS, such as `a..b`, times out.
    pub(crate) async fn request(&self, subject: &str, body: Bytes, timeout: Duration) -> Result<Bytes, NoReply> {
        let deadline = Instant::now() + timeout;
        let request = Request::new().payload(body).timeout(Some(timeout));
        let reply = timeout_at(deadline, self.client.send_request(subject.to_owned(), request)).await;
        let kind = match reply {
            Ok(Ok(message)) => return Ok(message.payload),
            Ok(Err(error)) => error.kind(),
            Err(_) => RequestErrorKind::TimedOut,
        };
        match kind {
            RequestErrorKind::NoResponders => Err(NoReply::NoResponders),
            RequestErrorKind::MaxPayloadExceeded => Err(NoReply::PayloadTooLarge),
            _ => {
                sleep_until(deadline).await;
                Err(NoReply::TimedOut)
            }
        }
    }

    /// Publishes one log. A log that is too big for the server is lost, and isalive reports it.
    pub(crate) async fn log(&self, transaction: &str, message: Vec<u8>, now: Moment) {
        let published = self.client.publish(self.subjects.logger.clone(), message.into()).await;
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(error) = published else {
            transaction.clone_into(&mut health.last_transaction_id);
            return;
        };
        let details = match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => PAYLOAD_TOO_LARGE.to_owned(),
            _ => error.to_string(),
        };
        tracing::error!(transaction, details, "log lost");
        health.last_error = format!("logger: Problem sending log to service bus: {details}");
        health.last_error_time = now.to_the_second();
    }

    /// Answers isalive until the handle is dropped. A request sent after this has returned is answered.
    pub(crate) async fn answer_isalive(self: Arc<Bus>) -> Result<AbortOnDropHandle<()>, async_nats::SubscribeError> {
        let mut requests = self.client.subscribe(self.subjects.isalive.clone()).await?;
        self.sync_with_server().await;
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(message) = requests.next().await {
                if let Some(reply) = message.reply {
                    self.reply_isalive(reply).await;
                }
            }
        })))
    }

    async fn reply_isalive(&self, reply: async_nats::Subject) {
        let body = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = serde_json::to_vec(&IsAliveReply { status: 200, body, error: None }).unwrap_or_default();
        if let Err(error) = self.client.publish(reply, answer.into()).await {
            tracing::warn!(%error, "isalive not answered");
        }
    }

    /// Waits until the server has taken all that was sent so far: it handles one connection's messages in order, so a
    /// message that this client sends to itself comes back last. Flushing would only empty the client's own buffer.
    pub(crate) async fn sync_with_server(&self) {
        let inbox = self.client.new_inbox();
        let echo = async {
            let mut echo = self.client.subscribe(inbox.clone()).await.ok()?;
            self.client.publish(inbox, Bytes::new()).await.ok()?;
            echo.next().await
        };
        if timeout(SYNC_TIMEOUT, echo).await.is_err() {
            tracing::warn!("the bus does not answer; messages may still be on their way");
        }
    }
}
