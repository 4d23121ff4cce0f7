//! Asks over the bus as the gateway does, and notes how long each answer took.
//!
//! A closed loop: a fixed number of requests is in flight, and each answer sends the next one. An answer that does not come, is
//! empty, or comes from the bus because there is no responder is an error and never a figure.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::{Client, ConnectOptions, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use gateway_sim::nats_server::NatsServer;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::process::{Process, TOKEN};
use crate::stats::{Latencies, now};

/// What the gateway asks in row 1 of the shipped configuration.
const QUESTION: Bytes = Bytes::from_static(br#"{"gl_path":"/azure/"}"#);
/// An answer that takes longer does not come.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A question to a process that has ended is lost after this.
const LOST: Duration = Duration::from_millis(50);
/// Interval of the checks for a responder.
const LOOK: Duration = Duration::from_millis(1);

/// A client that sends requests.
#[derive(Debug)]
pub(crate) struct Asker {
    client: Client,
    inbox: String,
    answers: Subscriber,
}

/// What came of asking for a while.
#[derive(Debug)]
pub(crate) struct LoadResult {
    /// How long each answer took.
    pub(crate) latencies: Latencies,
    /// From the first question to the last answer.
    pub(crate) took: Duration,
}

/// Connects; for every role, so that all are connected alike.
pub(crate) async fn connect(host: &str, options: ConnectOptions) -> Result<Client> {
    let token = std::env::var("NATS_TOKEN").unwrap_or_else(|_| TOKEN.to_owned());
    options.token(token).connect(host).await.with_context(|| format!("no bus at {host}"))
}

impl Asker {
    /// Connects to the bus.
    pub(crate) async fn new(bus: &NatsServer) -> Result<Self> {
        let client = connect(&bus.host(), ConnectOptions::new().token(bus.token().to_owned())).await?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        Ok(Self { client, inbox, answers })
    }

    /// Asks once; `None` if there is no responder.
    pub(crate) async fn ask(&mut self, subject: &str) -> Result<Option<Bytes>> {
        self.send(subject.into(), format!("{}.0", self.inbox).into()).await?;
        let answer = self.answer().await?;
        Ok((answer.status != Some(StatusCode::NO_RESPONDERS)).then_some(answer.payload))
    }

    /// Waits for the first answer and returns it.
    pub(crate) async fn until_answered(&mut self, subject: &str, process: &mut Process) -> Result<Bytes> {
        let began = now();
        loop {
            if let Some(answer) = self.ask(subject).await? {
                return Ok(answer);
            }
            process.check()?;
            ensure!(began.elapsed() < ANSWER_TIMEOUT, "no responder on {subject}; it printed:\n{}", process.output());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the bus has no responder any more; a request that it still sent to the old one is lost.
    pub(crate) async fn until_silent(&mut self, subject: &str) -> Result<()> {
        let began = now();
        while began.elapsed() < ANSWER_TIMEOUT {
            let asked = timeout(LOST, self.ask(subject)).await;
            if asked.is_ok_and(|answer| matches!(answer, Ok(None))) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("a responder on {subject} should be gone")
    }

    /// Asks for a while with this many requests in flight.
    pub(crate) async fn press(&mut self, subject: &str, in_flight: usize, span: Duration) -> Result<LoadResult> {
        let subject = Subject::from(subject);
        let inboxes: Vec<Subject> = (0..in_flight).map(|slot| format!("{}.{slot}", self.inbox).into()).collect();
        let mut latencies = Latencies::default();
        let began = now();
        let mut sent = vec![began; in_flight];
        for (inbox, sent) in inboxes.iter().zip(&mut sent) {
            *sent = now();
            self.send(subject.clone(), inbox.clone()).await?;
        }
        let mut open = in_flight;
        while open > 0 {
            let slot = self.good_answer().await?;
            let (Some(inbox), Some(sent)) = (inboxes.get(slot), sent.get_mut(slot)) else {
                bail!("an answer to a request that was not sent");
            };
            latencies.push(sent.elapsed());
            if began.elapsed() < span {
                *sent = now();
                self.send(subject.clone(), inbox.clone()).await?;
            } else {
                open -= 1;
            }
        }
        Ok(LoadResult { latencies, took: began.elapsed() })
    }

    /// Asks one question after another for a while, no faster than one in each `pause`.
    pub(crate) async fn stroll(&mut self, subject: &str, pause: Duration, span: Duration) -> Result<LoadResult> {
        let (subject, inbox) = (Subject::from(subject), Subject::from(format!("{}.0", self.inbox)));
        let mut latencies = Latencies::default();
        let mut pace = interval(pause);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = now();
        while began.elapsed() < span {
            pace.tick().await;
            let sent: Instant = now();
            self.send(subject.clone(), inbox.clone()).await?;
            self.good_answer().await?;
            latencies.push(sent.elapsed());
        }
        Ok(LoadResult { latencies, took: began.elapsed() })
    }

    async fn send(&self, subject: Subject, inbox: Subject) -> Result<()> {
        Ok(self.client.publish_with_reply(subject, inbox, QUESTION).await?)
    }

    async fn answer(&mut self) -> Result<Message> {
        let answer = timeout(ANSWER_TIMEOUT, self.answers.next()).await.context("an answer did not come")?;
        answer.context("the connection to the bus has ended")
    }

    /// The place in the inbox of an answer that says something.
    async fn good_answer(&mut self) -> Result<usize> {
        let answer = self.answer().await?;
        ensure!(answer.status.is_none(), "the bus has no responder");
        ensure!(!answer.payload.is_empty(), "an empty answer");
        let slot = answer.subject.rsplit('.').next().and_then(|slot| slot.parse().ok());
        slot.context("an answer without a place")
    }
}
