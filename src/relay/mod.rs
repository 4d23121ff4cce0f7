//! The relay: an HTTP hop that sends one call elsewhere when a target fails, until one answers or the call's limits are met.
//!
//! It walks the order of candidates that the balancer gives and does what its `retry` says; nothing is decided here. Answers
//! are passed on as they come. What is bounded: connections, calls in progress, the size of a request, the bytes of all
//! requests together, and every wait. It refuses to reach any address but those of its settings: of a request only the rest of
//! its path, its query, headers and body go on.

mod admission;
mod affinity;
mod answer_rest;
mod attempt_guard;
mod body;
mod buffered_parts;
mod call;
mod changed_body;
pub(crate) mod client;
mod client_config;
mod connect_log;
mod content_coding;
mod cors;
mod credentials;
mod direct;
mod exchange;
mod framing;
mod headers;
mod heads;
mod hold;
mod hold_until;
mod judgement;
mod key_client;
mod local_reply;
mod log_entry;
mod metrics;
mod models;
mod provider_target;
mod proxy;
mod proxy_body;
mod query;
mod relay_request;
mod running_call;
mod server;
mod session;
mod stream_usage;
mod subpath;
mod target;
mod trace;
mod tracked_connection;
mod upstream_body;
mod upstream_request;
mod whole_lines;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

pub use affinity::Affinity;
pub use client::ClientError;
pub use cors::{AllowedOrigins, OriginFault};
pub use direct::{DirectUpstream, HeaderFault};
pub use provider_target::{ProviderTarget, TargetKey};
pub use proxy::{Proxy, ProxyFault};
pub use server::serve;
pub use target::{Base, BaseFault};

use crate::admin::Token;
use crate::shared_broker::SharedBroker;
use crate::wrong_tokens::WrongTokenLimiter;
use balancer::retry::{RetryBudget, RetryBudgetSettings, RetryLimits, TimeLimits};
use body::BodyMemory;
use client::{Clients, ConnectTimeout};
use connect_log::ConnectLog;
use key_client::KeyClient;
use llm::prices::Prices;
use log_entry::Entries;
use session::Sessions;
use stream_usage::UsageRefusals;
use target::Target;
use types::router::RouterPath;

/// Where the gateway listens by default.
pub const GATEWAY_PORT: u16 = 5380;

/// What holds for the whole process.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Where it listens: `BROKER_RELAY`. Off by default.
    pub listen: Option<SocketAddr>,
    /// The gateway that has the routers: `BROKER_GATEWAY`.
    pub gateway: Base,
    /// Certificate authorities besides the system's: `BROKER_RELAY_CA`.
    pub authorities: Option<PathBuf>,
    /// The proxy for targets with addresses and for the collector of traces: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`. Also without
    /// the relay.
    pub proxy: Proxy,
    /// What may change while it runs.
    pub rules: RelayRules,
    /// What the process may hold.
    pub limits: RelayLimits,
    /// Pages of which origins may call it: `BROKER_CORS`. None by default.
    pub cors: Option<AllowedOrigins>,
}

/// What the pools file says of the relay; it may change while that runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RelayRules {
    /// What one call may cost; its time is that of its pool.
    pub limits: RetryLimits,
    /// The time limits where a pool says nothing else.
    pub times: TimeLimits,
    /// The time limits of the targets of each pool, by its ingress.
    pub pools: BTreeMap<RouterPath, PoolRelaySettings>,
    /// What all calls may spend on attempts beyond the first.
    pub retry_budget: RetryBudgetSettings,
    /// Targets that are called without the gateway, by the paths that stand for them in the pools.
    pub direct: BTreeMap<RouterPath, Arc<DirectUpstream>>,
    /// What the tokens of targets cost, where the file says so; of calls through the gateway too.
    pub prices: BTreeMap<RouterPath, Arc<Prices>>,
}

/// What holds for one pool: time limits, and affinity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolRelaySettings {
    /// Those of the pool itself.
    pub times: TimeLimits,
    /// Those of its targets.
    pub targets: BTreeMap<RouterPath, TimeLimits>,
    /// What names something that a target made goes there.
    pub affinity: bool,
    /// Clients may send a strategy of their own along.
    pub client_config: bool,
}

