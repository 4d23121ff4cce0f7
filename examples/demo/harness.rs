//! Starts everything in order, holds it, and stops it: fake LLMs, bus, broker, simulated gateway.
//!
//! What can be wrong is looked at before anything is started, and said in one sentence with what would fix it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use balancer::broker::BrokerSettings;
use futures_util::StreamExt;
use gateway_sim::config::Config;
use gateway_sim::gateway::Gateway;
use gateway_sim::llm::Llm;
use gateway_sim::nats_server::NatsServer;
use gecholog_broker::config::{self as settings, RawSettings, Sources};
use jiff::Timestamp;
use tokio::time::sleep;

use crate::Args;
use crate::broker::{self, Broker, Watch};
use crate::faults::Faults;
use crate::pools::{self, Gap, Pool};
use crate::relay;
use crate::watch::Event;

/// The broker's environment: variables that the demo sets, and those that it removes.
const OURS: [&str; 9] = [
    "NATS_TOKEN",
    "NATS_TOKEN_FILE",
    "NATS_URL",
    "NATS_CREDS",
    "NATS_CA",
    "GECHOLOG_HOST",
    "DISABLED_TIME",
    "BROKER_LOG",
    "BROKER_LOG_FORMAT",
];
/// The router of the shipped configuration that always fails.
const DUD: &str = "/azure/dud/";
/// The token of the bus if none is set; the bus is on this machine only, for as long as the demo runs.
const TOKEN: &str = "demo";
/// The operators' token if none is set.
pub(crate) const ADMIN: &str = "demo-operators-token";
const END: Duration = Duration::from_secs(2);
/// How often it is asked whether the bus still runs.
const BUS_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// All that runs. On drop everything ends, in the order of the fields.
#[derive(Debug)]
pub(crate) struct RunningDemo {
    broker: Broker,
    gateway: Gateway,
    log: async_nats::Subscriber,
    llm: Llm,
    bus: NatsServer,
    binary: PathBuf,
    variables: Vec<(OsString, OsString)>,
    /// The pools that are balanced.
    pub(crate) pools: Vec<Pool>,
    /// The router that is expected to fail, if a pool has it.
    pub(crate) failing: Option<String>,
    /// What the gateway's configuration did not have.
    pub(crate) gap: Gap,
    /// The subject of the gateway's log.
    pub(crate) log_subject: String,
    /// The broker's settings of the routers.
    pub(crate) settings: BrokerSettings,
    /// What the fake LLMs suffer.
    pub(crate) faults: Option<Faults>,
    /// What to say first, before any call: odd things that do no harm.
    pub(crate) remarks: Vec<Event>,
}

/// What was asked for, looked at and found possible.
struct Plan {
    binary: PathBuf,
    file: PathBuf,
    text: String,
    token: String,
    /// The broker's environment but for the bus's address, which is known when the bus runs.
    variables: Vec<(OsString, OsString)>,
    settings: settings::Config,
    pools: Vec<Pool>,
    failing: Option<String>,
    gap: Gap,
    faults: Option<Faults>,
}

impl RunningDemo {
    pub(crate) async fn start(args: &Args) -> anyhow::Result<Self> {
        let llm = Llm::start((Ipv4Addr::LOCALHOST, 0).into()).await.context("cannot serve fake LLMs")?;
        let mut plan = Plan::make(args, llm.addr())?;
        // What is wrong with the gateway's configuration is reported before anything else is started.
        plan.gateway(llm.addr())?;
        let bus =
            NatsServer::start(args.nats_port, &plan.token, "").map_err(|error| anyhow::anyhow!("no bus: {error}"))?;
        let log = listen(&bus, &plan.settings.nats.logger_subject).await?;
        plan.variables.push(("GECHOLOG_HOST".into(), bus.host().into()));
        let mut broker = Broker::start(&plan.binary, &plan.variables, args.relay).await?;
        if let Some(address) = &broker.relay {
            pools::add(&mut plan.text, &pools::to_the_relay(relay::ROUTER, address, relay::INGRESS));
        }
        let mut config = plan.gateway(llm.addr())?;
        config.set_bus(&bus.host());
        config.set_port(args.port);
        let mut remarks: Vec<_> = config.dropped().iter().map(|path| dropped(path)).collect();
        let gateway = Gateway::start(config)
            .await
            .with_context(|| format!("no gateway; look at --port and {}", plan.file.display()))?;
        remarks.append(&mut broker.remarks);
        let Plan { binary, variables, pools, failing, gap, settings, faults, .. } = plan;
        let (log_subject, settings) = (settings.nats.logger_subject, settings.broker);
        let base = Self {
            broker,
            gateway,
            log,
            llm,
            bus,
            binary,
            variables,
            pools,
            failing,
            gap,
            log_subject,
            settings,
            faults,
            remarks,
        };
        Ok(base)
    }

    /// How long a failing router is left out, unless the pools file says otherwise of it.
    pub(crate) const fn disabled_time(&self) -> Duration {
        self.settings.defaults.health.disabled_time
    }

