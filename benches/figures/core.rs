//! One decision, without a bus.

use anyhow::{Context, Result};
use gecholog_broker::broker::{Broker, PoolSettings, RouterSettings, Settings, WhenAllDisabled};
use gecholog_broker::clock::Clock;
use gecholog_broker::handle::Handle;
use gecholog_broker::request::Patch;
use gecholog_broker::router::RouterPath;
use gecholog_broker::strategy::{self, Kind, Mode};
use gecholog_broker::telemetry;
use gecholog_broker::time::Now;
use gecholog_broker::wire::scan::Cursor;
use gecholog_broker::wire::{Message, Signature, patch, reply, stamp};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Map, json};
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
    let row = Row::new("one decision, nested 4 deep", Figure::Time(decide_nested(effort)?));
    rows.push(row.target(Target::AtMost(Figure::Time(200.0))));
    let row = Row::new("merging an override into a request of 4 KB", Figure::Time(merge(effort)));
    rows.push(row.target(Target::AtMost(Figure::Time(5_000.0))));
    rows.push(Row::new("from message to answer, 3 routers, with lock, clock and dice", Figure::Time(answer(effort)?)));
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
    let routers = (0..routers).map(|number| path(name(number))).collect::<Result<_>>()?;
    Ok(Broker::new(Settings::flat(path(INGRESS.to_owned())?, routers, RouterSettings::default())))
}

/// A broker whose one pool is nested four deep: two targets in each branch, and routers only at the bottom, so that every
/// decision goes all the way down.
fn nested() -> Result<Broker> {
    const LEVELS: [fn() -> Mode; 4] =
        [|| Mode::LoadBalance, || Mode::Fallback, || Mode::RoundRobin, || Mode::LoadBalance];
    fn target(levels: &[fn() -> Mode], path: &str) -> Result<strategy::Target> {
        let Some((mode, below)) = levels.split_first() else {
            let path = RouterPath::parse(path).with_context(|| format!("{path} is no path"))?;
            return Ok(strategy::Target::plain(Kind::Router(path)));
        };
        let targets = ["a/", "b/"].iter().map(|name| target(below, &format!("{path}{name}"))).collect::<Result<_>>()?;
        Ok(strategy::Target::plain(Kind::Branch { mode: mode(), targets }))
    }
    let pool = PoolSettings {
        ingress: RouterPath::parse(INGRESS).with_context(|| format!("{INGRESS} is no path"))?,
        root: target(&LEVELS, INGRESS)?,
        when_all_disabled: WhenAllDisabled::Pass,
    };
    Ok(Broker::new(Settings { pools: vec![pool], ..Settings::default() }))
}

fn decide_nested(effort: Effort) -> Result<f64> {
    let (mut broker, mut rng) = (nested()?, SmallRng::seed_from_u64(1));
    let now = Now::from_nanos(1);
    Ok(nanos(effort, || broker.decide(&black_box(INGRESS), black_box(now), &mut rng)))
}

/// An override of one field in a request of 4 KB: a conversation, with the quotes and new lines that people write.
fn merge(effort: Effort) -> f64 {
    let said =
        "He said \"come in\" without looking up from the stove.\nLet the dough rest for an hour; it should double. ";
    let messages: Vec<_> = (0..16).map(|_| json!({"role": "user", "content": said.repeat(2)})).collect();
    let body = json!({"max_tokens": 5, "messages": messages, "model": "gpt-4", "temperature": 0.7});
    let body = body.to_string();
    let patch = Patch { merge: Map::from_iter([("max_tokens".to_owned(), json!(200))]), ..Patch::default() };
    nanos(effort, || Cursor::new(black_box(body.as_bytes())).raw().ok().and_then(|body| patch::apply(&patch, body)))
}

fn decide(effort: Effort, routers: u16) -> Result<f64> {
    let (mut broker, mut rng) = (broker(routers)?, SmallRng::seed_from_u64(1));
    let now = Now::from_nanos(1);
    Ok(nanos(effort, || broker.decide(&black_box(INGRESS), black_box(now), &mut rng)))
}

fn write(effort: Effort, routers: u16) -> Result<f64> {
    let (mut broker, mut rng) = (broker(routers)?, SmallRng::seed_from_u64(1));
    let signature = Signature::new("abcdefgh", broker.settings(), stamp::Mode::Balance);
    let now = Now::from_nanos(1);
    Ok(nanos(effort, || {
        let (decision, _) = broker.decide(&black_box(INGRESS), black_box(now), &mut rng);
        reply::route(&signature, &broker, &decision, None)
    }))
}

fn answer(effort: Effort) -> Result<f64> {
    let broker = broker(3)?;
    let signature = Signature::new("abcdefgh", broker.settings(), stamp::Mode::Balance);
    let handle = Handle::new(broker, signature, Clock::start(), telemetry::tell);
    Ok(nanos(effort, || {
        let message = Message::read(black_box(QUESTION));
        message.and_then(|message| message.request()).map(|request| handle.answer(&request))
    }))
}
