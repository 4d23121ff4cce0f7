//! A whole call through the simulated gateway to a fake LLM that answers at once, with and without the broker.
//!
//! Three gateways over one bus, one per configuration, are called in turns, one call each: what the broker adds is the
//! difference to the one that has no processor. The router that always fails is left out: it says nothing about speed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gateway_sim::config::Config;
use gateway_sim::gateway::Gateway;
use gateway_sim::llm::Llm;
use gateway_sim::nats_server::NatsServer;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::Effort;
use crate::asker::Asker;
use crate::process::{Process, TOKEN};
use crate::round_trip::SUBJECT;
use crate::stats::{Latencies, now};
use crate::table::{Figure, Row};

const TWO_ROWS: &str = include_str!("../../gl_config.json");
const ONE_ROW: &str = include_str!("../../docs/gl_config.one-row.json");
const CALL: &str = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":15}"#;
/// Calls before anything is measured: connections are opened and code finds its way into the caches.
const WARM_UP: usize = 50;
/// Before each call: what the last one left behind, its log and its asynchronous processors, is done by then.
const CALL_INTERVAL: Duration = Duration::from_millis(1);

/// All rows of the whole call.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bus = NatsServer::start(0, TOKEN, "")?;
    let mut broker = Process::broker(&bus, &[("BROKER_ROUTERS", "/azure/gpt35turbo/,/azure/gpt4/")])?;
    let (_llm, gateways) = runtime.block_on(async {
        Asker::new(&bus).await?.until_answered(SUBJECT, &mut broker).await?;
        let llm = Llm::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let mut gateways = Vec::new();
        for text in [TWO_ROWS, ONE_ROW, &without_processors()?] {
            gateways.push(Gateway::start(config(text, &bus, &llm)?).await?);
        }
        anyhow::Ok((llm, gateways))
    })?;
    let mut latencies = call(&gateways.iter().map(Gateway::addr).collect::<Vec<_>>(), effort.calls)?;
    broker.check()?;
    Ok(rows(&mut latencies))
}

/// The shipped configuration without its processors.
fn without_processors() -> Result<String> {
    let mut config: Value = serde_json::from_str(TWO_ROWS)?;
    for side in ["request", "response"] {
        *config.get_mut(side).with_context(|| format!("the configuration has no {side}"))? = json!({"processors": []});
    }
    Ok(config.to_string())
}

fn config(text: &str, bus: &NatsServer, llm: &Llm) -> Result<Config> {
    let base = format!("http://{}", llm.addr());
    let mut config = Config::parse(text, |name| match name {
        "NATS_TOKEN" => Some(TOKEN.to_owned()),
        "AISERVICE_API_BASE" => Some(base.clone()),
        _ => None,
    })?;
    config.set_port(0);
    config.set_bus(&bus.host());
    Ok(config)
}

fn call(gateways: &[SocketAddr], calls: usize) -> Result<Vec<Latencies>> {
    let agent = ureq::Agent::new_with_defaults();
    let urls: Vec<_> = gateways.iter().map(|address| format!("http://{address}/azure/")).collect();
    let mut latencies: Vec<_> = gateways.iter().map(|_| Latencies::default()).collect();
    for number in 0..WARM_UP + calls {
        for place in 0..urls.len() {
            // Each comes first, second and third in its turn, so that none always has the same call before it.
            let place = (place + number) % urls.len();
            let (Some(url), Some(latencies)) = (urls.get(place), latencies.get_mut(place)) else { continue };
            std::thread::sleep(CALL_INTERVAL);
            let began = now();
            let mut answer = agent.post(url).header("Content-Type", "application/json").send(CALL)?;
            let body = answer.body_mut().read_to_vec()?;
            let took = began.elapsed();
            ensure!(answer.status() == 200 && !body.is_empty(), "a call failed: {}", answer.status());
            if number >= WARM_UP {
                latencies.push(took);
            }
        }
    }
    Ok(latencies)
}

fn rows(latencies: &mut [Latencies]) -> Vec<Row> {
    let [two, one, none] = latencies else { return Vec::new() };
    let mut rows = Vec::new();
    for (what, with) in [("two rows", two), ("one row", one)] {
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let ours = Figure::Time(with.quantile(share));
            let bare = Figure::Time(none.quantile(share));
            rows.push(Row::new(format!("a whole call, {what}: {name}"), ours).on_top_of("no processor", bare));
        }
    }
    rows
}
