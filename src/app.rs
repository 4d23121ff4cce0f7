//! The composition root: builds all parts from the settings, starts them, and shuts them down.
//!
//! Two threads: decisions have one with their own connection to the bus; the log, HTTP and the clock share the other one. So
//! neither a flood of log entries nor a slow HTTP client delays a decision.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::Token;
use crate::calls::CallSink;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::file::PoolsFile;
use crate::nats::{AdminEndpoints, ConnectionStatus, Peers, Start};
use crate::prices::PricesFile;
use crate::relay::Relay;
use crate::server::ServerTls;
use crate::shared_broker::SharedBroker;
use crate::system::descriptors;
use crate::traces::Traces;
use crate::wrong_tokens::WrongTokenLimiter;
use crate::{http, nats, prices, relay, reload, replica_id, telemetry, traces};
use balancer::broker::Broker;
use gecholog_protocol::ReplicaIdentity;

/// The name of the decisions' connection to the bus.
const DECISIONS: &str = "gecholog-broker decisions";
/// Requests that may wait. One behind this many would have timed out.
const MAX_PENDING_REQUESTS: usize = 4_096;
/// Log entries that may wait: more small ones than one read of the connection can return. Large ones are bounded by that read,
/// some megabytes, because all of it is processed before the next.
const MAX_PENDING_LOGS: usize = 8_192;
/// The relay's log entries that may wait for the bus: some 130 MB with the longest payloads, and usually a few hundred kB.
const MAX_PENDING_ENTRIES: usize = 256;
/// Decisions begin at most this time after the bus is connected, even where commands of operators cannot be received yet.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long idle threads that resolve names are kept: in effect for ever.
const LOOKUP_THREAD_KEEP_ALIVE: Duration = Duration::from_secs(365 * 86_400);
/// Limit of the whole shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a broker until `stop` ends, then answers the requests that it has accepted.
///
/// # Errors
/// It cannot start: the bus rejects the credentials, or an address cannot be bound.
pub fn run(config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let descriptors = descriptors::raise_limit();
    let limits = config.relay.limits.within(descriptors::for_clients(descriptors));
    let clock = Clock::start();
    let broker = Broker::new(config.broker.clone());
    let replica = replica_id::random();
    let identity = ReplicaIdentity::new(&replica, broker.settings().fingerprint(), config.mode);
    log_start(&config, &identity, limits, descriptors);
    let broker = SharedBroker::new(broker, identity, clock, telemetry::log_event);
    begin_calls(&broker, &config)?;
    let decisions = ConnectionStatus::new("decisions", clock);
    let logs = ConnectionStatus::new("logs", clock);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    // Polled once, so that it listens: a signal during the start then shuts the process down in order.
    let stop = stop.shared();
    runtime.block_on(async { futures_util::poll!(stop.clone()).is_ready() });
    // From now on SIGHUP does not end the process, even before the file is followed.
    let _hangup = runtime.block_on(async { signal(SignalKind::hangup()) }).context("cannot listen for SIGHUP")?;
    let listener =
        runtime.block_on(async { config.http.listen() }).context("cannot listen on the address of BROKER_HTTP")?;
    let listener = listener.map(TcpListener::into_std).transpose()?;
    let (log, entries) = mpsc::channel(MAX_PENDING_ENTRIES);
    let token = config.access.token.clone();
    let wrong_tokens = WrongTokenLimiter::new(broker.clone());
    let relay = relay::RelaySettings { limits, ..config.relay };
    let relay =
        RelayTask::start(&relay, config.tls.clone(), &broker, &replica, token.clone(), wrong_tokens.clone(), log)?;
    let (stopping, stopped) = watch::channel(false);
    let (taken_over, begun) = oneshot::channel();
    let (listening, logs_heard) = oneshot::channel();
    let background = BackgroundTasks {
        settings: config.nats.clone(),
        broker: broker.clone(),
        // Without a bus there is no connection whose state matters; the relay listens before HTTP does.
        links: if config.bus { vec![decisions.clone(), logs] } else { Vec::new() },
        stopping: stopped,
        listener,
        access: config.access,
        tls: config.tls,
        wrong_tokens,
        start: Start { listening, begun },
        pools: config.pools,
        prices: config.prices,
        relay: relay.as_ref().map(|relaying| Arc::clone(&relaying.relay)),
        entries,
    };
    let (failed, failure) = oneshot::channel();
    let thread = std::thread::Builder::new().name("background".to_owned());
    let _background = thread.spawn(move || background.run(failed)).context("cannot start a thread")?;
    let bus = Bus { settings: &config.nats, connection: &decisions, token: token.as_ref(), logs_heard, taken_over };
    let bus = config.bus.then_some(bus);
    if bus.is_none() {
        tracing::info!("no bus (BROKER_BUS=off): only the relay serves calls");
    }
    let ended = runtime.block_on(serve(bus, broker.clone(), failure, relay, stop, stopping));
    broker.calls().end();
    ended
}

