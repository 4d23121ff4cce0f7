//! The handle by which adapters reach the broker: the lock, the clock and the random generator around the balancer.
//!
//! A `std` mutex, because every section is well under a microsecond and none crosses an await: tokio's would only cost more.
//! Events are published after the lock is released. Clones of a handle share one broker.

mod decisions;
mod operators;
mod state;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;

use crate::admin::Nonces;
use crate::calls::Calls;
use crate::clock::Clock;
use crate::prices::LivePrices;
use crate::recent_decisions::{CAPACITY, RecentDecisions, Ring};
use crate::telemetry::Counts;
use balancer::broker::{Applied, Broker, BrokerInput, BrokerSettings, ClientTree, Route, Snapshot};
use gecholog_protocol::ReplicaIdentity;
use types::outcome::CallObservation;
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::{BrokerEvent, IgnoreReason};

use state::Published;
pub use state::{NextStep, NoFurtherAttempt, PlannedAttempt, RoutedRequest, SharedState};

/// How many routers of a snapshot, or recent entries, are copied under one lock at most.
pub const MAX_COPIED: usize = 64;

/// A handle to the broker of this process.
#[derive(Clone)]
pub struct SharedBroker(Arc<Inner>);

struct Inner {
    state: OwnCacheLines<Mutex<SharedState>>,
    clock: Clock,
    on_event: fn(&BrokerEvent),
    /// What is read without the lock.
    published: ArcSwap<Published>,
    /// May be locked while `state` is, and never the other way round.
    recent: OwnCacheLines<Mutex<RecentDecisions>>,
    deadline_moved: Notify,
    /// A target may serve that may not have before.
    target_back: Notify,
    counts: Counts,
    calls: Calls,
    replica: String,
    prices: LivePrices,
    started: BrokerTime,
    nonces: Mutex<Nonces>,
}

/// Keeps a value that threads take turns at apart from what they change beside it, such as the number of handles. Two lines of 64
/// bytes, because processors fetch them in pairs.
#[repr(align(128))]
struct OwnCacheLines<T>(T);

impl fmt::Debug for SharedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBroker").finish_non_exhaustive()
    }
}

impl SharedBroker {
    /// `on_event` is called for each event, never under the lock.
    pub fn new(broker: Broker, identity: ReplicaIdentity, clock: Clock, on_event: fn(&BrokerEvent)) -> Self {
        let rng = SmallRng::from_rng(&mut rand::rng());
        let replica = identity.replica().to_owned();
        let state = SharedState::new(broker, identity, rng);
        let published = ArcSwap::new(state.published());
        let state = OwnCacheLines(Mutex::new(state));
        let started = clock.now();
        Self(Arc::new(Inner {
            state,
            clock,
            on_event,
            published,
            recent: OwnCacheLines(Mutex::default()),
            deadline_moved: Notify::new(),
            target_back: Notify::new(),
            counts: Counts::default(),
            calls: Calls::default(),
            replica,
            prices: LivePrices::default(),
            started,
            nonces: Mutex::new(Nonces::since(started)),
        }))
    }

    pub fn now(&self) -> BrokerTime {
        self.0.clock.now()
    }

    /// When the process was started.
    pub fn started(&self) -> BrokerTime {
        self.0.started
    }

    /// Counters of what is not part of the balancer's state.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Gives the metrics of finished calls the models that the settings name.
    pub fn know_models(&self) {
        let settings = self.settings();
        self.calls().know_models(settings.pools.iter().flat_map(|pool| pool.root.models()));
    }

    /// The replica's id, which never changes.
    pub fn replica(&self) -> &str {
        &self.0.replica
    }

    /// The finished calls.
    pub fn calls(&self) -> &Calls {
        &self.0.calls
    }

    /// The prices in force.
    pub fn prices(&self) -> &LivePrices {
        &self.0.prices
    }

