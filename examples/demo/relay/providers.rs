//! The show of `--relay --config FILE`: the providers that a pools file names, each played by a fake vendor that speaks its own
//! protocol and refuses what it refuses. Clients speak OpenAI's: whole, streamed, with tools; and one vendor fails for a while.
//!
//! There is neither bus nor gateway: the relay needs none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use gateway_sim::vendors::{AWS_KEY_ID, Fault, Kind, Vendor};
use gecholog_broker::config::{self as settings, RawSettings, Sources};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::{self, Answer, CallKind};
use crate::broker::{self, Broker};
use crate::screen::{Relayed, Screen};

/// The default number of calls.
const CALLS: u32 = 120;
/// The key that the fake vendors take.
const KEY: &str = "any-key";
/// Made for tests; no account has it.
const PEM: &str = include_str!("../../../src/provider_auth/test-only.pem");

/// All that runs. On drop everything ends.
struct Show {
    vendors: BTreeMap<&'static str, Vendor>,
    broker: Broker,
    url: String,
    /// The models that are asked for in turn.
    models: Vec<String>,
    /// Who fails for a while.
    failing: Option<&'static str>,
    _file: Temporary,
}

/// Whether all was right.
pub(crate) async fn show(
    screen: &Screen,
    file: &Path,
    calls: Option<u32>,
    rate: u32,
    port: u16,
) -> anyhow::Result<bool> {
    let calls = calls.unwrap_or(CALLS);
    let mut show = Show::start(file, port).await?;
    screen.say(&format!(
        "The relay runs with {}, its providers played by fake vendors: {}.\n{calls} calls one after the other.\n",
        file.display(),
        show.vendors.keys().copied().collect::<Vec<_>>().join(", "),
    ))?;
    screen.relayed_head()?;
    let made = show.calls(screen, calls, rate).await;
    show.broker.kill().await;
    let made = made?;
    let mut by_router = BTreeMap::<&str, u32>::new();
    for answer in made.iter().flatten() {
        *by_router.entry(&answer.router).or_default() += 1;
    }
    screen.say("")?;
    for (router, count) in &by_router {
        screen.say(&format!("  {router:<18} answered {count:>4}"))?;
    }
    let bad = |answer: &&Result<Answer, String>| {
        answer.as_ref().map_or(true, |answer| answer.status != 200 || answer.broken.is_some())
    };
    let bad = made.iter().filter(bad).count();
    let faults: Vec<_> =
        (bad > 0).then(|| format!("{bad} calls were not answered 200 and whole")).into_iter().collect();
    screen
        .judged("Whichever vendor answered, in its own protocol: each client got what OpenAI's API gives.", &faults)?;
    Ok(faults.is_empty())
}

impl Show {
    async fn start(file: &Path, port: u16) -> anyhow::Result<Self> {
        let mut text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut vendors = BTreeMap::new();
        for kind in Kind::ALL {
            let named = format!("\"provider\": \"{}\"", kind.name());
            if text.contains(&named) {
                let vendor = Vendor::start(kind, KEY).await.context("cannot serve a fake vendor")?;
                text = text.replace(&named, &format!("{named}, \"url\": \"{}\"", vendor.url()));
                vendors.insert(kind.name(), vendor);
            }
        }
        if vendors.is_empty() {
            bail!("{} has no target with a \"provider\" that the demo can play", file.display());
        }
        let variables = variables(&text, vendors.get(Kind::Vertex.name()), port);
        let place = Temporary::write(&text)?;
        let variables = [variables, vec![("BROKER_CONFIG".into(), place.0.clone().into())]].concat();
        let settings = match settings::resolve(Sources::new(variables.clone(), RawSettings::default())).config {
            Ok(settings) => settings,
            Err(faults) => bail!("the broker's settings:{}", crate::harness::lines(&faults)),
        };
        let pool = settings.broker.pools.first().context("the pools file has no pool")?.ingress.clone();
        let built = balancer::broker::Broker::new(settings.broker.clone());
        // What a client asks for does not matter where the targets set their models.
        let models = built
            .ingresses()
            .models_instead_of(&pool, "")
            .map_or_else(|| vec!["gpt-4o".to_owned()], |all| all.to_vec());
        let broker = Broker::start_alone(&broker::binary()?, &variables).await?;
        let address = broker.relay.clone().context("the relay says no address")?;
        let url = format!("http://{address}{pool}");
        // With a model for each target no other target can answer.
        let failing = (models.len() == 1 && vendors.len() > 1).then(|| vendors.keys().next().copied()).flatten();
        Ok(Self { vendors, broker, url, models, failing, _file: place })
    }