/// Logs the start, whether the relay's limits are lower than in the settings, and through which proxy it calls.
fn log_start(config: &Config, identity: &ReplicaIdentity, limits: relay::RelayLimits, descriptors: u64) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        replica = identity.replica(),
        config = identity.config(),
        mode = %config.mode,
        "broker starts"
    );
    if config.relay.listen.is_some() && limits != config.relay.limits {
        tracing::warn!(
            descriptors,
            connections = limits.connections,
            calls = limits.calls,
            "the relay's limits are lowered: the hard limit of open files (RLIMIT_NOFILE) is too low for its calls and connections"
        );
    }
    config.relay.proxy.log();
}

/// Applies the settings of prices and of finished calls.
fn begin_calls(broker: &SharedBroker, config: &Config) -> anyhow::Result<()> {
    prices::begin(broker.prices(), config.relay.rules.prices.clone(), config.prices.as_ref(), broker.now());
    broker.know_models();
    let start = |settings: &traces::TraceSettings| -> std::io::Result<Arc<dyn CallSink>> {
        let counts = Arc::clone(&broker.counts().traced);
        Ok(Arc::new(Traces::start(settings.clone(), config.relay.proxy.clone(), counts)?))
    };
    let traces = config.traces.as_ref().map(start).transpose().context("cannot send traces")?;
    broker.calls().begin(&config.calls, traces.into_iter().collect()).context("cannot start a thread")
}

/// The bus over which the gateway requests decisions.
struct Bus<'a> {
    settings: &'a nats::NatsSettings,
    connection: &'a ConnectionStatus,
    /// Proves to other replicas that their state may be taken over.
    token: Option<&'a Token>,
    /// The other connection hears the gateway's log.
    logs_heard: oneshot::Receiver<()>,
    /// The state of the other replicas is here, so this one may be asked for its own.
    taken_over: oneshot::Sender<()>,
}