    /// The fake LLMs' script begins now.
    pub(crate) fn begin_faults(&self) {
        self.llm.play(self.faults.iter().flat_map(Faults::scripts));
    }

    /// What happens next. The end of the broker or of the bus is an error.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            let event = tokio::select! {
                entry = self.log.next() => {
                    let entry = entry.context("the subscription of the gateway's log has ended")?;
                    let unread = || Event::Remark(Timestamp::now(), "a log entry that cannot be read".to_owned());
                    Some(Event::of_log(&entry.payload).unwrap_or_else(unread))
                }
                line = self.broker.line() => Event::of_line(&line?),
                () = sleep(BUS_CHECK_INTERVAL) => {
                    ensure!(!self.bus.has_ended(), "the bus has ended: nats-server is gone; start the demo again");
                    None
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Where clients call a router that is balanced.
    pub(crate) fn url(&self, host: &str, pool: &Pool) -> String {
        format!("http://{host}:{}{}", self.gateway.addr().port(), pool.ingress)
    }

    /// Where the demo calls a router.
    pub(crate) fn at(&self, router: &str) -> String {
        format!("http://{}{router}", self.gateway.addr())
    }

    /// Where clients call the relay.
    pub(crate) fn relay_url(&self, host: &str) -> String {
        let port =
            self.broker.relay.as_ref().and_then(|address| address.rsplit_once(':')).map_or("0", |(_, port)| port);
        format!("http://{host}:{port}{}chat/completions", relay::INGRESS)
    }

    /// The fake LLMs.
    pub(crate) const fn llms(&self) -> &Llm {
        &self.llm
    }

    /// `broker watch`, running beside the calls.
    pub(crate) async fn watch(&self) -> anyhow::Result<Watch> {
        Watch::start(&self.binary, &self.variables).await
    }

    /// Where the bus is, as `nats` wants it behind the token; its own port needs no word.
    pub(crate) fn bus_address(&self) -> String {
        if self.bus.port() == 4222 { "localhost".to_owned() } else { format!("localhost:{}", self.bus.port()) }
    }

    /// The token of the bus, unless the shell has it already: a token set there may be a secret.
    pub(crate) fn token_to_set(&self) -> Option<&str> {
        (self.bus.token() == TOKEN).then_some(TOKEN)
    }

    /// Where the broker's probes are.
    pub(crate) fn probes(&self) -> Option<&str> {
        self.broker.http.as_deref()
    }

    /// Ends everything, the gateway's calls in flight first.
    pub(crate) async fn stop(self) {
        let Self { mut broker, gateway, .. } = self;
        // A call that hangs must not hold the end up.
        drop(tokio::time::timeout(END, gateway.stop()).await);
        broker.kill().await;
    }
}

impl Plan {
    fn make(args: &Args, llm: SocketAddr) -> anyhow::Result<Self> {
        let binary = broker::binary()?;
        let token = token()?;
        let mut variables = inherited();
        if let Some(pools) = &args.config {
            variables.retain(|(name, _)| name != "BROKER_CONFIG");
            variables.push(("BROKER_CONFIG".into(), pools.into()));
        }
        if args.relay {
            relayed(&mut variables, args, llm);
        }
        variables.push(("NATS_TOKEN".into(), token.clone().into()));
        if !variables.iter().any(|(name, _)| name == "BROKER_ADMIN_TOKEN" || name == "BROKER_ADMIN_TOKEN_FILE") {
            variables.push(("BROKER_ADMIN_TOKEN".into(), ADMIN.into()));
        }
        variables.push(("BROKER_LOG_FORMAT".into(), "json".into()));
        variables.push(("DISABLED_TIME".into(), disabled_time(args)));
        let settings = match settings::resolve(Sources::new(variables.clone(), RawSettings::default())).config {
            Ok(settings) => settings,
            Err(faults) => bail!("the broker's settings:{}", lines(&faults)),
        };
        let pools = Pool::all(&settings.broker);
        let failing = failing(args, &settings, &pools)?;
        let file = args.gl_config.clone().unwrap_or_else(|| pools::gl_config(&pools));
        let mut text = std::fs::read_to_string(&file).with_context(|| {
            format!("cannot read {}; name the gateway's configuration with --gl-config", file.display())
        })?;
        // Without a file the gateway is as the repository has it, and what is missing there is to be seen.
        let gap = match &settings.pools {
            Some(_) if !args.relay => pools::fill(&mut text, &pools, &settings.nats.subject),
            _ => Gap::default(),
        };
        let routers: Vec<_> = pools.iter().flat_map(|pool| &pool.routers).map(String::as_str).collect();
        let faults = args.faults.as_ref().map(|file| Faults::read(file, &routers, &text)).transpose()?;
        if let Some(failing) = failing.as_ref().filter(|failing| faults.iter().any(|all| all.of(failing).is_some())) {
            bail!("{failing} cannot always fail and follow a script: leave out --failing, or its faults");
        }
        check_ports(args)?;
        Ok(Self { binary, file, text, token, variables, settings, pools, failing, gap, faults })
    }

