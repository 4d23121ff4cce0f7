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

use crate::attempt::{Step, Stop};
use crate::broker::{Applied, Broker, Course, Decision, Event, Offer, Route, Settings, Snapshot};
use crate::clock::Clock;
use crate::control::{self, Done, Nonces, Order, Taken};
use crate::event::{Change, Ignored};
use crate::journal::Journal;
use crate::outcome::{FailureRule, Report, Source};
use crate::request::{Patch, Request};
use crate::router::RouterPath;
use crate::strategy::Read;
use crate::telemetry::Counts;
use crate::time::Now;
use crate::wire::Signature;
use crate::wire::processor::Asked;
use crate::wire::reply::{self, Flaw};
use crate::wire::stamp;

/// So much is copied under one lock: routers of a snapshot, entries of the journal.
pub const PART: usize = 64;

/// A way to the one broker of this process.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Clock,
    tell: fn(&Change),
    earlier: Notify,
    counts: Counts,
    started: Now,
    nonces: Mutex<Nonces>,
}

struct State {
    broker: Broker,
    signature: Signature,
    rng: SmallRng,
    journal: Journal,
    /// The order that set the mode, if it is not that of the settings, and when it was given.
    mode_order: Option<(Order, Now)>,
}

impl State {
    fn obey(&mut self, order: &Order, now: Now) -> (Done, Applied) {
        let replica = self.signature.replica().to_owned();
        let given = match order {
            Order::Mode { mode, .. } => {
                self.signature = self.signature.in_mode(*mode);
                self.mode_order = Some((order.clone(), now));
                let done = Some(format!("mode is {mode}"));
                return (Done { replica, done, ..Done::default() }, Applied::default());
            }
            Order::Broker(given) => given,
        };
        if let Err(why) = self.broker.check(&given.command) {
            let error = Some(why.to_string());
            return (Done { replica, error, ..Done::default() }, Applied::default());
        }
        let applied = self.broker.apply(Event::Command(given), now);
        // The last: others may have ended in the same moment.
        let done = applied.changes.iter().rev().find_map(|change| match change {
            Change::Ordered(order) => Some(format!("{} {}", order.about, order.what)),
            _ => None,
        });
        let router = given.command.router();
        let left_without = self.broker.left_without(router).into_iter().cloned().collect();
        let in_flight = self.broker.in_flight(router);
        (Done { replica, done, left_without, in_flight, error: None }, applied)
    }
}

/// What a request that may be sent more than once does next.
#[derive(Debug)]
pub enum Next {
    /// It is sent, and that is counted.
    Send(Box<Dispatch>),
    /// It waits so long.
    Pause(Duration),
    /// It is over; with the broker's words for why nobody was left, if so.
    Stop(Stop, Option<String>),
}

/// One attempt, ready to be made.
#[derive(Debug)]
pub struct Dispatch {
    /// The choice.
    pub route: Route,
    /// Its router.
    pub router: RouterPath,
    /// When the first byte of an answer must be here.
    pub by: Now,
    /// What changes in the request.
    pub patch: Arc<Patch>,
    /// After which of its answers the request may be sent elsewhere, if the user lists them.
    pub leads: Option<Arc<FailureRule>>,
    /// The stamp, as it would stand in the gateway's log.
    pub stamp: Vec<u8>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Takes the broker in. `tell` is called for each change, never under the lock.
    pub fn new(broker: Broker, signature: Signature, clock: Clock, tell: fn(&Change)) -> Self {
        let rng = SmallRng::from_rng(&mut rand::rng());
        let state = Mutex::new(State { broker, signature, rng, journal: Journal::default(), mode_order: None });
        let started = clock.now();
        Self(Arc::new(Inner {
            state,
            clock,
            tell,
            earlier: Notify::new(),
            counts: Counts::default(),
            started,
            nonces: Mutex::new(Nonces::since(started)),
        }))
    }

    /// The moment.
    pub fn now(&self) -> Now {
        self.0.clock.now()
    }

    /// When the process was started.
    pub fn started(&self) -> Now {
        self.0.started
    }

    /// What is counted beside the broker.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Who signs, under which settings, in which mode.
    pub fn signature(&self) -> Signature {
        self.lock().signature.clone()
    }