impl RelayRules {
    /// The limits of a call to this ingress. It lasts as long as the most patient of its targets.
    pub(crate) fn limits_of(&self, ingress: &RouterPath) -> RetryLimits {
        let timeout = match self.pools.get(ingress) {
            Some(pool) => pool.targets.values().map(|times| times.timeout).max().unwrap_or(pool.times.timeout),
            None => self.times.timeout,
        };
        RetryLimits { timeout, ..self.limits }
    }

    /// Whether what names something that a target of this pool made goes there.
    pub(crate) fn has_affinity(&self, ingress: &RouterPath) -> bool {
        self.pools.get(ingress).is_some_and(|pool| pool.affinity)
    }

    /// Whether clients of this pool may send a strategy of their own along.
    pub(crate) fn allows_client_config(&self, ingress: &RouterPath) -> bool {
        self.pools.get(ingress).is_some_and(|pool| pool.client_config)
    }

    /// The time limits of an attempt.
    pub(crate) fn times_of(&self, ingress: &RouterPath, router: &RouterPath) -> TimeLimits {
        let Some(pool) = self.pools.get(ingress) else { return self.times };
        pool.targets.get(router).copied().unwrap_or(pool.times)
    }
}

/// What the process may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayLimits {
    /// The largest body of a request, in bytes: `BROKER_RELAY_BODY`. Default 50 MB: some dozen pictures, or a long recording.
    pub body: usize,
    /// The memory of all bodies of requests and of what targets change in them, in bytes as allocated. Default 512 MB; at least
    /// [`RelayLimits::for_one_body`].
    pub bodies: usize,
    /// Calls in progress; further ones get 503 with a Retry-After: `BROKER_RELAY_CALLS`. Default 2,048.
    pub calls: usize,
    /// Open connections of clients; more wait to be accepted. Default 4,096.
    pub connections: usize,
    /// For each 256 KB of a request's body, and between two parts of an answer that a client reads: `BROKER_RELAY_PATIENCE`.
    /// Default 60 s.
    pub client_io_timeout: Duration,
    /// How long calls in progress may still take when the process ends: `BROKER_RELAY_GRACE`. Default 25 s, within
    /// Kubernetes' 30.
    pub grace: Duration,
}

impl RelayLimits {
    /// The same, or less where the process may have too few descriptors for it: `connections` of clients, and each of half of
    /// them with a call in progress.
    #[must_use]
    pub fn within(self, connections: usize) -> Self {
        let connections = self.connections.min(connections);
        Self { connections, calls: self.calls.min((connections / 2).max(1)), ..self }
    }
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            body: 50 << 20,
            bodies: 512 << 20,
            calls: 2_048,
            connections: 4_096,
            client_io_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(25),
        }
    }
}

impl RelayLimits {
    /// The memory in bytes without which a body of the largest size could never be served: itself, and a copy in which a target
    /// changes something, or the smaller buffer that it grows out of.
    pub const fn for_one_body(body: usize) -> usize {
        2 * body + (1 << 20)
    }
}

/// The relay of this process.
pub struct Relay {
    broker: SharedBroker,
    clients: Clients,
    connect_timeout: ConnectTimeout,
    gateway: Base,
    rules: ArcSwap<RulesInForce>,
    limits: RelayLimits,
    cors: Option<AllowedOrigins>,
    /// Who may read traces.
    token: Option<Token>,
    wrong_tokens: WrongTokenLimiter,
    budget: Mutex<RetryBudget>,
    sessions: Sessions,
    /// Fetches the keys of ours that expire.
    keys: KeyClient,
    calls: Arc<Semaphore>,
    bodies: BodyMemory,
    entries: Arc<Entries>,
    affinity: Affinity,
    usage_refusals: UsageRefusals,
    connect_log: ConnectLog,
    /// Nothing new is taken, and no call waits any more.
    stopping: watch::Sender<bool>,
}

