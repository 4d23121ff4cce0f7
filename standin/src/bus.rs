//! The service bus: asking processors, publishing logs, answering isalive.
//!
//! Nothing is retried. A lost connection shows as silence: each question then costs its whole timeout, logs wait in the
//! client until it has reconnected.

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

/// How long a bus may take to echo before it counts as gone.
const SETTLE: Duration = Duration::from_secs(5);
const TOO_BIG: &str = "nats: maximum payload exceeded";

#[derive(Debug)]
pub(crate) struct Bus {
    client: Client,
    subjects: config::Bus,
    health: Mutex<Health>,
}

/// What isalive tells; the gateway never sets the ingress time and never clears an error.
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
struct Alive {
    status: u16,
    body: Health,
    error: Option<()>,
}

/// Why a processor did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Nobody,
    TooLate,
    TooBig,
}

impl Silence {
    /// The words that the gateway writes into the log.
    pub(crate) fn details(self) -> &'static str {
        match self {
            Silence::Nobody => "nats: no responders available for request",
            Silence::TooLate => "context deadline exceeded",
            Silence::TooBig => TOO_BIG,
        }
    }
}

impl Bus {
    pub(crate) async fn connect(subjects: config::Bus) -> Result<Bus, async_nats::ConnectError> {
        let client = ConnectOptions::with_token(subjects.token.clone())
            .name("standin")
            .connect(format!("nats://{}", subjects.host))
            .await?;
        let bus = Bus { client, subjects, health: Mutex::default() };
        bus.tell(CONNECTED).await;
        Ok(bus)
    }

    pub(crate) async fn tell_listening(&self) {
        self.tell(LISTENING).await;
    }

    async fn tell(&self, text: &'static str) {
        let told = self.client.publish(self.subjects.status.clone(), Bytes::from_static(text.as_bytes())).await;
        if let Err(error) = told {
            tracing::warn!(%error, text, "status not published");
        }
    }

    /// The first reply, if one comes in time. A subject that NATS cannot ask on is never answered.
    pub(crate) async fn ask(&self, subject: &str, body: Bytes, patience: Duration) -> Result<Bytes, Silence> {
        let deadline = Instant::now() + patience;
        let request = Request::new().payload(body).timeout(Some(patience));
        let asked = timeout_at(deadline, self.client.send_request(subject.to_owned(), request)).await;
        let kind = match asked {
            Ok(Ok(message)) => return Ok(message.payload),
            Ok(Err(error)) => error.kind(),
            Err(_) => RequestErrorKind::TimedOut,
        };
        match kind {
            RequestErrorKind::NoResponders => Err(Silence::Nobody),
            RequestErrorKind::MaxPayloadExceeded => Err(Silence::TooBig),
            _ => {
                sleep_until(deadline).await;
                Err(Silence::TooLate)
            }
        }
    }

    /// Publishes one log. A log that is too big for the server is lost, and isalive tells so.
    pub(crate) async fn log(&self, transaction: &str, message: Vec<u8>, now: Moment) {
        let published = self.client.publish(self.subjects.logger.clone(), message.into()).await;
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(error) = published else {
            transaction.clone_into(&mut health.last_transaction_id);
            return;
        };
        let details = match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => TOO_BIG.to_owned(),
            _ => error.to_string(),
        };
        tracing::error!(transaction, details, "log lost");
        health.last_error = format!("logger: Problem sending log to service bus: {details}");
        health.last_error_time = now.to_the_second();
    }

    /// Answers isalive until the handle is dropped. A question asked after this has returned is answered.
    pub(crate) async fn answer_isalive(self: Arc<Bus>) -> Result<AbortOnDropHandle<()>, async_nats::SubscribeError> {
        let mut questions = self.client.subscribe(self.subjects.isalive.clone()).await?;
        self.settle().await;
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                if let Some(reply) = question.reply {
                    self.say_alive(reply).await;
                }
            }
        })))
    }

    async fn say_alive(&self, reply: async_nats::Subject) {
        let body = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = serde_json::to_vec(&Alive { status: 200, body, error: None }).unwrap_or_default();
        if let Err(error) = self.client.publish(reply, answer.into()).await {
            tracing::warn!(%error, "isalive not answered");
        }
    }

    /// Waits until the server has taken all that was sent so far: it handles one connection's messages in order, so a
    /// message to oneself comes back last. Flushing would only empty our own buffer.
    pub(crate) async fn settle(&self) {
        let inbox = self.client.new_inbox();
        let echo = async {
            let mut echo = self.client.subscribe(inbox.clone()).await.ok()?;
            self.client.publish(inbox, Bytes::new()).await.ok()?;
            echo.next().await
        };
        if timeout(SETTLE, echo).await.is_err() {
            tracing::warn!("the bus does not answer; messages may still be on their way");
        }
    }
}