    /// What shapes decisions now.
    pub fn settings(&self) -> Settings {
        self.lock().broker.settings().clone()
    }

    /// The broker as it is shown, copied in parts so that no decision waits for more than one of them.
    pub fn see(&self) -> Snapshot {
        let at = self.now();
        let (not_ours, pools, routers) = {
            let state = self.lock();
            (state.broker.not_ours(), state.broker.pools().len(), state.broker.routers_known())
        };
        let pools = (0..pools).filter_map(|place| self.lock().broker.show_pool(place)).collect();
        let parts = (0..routers).step_by(PART).map(|start| start..start + PART);
        let routers = parts.flat_map(|places| self.lock().broker.show_routers(places, at)).collect();
        Snapshot { at, not_ours, pools, routers }
    }

    /// Reads what happened last; `read` runs under the lock and copies at most [`PART`] entries.
    pub fn journal<T>(&self, read: impl FnOnce(&Journal) -> T) -> T {
        read(&self.lock().journal)
    }

    /// The answer to a request, in bytes: the router with its stamp, or nothing; and what it had to do without.
    pub fn answer(&self, request: &Asked<'_>) -> (Vec<u8>, Option<Flaw>) {
        let (answer, flaw, changes, told) = self.with_read(request, |state, read, now| {
            let State { broker, signature, rng, journal, .. } = state;
            let (decision, mut changes) = broker.look(read, now, rng);
            let answer = reply::route(signature, broker, &decision);
            journal.decided(now, &decision, answer.stamp(), broker.ingress(&decision));
            let flaw = broker.needs(&decision).and_then(|needs| request.lacks(needs));
            // Built only where somebody looks, and under the lock, where the reasons still hold.
            let told = tracing::enabled!(tracing::Level::DEBUG).then(|| broker.tell(&decision));
            broker.count(&decision, now, &mut changes);
            journal.changed(now, &changes);
            (answer, flaw, changes, told)
        });
        self.tell(&changes);
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
        course: &mut Course,
        plan: impl FnOnce(Offer, Now, &mut SmallRng) -> Step,
    ) -> Next {
        let (next, changes) = self.with_read(request, |state, read, now| {
            let State { broker, signature, rng, journal, .. } = state;
            let mut changes = broker.bring_forward(now);
            let offer = broker.offer(read, course, rng);
            let words = match &offer {
                Offer::Nobody { why, .. } => Some(broker.tell(&Decision::Pass(*why))),
                Offer::New(_) | Offer::Again(_) => None,
            };
            let next = match plan(offer, now, rng) {
                Step::Pause(pause) => Next::Pause(pause),
                Step::Stop(stop) => Next::Stop(stop, words),
                Step::Send { route, by } => match dispatch(broker, signature, route, by) {
                    Some(dispatch) => {
                        let decision = Decision::Route(dispatch.route.clone());
                        journal.decided(now, &decision, &dispatch.stamp, broker.ingress(&decision));
                        changes.extend(broker.apply(Event::Chosen(&dispatch.route), now).changes);
                        Next::Send(dispatch)
                    }
                    None => Next::Stop(Stop::Nobody(None), None),
                },
            };
            journal.changed(now, &changes);
            (next, changes)
        });
        self.tell(&changes);
        next
    }