/// Makes decisions until the end. Without a bus there are only those of the relay.
async fn serve(
    bus: Option<Bus<'_>>,
    broker: SharedBroker,
    failure: oneshot::Receiver<anyhow::Error>,
    relay: Option<RelayTask>,
    stop: impl Future<Output = ()>,
    stopping: watch::Sender<bool>,
) -> anyhow::Result<()> {
    let mut stopped = stopping.subscribe();
    let connection = bus.as_ref().map(|bus| bus.connection);
    let work = async {
        let Some(Bus { settings, connection, token, logs_heard, taken_over }) = bus else {
            // The sender cannot be gone before the end.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            return Ok(());
        };
        let client = nats::connect(settings, connection, DECISIONS, MAX_PENDING_REQUESTS).await?;
        // Times out only if the other connection has trouble, which that one logs.
        let _ = tokio::time::timeout(SUBSCRIBE_TIMEOUT, logs_heard).await;
        nats::take_over(&client, settings, &broker, token, nats::Scope::Everything).await;
        // From here on other replicas may ask for the state. The receiver is gone only when the process ends.
        let _ = taken_over.send(());
        nats::serve_requests(client, settings, connection, DECISIONS, MAX_PENDING_REQUESTS, broker, stopped).await?;
        anyhow::Ok(())
    };
    tokio::pin!(work);
    tokio::select! {
        ended = &mut work => return ended,
        Ok(error) = failure => return Err(error),
        () = stop => {}
    }
    let can_answer = connection.is_none_or(ConnectionStatus::can_answer);
    stopping.send_replace(true);
    tracing::info!("stopping: accepting no new requests, finishing those in progress");
    let answering = async {
        if can_answer && tokio::time::timeout(SHUTDOWN_TIMEOUT, work).await.is_err() {
            tracing::warn!("stopped before every answer was written");
        }
    };
    tokio::join!(answering, async {
        if let Some(relay) = relay {
            relay.end().await;
        }
    });
    tracing::info!("stopped");
    Ok(())
}

/// The relay, on threads of its own: its traffic must not delay decisions.
struct RelayTask {
    relay: Arc<Relay>,
    ended: oneshot::Receiver<()>,
    _runtime: Background,
}

