//! What the broker's lock guards, and what is done with it while a decision is made.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;

use crate::admin::AdminCommand;
use crate::stamping::{self, WrittenStamp};
use balancer::broker::{AttemptHistory, Broker, ClientTree, Decision, Ingresses, NextTarget, PoolDescription, Route};
use balancer::retry::{GiveUp, RetryPlan, Step};
use balancer::strategy::ReadRequest;
use gecholog_protocol::ReplicaIdentity;
use types::outcome::FailureRule;
use types::request::{Patch, Request as _};
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::BrokerEvent;

/// The broker, and what changes with it.
#[derive(Debug)]
pub struct SharedState {
    pub(super) broker: Broker,
    pub(super) identity: ReplicaIdentity,
    pub(super) rng: SmallRng,
    /// The operator's command that set the mode, and when; absent where the mode is that of the settings.
    pub(super) mode_command: Option<(AdminCommand, BrokerTime)>,
    /// What the timers wait for; absent where nothing is to fall due.
    pub(super) timer_due: Option<BrokerTime>,
}

/// The next step of a request that may be sent more than once.
#[derive(Debug)]
pub enum NextStep {
    /// Send it; the attempt is counted already.
    Send(Box<PlannedAttempt>),
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
    Stop(NoFurtherAttempt),
}

/// There is no further attempt.
#[derive(Debug)]
pub struct NoFurtherAttempt {
    /// The reason.
    pub why: GiveUp,
    /// When the client may come back: when one of the request's targets may serve; `None` if that is unknown.
    pub retry_at: Option<BrokerTime>,
    /// In words, where no target was left.
    pub explanation: Option<String>,
}

/// One attempt, ready to be made.
#[derive(Debug)]
pub struct PlannedAttempt {
    pub route: Route,
    /// Shares no count of references with other calls (see [`RouterPath::unshared`]).
    pub router: RouterPath,
    /// What the target changes in the request's body.
    pub patch: Arc<Patch>,
    /// The answers after which the request may be sent to another target, where the user lists them.
    pub retry_on: Option<Arc<FailureRule>>,
    /// The target has a budget of tokens.
    pub counts_tokens: bool,
    pub stamp: WrittenStamp,
}

/// The target of an attempt that is counted.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) route: Route,
    /// Of the pool, if a client has brought it along.
    pub(super) client_pool: Option<PoolDescription>,
    pub(super) counts_tokens: bool,
}

impl Chosen {
    /// Ready to be made.
    ///
    /// # Errors
    /// The choice again, if what is published does not describe its target.
    pub(super) fn dispatch(self, published: &Published) -> Result<Box<PlannedAttempt>, Box<Route>> {
        let Self { route, client_pool, counts_tokens } = self;
        let pool = client_pool.as_ref().or_else(|| published.ingresses.description(route.pool));
        let Some((pool, router)) = pool.and_then(|pool| Some((pool, pool.path(route.router())?.unshared()))) else {
            return Err(Box::new(route));
        };
        let patch = pool.patch(&route).cloned().unwrap_or_default();
        let retry_on = pool.retry_on(&route).cloned();
        let stamp = stamping::written(&published.identity, pool, &route);
        Ok(Box::new(PlannedAttempt { router, patch, retry_on, counts_tokens, stamp, route }))
    }
}

/// A choice for a request of the gateway, as far as it is made under the lock.
#[derive(Debug)]
pub struct RoutedRequest {
    pub decision: Decision,
    pub changes: Vec<BrokerEvent>,
    /// Why, where that is asked for.
    pub explanation: Option<String>,
}

/// What is read without the lock. Replaced under it by [`SharedBroker::publish`](super::SharedBroker), whenever it changes.
#[derive(Debug)]
pub(super) struct Published {
    /// By which requests are read before the lock is taken, and decisions described after it was released.
    pub(super) ingresses: Arc<Ingresses>,
    pub(super) identity: ReplicaIdentity,
}

impl SharedState {
    pub fn new(broker: Broker, identity: ReplicaIdentity, rng: SmallRng) -> Self {
        Self { broker, identity, rng, mode_command: None, timer_due: None }
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::new(Published { ingresses: Arc::clone(self.broker.ingresses()), identity: self.identity.clone() })
    }

    /// Chooses a router for a request of the gateway and counts it. `explains`: also says why, which is slow, and holds only as
    /// long as the lock.
    pub fn route(&mut self, read: &ReadRequest<'_>, explains: bool, now: BrokerTime) -> RoutedRequest {
        let Self { broker, rng, .. } = self;
        let decision = broker.select(read, now, rng);
        let explanation = explains.then(|| broker.explain(&decision));
        broker.commit(&decision, now);
        RoutedRequest { decision, changes: broker.take_changes(), explanation }
    }

    /// The next step of a request that may be sent more than once: a target, counted, or what is done instead.
    pub(super) fn next(
        &mut self,
        read: &ReadRequest<'_>,
        history: &mut AttemptHistory,
        client_tree: Option<&Arc<ClientTree>>,
        plan: &mut RetryPlan,
        now: BrokerTime,
    ) -> (Result<Chosen, NextStep>, Vec<BrokerEvent>) {
        let Self { broker, rng, .. } = self;
        broker.advance_clock(now);
        if let Some(tree) = client_tree {
            broker.use_client_tree(tree, history);
        }
        broker.recall_failures(history, now);
        let target = broker.next_target(read, history, rng);
        let why = if let NextTarget::None { why, .. } = &target { Some(*why) } else { None };
        let next = match plan.next(target, now, rng) {
            Step::Pause(pause) => Err(NextStep::Pause(pause)),
            Step::AwaitTarget { at_most, spread } => {
                Err(NextStep::AwaitTarget { at_most, spread, seen: broker.last_change(read.path()) })
            }
            Step::Stop(stop) => Err(NextStep::Stop(NoFurtherAttempt {
                why: stop,
                retry_at: broker.retry_at(read, history, now, |router| plan.not_before(router)),
                explanation: why.map(|why| broker.explain(&Decision::Pass(why))),
            })),
            Step::Send(route) => {
                let client_pool = broker.client_description(route.pool).cloned();
                let counts_tokens = broker.counts_tokens(route.router());
                broker.commit_route(&route, now);
                Ok(Chosen { route, client_pool, counts_tokens })
            }
        };
        (next, broker.take_changes())
    }
}
