//! The handle by which adapters reach the broker: a lock, a clock, and dice around the core.
//!
//! A `std` mutex, because every section is well under a microsecond and none crosses an await: tokio's would only cost more.
//! Changes are told after the lock. Cloning a handle is cheap, and all clones are one broker.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;

use crate::admin::{self, AdminCommand, AdminResult, Nonces, Taken};
use crate::clock::Clock;
use crate::recent_calls::RecentCalls;
use crate::stamping;
use crate::telemetry::Counts;
use balancer::broker::{
    Applied, AttemptHistory, Broker, BrokerInput, BrokerSettings, Decision, NextTarget, Route, Snapshot,
};
use balancer::retry::{GiveUp, Step};
use balancer::strategy::Read;
use gecholog_protocol::ReplicaIdentity;
use gecholog_protocol::processor::RouteRequest;
use gecholog_protocol::reply::Degradation;
use types::outcome::{CallObservation, FailureRule, Source};
use types::request::{Patch, Request};
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::{BrokerEvent, IgnoreReason};

/// So much is copied under one lock: routers of a snapshot, entries of the journal.
pub const MAX_COPIED: usize = 64;

/// A way to the one broker of this process.
#[derive(Clone)]
pub struct SharedBroker(Arc<Inner>);

struct Inner {
    state: Mutex<SharedState>,
    clock: Clock,
    on_event: fn(&BrokerEvent),
    deadline_moved: Notify,
    counts: Counts,
    started: BrokerTime,
    nonces: Mutex<Nonces>,
}

struct SharedState {
    broker: Broker,
    signature: ReplicaIdentity,
    rng: SmallRng,
    journal: RecentCalls,
    /// The order that set the mode, if it is not that of the settings, and when it was given.
    mode_order: Option<(AdminCommand, BrokerTime)>,
}

impl SharedState {
    fn execute(&mut self, order: &AdminCommand, now: BrokerTime) -> (AdminResult, Applied) {
        let replica = self.signature.replica().to_owned();
        let given = match order {
            AdminCommand::Mode { mode, .. } => {
                self.signature = self.signature.with_mode(*mode);
                self.mode_order = Some((order.clone(), now));
                let done = Some(format!("mode is {mode}"));
                return (AdminResult { replica, done, ..AdminResult::default() }, Applied::default());
            }
            AdminCommand::Broker(given) => given,
        };
        if let Err(why) = self.broker.check(&given.command) {
            let error = Some(why.to_string());
            return (AdminResult { replica, error, ..AdminResult::default() }, Applied::default());
        }
        let applied = self.broker.apply(BrokerInput::Command(given), now);
        // The last: others may have ended in the same moment.
        let done = applied.changes.iter().rev().find_map(|change| match change {
            BrokerEvent::OperatorAction(order) => Some(format!("{} {}", order.router, order.action)),
            _ => None,
        });
        let router = given.command.router();
        let pools_left_empty = self.broker.pools_left_empty(router).into_iter().cloned().collect();
        let in_flight = self.broker.in_flight(router);
        (AdminResult { replica, done, pools_left_empty, in_flight, error: None }, applied)
    }
}

/// What a request that may be sent more than once does next.
#[derive(Debug)]
pub enum NextStep {
    /// It is sent, and that is counted.
    Send(Box<Dispatch>),
    /// It waits so long.
    Pause(Duration),
    /// It is over; with the broker's words for why nobody was left, if so.
    Stop(GiveUp, Option<String>),
}

/// One attempt, ready to be made.
#[derive(Debug)]
pub struct Dispatch {
    /// The choice.
    pub route: Route,
    /// Its router.
    pub router: RouterPath,
    /// What changes in the request.
    pub patch: Arc<Patch>,
    /// After which of its answers the request may be sent elsewhere, if the user lists them.
    pub leads: Option<Arc<FailureRule>>,
    /// The stamp, as it would stand in the gateway's log.
    pub stamp: Vec<u8>,
}

impl fmt::Debug for SharedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl SharedBroker {
    /// Takes the broker in. `tell` is called for each change, never under the lock.
    pub fn new(broker: Broker, signature: ReplicaIdentity, clock: Clock, tell: fn(&BrokerEvent)) -> Self {
        let rng = SmallRng::from_rng(&mut rand::rng());
        let state =
            Mutex::new(SharedState { broker, signature, rng, journal: RecentCalls::default(), mode_order: None });
        let started = clock.now();
        Self(Arc::new(Inner {
            state,
            clock,
            on_event: tell,
            deadline_moved: Notify::new(),
            counts: Counts::default(),
            started,
            nonces: Mutex::new(Nonces::since(started)),
        }))
    }

    /// The moment.
    pub fn now(&self) -> BrokerTime {
        self.0.clock.now()
    }

    /// When the process was started.
    pub fn started(&self) -> BrokerTime {
        self.0.started
    }

    /// What is counted beside the broker.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Who signs, under which settings, in which mode.
    pub fn signature(&self) -> ReplicaIdentity {
        self.lock().signature.clone()
    }