    /// Reads of a request what its pool asks, and does something with it under the lock. The reading takes as long as there is
    /// of the request, and so it comes first; should other settings come into force meanwhile, it is done again.
    fn with_read<Q: Request, T>(&self, request: &Q, act: impl FnOnce(&mut State, &Read<'_>, Now) -> T) -> T {
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
        self.change(|state| state.broker.apply(Event::Abandoned(route), now));
    }

    /// Learns from a report. Some reason if there was nothing to learn.
    pub fn learn(&self, report: &Report<'_>) -> Option<Ignored> {
        let now = self.now();
        let applied = self.change(|state| {
            // Only our own decisions can be ended, and only the signature knows which are ours.
            let decision = report.stamp_id.and_then(|id| state.signature.number(id));
            let decision = report.decision.or(decision);
            let applied = state.broker.apply(Event::Report(&Report { decision, ..*report }), now);
            if let Some(outcome) = applied.outcome.filter(|_| report.source == Source::Log) {
                state.journal.finished(now, report, &outcome);
            }
            applied
        });
        applied.ignored
    }

    /// Carries an operator's order out, or says why it cannot be.
    pub fn obey(&self, order: &Order) -> Done {
        let now = self.now();
        let mut done = None;
        self.change(|state| {
            let (answer, applied) = state.obey(order, now);
            done = Some(answer);
            applied
        });
        if let (Order::Mode { mode, by, reason }, Some(Done { done: Some(_), .. })) = (order, &done) {
            tracing::warn!(%mode, by, reason, "an operator's word");
        }
        done.unwrap_or_default()
    }

    /// Takes over what other replicas know; orders of operators only if they `proved` that they hold the operators' token.
    pub fn take_over(&self, known: control::State, proved: bool) {
        let now = self.now();
        let takeover = known.takeover(now, proved);
        self.change(|state| state.broker.apply(Event::TakenOver(&takeover), now));
        if !proved {
            return;
        }
        let ordered = known.mode_order.as_ref().and_then(|ordered| ordered.order(now));
        let (taken, complete_since) = known.taken.moments(now);
        self.nonces().take_over(taken, complete_since);
        // One that was given to us since then is newer.
        if let Some(ordered) = ordered.filter(|_| self.lock().mode_order.is_none()) {
            self.obey(&ordered.0);
            self.lock().mode_order = Some(ordered);
        }
    }

    /// What one that starts takes over from us.
    pub fn state(&self) -> control::State {
        let (snapshot, signature) = (self.see(), self.signature());
        let ordered = self.lock().mode_order.clone();
        let taken = Taken::of(&self.nonces(), snapshot.at);
        control::State::of((signature.replica(), signature.mode()), ordered.as_ref(), taken, &snapshot)
    }

    /// Signed messages that were taken.
    pub fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.0.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What would be chosen for a request just now, and why. Nobody's turn moves.
    pub fn explain(&self, request: &Asked<'_>) -> String {
        let mut rng = SmallRng::from_rng(&mut rand::rng());
        self.with_read(request, |state, read, _| state.broker.tell(&state.broker.choose(read, &mut rng)))
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
    pub fn configure(&self, settings: &Settings) -> String {
        let now = self.now();
        let mut config = String::new();
        self.change(|state| {
            state.signature = state.signature.under(settings);
            config = state.signature.config().to_owned();
            state.broker.apply(Event::Configured(settings), now)
        });
        config
    }

    /// Brings time forward whenever time alone changes something, so that a router's return is told at its moment even
    /// without traffic. Never ends.
    pub async fn keep_time(&self) {
        loop {
            let due = self.lock().broker.next_deadline();
            let earlier = self.0.earlier.notified();
            match due {
                None => earlier.await,
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep(due.since(self.now())) => drop(self.change(|state| state.broker.apply(Event::Tick, self.now()))),
                        () = earlier => {}
                    }
                }
            }
        }
    }

    /// Changes the state in one step, and tells what came of it.
    fn change(&self, apply: impl FnOnce(&mut State) -> Applied) -> Applied {
        let mut state = self.lock();
        let before = state.broker.next_deadline();
        let applied = apply(&mut state);
        if !applied.changes.is_empty() {
            state.journal.changed(self.now(), &applied.changes);
        }
        let after = state.broker.next_deadline();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.0.earlier.notify_one();
        }
        self.tell(&applied.changes);
        applied
    }

    fn tell(&self, changes: &[Change]) {
        for change in changes {
            self.0.counts.change(change);
            (self.0.tell)(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attempt needs to know of a choice. `None` if the choice is not this broker's.
fn dispatch(broker: &Broker, signature: &Signature, route: Route, by: Now) -> Option<Box<Dispatch>> {
    let router = broker.path(route.router())?.clone();
    let tree = broker.pool(route.pool)?.tree();
    let patch = tree.patch(route.chosen.leaf).cloned().unwrap_or_default();
    let leads = tree.leads(route.chosen.leaf).cloned();
    let mut stamp = Vec::new();
    stamp::write(&mut stamp, signature, broker, &route);
    Some(Box::new(Dispatch { route, router, by, patch, leads, stamp }))
}
