//! `broker explain`: what would be chosen for a request, why, and what would be tried next; offline, with all routers enabled.
//!
//! It uses the same balancer as the process, and changes nothing.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Map, Value, json};

use super::BadArgument;
use crate::config::file::nearest;
use balancer::broker::{Broker, BrokerSettings, Decision, Pass};
use balancer::strategy::{Candidates, Tier};
use gecholog_protocol::Message;
use gecholog_protocol::processor::RouteRequest;
use types::router::RouterPath;
use types::time::BrokerTime;

/// Routers that are listed one by one, in the order in which they would be tried: naming one takes time in proportion to the
/// number of all.
const MAX_LISTED_ROUTERS: usize = 100;

/// The arguments of `explain`.
#[derive(Debug, Clone, Args)]
pub struct Explain {
    /// The ingress that the client calls, or a path below one of the relay; needed if there are several
    #[arg(long)]
    pub path: Option<String>,
    /// File with the JSON body of the request
    #[arg(long, value_name = "FILE")]
    pub payload: Option<PathBuf>,
    /// A header of the request, Name=value; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// Make this many choices and show their distribution
    #[arg(short = 'n', value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub times: u32,
}

/// The explanation as text. `has_bus`: the gateway may send requests, and serves those for other paths itself.
///
/// # Errors
/// The path is not an ingress, the payload cannot be read, or a header has no `=`.
pub fn explain(settings: BrokerSettings, has_bus: bool, asked: &Explain) -> anyhow::Result<String> {
    let relayed = settings.relayed.clone();
    let broker = Broker::new(BrokerSettings { relayed: BTreeSet::new(), ..settings });
    let ingresses: Vec<_> = broker.pools().iter().map(|pool| pool.ingress().as_str()).collect();
    let asked_path = match (asked.path.as_deref(), &*ingresses) {
        (Some(path), _) | (None, &[path]) => path,
        (None, several) => {
            bail!(BadArgument(format!("--path: which one is called? Ingresses: {}", several.join(", "))))
        }
    };
    // Pools that only the relay serves are explained too, and the paths below their ingress, which it serves.
    let relayed = broker.ingresses().of(asked_path).filter(|ingress| relayed.contains(*ingress)).cloned();
    let path = relayed.as_ref().map_or(asked_path, RouterPath::as_str);
    let bytes = serde_json::to_vec(&message(path, asked)?)?;
    let message = Message::read(&bytes).context("the request")?;
    let request = message.request().context("the request")?;
    let mut rng = SmallRng::from_rng(&mut rand::rng());
    let mut text = String::new();
    // Writing into a String cannot fail.
    if relayed.is_some() {
        let _ = writeln!(text, "{path}: only the relay serves it; the gateway's requests for it are left alone");
    }
    let _ = match broker.choose(&request, &mut rng) {
        Decision::Route(route) => describe(&mut text, &broker, route.pool, &request, &mut rng),
        Decision::Pass(Pass::UnknownIngress) => {
            let near = nearest(asked_path, &ingresses).map(|near| format!(" (did you mean {near}?)"));
            bail!(
                "{asked_path}: not an ingress of a pool: {}{}. Ingresses: {}",
                if has_bus { "the gateway serves it without the broker" } else { "the relay answers 404" },
                near.unwrap_or_default(),
                ingresses.join(", ")
            )
        }
        pass @ Decision::Pass(Pass::AllDisabled(_) | Pass::NoMatchingTarget(..)) => {
            writeln!(text, "{}", broker.explain(&pass))
        }
    };
    if asked.times > 1 {
        spread(&mut text, broker, &request, asked.times, &mut rng);
    }
    Ok(text)
}

/// The request as the gateway would send it.
fn message(path: &str, asked: &Explain) -> anyhow::Result<Value> {
    let mut headers = Map::new();
    for header in &asked.headers {
        let Some((name, value)) = header.split_once('=') else {
            bail!(BadArgument(format!("--header {header:?}: must be NAME=VALUE")))
        };
        let list = headers.entry(name).or_insert_with(|| json!([]));
        list.as_array_mut().into_iter().for_each(|list| list.push(json!(value)));
    }
    let mut message = json!({"gl_path": path, "outbound_headers": headers});
    if let Some(file) = &asked.payload {
        let text = fs::read_to_string(file)
            .map_err(|error| BadArgument(format!("--payload: cannot read {}: {error}", file.display())))?;
        let body: Value = serde_json::from_str(&text)
            .map_err(|error| BadArgument(format!("--payload: {} is not JSON: {error}", file.display())))?;
        message["outbound_payload"] = body;
    }
    Ok(message)
}

fn describe(
    text: &mut String,
    broker: &Broker,
    pool: types::router::PoolId,
    request: &RouteRequest<'_>,
    rng: &mut SmallRng,
) -> std::fmt::Result {
    let Some(pool) = broker.pool(pool) else { return Ok(()) };
    let mut tried = HashSet::new();
    for candidate in Candidates::new(pool.tree(), request, rng).take(MAX_LISTED_ROUTERS) {
        let Some(router) = broker.path(candidate.router).filter(|router| !tried.contains(router)) else { continue };
        let place = if tried.is_empty() { pool.ingress().as_str() } else { "  then" };
        let p = candidate.p.map(|p| format!(" (p {p:.3})")).unwrap_or_default();
        writeln!(text, "{place} -> {router}{p}: {:#}", pool.tree().details().why(&candidate.why))?;
        if let Some(patch) = pool.tree().details().patch(candidate.leaf).filter(|patch| !patch.is_empty()) {
            let fields: Vec<_> = patch.merge.keys().map(String::as_str).collect();
            match (fields.is_empty(), patch.model_map.is_empty()) {
                (true, _) => writeln!(text, "       may rename model")?,
                (false, true) => writeln!(text, "       sets {}", fields.join(", "))?,
                (false, false) => writeln!(text, "       sets {} and may rename model", fields.join(", "))?,
            }
        }
        if let Some(budget) = broker.settings().for_router(router).rate_limit {
            writeln!(text, "       as long as it has room: {budget}")?;
        }
        tried.insert(router);
    }
    let open: HashSet<_> = pool.tree().eligible_routers(Tier::Serving).filter_map(|id| broker.path(id)).collect();
    if tried.len() == MAX_LISTED_ROUTERS && open.len() > tried.len() {
        writeln!(text, "  then {} more that may serve", open.len() - tried.len())?;
    }
    for (router, why) in broker.ineligible_routers(pool).filter(|(router, _)| !open.contains(router)) {
        writeln!(text, "passed over: {router}: {why}")?;
    }
    Ok(())
}

/// Makes many choices, and lists how often each router was chosen.
fn spread(text: &mut String, mut broker: Broker, request: &RouteRequest<'_>, times: u32, rng: &mut SmallRng) {
    let mut nothing = times;
    for _ in 0..times {
        if let Decision::Route(route) = broker.choose(request, rng) {
            broker.commit_route(&route, BrokerTime::from_nanos(0));
            nothing -= 1;
        }
    }
    let _ = writeln!(text, "of {times}:");
    let share = |count: f64| count / f64::from(times) * 100.0;
    for (router, _, record) in broker.routers().filter(|(_, _, record)| record.chosen() > 0) {
        let _ = writeln!(text, "  {:6.2} %  {:8}  {router}", share(record.chosen() as f64), record.chosen());
    }
    if nothing > 0 {
        let _ = writeln!(text, "  {:6.2} %  {nothing:8}  nothing", share(f64::from(nothing)));
    }
}