    /// What shapes decisions now.
    pub fn settings(&self) -> BrokerSettings {
        self.lock().broker.settings().clone()
    }

    /// The broker as it is shown, copied in parts so that no decision waits for more than one of them.
    pub fn snapshot(&self) -> Snapshot {
        let at = self.now();
        let (not_ours, pools, routers) = {
            let state = self.lock();
            (state.broker.not_ours(), state.broker.pools().len(), state.broker.routers_known())
        };
        let pools = (0..pools).filter_map(|place| self.lock().broker.pool_status(place)).collect();
        let parts = (0..routers).step_by(MAX_COPIED).map(|start| start..start + MAX_COPIED);
        let routers = parts.flat_map(|places| self.lock().broker.router_statuses(places, at)).collect();
        Snapshot { at, not_ours, pools, routers }
    }

    /// Reads what happened last; `read` runs under the lock and copies at most [`CHUNK_HEADER`] entries.
    pub fn journal<T>(&self, read: impl FnOnce(&RecentCalls) -> T) -> T {
        read(&self.lock().journal)
    }

    /// The answer to a request, in bytes: the router with its stamp, or nothing; and what it had to do without.
    pub fn route(&self, request: &RouteRequest<'_>) -> (Vec<u8>, Option<Degradation>) {
        let (answer, flaw, changes, told) = self.with_read(request, |state, read, now| {
            let SharedState { broker, signature, rng, journal, .. } = state;
            let (decision, mut changes) = broker.select(read, now, rng);
            let answer = stamping::answer(signature, broker, &decision);
            journal.record_decision(now, &decision, answer.stamp(), broker.ingress(&decision));
            let flaw = broker.needs(&decision).and_then(|needs| request.missing(needs));
            // Built only where somebody looks, and under the lock, where the reasons still hold.
            let told = tracing::enabled!(tracing::Level::DEBUG).then(|| broker.explain(&decision));
            broker.commit(&decision, now, &mut changes);
            journal.record_changes(now, &changes);
            (answer, flaw, changes, told)
        });
        self.emit(&changes);
        if let Some(told) = told {
            tracing::debug!("{told}");
        }
        let (bytes, not_changed) = answer.complete(request.body());
        (bytes, not_changed.or(flaw))
    }

    /// The ingress that a path lies at or below.
    pub fn ingress_of(&self, path: &str) -> Option<RouterPath> {
        self.lock().broker.ingress_of(path).cloned()
    }

    /// The next step of a request that may be sent more than once: `plan` judges who is offered, in the same moment in which
    /// the choice is counted, so that no two requests are sent to find out about the same router.
    pub fn next(
        &self,
        request: &impl Request,
        course: &mut AttemptHistory,
        plan: impl FnOnce(NextTarget, BrokerTime, &mut SmallRng) -> Step,
    ) -> NextStep {
        let (next, changes) = self.with_read(request, |state, read, now| {
            let SharedState { broker, signature, rng, journal, .. } = state;
            let mut changes = broker.advance_clock(now);
            let offer = broker.next_target(read, course, rng);
            let words = match &offer {
                NextTarget::None { why, .. } => Some(broker.explain(&Decision::Pass(*why))),
                NextTarget::Untried(_) | NextTarget::Retry(_) => None,
            };
            let next = match plan(offer, now, rng) {
                Step::Pause(pause) => NextStep::Pause(pause),
                Step::Stop(stop) => NextStep::Stop(stop, words),
                Step::Send(route) => match dispatch(broker, signature, route) {
                    Some(dispatch) => {
                        let decision = Decision::Route(dispatch.route.clone());
                        journal.record_decision(now, &decision, &dispatch.stamp, broker.ingress(&decision));
                        changes.extend(broker.apply(BrokerInput::Chosen(&dispatch.route), now).changes);
                        NextStep::Send(dispatch)
                    }
                    None => NextStep::Stop(GiveUp::NoTarget(None), None),
                },
            };
            journal.record_changes(now, &changes);
            (next, changes)
        });
        self.emit(&changes);
        next
    }

