//! What operators may say, and how it is carried out; what stays of it is in `operator`.
//!
//! A drained router gets no requests however healthy it is; health and drain do not overwrite each other. A weight
//! applies to a router in one pool, and survives a reload of the file.

use super::operator::{EndedOverride, ExpiredOverride, MAX_WEIGHT_OVERRIDES};
use super::{Broker, Override, Weight};
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::{ActionDone, BrokerEvent, HealthState, OperatorAction};

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Send it no requests.
    Drain(RouterPath),
    /// End a drain.
    Resume(RouterPath),
    /// Eject it, as a failure would.
    Disable(RouterPath),
    /// Readmit it at once, whatever ejected it.
    Enable(RouterPath),
    /// Override its weight in one pool.
    SetWeight {
        /// The pool's ingress.
        pool: RouterPath,
        router: RouterPath,
        /// Finite and not negative; `None` restores the configured weight.
        weight: Option<f64>,
    },
}

impl Command {
    /// The router that it is about.
    pub const fn router(&self) -> &RouterPath {
        match self {
            Self::Drain(router) | Self::Resume(router) | Self::Disable(router) | Self::Enable(router) => router,
            Self::SetWeight { router, .. } => router,
        }
    }

    /// The pool that it is about, if it is a weight.
    pub(super) const fn pool(&self) -> Option<&RouterPath> {
        if let Self::SetWeight { pool, .. } = self { Some(pool) } else { None }
    }

    /// Whether it ends an override.
    pub(super) const fn is_end(&self) -> bool {
        matches!(self, Self::Resume(_) | Self::SetWeight { weight: None, .. })
    }
}

/// A command with its context.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorCommand {
    pub command: Command,
    /// When it expires; `None`: never. Disabling needs one.
    pub until: Option<BrokerTime>,
    /// Who asked for it, and through which interface.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
}

/// Why a command cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such router.
    #[error("{0} is in no pool")]
    UnknownRouter(RouterPath),
    /// No such pool.
    #[error("{0} is not the ingress of a pool")]
    UnknownPool(RouterPath),
    /// A router that is not in that pool.
    #[error("{1} is not in the pool of {0}")]
    NotInPool(RouterPath, RouterPath),
    /// As many weights as an operator may set (1,024) are overridden already.
    #[error("1024 weights differ from the file's already: write them there")]
    TooManyWeights,
}

