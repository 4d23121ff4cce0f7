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
use crate::broker::{Applied, Broker, Course, Decision, Event, Offer, Route, Settings};
use crate::clock::Clock;
use crate::event::{Change, Ignored};
use crate::outcome::{FailureRule, Report};
use crate::request::{Patch, Request};
use crate::router::RouterPath;
use crate::time::Now;
use crate::wire::processor::Asked;
use crate::wire::reply::{self, Flaw};
use crate::wire::{Signature, stamp};

/// A way to the one broker of this process.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Clock,
    tell: fn(&Change),
    earlier: Notify,
}

struct State {
    broker: Broker,
    signature: Signature,
    rng: SmallRng,
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
    pub patch: Patch,
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
        let state = Mutex::new(State { broker, signature, rng: SmallRng::from_rng(&mut rand::rng()) });
        Self(Arc::new(Inner { state, clock, tell, earlier: Notify::new() }))
    }

    /// The moment.
    pub fn now(&self) -> Now {
        self.0.clock.now()
    }

    /// The answer to a request, in bytes: the router with its stamp, or nothing; and what it had to do without.
    pub fn answer(&self, request: &Asked<'_>) -> (Vec<u8>, Option<Flaw>) {
        let now = self.now();
        let mut state = self.lock();
        let State { broker, signature, rng } = &mut *state;
        let (decision, mut changes) = broker.look(request, now, rng);
        let (answer, flaw) = reply::route(signature, broker, &decision, request.body());
        let flaw = flaw.or_else(|| broker.needs(&decision).and_then(|needs| request.lacks(needs)));
        // Built only where somebody looks, and under the lock, where the reasons still hold.
        let told = tracing::enabled!(tracing::Level::DEBUG).then(|| broker.tell(&decision));
        changes.extend(broker.count(&decision, now));
        drop(state);
        self.tell(&changes);
        if let Some(told) = told {
            tracing::debug!("{told}");
        }
        (answer, flaw)
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
        let now = self.now();
        let mut state = self.lock();
        let State { broker, signature, rng } = &mut *state;
        let mut changes = broker.bring_forward(now);
        let offer = broker.offer(request, course, rng);
        let words = match &offer {
            Offer::Nobody { why, .. } => Some(broker.tell(&Decision::Pass(*why))),
            Offer::New(_) | Offer::Again(_) => None,
        };
        let next = match plan(offer, now, rng) {
            Step::Pause(pause) => Next::Pause(pause),
            Step::Stop(stop) => Next::Stop(stop, words),
            Step::Send { route, by } => match dispatch(broker, signature, route, by) {
                Some(dispatch) => {
                    changes.extend(broker.apply(Event::Chosen(&dispatch.route), now).changes);
                    Next::Send(dispatch)
                }
                None => Next::Stop(Stop::Nobody(None), None),
            },
        };
        drop(state);
        self.tell(&changes);
        next
    }

    /// What was chosen came to nothing that anybody is to blame for.
    pub fn abandon(&self, route: &Route) {
        self.apply(Event::Abandoned(route));
    }

    /// Learns from a report. Some reason if there was nothing to learn.
    pub fn learn(&self, report: &Report<'_>) -> Option<Ignored> {
        // Only our own calls are over for us, and only the signature knows which are ours.
        let ours = |id: &str| self.lock().signature.number(id);
        let decision = report.stamp_id.and_then(ours);
        self.apply(Event::Report(&Report { decision: report.decision.or(decision), ..*report })).ignored
    }

    /// Puts other settings in force, in one step; routers that stay keep what is known of them. Answers with the short hash of
    /// what is in force then.
    pub fn configure(&self, settings: &Settings) -> String {
        let signature = |state: &mut State| state.signature = state.signature.under(settings);
        self.apply_with(Event::Configured(settings), signature);
        self.lock().signature.config().to_owned()
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
                        () = tokio::time::sleep(due.since(self.now())) => drop(self.apply(Event::Tick)),
                        () = earlier => {}
                    }
                }
            }
        }
    }

    fn apply(&self, event: Event<'_>) -> Applied {
        self.apply_with(event, |_| {})
    }

    /// Applies an event and does something else with it, in one step.
    fn apply_with(&self, event: Event<'_>, also: impl FnOnce(&mut State)) -> Applied {
        let now = self.now();
        let mut state = self.lock();
        also(&mut state);
        let before = state.broker.next_deadline();
        let applied = state.broker.apply(event, now);
        let after = state.broker.next_deadline();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.0.earlier.notify_one();
        }
        self.tell(&applied.changes);
        applied
    }

    fn tell(&self, changes: &[Change]) {
        changes.iter().for_each(self.0.tell);
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
