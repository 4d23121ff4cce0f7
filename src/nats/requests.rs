//! Requests of the gateway, answered inline: row 1 (which router?), row 2 (apply the stamp), and the outcome messages, which
//! report how an earlier call ended.
//!
//! Every message with a reply subject gets exactly one reply, at once: the gateway waits for it, and a missing one delays the
//! client by the gateway's whole timeout. So there is no task per message and no await between choosing and counting, and a
//! message that cannot be parsed is answered with zero bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, Message as BusMessage, SubscribeError, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::NatsSettings;
use crate::shared_broker::SharedBroker;
use gecholog_protocol::reply::{self, Degradation};
use gecholog_protocol::{Malformed, Message};
use types::outcome::CallObservation;

/// How long arriving messages are counted before the subscription ends, to estimate how many are on their way.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// The least number of messages that is assumed to be on their way. Measured: with 64 in flight, none is lost.
const MIN_IN_FLIGHT_MESSAGES: u64 = 64;
/// No message for this time means that none is on its way.
const DRAIN_QUIET_TIME: Duration = Duration::from_millis(300);
/// The messages that are assumed to be on their way come within this time, or are fewer.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(3);
/// With less than 20 a second, no more than these are on their way at the end.
const LAST_MESSAGES: u64 = 4;
/// The drain ends after this time more in any case.
const MAX_LAST_TIME: Duration = Duration::from_secs(1);

/// What a subject is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Row 1, and in the one-row configuration also finished calls.
    Decide,
    /// Row 2.
    Apply,
    /// The outcome of a call.
    Outcome,
}

/// The subscriptions of this replica.
#[derive(Debug)]
pub(super) struct Requests {
    client: Client,
    subscriptions: Vec<(Subject, Subscriber)>,
    learns: Learns,
}

/// Whether this connection learns from outcomes: while there are two connections, both get them and only one learns.
#[derive(Debug, Clone)]
pub(super) struct Learns(Arc<AtomicBool>);

impl Learns {
    pub(super) fn set(&self, learns: bool) {
        self.0.store(learns, Ordering::Relaxed);
    }
}

/// Subscribes.
///
/// # Errors
/// The connection is closed.
pub(super) async fn subscribe(client: Client, settings: &NatsSettings) -> Result<Requests, SubscribeError> {
    let NatsSettings { subject, queue, .. } = settings;
    let subscriptions = vec![
        (Subject::Decide, client.queue_subscribe(subject.clone(), queue.clone()).await?),
        (Subject::Apply, client.queue_subscribe(format!("{subject}.apply"), queue.clone()).await?),
        (Subject::Outcome, client.subscribe(format!("{subject}.outcome")).await?),
    ];
    Ok(Requests { client, subscriptions, learns: Learns(Arc::new(AtomicBool::new(true))) })
}

impl Requests {
    /// The switch for learning.
    pub(super) fn learns(&self) -> Learns {
        self.learns.clone()
    }

    /// Replies until `stop` changes, then unsubscribes, replies to what has arrived, and returns when the last reply is written.
    pub(super) async fn serve(self, broker: SharedBroker, stop: watch::Receiver<bool>) {
        let Self { client, subscriptions, learns } = self;
        let mut tasks = JoinSet::new();
        for (subject, messages) in subscriptions {
            let answers = Answers { subject, broker: broker.clone(), client: client.clone(), learns: learns.clone() };
            tasks.spawn(answers.serve(messages, stop.clone()));
        }
        while tasks.join_next().await.is_some() {}
        if client.flush().await.is_err() {
            tracing::debug!("the connection was gone before the last answers were written");
        }
    }
}

/// Replies to the messages of one subject.
struct Answers {
    subject: Subject,
    broker: SharedBroker,
    client: Client,
    learns: Learns,
}

impl Answers {
    async fn serve(self, mut messages: Subscriber, mut stop: watch::Receiver<bool>) {
        let mut delivered = 0;
        let stopping = stop.changed();
        tokio::pin!(stopping);
        loop {
            let message = tokio::select! {
                biased;
                _ = &mut stopping => break,
                message = messages.next() => message,
            };
            let Some(message) = message else { return };
            delivered += 1;
            self.take(message).await;
            // Messages that have arrived are answered without waiting; tokio's budget yields in time to check `stop` again.
            while let Some(message) = messages.next().now_or_never() {
                let Some(message) = message else { return };
                delivered += 1;
                self.take(message).await;
            }
        }
        self.drain(messages, delivered).await;
    }

    /// Limits the subscription to the number of messages that may be on their way. Ending it at once would drop those.
    async fn drain(&self, mut messages: Subscriber, delivered: u64) {
        let mut arrived = 0;
        let measured = Instant::now() + DRAIN_CHECK_INTERVAL;
        while let Ok(message) = timeout_at(measured, messages.next()).await {
            let Some(message) = message else { return };
            arrived += 1;
            self.take(message).await;
        }
        let mut taken = delivered + arrived;
        // Where so many do not come in time, the subscription would still be there at the end: the second limit is reached soon.
        for (on_their_way, longest) in
            [(arrived.max(MIN_IN_FLIGHT_MESSAGES), MAX_DRAIN_TIME), (LAST_MESSAGES, MAX_LAST_TIME)]
        {
            if messages.unsubscribe_after(taken + on_their_way).await.is_err() {
                return;
            }
            let end = Instant::now() + longest;
            while Instant::now() < end {
                match timeout(DRAIN_QUIET_TIME, messages.next()).await {
                    Ok(Some(message)) => {
                        taken += 1;
                        self.take(message).await;
                    }
                    Ok(None) => return,
                    Err(_) => break,
                }
            }
        }
    }

    async fn take(&self, message: BusMessage) {
        let answer = self.answer(&message.payload);
        if let Some(inbox) = message.reply
            && let Err(error) = self.client.publish(inbox, Bytes::from(answer)).await
        {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }

    fn answer(&self, payload: &[u8]) -> Vec<u8> {
        match Message::read(payload).and_then(|message| self.answer_message(&message)) {
            Ok(answer) => answer,
            Err(malformed) => {
                if let Some(total) = self.broker.counts().malformed_messages.count(malformed, self.broker.now()) {
                    tracing::warn!(total, subject = ?self.subject, "a message is {malformed}: answered with zero bytes");
                }
                Vec::new()
            }
        }
    }

    /// Logs the first degradation of each kind, and counts all.
    fn admit(&self, (answer, degradation): (Vec<u8>, Option<Degradation>)) -> Vec<u8> {
        if let Some(degradation) = degradation
            && self.broker.counts().degradations.count(degradation, self.broker.now()) == Some(1)
        {
            tracing::warn!("{degradation} (logged once)");
        }
        answer
    }

    fn answer_message(&self, message: &Message<'_>) -> Result<Vec<u8>, Malformed> {
        match self.subject {
            Subject::Apply => Ok(self.admit(reply::apply(message))),
            Subject::Decide if !message.is_response => Ok(self.admit(self.broker.route(&message.request()?))),
            Subject::Outcome if !self.learns.0.load(Ordering::Relaxed) => Ok(Vec::new()),
            Subject::Decide | Subject::Outcome => {
                // An outcome on the subject of requests: the gateway has the one-row configuration.
                let one_row = self.subject == Subject::Decide;
                let source = if one_row { CallObservation::OneRow } else { CallObservation::Message };
                if let Some(ignored) = self.broker.learn(source(&message.response)) {
                    let total = self.broker.counts().ignored_messages.count(ignored, self.broker.now());
                    tracing::trace!(total, "a finished request {ignored}");
                }
                Ok(Vec::new())
            }
        }
    }
}