impl Broker {
    /// Whether a command could be applied.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, command: &Command) -> Result<(), CommandError> {
        let router = command.router();
        let id = self.router_at(router.as_str()).ok_or_else(|| CommandError::UnknownRouter(router.clone()))?;
        let Command::SetWeight { pool, weight, .. } = command else { return Ok(()) };
        let found = self.pools().iter().find(|one| one.ingress() == pool);
        let found = found.ok_or_else(|| CommandError::UnknownPool(pool.clone()))?;
        if !found.tree().routers().any(|one| one == id) {
            return Err(CommandError::NotInPool(pool.clone(), router.clone()));
        }
        let is_new = self.operator.weight_of(pool, router).is_none();
        let full = self.operator.weights().len() >= MAX_WEIGHT_OVERRIDES;
        if weight.is_some() && is_new && full { Err(CommandError::TooManyWeights) } else { Ok(()) }
    }

    /// Carries an operator's command out; one that could not be changes nothing.
    pub(super) fn apply_command(&mut self, given: &OperatorCommand, now: BrokerTime) {
        if let Some(id) = self.router_at(given.command.router().as_str()) {
            self.operator.note_order(id);
        }
        self.carry_out(given, now, now);
    }

    /// The same for a command that was given at `since`.
    pub(super) fn carry_out(&mut self, given: &OperatorCommand, since: BrokerTime, now: BrokerTime) {
        let router = given.command.router();
        let (Ok(()), Some(id)) = (self.check(&given.command), self.router_at(router.as_str())) else { return };
        let (until, by, reason) = (given.until, given.by.clone(), given.reason.clone());
        let terms = Override { since, until, by: by.clone(), reason: reason.clone() };
        if !matches!(given.command, Command::Disable(_) | Command::Enable(_)) {
            self.operator.note_override(&given.command, &terms);
        }
        let action = match &given.command {
            Command::Drain(_) => {
                let was_drained = self.operator.drained_by(id).is_some_and(|before| before.is_like(&terms));
                self.operator.drain(id, terms);
                self.routers.mark_changed(id);
                ActionDone::Drained { was_drained }
            }
            Command::Resume(_) => {
                let was_drained = self.operator.drained_by(id).is_some();
                self.operator.resume(id);
                self.end_model_limits(id);
                self.routers.mark_changed(id);
                ActionDone::Resumed { was_drained }
            }
            Command::Disable(_) => {
                self.change_health(id, now, |health, _| health.eject(until.unwrap_or(now), now));
                ActionDone::Disabled
            }
            Command::Enable(_) => {
                let before = self.routers.get(id).map(|router| router.health().state());
                self.change_health(id, now, |health, _| health.readmit(now));
                self.end_model_limits(id);
                ActionDone::Enabled { was_enabled: before == Some(HealthState::Serving) }
            }
            Command::SetWeight { pool, weight, .. } => {
                let before = self.operator.weight_of(pool, router);
                let was_so = match (before, weight) {
                    (Some(before), Some(weight)) => before.weight == *weight && before.terms.is_like(&terms),
                    (before, weight) => before.is_none() && weight.is_none(),
                };
                self.operator.set_weight(pool, router, weight.map(|weight| (weight, terms)));
                ActionDone::Weighs { weight: *weight, was_so }
            }
        };
        let router = router.clone();
        self.effects.push(BrokerEvent::OperatorAction(OperatorAction { router, action, until, by, reason, at: now }));
    }

    /// The last overrides that operators have ended: what other replicas know of them is older.
    pub fn ended_overrides(&self) -> impl Iterator<Item = &EndedOverride> {
        self.operator.ended().iter()
    }

    /// Ends what was to hold only until now.
    pub(super) fn expire_overrides(&mut self, now: BrokerTime) {
        for ended in self.operator.expire(now) {
            let (command, action, terms) = match ended {
                ExpiredOverride::Drain(id, terms) => {
                    self.routers.mark_changed(id);
                    let Some(router) = self.path(id).cloned() else { continue };
                    (Command::Resume(router), ActionDone::Resumed { was_drained: true }, terms)
                }
                ExpiredOverride::Weight(Weight { pool, router, terms, .. }) => {
                    let command = Command::SetWeight { pool, router, weight: None };
                    (command, ActionDone::Weighs { weight: None, was_so: false }, terms)
                }
            };
            // What it had replaced must not come back from a replica that was away.
            self.operator.note_override(&command, &terms);
            let router = command.router().clone();
            let (by, reason) = (terms.by, "its time is over".to_owned());
            self.effects.push(BrokerEvent::OperatorAction(OperatorAction {
                router,
                action,
                until: None,
                by,
                reason,
                at: now,
            }));
        }
    }

    /// Calls in flight to a router, if known.
    pub fn in_flight(&self, router: &RouterPath) -> Option<u32> {
        self.in_flight.running(self.router_at(router.as_str())?)
    }

    /// Ingresses of pools that contain this router and have no available target.
    pub fn pools_left_empty(&self, router: &RouterPath) -> Vec<&RouterPath> {
        let id = self.router_at(router.as_str());
        let stands = |pool: &&super::Pool| pool.tree().routers().any(|one| Some(one) == id);
        self.pools().iter().filter(stands).filter(|pool| !pool.is_available()).map(super::Pool::ingress).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::broker::tests::fixture::{START, decide, flat, path};
    use crate::broker::tests::report::{Source, TestObservation};
    use crate::broker::{BrokerInput, Decision, PublicState, Weight, invariants};
    fn at(seconds: u64) -> BrokerTime {
        START.after(Duration::from_secs(seconds))
    }

    impl Broker {
        fn weights(&self) -> &[Weight] {
            self.operator.weights()
        }
    }

    fn broker(routers: &[&str]) -> Broker {
        flat("/in/", routers)
    }

    fn say(broker: &mut Broker, command: Command, until: Option<BrokerTime>, now: BrokerTime) -> Vec<BrokerEvent> {
        let given = OperatorCommand { command, until, by: "test".to_owned(), reason: "why not".to_owned() };
        let applied = broker.apply(BrokerInput::Command(&given), now);
        assert_eq!(invariants::broken(broker), None);
        applied.changes
    }

    fn fail(broker: &mut Broker, router: &str, now: BrokerTime) {
        let report = TestObservation {
            served_path: Some(router),
            status: Some(500),
            transaction: Some("t"),
            ..TestObservation::empty(Source::Log)
        };
        report.apply(broker, now);
    }

    /// How often each router is chosen, of a thousand times.
    fn spread(broker: &mut Broker, now: BrokerTime) -> BTreeMap<String, u32> {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut spread = BTreeMap::new();
        for _ in 0..1_000 {
            let (decision, _) = decide(broker, &"/in/", now, &mut rng);
            let router = match &decision {
                Decision::Route(route) => broker.path(route.router()).unwrap().to_string(),
                Decision::Pass(_) => "nothing".to_owned(),
            };
            *spread.entry(router).or_default() += 1;
        }
        spread
    }

    fn word(broker: &Broker, router: &str, now: BrokerTime) -> (PublicState, bool) {
        let shown = broker.router_statuses(0..9, now);
        let shown = shown.iter().find(|shown| shown.router.as_str() == router).unwrap();
        (shown.state, shown.drained.is_some())
    }

    #[test]
    fn a_drained_router_gets_nothing_until_its_time_is_over() {
        let mut broker = broker(&["/a/", "/b/"]);
        let changes = say(&mut broker, Command::Drain(path("/a/")), Some(at(60)), START);
        assert!(
            matches!(&changes[..], [BrokerEvent::OperatorAction(order)] if order.action == ActionDone::Drained { was_drained: false } && order.reason == "why not")
        );
        assert_eq!(spread(&mut broker, at(1)).keys().collect::<Vec<_>>(), ["/b/"]);
        assert_eq!(broker.next_deadline(), Some(at(60)));
        assert_eq!(spread(&mut broker, at(60)).len(), 2, "back by itself");
        assert_eq!(word(&broker, "/a/", at(60)), (PublicState::Enabled, false));
    }

    #[test]
    fn drained_and_disabled_do_not_overwrite_each_other() {
        let mut broker = broker(&["/a/", "/b/"]);
        fail(&mut broker, "/a/", START);
        say(&mut broker, Command::Drain(path("/a/")), None, at(1));
        assert_eq!(word(&broker, "/a/", at(1)), (PublicState::Disabled, true));
        broker.apply(BrokerInput::Tick, at(600));
        assert_eq!(word(&broker, "/a/", at(600)), (PublicState::Probation, true), "its time went on");
        assert_eq!(spread(&mut broker, at(600)).keys().collect::<Vec<_>>(), ["/b/"], "not even a probe");
        say(&mut broker, Command::Enable(path("/a/")), None, at(601));
        assert_eq!(word(&broker, "/a/", at(601)), (PublicState::Enabled, true), "enabled and still drained");
        fail(&mut broker, "/a/", at(700));
        say(&mut broker, Command::Resume(path("/a/")), None, at(701));
        assert_eq!(word(&broker, "/a/", at(701)), (PublicState::Disabled, false), "resumed and still disabled");
    }

    #[test]
    fn a_router_on_probation_is_shown_without_a_share_and_a_drained_one_with_none_of_the_calls() {
        let shares = |broker: &Broker| -> Vec<(Option<f64>, bool)> {
            let tree = broker.snapshot(START).pools[0].tree.clone().unwrap();
            tree.targets.iter().map(|target| (target.share, target.probation)).collect()
        };
        let mut broker = broker(&["/a/", "/b/", "/c/", "/d/"]);
        assert_eq!(shares(&broker), [(Some(0.25), false); 4]);
        fail(&mut broker, "/a/", START);
        let third = |probation| [(if probation { None } else { Some(0.0) }, probation), (Some(1.0 / 3.0), false)];
        assert_eq!(shares(&broker)[..2], third(false));
        broker.apply(BrokerInput::Tick, at(600));
        assert_eq!(shares(&broker)[..2], third(true), "its permit is free");
        spread(&mut broker, at(600));
        assert_eq!(shares(&broker)[..2], third(true), "and taken");
        say(&mut broker, Command::Drain(path("/b/")), None, at(601));
        assert_eq!(shares(&broker), [(None, true), (Some(0.0), false), (Some(0.5), false), (Some(0.5), false)]);
        say(&mut broker, Command::Drain(path("/a/")), None, at(602));
        assert_eq!(shares(&broker)[0], (Some(0.0), false), "drained, it is not even on trial");
        say(&mut broker, Command::Resume(path("/a/")), None, at(603));
        let weigh = Command::SetWeight { pool: path("/in/"), router: path("/a/"), weight: Some(0.0) };
        say(&mut broker, weigh, None, at(604));
        assert_eq!(shares(&broker)[0], (Some(0.0), false), "no call goes where the weight is 0");
    }

    #[test]
    fn the_last_one_drained_leaves_the_pool_without() {
        let mut broker = broker(&["/a/", "/b/"]);
        say(&mut broker, Command::Drain(path("/a/")), None, START);
        assert_eq!(broker.pools_left_empty(&path("/a/")), Vec::<&RouterPath>::new());
        let changes = say(&mut broker, Command::Drain(path("/b/")), None, START);
        assert!(changes.contains(&BrokerEvent::AllDisabled { ingress: path("/in/"), uses_disabled: false }));
        assert_eq!(broker.pools_left_empty(&path("/b/")), [&path("/in/")]);
        assert_eq!(spread(&mut broker, at(1)).keys().collect::<Vec<_>>(), ["nothing"]);
        let changes = say(&mut broker, Command::Resume(path("/a/")), None, at(2));
        assert!(changes.contains(&BrokerEvent::SomeEnabled(path("/in/"))));
    }

    #[test]
    fn disabled_by_order_returns_like_after_a_failure_and_enabled_at_once() {
        let mut broker = broker(&["/a/", "/b/"]);
        say(&mut broker, Command::Disable(path("/a/")), Some(at(30)), START);
        assert_eq!(word(&broker, "/a/", START), (PublicState::Disabled, false));
        assert_eq!(spread(&mut broker, at(29)).keys().collect::<Vec<_>>(), ["/b/"]);
        let probes = spread(&mut broker, at(30));
        assert_eq!(probes.get("/a/"), Some(&1), "one at a time: {probes:?}");
        say(&mut broker, Command::Enable(path("/a/")), None, at(31));
        assert!(spread(&mut broker, at(31))["/a/"] > 400);
    }

    #[test]
    fn a_target_with_a_new_key_is_asked_at_once_and_one_that_is_disabled_by_order_is_not() {
        let mut broker = broker(&["/a/", "/b/", "/c/"]);
        say(&mut broker, Command::Disable(path("/a/")), Some(at(30)), START);
        fail(&mut broker, "/b/", START);
        assert_eq!(word(&broker, "/b/", START), (PublicState::Disabled, false));
        let replaced = ["/a/", "/b/", "/c/", "/none/"].map(path);
        let applied = broker.apply(BrokerInput::TargetsReplaced(&replaced), at(1));
        assert_eq!(applied.changes.len(), 1, "{:?}", applied.changes);
        assert_eq!(
            ["/a/", "/b/", "/c/"].map(|path| word(&broker, path, at(1)).0),
            [PublicState::Disabled, PublicState::Probation, PublicState::Enabled]
        );
        assert_eq!(spread(&mut broker, at(2)).get("/b/"), Some(&1), "one at a time");
    }

    #[test]
    fn a_weight_holds_in_its_pool_survives_a_reload_and_ends() {
        let mut broker = broker(&["/a/", "/b/"]);
        let weigh = |weight| Command::SetWeight { pool: path("/in/"), router: path("/a/"), weight };
        say(&mut broker, weigh(Some(3.0)), Some(at(60)), START);
        let share = |broker: &mut Broker, now| f64::from(spread(broker, now)["/a/"]) / 1_000.0;
        assert!((share(&mut broker, at(1)) - 0.75).abs() < 0.05);
        let settings = broker.settings().clone();
        broker.apply(BrokerInput::Configured(&settings), at(2));
        assert!((share(&mut broker, at(3)) - 0.75).abs() < 0.05, "after a reload");
        assert!((share(&mut broker, at(60)) - 0.5).abs() < 0.05, "its time is over");
        say(&mut broker, weigh(Some(0.0)), None, at(61));
        assert_eq!(spread(&mut broker, at(62)).keys().collect::<Vec<_>>(), ["/b/"]);
        say(&mut broker, weigh(None), None, at(63));
        assert!((share(&mut broker, at(64)) - 0.5).abs() < 0.05, "what the file says");
        assert_eq!(broker.weights(), []);
    }

    #[test]
    fn what_is_not_known_changes_nothing_and_says_why() {
        let mut broker = broker(&["/a/"]);
        let weigh = |pool, router| Command::SetWeight { pool: path(pool), router: path(router), weight: Some(1.0) };
        for (command, words) in [
            (Command::Drain(path("/x/")), "/x/ is in no pool"),
            (Command::Drain(path("/in/")), "/in/ is in no pool"),
            (weigh("/x/", "/a/"), "/x/ is not the ingress"),
            (weigh("/in/", "/x/"), "/x/ is in no pool"),
        ] {
            assert_eq!(broker.check(&command).unwrap_err().to_string().split(" of ").next(), Some(words));
            assert_eq!(say(&mut broker, command, None, START), []);
        }
    }
}
