//! Decisions: a request is read before the lock is taken, its router is chosen under it, and the answer is written after it.

use std::sync::Arc;

use arc_swap::Guard;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::SharedBroker;
use super::state::{NextStep, NoFurtherAttempt, Published, RoutedRequest, SharedState};
use crate::stamping;
use balancer::broker::{AttemptHistory, ClientTree, Decision, Pass, PoolDescription, Unavailability};
use balancer::retry::{GiveUp, RetryPlan};
use balancer::strategy::ReadRequest;
use gecholog_protocol::processor::RouteRequest;
use gecholog_protocol::reply::{Degradation, RouteReply};
use types::request::Request;
use types::time::BrokerTime;

impl SharedBroker {
    /// The answer to a request, in bytes: the router with its stamp, or nothing; and what could not be applied, if so.
    pub fn route(&self, request: &RouteRequest<'_>) -> (Vec<u8>, Option<Degradation>) {
        // Asked before the lock is taken: the subscriber of log lines may have a lock of its own.
        let explains = tracing::enabled!(tracing::Level::DEBUG);
        let (routed, published, now) = self.with_read(request, |state, read, now| {
            let routed = state.route(read, explains, now);
            self.record_changes(&routed.changes, now);
            routed
        });
        let RoutedRequest { decision, changes, explanation } = routed;
        let pool = decision.pool().and_then(|pool| published.ingresses.description(pool));
        let answer = match (&decision, pool) {
            (Decision::Route(route), Some(pool)) => stamping::answer(&published.identity, pool, route),
            // Nothing, which the gateway takes for "go on without".
            _ => RouteReply::default(),
        };
        let ingress = pool.map(PoolDescription::ingress);
        // Where all targets are disabled, nothing that the request lacks would have made a difference.
        let needs =
            pool.filter(|_| !matches!(decision, Decision::Pass(Pass::AllDisabled(_)))).map(PoolDescription::needs);
        self.recent().record_decision(now, &decision, answer.stamp(), ingress);
        self.emit(&changes);
        if let Some(explanation) = explanation {
            tracing::debug!("{explanation}");
        }
        let degradation = needs.and_then(|needs| request.missing(needs));
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
        let ((next, changes), published, now) = self.with_read(request, |state, read, now| {
            let (next, changes) = state.next(read, history, client_tree, plan, now);
            self.record_changes(&changes, now);
            (next, changes)
        });
        self.emit(&changes);
        let chosen = match next {
            Ok(chosen) => chosen,
            Err(instead) => return instead,
        };
        let dispatch = match chosen.dispatch(&published) {
            Ok(dispatch) => dispatch,
            Err(route) => {
                self.abandon(&route, false);
                let why = GiveUp::NoTarget(Unavailability::default());
                return NextStep::Stop(NoFurtherAttempt { why, retry_at: None, explanation: None });
            }
        };
        self.recent().record_stamp(now, &dispatch.stamp.bytes);
        NextStep::Send(dispatch)
    }