    /// The replica's id, the hash of its settings and its mode.
    pub fn identity(&self) -> ReplicaIdentity {
        self.0.published.load().identity.clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<BrokerSettings> {
        Arc::clone(self.lock().broker.settings())
    }

    /// A copy of the broker's state, made in parts so that no decision waits for more than [`MAX_COPIED`] routers; what can be
    /// derived from that is derived without the lock.
    pub fn snapshot(&self) -> Snapshot {
        let parts = |count: usize| (0..count).step_by(MAX_COPIED).map(|start| start..start + MAX_COPIED);
        loop {
            let at = self.now();
            let basis = self.lock().broker.snapshot_basis();
            let passes: Vec<_> = parts(basis.pools()).flat_map(|part| self.lock().broker.passes(part)).collect();
            let routers =
                parts(basis.routers()).flat_map(|part| self.lock().broker.router_statuses(part, at)).collect();
            // Parts of different settings do not fit together.
            if self.lock().broker.config_generation() == basis.generation() {
                return Snapshot::new(at, &basis, &passes, routers);
            }
        }
    }

    /// Reads recent decisions and changes; `read` runs under a lock of theirs and copies at most [`MAX_COPIED`] entries.
    pub fn recent_decisions<T>(&self, read: impl FnOnce(&RecentDecisions) -> T) -> T {
        read(&self.recent())
    }

    /// The recent entries of one kind from number `from` on, and the number of the next. Copied in parts, so that the lock is held
    /// for short times, and at most as many as are kept: under load there are always more, which are left for the next reader.
    pub fn recent_entries<T: Clone>(&self, ring: impl Fn(&RecentDecisions) -> &Ring<T>, from: u64) -> (Vec<T>, u64) {
        let (mut entries, mut next) = (Vec::new(), from);
        loop {
            let (first, part) = self.recent_decisions(|recent| ring(recent).read(next, MAX_COPIED));
            let ended = part.len() < MAX_COPIED;
            next = first + part.len() as u64;
            entries.extend(part);
            if ended || entries.len() >= CAPACITY {
                return (entries, next);
            }
        }
    }

    /// The ingress of the pool that serves a path: the path itself or one above it. A copy of the caller's own.
    pub fn ingress_of(&self, path: &str) -> Option<RouterPath> {
        self.0.published.load().ingresses.of(path).map(RouterPath::unshared)
    }

    /// The models that clients may ask this pool for, if its settings name those of all targets.
    pub fn models(&self, ingress: &RouterPath) -> Option<Arc<[String]>> {
        self.0.published.load().ingresses.models(ingress).cloned()
    }

    /// The models of this pool, if the one that is asked for is none of those that its targets serve.
    pub fn models_instead_of(&self, ingress: &RouterPath, asked: &str) -> Option<Arc<[String]>> {
        self.0.published.load().ingresses.models_instead_of(ingress, asked).cloned()
    }

    /// The tree of this digest over the targets of a pool, if a client has brought it along before.
    pub fn client_tree(&self, ingress: &RouterPath, digest: &str) -> Option<Arc<ClientTree>> {
        self.lock().broker.client_tree(ingress, digest)
    }

    /// The settings in force, for trees that clients bring along, and which they are of those that have been in force.
    pub fn numbered_settings(&self) -> (Arc<BrokerSettings>, u64) {
        let state = self.lock();
        (Arc::clone(state.broker.settings()), state.broker.config_generation())
    }

    /// Releases what an attempt held that ended without evidence about its router; what it took of its limits only if it was not
    /// sent.
    pub fn abandon(&self, route: &Route, was_sent: bool) {
        let now = self.now();
        self.change(|state| state.broker.apply(BrokerInput::Abandoned { route, was_sent }, now));
    }

    /// Learns from an observation. Returns why it was ignored, if it was.
    pub fn learn(&self, mut observation: CallObservation<'_>) -> Option<IgnoreReason> {
        let now = self.now();
        let applied = self.change(|state| {
            if let CallObservation::Log { entry, decision } = &mut observation {
                // Only decisions of this replica are in flight here; its identity distinguishes them.
                *decision = entry.stamp_id.and_then(|id| state.identity.decision_number(id));
            }
            state.broker.apply(BrokerInput::Observed(&observation), now)
        });
        applied.ignored
    }

    /// Number of routers in all settings so far.
    pub fn routers_known(&self) -> usize {
        self.lock().broker.routers_known()
    }

    /// Number of decisions so far.
    pub fn decisions(&self) -> u64 {
        self.lock().broker.decisions()
    }

    /// Replaces the settings in one step; routers that remain keep their state. Returns the fingerprint of the new settings.
    pub fn configure(&self, settings: &BrokerSettings) -> String {
        let now = self.now();
        let mut config = String::new();
        self.change(|state| {
            state.identity = state.identity.with_config(settings.fingerprint());
            config = state.identity.config().to_owned();
            state.broker.apply(BrokerInput::Configured(settings), now)
        });
        self.know_models();
        self.0.target_back.notify_waiters();
        config
    }

    /// Targets whose address or key changed need not be waited for.
    pub fn targets_replaced(&self, paths: &[RouterPath]) {
        if !paths.is_empty() {
            self.change(|state| state.broker.apply(BrokerInput::TargetsReplaced(paths), self.now()));
            self.0.target_back.notify_waiters();
        }
    }

    /// Waits until a target of this pool may be back: until the eligibility of its targets has changed since `seen`.
    pub async fn target_back(&self, ingress: &RouterPath, seen: u64) {
        loop {
            let mut back = pin!(self.0.target_back.notified());
            back.as_mut().enable();
            if self.lock().broker.last_change(ingress.as_str()) != seen {
                return;
            }
            back.await;
        }
    }

    /// Applies a tick at each deadline, so that a router's return is logged at its time even without traffic. Never ends.
    pub async fn run_timers(&self) {
        loop {
            let due = {
                let mut state = self.lock();
                state.timer_due = state.broker.next_deadline();
                state.timer_due
            };
            let earlier = self.0.deadline_moved.notified();
            match due {
                None => earlier.await,
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep(due.since(self.now())) => drop(self.change(|state| state.broker.apply(BrokerInput::Tick, self.now()))),
                        () = earlier => {}
                    }
                }
            }
        }
    }

    /// Changes the state in one step, then publishes the events.
    fn change(&self, apply: impl FnOnce(&mut SharedState) -> Applied) -> Applied {
        let mut state = self.lock();
        let generation = state.broker.config_generation();
        let applied = apply(&mut state);
        self.publish_settings(&state, generation);
        if !applied.changes.is_empty() {
            self.record_changes(&applied.changes, self.now());
        }
        self.unlock(state);
        self.emit(&applied.changes);
        applied
    }

    /// Before the lock is released, because [`SharedBroker::with_read`] waits for the settings in force. They change by time too:
    /// when an operator's weight expires.
    fn publish_settings(&self, state: &SharedState, published: u64) {
        if state.broker.config_generation() != published {
            self.publish(state);
        }
    }

    fn publish(&self, state: &SharedState) {
        self.0.published.store(state.published());
    }

    /// Under the broker's lock, so that they stand in the order in which they happened. There are few.
    fn record_changes(&self, changes: &[BrokerEvent], now: BrokerTime) {
        if !changes.is_empty() {
            self.recent().record_changes(now, changes);
        }
    }

    fn emit(&self, changes: &[BrokerEvent]) {
        for change in changes {
            self.0.counts.change(change);
            (self.0.on_event)(change);
        }
        if changes.iter().any(BrokerEvent::may_bring_back) {
            self.0.target_back.notify_waiters();
        }
    }

    fn recent(&self) -> MutexGuard<'_, RecentDecisions> {
        self.0.recent.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.0.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a change, a decision included: wakes the timers if something falls due before what they wait for.
    fn unlock(&self, mut state: MutexGuard<'_, SharedState>) {
        let due = state.broker.next_deadline();
        let is_earlier = due.is_some_and(|due| state.timer_due.is_none_or(|timer| due < timer));
        if is_earlier {
            state.timer_due = due;
        }
        drop(state);
        if is_earlier {
            self.0.deadline_moved.notify_one();
        }
    }
}
