//! Decisions: a request is read before the lock is taken, its router is chosen under it, and the answer is written after it.

use std::sync::Arc;

use arc_swap::Guard;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::SharedBroker;
use super::state::{NextStep, Published, Routed, SharedState, Stop};
use crate::stamping;
use balancer::broker::{AttemptHistory, ClientTree, Decision, Outage, Pass, PoolDescription};
use balancer::retry::{GiveUp, RetryPlan};
use balancer::strategy::Read;
use gecholog_protocol::processor::RouteRequest;
use gecholog_protocol::reply::{Degradation, RouteReply};
use types::request::Request;
use types::time::BrokerTime;

impl SharedBroker {
    /// The answer to a request, in bytes: the router with its stamp, or nothing; and what could not be applied, if so.
    pub fn route(&self, request: &RouteRequest<'_>) -> (Vec<u8>, Option<Degradation>) {
        // Asked before the lock is taken: the subscriber of log lines may have a lock of its own.
        let explains = tracing::enabled!(tracing::Level::DEBUG);
        let (routed, published, now) = self.with_read(request, |state, read, now| state.route(read, explains, now));
        let Routed { decision, changes, explanation } = routed;
        let pool = decision.pool().and_then(|pool| published.ingresses.description(pool));
        let answer = match (&decision, pool) {
            (Decision::Route(route), Some(pool)) => stamping::answer(&published.signature, pool, route),
            // Nothing, which the gateway takes for "go on without".
            _ => RouteReply::default(),
        };
        let ingress = pool.map(PoolDescription::ingress);
        let chooses = !matches!(decision, Decision::Pass(Pass::AllDisabled(_)));
        self.recent().record_decision(now, &decision, answer.stamp(), ingress);
        self.emit(&changes, now);
        if let Some(explanation) = explanation {
            tracing::debug!("{explanation}");
        }
        let degradation = pool.filter(|_| chooses).and_then(|pool| request.missing(pool.needs()));
        let (bytes, not_changed) = answer.complete(request.body());
        (bytes, not_changed.or(degradation))
    }

    /// The next step of a request that may be sent more than once; over the client's own tree, if it has one. `plan` judges the
    /// offered target under the lock in which the choice is counted, so that no two requests get the same probe slot. It has
    /// reserved its part of the retry budget before, because that has a lock of its own.
    pub fn next(
        &self,
        request: &impl Request,
        history: &mut AttemptHistory,
        client_tree: Option<&Arc<ClientTree>>,
        plan: &mut RetryPlan,
    ) -> NextStep {
        let ((next, changes), published, now) =
            self.with_read(request, |state, read, now| state.next(read, history, client_tree, plan, now));
        self.emit(&changes, now);
        let chosen = match next {
            Ok(chosen) => chosen,
            Err(instead) => return instead,
        };
        let Some(dispatch) = chosen.dispatch(&published) else {
            let why = GiveUp::NoTarget(Outage::default());
            return NextStep::Stop(Stop { why, retry_at: None, explanation: None });
        };
        self.recent().record_attempt(now, &dispatch.stamp.bytes);
        NextStep::Send(dispatch)
    }

    /// Reads the fields of a request that its pool needs, then runs `act` under the lock. Reading takes time in proportion to the
    /// request's length, so it is done before the lock is taken, and again if the settings have changed meanwhile. With what
    /// describes the decision, and its time.
    fn with_read<Q: Request, T>(
        &self,
        request: &Q,
        act: impl FnOnce(&mut SharedState, &Read<'_>, BrokerTime) -> T,
    ) -> (T, Guard<Arc<Published>>, BrokerTime) {
        loop {
            let published = self.0.published.load();
            let read = published.ingresses.read(request);
            let mut state = self.lock();
            let generation = published.ingresses.generation();
            if generation == state.broker.config_generation() {
                let now = self.now();
                let done = act(&mut state, &read, now);
                let published = self.publish_settings(&state, generation).map_or(published, Guard::from_inner);
                return (done, published, now);
            }
            self.publish_settings(&state, generation);
        }
    }

    /// What would be chosen for a request now, and why. Changes nothing.
    pub fn explain(&self, request: &RouteRequest<'_>) -> String {
        let mut rng = SmallRng::from_rng(&mut rand::rng());
        self.with_read(request, |state, read, _| state.broker.explain(&state.broker.choose(read, &mut rng))).0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use balancer::broker::{Broker, BrokerSettings, Command, OperatorCommand, RouterSettings};
    use gecholog_protocol::{Message, ReplicaIdentity};
    use types::mode::OperatingMode;
    use types::router::RouterPath;

    use super::*;
    use crate::admin::AdminCommand;
    use crate::clock::Clock;

    /// Settings that time changes while a request is answered are those by which the next one is read.
    #[test]
    fn a_weight_that_expires_leaves_requests_answered() {
        let path = |text: &str| RouterPath::parse(text).unwrap();
        let settings = BrokerSettings::flat(path("/in/"), vec![path("/a/"), path("/b/")], RouterSettings::default());
        let signature = ReplicaIdentity::new("abcdefgh", settings.fingerprint(), OperatingMode::Balance);
        let handle = SharedBroker::new(Broker::new(settings), signature, Clock::start(), |_| ());
        let generation = || handle.lock().broker.config_generation();
        let weight = Command::SetWeight { pool: path("/in/"), router: path("/a/"), weight: Some(0.5) };
        let until = Some(handle.now().after(Duration::from_nanos(1)));
        let (by, reason) = ("test".to_owned(), String::new());
        handle.execute(&AdminCommand::Broker(OperatorCommand { command: weight, until, by, reason }));
        let weighed = generation();
        let message = Message::read(br#"{"gl_path":"/in/"}"#).unwrap();
        let request = message.request().unwrap();
        for _ in 0..2 {
            assert!(!handle.route(&request).0.is_empty());
            assert!(generation() > weighed, "the weight has expired");
        }
        assert_eq!(handle.0.published.load().ingresses.generation(), generation());
    }
}