    /// The gateway's configuration, with the fake LLMs as its upstream.
    fn gateway(&self, llm: SocketAddr) -> anyhow::Result<Config> {
        let base = format!("http://{llm}");
        let answer = |name: &str| match name {
            "AISERVICE_API_BASE" => Some(base.clone()),
            "NATS_TOKEN" => Some(self.token.clone()),
            _ => std::env::var(name).ok(),
        };
        let config = Config::parse(&self.text, answer);
        config.map_err(|error| anyhow::anyhow!("{} is not valid:{}", self.file.display(), lines(error.faults())))
    }
}

/// One fault at the end of the sentence, several below it.
pub(crate) fn lines<T: ToString>(faults: &[T]) -> String {
    match faults {
        [one] => format!(" {}", one.to_string()),
        all => all.iter().map(|fault| format!("\n  {}", fault.to_string())).collect(),
    }
}

fn inherited() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| OURS.iter().all(|ours| name != ours)).collect()
}

/// The broker's settings for `--relay`.
fn relayed(variables: &mut Vec<(OsString, OsString)>, args: &Args, llm: SocketAddr) {
    let keys = relay::KEYS.map(|name| (name, "any-key".to_owned()));
    let ours = [
        ("BROKER_CONFIG", relay::FILE.to_owned()),
        ("BROKER_RELAY", format!("127.0.0.1:{}", args.relay_port)),
        ("LLM_URL", format!("http://{llm}")),
        // So that each failure that is shown takes its target out, for one and the same time.
        ("BROKER_HEALTH", "documented".to_owned()),
    ];
    for (name, value) in ours.into_iter().chain(keys) {
        variables.retain(|(other, _)| other != name);
        variables.push((name.into(), value.into()));
    }
}

/// A token goes into a file, a variable and a URL as it is.
fn token() -> anyhow::Result<String> {
    let token = std::env::var("NATS_TOKEN").unwrap_or_default();
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        bail!("NATS_TOKEN has characters other than letters, digits and -_. ; unset it, and the demo takes its own");
    }
    Ok(if token.is_empty() { TOKEN.to_owned() } else { token })
}

fn disabled_time(args: &Args) -> OsString {
    let asked = args.disabled_time.clone().map(OsString::from);
    let set = std::env::var_os("DISABLED_TIME").filter(|minutes| !minutes.is_empty());
    let usual = if args.makes_calls() { "0.05" } else { "0.25" };
    asked.or(set).unwrap_or_else(|| usual.into())
}

/// The router that is expected to fail. A pools file need not have one.
fn failing(args: &Args, settings: &settings::Config, pools: &[Pool]) -> anyhow::Result<Option<String>> {
    let routers: Vec<_> = pools.iter().flat_map(|pool| &pool.routers).map(String::as_str).collect();
    let failing = args.failing.as_deref().unwrap_or(DUD);
    if routers.contains(&failing) {
        return Ok(Some(failing.to_owned()));
    }
    let must = args.faults.is_none() && settings.pools.is_none();
    if args.makes_calls() && (args.failing.is_some() || must) {
        bail!("{failing} is none of the routers {}; name the one that fails with --failing", routers.join(", "));
    }
    Ok(None)
}

/// Faults of all ports at once: after a second start of the demo, two of them are in use.
fn check_ports(args: &Args) -> anyhow::Result<()> {
    let wanted = [("gateway", "--port", args.port), ("bus", "--nats-port", args.nats_port)];
    let relay = args.relay.then_some(("relay", "--relay-port", args.relay_port));
    let taken: Vec<_> = wanted.into_iter().chain(relay).filter(|(_, _, port)| !is_free(*port)).collect();
    if taken.is_empty() {
        return Ok(());
    }
    let list =
        |item: fn(&(&str, &str, u16)) -> String, between| taken.iter().map(item).collect::<Vec<_>>().join(between);
    let ports = list(|(whose, _, port)| format!("port {port} (for the {whose})"), " and ");
    let fix = list(|(_, flag, port)| format!("{flag} {}", free_beyond(*port)), " ");
    let verb = if taken.len() == 1 { "is" } else { "are" };
    bail!("{ports} {verb} in use, perhaps by another demo: end it, or make demo ARGS=\"{fix}\"");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn free_beyond(port: u16) -> u16 {
    // Not ten: there may be another of the demo's own ports.
    (1..100).filter_map(|hundreds| port.checked_add(hundreds * 100)).find(|port| is_free(*port)).unwrap_or(0)
}

/// Listens to the gateway's log, from its first word.
async fn listen(bus: &NatsServer, subject: &str) -> anyhow::Result<async_nats::Subscriber> {
    let options = async_nats::ConnectOptions::with_token(bus.token().to_owned()).name("demo");
    let client = options.connect(bus.host()).await.context("cannot connect to the bus")?;
    let log = client.subscribe(subject.to_owned()).await.context("cannot listen to the gateway's log")?;
    client.flush().await.context("cannot listen to the gateway's log")?;
    Ok(log)
}

fn dropped(path: &str) -> Event {
    Event::Remark(Timestamp::now(), format!("the gateway leaves out the router {path}: it breaks a rule"))
}
