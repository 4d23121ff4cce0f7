//! One operation of the core, a given number of times and nothing else: for tools that count instructions (`script/instructions`).
//!
//! Time and random numbers come from fixed seeds, so that two runs of the same build execute nearly the same instructions.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use balancer::broker::BrokerInput;
use balancer::strategy::Policy;
use clap::ValueEnum;
use gecholog_broker::calls::from_log;
use gecholog_broker::clock::Clock;
use gecholog_broker::prices::PriceBook;
use gecholog_broker::shared_broker::SharedBroker;
use gecholog_broker::telemetry;
use gecholog_protocol::{Message, ReplicaIdentity, log_entry};
use llm::Protocol;
use llm::stream::StreamState;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use types::outcome::CallObservation;
use types::time::{BrokerTime, GatewayTime};

use crate::core::{INGRESS, LEARNT, QUESTION, broker, choose_and_commit, learnt, write_answer};
use crate::entries;
use crate::{translate, usage};

/// What to repeat, and how often.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The operation
    #[arg(value_enum)]
    operation: Operation,
    /// How often it is done
    times: u64,
}

/// An operation of the core, with three routers behind one ingress.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Operation {
    /// Choose a router
    Decision,
    /// Choose the faster of two routers that were learnt of
    Fastest,
    /// Choose a router, and write the answer with its stamp
    DecisionWritten,
    /// Read a request from the bus, choose under the lock with the real clock and random generator, write the answer
    Answer,
    /// Learn from a log entry that was read
    Outcome,
    /// Read a captured log entry of a successful call, about 3 KB
    LogEntry,
    /// Make the record of the call of that entry, which is read, with its cost; count it, keep it, and write its line
    Record,
    /// Read the usage of an answer of 4 KB
    Usage,
    /// Take one event of a stream, of 300 bytes
    StreamEvent,
    /// Translate a request of 4 KB for Anthropic
    MessagesRequest,
    /// Translate an event of Anthropic's stream
    MessagesEvent,
    /// Translate a request of 4 KB for Bedrock's Converse
    ConverseRequest,
    /// Translate an event of Converse's stream
    ConverseEvent,
}

/// Does it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let times = arguments.times;
    match arguments.operation {
        Operation::Decision => decision(times),
        Operation::Fastest => fastest(times),
        Operation::DecisionWritten => decision_written(times),
        Operation::Answer => answer(times),
        Operation::Outcome => outcome(times),
        Operation::LogEntry => log_entry(times),
        Operation::Record => record(times),
        Operation::Usage => answer_usage(times),
        Operation::StreamEvent => stream_event(times),
        Operation::MessagesRequest => translate::repeat_request(translate::ANTHROPIC, times),
        Operation::MessagesEvent => translate::repeat_event(translate::ANTHROPIC, times),
        Operation::ConverseRequest => translate::repeat_request(translate::CONVERSE, times),
        Operation::ConverseEvent => translate::repeat_event(translate::CONVERSE, times),
    }
}

fn decision(times: u64) -> Result<()> {
    let (mut broker, mut rng) = (broker(3)?, SmallRng::seed_from_u64(1));
    for number in 0..times {
        black_box(choose_and_commit(&mut broker, &black_box(INGRESS), moment(number), &mut rng));
    }
    Ok(())
}

/// As on a gateway whose log shows no stamps: each call is in flight until its time is over.
fn fastest(times: u64) -> Result<()> {
    let (mut broker, mut rng) = (learnt(Policy::Fastest, 3)?, SmallRng::seed_from_u64(1));
    for number in 0..times {
        let now = LEARNT.after(Duration::from_micros(100 * number));
        black_box(choose_and_commit(&mut broker, &black_box(INGRESS), now, &mut rng));
    }
    Ok(())
}

fn decision_written(times: u64) -> Result<()> {
    let (mut broker, mut rng) = (broker(3)?, SmallRng::seed_from_u64(1));
    let identity =
        ReplicaIdentity::new("abcdefgh", broker.settings().fingerprint(), types::mode::OperatingMode::Balance);
    for number in 0..times {
        let (decision, _) = choose_and_commit(&mut broker, &black_box(INGRESS), moment(number), &mut rng);
        black_box(write_answer(&identity, &broker, &decision));
    }
    Ok(())
}

fn answer(times: u64) -> Result<()> {
    let broker = broker(3)?;
    let identity =
        ReplicaIdentity::new("abcdefgh", broker.settings().fingerprint(), types::mode::OperatingMode::Balance);
    let handle = SharedBroker::new(broker, identity, Clock::start(), telemetry::log_event);
    for _ in 0..times {
        let message = Message::read(black_box(QUESTION))?;
        black_box(handle.route(&message.request()?));
    }
    Ok(())
}

/// Each time the log of another call, a tenth of a millisecond after the last, as at ten thousand calls a second.
fn outcome(times: u64) -> Result<()> {
    const TRANSACTIONS: u64 = 100_000;
    let ids: Vec<_> = (0..TRANSACTIONS).map(|number| format!("BROKER01_1700000000{number:09}_1_0")).collect();
    let entry = serde_json::to_vec(&entries::captured()?)?;
    let mut report = log_entry::read(&entry)?;
    let mut broker = broker(3)?;
    for (number, id) in (0..times).zip(ids.iter().cycle()) {
        report.answer.transaction = Some(id);
        report.started = Some(GatewayTime::from_nanos(1_000_000_000 + number));
        let observation = CallObservation::Log { entry: &report, decision: None };
        let applied = black_box(broker.apply(BrokerInput::Observed(black_box(&observation)), moment(number)));
        ensure!(applied.ignored.is_none(), "log entry {number} was ignored");
    }
    Ok(())
}

fn log_entry(times: u64) -> Result<()> {
    let entry = serde_json::to_vec(&entries::captured()?)?;
    for _ in 0..times {
        let report = log_entry::read(black_box(&entry))?;
        black_box(report.answer.status);
    }
    Ok(())
}

fn record(times: u64) -> Result<()> {
    let entry = serde_json::to_vec(&entries::captured()?)?;
    let logged = log_entry::read_call(&entry)?;
    let (calls, book) = (usage::calls()?, PriceBook::default());
    for number in 0..times {
        let record = from_log::any_record(black_box(&logged), "x-trace-id", Some(&book), moment(number));
        calls.finished(record, None, true);
    }
    Ok(())
}

fn answer_usage(times: u64) -> Result<()> {
    let answer = usage::whole_answer();
    for _ in 0..times {
        ensure!(llm::usage::of_answer(black_box(&answer))?.is_some(), "the answer has no usage");
    }
    Ok(())
}

fn stream_event(times: u64) -> Result<()> {
    let mut stream = StreamState::new(Protocol::OpenAiChat);
    for _ in 0..times {
        black_box(stream.push(black_box(usage::EVENT)));
    }
    Ok(())
}

fn moment(number: u64) -> BrokerTime {
    BrokerTime::from_nanos(1).after(Duration::from_micros(100 * number))
}