    /// Makes the calls; in the middle third of them one vendor fails.
    async fn calls(&mut self, screen: &Screen, calls: u32, rate: u32) -> anyhow::Result<Vec<Result<Answer, String>>> {
        let agent = client::agent();
        let mut pace = interval(Duration::from_secs(1) / rate.max(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut made = Vec::new();
        for number in 0..calls {
            if let Some((name, vendor)) = self.failing.and_then(|name| Some((name, self.vendors.get(name)?))) {
                if number == calls / 3 {
                    screen.title(&format!("{name} answers 503 from now on. No client will notice."))?;
                    vendor.always(Some(Fault::Status(503)));
                } else if number == 2 * (calls / 3) {
                    screen.title(&format!("{name} is well again."))?;
                    vendor.always(None);
                }
            }
            pace.tick().await;
            let model = self.models.get(number as usize / CallKind::ALL.len() % self.models.len());
            let model = model.cloned().unwrap_or_default();
            let ask = if model.contains("embed") { CallKind::Embeddings } else { CallKind::of(number) };
            let (agent, url) = (agent.clone(), self.url.clone());
            let began = Instant::now();
            let calling = tokio::task::spawn_blocking(move || client::ask(&agent, &url, &model, ask));
            let answer = calling.await.unwrap_or_else(|error| Err(error.to_string()));
            tell(screen, number + 1, ask, &answer, began.elapsed())?;
            made.push(answer);
        }
        Ok(made)
    }
}

fn tell(
    screen: &Screen,
    number: u32,
    ask: CallKind,
    answer: &Result<Answer, String>,
    took: Duration,
) -> std::io::Result<()> {
    let (router, status, what, good) = match answer {
        Err(error) => ("-", "-".to_owned(), error.clone(), false),
        Ok(answer) => {
            let attempts = answer.attempts;
            let plural = if attempts == 1 { "" } else { "s" };
            let broken = answer.broken.as_ref().map(|broken| format!("; not whole: {broken}")).unwrap_or_default();
            let good = answer.status == 200 && answer.broken.is_none();
            (answer.router.as_str(), answer.status.to_string(), format!("{attempts} attempt{plural}{broken}"), good)
        }
    };
    screen.relayed(&Relayed { number, called: ask.words(), router, status: &status, took, what: &what, good })
}

/// The broker's environment: its settings, and a key for each variable that the file names.
fn variables(text: &str, vertex: Option<&Vendor>, port: u16) -> Vec<(OsString, OsString)> {
    let mut variables: BTreeMap<String, String> = text
        .split("${")
        .skip(1)
        .filter_map(|behind| behind.split_once('}'))
        .map(|(name, _)| (name.to_owned(), KEY.to_owned()))
        .collect();
    if let Some(id) = variables.get_mut("AWS_ACCESS_KEY_ID") {
        AWS_KEY_ID.clone_into(id);
    }
    if let (Some(account), Some(vertex)) = (variables.get_mut("VERTEX_SERVICE_ACCOUNT"), vertex) {
        *account = json!({"client_email": "broker@demo.iam.gserviceaccount.com", "private_key": PEM,
            "project_id": "demo", "token_uri": vertex.token_url()})
        .to_string();
    }
    let ours = [
        ("BROKER_BUS", "off".to_owned()),
        ("BROKER_RELAY", format!("127.0.0.1:{port}")),
        ("BROKER_HTTP", "off".to_owned()),
        ("BROKER_LOG_FORMAT", "json".to_owned()),
        ("BROKER_HEALTH", "documented".to_owned()),
        ("DISABLED_TIME", "0.05".to_owned()),
    ];
    variables.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// A file that goes when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn write(text: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("broker-demo-{}.json", std::process::id()));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