/// The rules in force, and those before: between two looks of a call they can change, and a target that it was just sent to
/// go to is then found among the old ones.
struct RulesInForce {
    now: Arc<RelayRules>,
    before: Arc<RelayRules>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay that serves no client yet. `replica` signs its sessions; `token` is what operators prove themselves by, and
    /// `wrong_tokens` delays the answers to wrong ones; `log` takes
    /// attempts that do not pass the gateway, for entries in the gateway's form.
    ///
    /// # Errors
    /// A certificate authority cannot be read.
    pub fn new(
        settings: &RelaySettings,
        broker: SharedBroker,
        replica: &str,
        token: Option<Token>,
        wrong_tokens: WrongTokenLimiter,
        log: mpsc::Sender<Vec<u8>>,
    ) -> Result<Self, ClientError> {
        let RelaySettings { gateway, authorities, proxy, rules, limits, cors, .. } = settings;
        let connect_timeout = ConnectTimeout::new(rules.times.connect);
        let clients = client::build(authorities.as_deref(), proxy.clone(), connect_timeout.clone())?;
        let relay = Self {
            entries: Arc::new(Entries::new(log, broker.clone())),
            broker,
            keys: KeyClient(clients.pooled.clone()),
            clients,
            connect_timeout,
            gateway: gateway.clone(),
            rules: ArcSwap::from_pointee(RulesInForce { now: Arc::new(rules.clone()), before: Arc::default() }),
            limits: *limits,
            cors: cors.clone(),
            token,
            wrong_tokens,
            budget: Mutex::new(RetryBudget::new(rules.retry_budget)),
            sessions: Sessions::new(replica),
            calls: Arc::new(Semaphore::new(limits.calls)),
            bodies: BodyMemory::new(limits.bodies),
            affinity: Affinity::default(),
            usage_refusals: UsageRefusals::default(),
            connect_log: ConnectLog::default(),
            stopping: watch::Sender::default(),
        };
        metrics::begin(&relay);
        Ok(relay)
    }

    /// Accepts no more connections. Calls in progress may still take their grace, but wait for no target any more.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until it is stopped.
    async fn stopped(&self) {
        // Its sender is here.
        let _ = self.stopping.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Puts other rules in force. Calls in progress keep their limits, and targets the temporary keys that they have fetched.
    /// Returns the targets whose address, key or other headers changed.
    pub fn configure(&self, mut rules: RelayRules) -> Vec<RouterPath> {
        self.budget().allow(rules.retry_budget);
        self.connect_timeout.set(rules.times.connect);
        self.usage_refusals.forget();
        self.connect_log.forget();
        let before = Arc::clone(&self.rules.load().now);
        let mut replaced = Vec::new();
        for (path, target) in &mut rules.direct {
            if let Some(before) = before.direct.get(path) {
                Arc::make_mut(target).keep_key_of(before);
                if target != before {
                    replaced.push(path.clone());
                }
            }
        }
        self.rules.store(Arc::new(RulesInForce { now: Arc::new(rules), before }));
        replaced
    }

    /// The retries that all calls together may make. Never taken while the broker is locked.
    fn budget(&self) -> MutexGuard<'_, RetryBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> Arc<RelayRules> {
        Arc::clone(&self.rules.load().now)
    }

    /// Where things were made.
    pub const fn affinity(&self) -> &Affinity {
        &self.affinity
    }

    /// The same path if it is a target of some pool.
    pub fn known_target(&self, target: &RouterPath) -> Option<RouterPath> {
        let rules = self.rules();
        let found = rules.pools.values().find_map(|pool| pool.targets.get_key_value(target));
        found.map(|(target, _)| target.clone())
    }

    /// The target that a path of the pools stands for, if it is not a router of the gateway.
    fn direct(&self, path: &RouterPath) -> Option<Arc<DirectUpstream>> {
        let ruled = self.rules.load();
        ruled.now.direct.get(path).or_else(|| ruled.before.direct.get(path)).cloned()
    }

    /// Where an attempt goes: straight to this target, or to a router of the gateway in this session.
    fn target<'a>(&'a self, direct: Option<&'a DirectUpstream>, router: &'a RouterPath, session: String) -> Target<'a> {
        match direct {
            Some(direct) => Target::Direct(direct),
            None => Target::Router { gateway: &self.gateway, router, session },
        }
    }
}

#[cfg(test)]
mod tests;