/// A runtime that can be dropped inside another one.
struct Background(Option<runtime::Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl RelayTask {
    /// Starts the relay, if it is on.
    fn start(
        settings: &relay::RelaySettings,
        tls: Option<ServerTls>,
        broker: &SharedBroker,
        replica: &str,
        token: Option<Token>,
        wrong_tokens: WrongTokenLimiter,
        log: mpsc::Sender<Vec<u8>>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(address) = settings.listen else { return Ok(None) };
        let relay = Arc::new(Relay::new(settings, broker.clone(), replica, token, wrong_tokens, log)?);
        let runtime = runtime::Builder::new_multi_thread()
            .thread_name("relay")
            .thread_keep_alive(LOOKUP_THREAD_KEEP_ALIVE)
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        // Names are resolved by threads. One is started now, so that it exists when the system has no threads left: otherwise
        // names could not be resolved, which would count as their targets' fault.
        runtime.spawn_blocking(|| {});
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.with_context(|| format!("cannot listen on the address of BROKER_RELAY, {address}"))?;
        tracing::info!(address = %listener.local_addr()?, gateway = %settings.gateway, tls = tls.is_some(), "relay listens");
        let (over, ended) = oneshot::channel();
        let serving = Arc::clone(&relay);
        runtime.spawn(async move {
            relay::serve(serving, listener, tls).await;
            // The receiver is gone only when the process ends.
            let _ = over.send(());
        });
        Ok(Some(Self { relay, ended, _runtime: Background(Some(runtime)) }))
    }

    /// Stops it, and waits until all calls are answered or the grace period is over.
    async fn end(self) {
        self.relay.stop();
        let _ = self.ended.await;
    }
}

/// The tasks beside the decisions.
struct BackgroundTasks {
    settings: nats::NatsSettings,
    broker: SharedBroker,
    /// Empty without a bus.
    links: Vec<ConnectionStatus>,
    /// Becomes true when the process begins to stop.
    stopping: watch::Receiver<bool>,
    listener: Option<std::net::TcpListener>,
    access: http::Access,
    tls: Option<ServerTls>,
    wrong_tokens: WrongTokenLimiter,
    start: Start,
    pools: Option<PoolsFile>,
    prices: Option<PricesFile>,
    relay: Option<Arc<Relay>>,
    /// The log entries of the relay's attempts.
    entries: mpsc::Receiver<Vec<u8>>,
}

/// One of the tasks that share a thread. Each is polled only when it is woken itself: log entries arrive with every call.
type Task<'a> = LocalBoxFuture<'a, anyhow::Result<()>>;

impl BackgroundTasks {
    /// Runs until the process ends; `failed` gets the reason if it cannot start.
    fn run(self, failed: oneshot::Sender<anyhow::Error>) {
        let ended = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")
            .and_then(|runtime| runtime.block_on(self.serve()));
        if let Err(error) = ended {
            // The receiver is gone only when the process ends.
            let _ = failed.send(error);
        }
    }

    fn http_state(&self) -> http::HttpState {
        let Self { settings, broker, links, stopping, access, wrong_tokens, .. } = self;
        http::HttpState {
            broker: broker.clone(),
            links: links.clone(),
            stopping: stopping.clone(),
            bus: settings.show(),
            feed: http::Feed::default(),
            peers: Peers::new(broker.clone(), settings.clone(), access.token.clone()),
            wrong_tokens: wrong_tokens.clone(),
        }
    }

    async fn serve(self) -> anyhow::Result<()> {
        let state = self.http_state();
        let Self {
            settings,
            broker,
            links,
            stopping: _,
            listener,
            access,
            tls,
            wrong_tokens,
            start,
            pools,
            prices,
            relay,
            mut entries,
        } = self;
        let peers = state.peers.clone();
        let http = serve_http(listener, tls.clone(), state, &access);
        let learning = async {
            let Some(link) = links.last() else {
                // Without a bus, entries have no reader.
                drop(entries);
                return Ok(());
            };
            let client = nats::connect(&settings, link, "gecholog-broker logs", MAX_PENDING_LOGS).await?;
            peers.connected(client.clone());
            let endpoints = AdminEndpoints {
                broker: &broker,
                settings: &settings,
                links: &links,
                token: peers.token(),
                wrong_tokens: &wrong_tokens,
            };
            let admin =
                async { nats::serve_admin(client.clone(), endpoints, start).await.map_err(anyhow::Error::from_boxed) };
            let learning = async { Ok(nats::learn_from_logs(client.clone(), &settings, link, &broker).await?) };
            let sharing = nats::share_affinity(client.clone(), &settings, link, relay.as_deref());
            let publishing = nats::publish_entries(client.clone(), &settings, &mut entries);
            let mut tasks = FuturesUnordered::<Task<'_>>::new();
            tasks
                .push(Box::pin(async { sharing.await.map_err(anyhow::Error::from_boxed).map(|never| match never {}) }));
            tasks.push(Box::pin(async { tokio::try_join!(learning, admin).map(drop) }));
            let following = nats::take_over_after_outages(client.clone(), &settings, link, &broker, peers.token());
            tasks.push(Box::pin(async {
                following.await.map_err(anyhow::Error::from_boxed).map(|never| match never {})
            }));
            tasks.push(Box::pin(publishing.map(Ok)));
            tasks.push(Box::pin(async { match nats::follow_cluster(&client, &settings, link).await {} }));
            tasks.next().await.unwrap_or(Ok(()))
        };
        let following = reload::follow(pools, broker.clone(), relay.clone());
        let endless = async {
            let files = prices::follow(prices, broker.prices());
            tokio::join!(broker.run_timers(), following, ServerTls::follow(tls.clone()), files);
            anyhow::Ok(())
        };
        let tasks: [Task<'_>; 3] = [Box::pin(http), Box::pin(learning), Box::pin(endless)];
        FuturesUnordered::from_iter(tasks).try_collect().await
    }
}

/// Serves the page, the API and the probes; never returns, even without a listener.
async fn serve_http(
    listener: Option<std::net::TcpListener>,
    tls: Option<ServerTls>,
    state: http::HttpState,
    access: &http::Access,
) -> anyhow::Result<()> {
    let Some(listener) = listener else { return std::future::pending().await };
    let listener = TcpListener::from_std(listener)?;
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "HTTP listens");
    let (broker, feed) = (state.broker.clone(), state.feed.clone());
    let probes = http::probes(state.clone());
    let routes = http::routes(state, access);
    tokio::join!(http::serve(listener, tls, &broker, routes, probes), feed.run(&broker));
    Ok(())
}