    /// Reads of a request what its pool asks, and does something with it under the lock. The reading takes as long as there is
    /// of the request, and so it comes first; should other settings come into force meanwhile, it is done again.
    fn with_read<Q: Request, T>(
        &self,
        request: &Q,
        act: impl FnOnce(&mut SharedState, &Read<'_>, BrokerTime) -> T,
    ) -> T {
        let mut reading = self.lock().broker.reading(request.path());
        loop {
            let read = reading.read(request);
            let mut state = self.lock();
            let asked = state.broker.reading(request.path());
            if asked == reading {
                let now = self.now();
                return act(&mut state, &read, now);
            }
            drop(state);
            reading = asked;
        }
    }

    /// What was chosen came to nothing that anybody is to blame for.
    pub fn abandon(&self, route: &Route) {
        let now = self.now();
        self.change(|state| state.broker.apply(BrokerInput::Abandoned(route), now));
    }

    /// Learns from a report. Some reason if there was nothing to learn.
    pub fn learn(&self, report: &CallObservation<'_>) -> Option<IgnoreReason> {
        let now = self.now();
        let applied = self.change(|state| {
            // Only our own decisions can be ended, and only the signature knows which are ours.
            let decision = report.stamp_id.and_then(|id| state.signature.decision_number(id));
            let decision = report.decision.or(decision);
            let applied = state.broker.apply(BrokerInput::Observed(&CallObservation { decision, ..*report }), now);
            if let Some(outcome) = applied.outcome.filter(|_| report.source == Source::Log) {
                state.journal.record_call(now, report, &outcome);
            }
            applied
        });
        applied.ignored
    }

    /// Carries an operator's order out, or says why it cannot be.
    pub fn execute(&self, order: &AdminCommand) -> AdminResult {
        let now = self.now();
        let mut done = None;
        self.change(|state| {
            let (answer, applied) = state.execute(order, now);
            done = Some(answer);
            applied
        });
        if let (AdminCommand::Mode { mode, by, reason }, Some(AdminResult { done: Some(_), .. })) = (order, &done) {
            tracing::warn!(%mode, by, reason, "an operator's word");
        }
        done.unwrap_or_default()
    }

    /// Takes over what other replicas know; orders of operators only if they `proved` that they hold the operators' token.
    pub fn import_state(&self, known: admin::ReplicaState, proved: bool) {
        let now = self.now();
        let takeover = known.takeover(now, proved);
        self.change(|state| state.broker.apply(BrokerInput::Imported(&takeover), now));
        if !proved {
            return;
        }
        let ordered = known.mode_order.as_ref().and_then(|ordered| ordered.order(now));
        let (taken, complete_since) = known.taken.moments(now);
        self.nonces().take_over(taken, complete_since);
        // One that was given to us since then is newer.
        if let Some(ordered) = ordered.filter(|_| self.lock().mode_order.is_none()) {
            self.execute(&ordered.0);
            self.lock().mode_order = Some(ordered);
        }
    }

    /// What one that starts takes over from us.
    pub fn state(&self) -> admin::ReplicaState {
        let (snapshot, signature) = (self.snapshot(), self.signature());
        let ordered = self.lock().mode_order.clone();
        let taken = Taken::of(&self.nonces(), snapshot.at);
        admin::ReplicaState::from_snapshot((signature.replica(), signature.mode()), ordered.as_ref(), taken, &snapshot)
    }

    /// Signed messages that were taken.
    pub fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.0.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What would be chosen for a request just now, and why. Nobody's turn moves.
    pub fn explain(&self, request: &RouteRequest<'_>) -> String {
        let mut rng = SmallRng::from_rng(&mut rand::rng());
        self.with_read(request, |state, read, _| state.broker.explain(&state.broker.choose(read, &mut rng)))
    }

    /// Routers of the settings of now and before.
    pub fn routers_known(&self) -> usize {
        self.lock().broker.routers_known()
    }

    /// Decisions so far.
    pub fn decisions(&self) -> u64 {
        self.lock().broker.decisions()
    }

    /// Puts other settings in force, in one step; routers that stay keep what is known of them. Answers with the short hash of
    /// what is in force then.
    pub fn configure(&self, settings: &BrokerSettings) -> String {
        let now = self.now();
        let mut config = String::new();
        self.change(|state| {
            state.signature = state.signature.with_config(settings.fingerprint());
            config = state.signature.config().to_owned();
            state.broker.apply(BrokerInput::Configured(settings), now)
        });
        config
    }

    /// Brings time forward whenever time alone changes something, so that a router's return is told at its moment even
    /// without traffic. Never ends.
    pub async fn run_timers(&self) {
        loop {
            let due = self.lock().broker.next_deadline();
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

    /// Changes the state in one step, and tells what came of it.
    fn change(&self, apply: impl FnOnce(&mut SharedState) -> Applied) -> Applied {
        let mut state = self.lock();
        let before = state.broker.next_deadline();
        let applied = apply(&mut state);
        if !applied.changes.is_empty() {
            state.journal.record_changes(self.now(), &applied.changes);
        }
        let after = state.broker.next_deadline();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.0.deadline_moved.notify_one();
        }
        self.emit(&applied.changes);
        applied
    }

    fn emit(&self, changes: &[BrokerEvent]) {
        for change in changes {
            self.0.counts.change(change);
            (self.0.on_event)(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attempt needs to know of a choice. `None` if the choice is not this broker's.
fn dispatch(broker: &Broker, signature: &ReplicaIdentity, route: Route) -> Option<Box<Dispatch>> {
    let router = broker.path(route.router())?.clone();
    let tree = broker.pool(route.pool)?.tree();
    let patch = tree.patch(route.chosen.leaf).cloned().unwrap_or_default();
    let leads = tree.retry_on(route.chosen.leaf).cloned();
    let stamp = stamping::bytes(signature, broker, &route);
    Some(Box::new(Dispatch { route, router, patch, leads, stamp }))
}