    /// Reads the fields of a request that its pool needs, then runs `act` under the lock. Reading takes time in proportion to the
    /// request's length, so it is done before the lock is taken, and again if the settings have changed meanwhile. With what
    /// describes the decision, and its time.
    fn with_read<Q: Request, T>(
        &self,
        request: &Q,
        act: impl FnOnce(&mut SharedState, &ReadRequest<'_>, BrokerTime) -> T,
    ) -> (T, Guard<Arc<Published>>, BrokerTime) {
        loop {
            let published = self.0.published.load();
            let read = published.ingresses.read(request);
            let mut state = self.lock();
            let generation = published.ingresses.generation();
            if generation == state.broker.config_generation() {
                let now = self.now();
                let done = act(&mut state, &read, now);
                self.publish_settings(&state, generation);
                // Under the lock: the settings and the mode by which the choice was made.
                let published = self.0.published.load();
                self.unlock(state);
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
    use balancer::strategy::{Condition, Field, Policy, Query, TargetKind, Test, Tier};
    use gecholog_protocol::{Message, ReplicaIdentity};
    use types::mode::OperatingMode;
    use types::outcome::{CallAnswer, CallObservation, LogEntry};
    use types::router::RouterPath;

    use super::*;
    use crate::admin::AdminCommand;
    use crate::clock::Clock;

    fn path(text: &str) -> RouterPath {
        RouterPath::parse(text).unwrap()
    }

    fn broker(settings: BrokerSettings) -> SharedBroker {
        let identity = ReplicaIdentity::new("abcdefgh", settings.fingerprint(), OperatingMode::Balance);
        SharedBroker::new(Broker::new(settings), identity, Clock::start(), |_| ())
    }

    fn of_two() -> BrokerSettings {
        BrokerSettings::flat(path("/in/"), vec![path("/a/"), path("/b/")], RouterSettings::default())
    }

    #[test]
    fn a_command_that_sets_the_mode_decides_how_the_next_request_is_answered() {
        let broker = broker(of_two());
        let message = Message::read(br#"{"gl_path":"/in/"}"#).unwrap();
        let answered = || String::from_utf8(broker.route(&message.request().unwrap()).0).unwrap();
        let (by, reason) = ("test".to_owned(), String::new());
        assert!(answered().starts_with(r#"{"gl_path":"#));
        broker.execute(&AdminCommand::Mode { mode: OperatingMode::Observe, by, reason });
        assert!(answered().starts_with(r#"{"broker":"#) && answered().contains(r#""would":"#));
    }

    /// What was missing is said where it may be why nothing matched, and not where nothing could have.
    #[test]
    fn a_request_that_gets_no_router_stands_among_the_decisions_with_what_it_lacks() {
        let condition = Condition {
            query: Query::Field(Field::parse("params.user").unwrap(), vec![Test::Eq("x".into())]),
            then: 0,
        };
        let mut settings = of_two();
        if let TargetKind::Branch { policy, .. } = &mut settings.pools[0].root.kind {
            *policy = Policy::Conditional { conditions: [condition].into(), default: None };
        }
        let broker = broker(settings);
        let message = Message::read(br#"{"gl_path":"/in/"}"#).unwrap();
        let decided = || {
            let (answer, lacking) = broker.route(&message.request().unwrap());
            let last = broker.recent_decisions(|recent| recent.decisions.newest(0, 1).1[0].object().to_owned());
            assert!(answer.is_empty());
            (lacking, last)
        };
        assert_eq!(
            decided(),
            (Some(Degradation::NoBody), r#"{"number":0,"pool":"/in/","why":"nothing for this request"}"#.into())
        );
        for router in ["/a/", "/b/"] {
            let (by, reason) = ("test".to_owned(), String::new());
            let command = OperatorCommand { command: Command::Drain(path(router)), until: None, by, reason };
            broker.execute(&AdminCommand::Broker(command));
        }
        assert_eq!(decided(), (None, r#"{"number":1,"pool":"/in/","why":"nothing may serve"}"#.into()));
    }

    /// The end of a probe slot falls due by a decision; nothing else that falls due may be late for it.
    #[tokio::test]
    async fn the_timers_know_what_a_decision_makes_due() {
        let (due_soon, mut defaults) = (Duration::from_millis(10), RouterSettings::default());
        (defaults.health.disabled_time, defaults.health.probe.timeout) = (due_soon, due_soon);
        let broker = broker(BrokerSettings::flat(path("/in/"), vec![path("/a/")], defaults));
        let timers = tokio::spawn({
            let broker = broker.clone();
            async move { broker.run_timers().await }
        });
        let ingress = path("/in/");
        let serves = || broker.lock().broker.pools()[0].tree().eligible_routers(Tier::Serving).next().is_some();
        let served = async || loop {
            let seen = broker.lock().broker.last_change("/in/");
            if serves() {
                break;
            }
            tokio::time::timeout(Duration::from_secs(5), broker.target_back(&ingress, seen)).await.expect("in time");
        };
        let answer = CallAnswer { served_path: Some("/a/"), status: Some(500), ..CallAnswer::default() };
        let entry = LogEntry { answer, ..LogEntry::default() };
        broker.learn(CallObservation::Log { entry: &entry, decision: None });
        served().await;
        let message = Message::read(br#"{"gl_path":"/in/"}"#).unwrap();
        assert!(!broker.route(&message.request().unwrap()).0.is_empty(), "it is probed");
        tokio::time::sleep(2 * due_soon).await;
        let (by, reason) = ("test".to_owned(), String::new());
        let until = Some(broker.now().after(due_soon));
        let drain = OperatorCommand { command: Command::Drain(path("/a/")), until, by, reason };
        broker.execute(&AdminCommand::Broker(drain));
        assert!(!serves());
        served().await;
        timers.abort();
    }

    /// Settings that time changes while a request is answered are those by which the next one is read.
    #[test]
    fn a_weight_that_expires_leaves_requests_answered() {
        let broker = broker(of_two());
        let generation = || broker.lock().broker.config_generation();
        let weight = Command::SetWeight { pool: path("/in/"), router: path("/a/"), weight: Some(0.5) };
        let until = Some(broker.now().after(Duration::from_nanos(1)));
        let (by, reason) = ("test".to_owned(), String::new());
        broker.execute(&AdminCommand::Broker(OperatorCommand { command: weight, until, by, reason }));
        let weighed = generation();
        let message = Message::read(br#"{"gl_path":"/in/"}"#).unwrap();
        let request = message.request().unwrap();
        for _ in 0..2 {
            assert!(!broker.route(&request).0.is_empty());
            assert!(generation() > weighed, "the weight has expired");
        }
        assert_eq!(broker.0.published.load().ingresses.generation(), generation());
    }
}
