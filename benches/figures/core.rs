//! One decision, without a bus.

use anyhow::{Context, Result};
use gecholog_broker::broker::{Broker, PoolSettings, Settings};
use gecholog_broker::clock::Clock;
use gecholog_broker::handle::Handle;
use gecholog_broker::outcome::FailureRule;
use gecholog_broker::router::RouterPath;
use gecholog_broker::time::Now;
use gecholog_broker::wire::{Message, Signature, reply, stamp::Mode};
use gecholog_broker::{health, telemetry};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::hint::black_box;

use crate::Effort;
use crate::stats::nanos;
use crate::table::{Figure, Row, Target};

const INGRESS: &str = "/azure/";
/// A row-1 message as the gateway sends it.
const QUESTION: &[u8] = br#"{"gl_path":"/azure/"}"#;

/// All rows of the core.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (routers, most) in [(3, 60.0), (1_000, 100.0)] {
        let row = Row::new(format!("one decision, {routers} routers"), Figure::Time(decide(effort, routers)?));
        rows.push(row.target(Target::AtMost(Figure::Time(most))));
        let row = Row::new(
            format!("one decision, {routers} routers, answer and stamp written"),
            Figure::Time(write(effort, routers)?),
        );
        rows.push(row.target(Target::AtMost(Figure::Time(300.0))));
    }
    rows.push(Row::new("the same from message to answer, with lock, clock and dice", Figure::Time(answer(effort)?)));
    Ok(rows)
}

/// A broker with this many routers behind one ingress.
pub(crate) fn broker(routers: u16) -> Result<Broker> {
    let path = |text: String| RouterPath::parse(&text).with_context(|| format!("{text} is no path"));
    let names: [&str; 3] = ["gpt35turbo", "gpt4", "dud"];
    let name = |number: u16| match names.get(usize::from(number)) {
        Some(name) => format!("/azure/{name}/"),
        None => format!("/azure/r{number}/"),
    };
    let pool = PoolSettings {
        ingress: path(INGRESS.to_owned())?,
        routers: (0..routers).map(|number| path(name(number))).collect::<Result<_>>()?,
    };
    Ok(Broker::new(Settings {
        pools: vec![pool],
        failures: FailureRule::default(),
        health: health::Settings::default(),
    }))
}

fn decide(effort: Effort, routers: u16) -> Result<f64> {
    let (mut broker, mut rng) = (broker(routers)?, SmallRng::seed_from_u64(1));
    let now = Now::from_nanos(1);
    Ok(nanos(effort, || broker.decide(&black_box(INGRESS), black_box(now), &mut rng)))
}

fn write(effort: Effort, routers: u16) -> Result<f64> {
    let (mut broker, mut rng) = (broker(routers)?, SmallRng::seed_from_u64(1));
    let signature = Signature::new("abcdefgh", broker.settings(), Mode::Balance);
    let now = Now::from_nanos(1);
    Ok(nanos(effort, || {
        let (decision, _) = broker.decide(&black_box(INGRESS), black_box(now), &mut rng);
        reply::route(&signature, &broker, &decision)
    }))
}

fn answer(effort: Effort) -> Result<f64> {
    let broker = broker(3)?;
    let signature = Signature::new("abcdefgh", broker.settings(), Mode::Balance);
    let handle = Handle::new(broker, signature, Clock::start(), telemetry::tell);
    Ok(nanos(effort, || {
        let message = Message::read(black_box(QUESTION));
        message.and_then(|message| message.request()).map(|request| handle.answer(&request))
    }))
}
