//! What the broker's lock guards, and what is done with it while a decision is made.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;

use crate::admin::AdminCommand;
use crate::recent_decisions::RecentDecisions;
use crate::stamping::{self, WrittenStamp};
use balancer::broker::{AttemptHistory, Broker, ClientTree, Decision, Ingresses, NextTarget, Outage, Route};
use balancer::retry::{GiveUp, RetryPlan, Step};
use balancer::strategy::Read;
use gecholog_protocol::ReplicaIdentity;
use gecholog_protocol::processor::RouteRequest;
use gecholog_protocol::reply::{Degradation, RouteReply};
use types::outcome::FailureRule;
use types::request::{Patch, Request as _};
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::BrokerEvent;

/// The broker, and what changes with it.
#[derive(Debug)]
pub struct SharedState {
    pub(super) broker: Broker,
    pub(super) signature: ReplicaIdentity,
    pub(super) rng: SmallRng,
    pub(super) recent: RecentDecisions,
    /// The operator's command that set the mode, and when; absent where the mode is that of the settings.
    pub(super) mode_order: Option<(AdminCommand, BrokerTime)>,
}

/// The next step of a request that may be sent more than once.
#[derive(Debug)]
pub enum NextStep {
    /// Send it; the attempt is counted already.
    Send(Box<Dispatch>),
    /// Wait for this time, then ask again.
    Pause(Duration),
    /// Wait until a target may serve ([`target_back`](super::SharedBroker::target_back) with `seen`), then for `spread`; then ask again.
    AwaitTarget {
        /// At most so long.
        at_most: Duration,
        /// So that all who wait do not come in the same moment.
        spread: Duration,
        /// Which change of the pool's targets was the last one.
        seen: u64,
    },
    /// Give up.
    Stop(Stop),
}

/// There is no further attempt.
#[derive(Debug)]
pub struct Stop {
    /// The reason.
    pub why: GiveUp,
    /// When the client may come back: when one of the request's targets may serve; `None` if that is unknown.
    pub retry_at: Option<BrokerTime>,
    /// In words, where no target was left.
    pub explanation: Option<String>,
}

/// One attempt, ready to be made.
#[derive(Debug)]
pub struct Dispatch {
    pub route: Route,
    pub router: RouterPath,
    /// What the target changes in the request's body.
    pub patch: Arc<Patch>,
    /// The answers after which the request may be sent to another target, where the user lists them.
    pub retry_on: Option<Arc<FailureRule>>,
    /// The target has a budget of tokens.
    pub counts_tokens: bool,
    pub stamp: WrittenStamp,
}

/// The answer to a request of the gateway, as far as it is made under the lock.
#[derive(Debug)]
pub struct Routed {
    /// Completed by the request's body once the lock is free.
    pub answer: RouteReply,
    pub degradation: Option<Degradation>,
    pub changes: Vec<BrokerEvent>,
    /// Why, where that is asked for.
    pub explanation: Option<String>,
}

impl SharedState {
    pub fn new(broker: Broker, signature: ReplicaIdentity, rng: SmallRng) -> Self {
        Self { broker, signature, rng, recent: RecentDecisions::default(), mode_order: None }
    }

    /// By which requests are read before the lock is taken.
    pub const fn ingresses(&self) -> &Arc<Ingresses> {
        self.broker.ingresses()
    }

    /// Chooses a router for a request of the gateway and counts it. `explains`: also says why, which is slow, and holds only as
    /// long as the lock.
    pub fn route(&mut self, request: &RouteRequest<'_>, read: &Read<'_>, explains: bool, now: BrokerTime) -> Routed {
        let Self { broker, signature, rng, recent, .. } = self;
        let decision = broker.select(read, now, rng);
        let answer = stamping::answer(signature, broker, &decision);
        recent.record_decision(now, &decision, answer.stamp(), broker.ingress(&decision));
        let degradation = broker.needs(&decision).and_then(|needs| request.missing(needs));
        let explanation = explains.then(|| broker.explain(&decision));
        broker.commit(&decision, now);
        let changes = broker.take_changes();
        recent.record_changes(now, &changes);
        Routed { answer, degradation, changes, explanation }
    }

    /// The next step of a request that may be sent more than once, counted if it is sent.
    pub(super) fn next(
        &mut self,
        read: &Read<'_>,
        history: &mut AttemptHistory,
        client_tree: Option<&Arc<ClientTree>>,
        plan: &mut RetryPlan,
        now: BrokerTime,
    ) -> (NextStep, Vec<BrokerEvent>) {
        let Self { broker, signature, rng, recent, .. } = self;
        broker.advance_clock(now);
        if let Some(tree) = client_tree {
            broker.use_client_tree(tree, history);
        }
        let target = broker.next_target(read, history, rng);
        let why = if let NextTarget::None { why, .. } = &target { Some(*why) } else { None };
        let next = match plan.next(target, now, rng) {
            Step::Pause(pause) => NextStep::Pause(pause),
            Step::AwaitTarget { at_most, spread } => {
                NextStep::AwaitTarget { at_most, spread, seen: broker.last_change(read.path()) }
            }
            Step::Stop(stop) => NextStep::Stop(Stop {
                why: stop,
                retry_at: broker.retry_at(read, history, now, |router| plan.not_before(router)),
                explanation: why.map(|why| broker.explain(&Decision::Pass(why))),
            }),
            Step::Send(route) => match dispatch(broker, signature, route) {
                Some(dispatch) => {
                    let decision = Decision::Route(dispatch.route.clone());
                    recent.record_decision(now, &decision, &dispatch.stamp.bytes, broker.ingress(&decision));
                    broker.commit(&decision, now);
                    NextStep::Send(dispatch)
                }
                None => {
                    NextStep::Stop(Stop { why: GiveUp::NoTarget(Outage::default()), retry_at: None, explanation: None })
                }
            },
        };
        let changes = broker.take_changes();
        recent.record_changes(now, &changes);
        (next, changes)
    }
}

/// The attempt of a choice; `None` if the choice is not this broker's.
fn dispatch(broker: &Broker, signature: &ReplicaIdentity, route: Route) -> Option<Box<Dispatch>> {
    let router = broker.path(route.router())?.clone();
    let tree = broker.pool(route.pool)?.tree();
    let patch = tree.patch(route.chosen.leaf).cloned().unwrap_or_default();
    let retry_on = tree.retry_on(route.chosen.leaf).cloned();
    let counts_tokens = broker.settings().for_router(&router).rate_limit.is_some_and(|limit| limit.tpm.is_some());
    let stamp = stamping::written(signature, broker, &route);
    Some(Box::new(Dispatch { route, router, patch, retry_on, counts_tokens, stamp }))
}
