//! The broker: the one owner of the truth about routers, and the only place where a request gets its router.
//!
//! A fold over events: [`Broker::apply`] is the only writer ([`Broker::count`] is a short way into it), [`Broker::choose`] only
//! reads. There is no clock, no I/O and no source of randomness in here, and nothing can fail: the same events at the same
//! times make the same state, so that it can be simulated, replayed from a recorded log, and kept alike in many replicas.

mod command;
mod configure;
mod course;
mod decision;
mod event;
mod histogram;
pub mod invariants;
mod learn;
mod ledger;
mod loads;
mod operator;
mod poison;
mod pool;
mod reading;
mod record;
mod room;
mod routers;
mod settings;
mod snapshot;
mod spread;
mod takeover;
mod tell;
mod under_way;

use rand::Rng;
use rustc_hash::FxHashMap;

pub use command::{Command, Given, Refused};
pub use course::{Course, Offer};
pub use decision::{Claim, Decision, Pass, Room, Route, Sent};
pub use event::Event;
pub use histogram::{Histogram, STEPS as HISTOGRAM_STEPS};
pub use ledger::{CAPACITY as LEDGER_CAPACITY, WAIT};
pub use operator::{Hold, MOST_WEIGHTS, Weight};
pub use pool::{Pool, WhenAllDisabled};
pub use reading::Reading;
pub use record::Record;
pub use settings::{PoolSettings, RouterSettings, Settings};
pub use snapshot::{PoolShown, RouterShown, Snapshot, Word};
pub use spread::{Reason, Spread};
pub use takeover::{TakenOverOrder, TakenOverRouter, Takeover};
pub use tell::Although;
pub use under_way::CAPACITY as UNDER_WAY_CAPACITY;

use crate::event::{Change, Ignored, Standing, Transition};
use crate::health::{Due, Health};
use crate::load::Loads;
use crate::load::budget::Budgets;
use crate::outcome::Outcome;
use crate::request::Request;
use crate::router::{PoolId, RouterId, RouterPath};
use crate::strategy::{Candidate, Needs, first};
use crate::time::Now;
use ledger::Ledger;
use operator::Operator;
use poison::Suspects;
use routers::{Router, Routers};
use under_way::UnderWay;

/// What a path means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ingress(PoolId),
    /// An ingress that the gateway does not ask us about.
    Relayed(PoolId),
    Router(RouterId),
}

/// What one event did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// What is to be told, in order.
    pub changes: Vec<Change>,
    /// Why a report taught nothing, if so.
    pub ignored: Option<Ignored>,
    /// What a report said of a router of ours.
    pub outcome: Option<Outcome>,
}

/// The broker's state.
#[derive(Debug, Clone)]
pub struct Broker {
    settings: Settings,
    places: FxHashMap<RouterPath, Place>,
    routers: Routers,
    pools: Vec<Pool>,
    ledger: Ledger,
    /// What is known of the routers besides their health; absent where no mode chooses by it.
    loads: Option<Loads>,
    under_way: UnderWay,
    operator: Operator,
    /// What the routers may still get; absent where none has a budget.
    budgets: Option<Budgets>,
    suspects: Suspects,
    /// When the first router or operator's word is due, derived from the routers so that a decision need not ask each of them.
    next_return: Option<Now>,
    decisions: u64,
    /// Counts the settings that were in force.
    edition: u64,
    /// Requests whose path is no ingress of ours.
    not_ours: u64,
    filter_told: bool,
}

impl Broker {
    /// A broker in which every router serves. At most 65,536 routers; what comes beyond is left out.
    pub fn new(settings: Settings) -> Self {
        let mut broker = Self {
            settings: Settings::default(),
            places: FxHashMap::default(),
            routers: Routers::default(),
            pools: Vec::new(),
            ledger: Ledger::default(),
            loads: None,
            under_way: UnderWay::default(),
            operator: Operator::default(),
            budgets: None,
            suspects: Suspects::default(),
            next_return: None,
            decisions: 0,
            edition: 0,
            not_ours: 0,
            filter_told: false,
        };
        broker.configure(&settings);
        broker
    }

    /// Brings time forward, chooses, and counts the choice: what one request needs. Changes that came of it come along.
    pub fn decide<R: Rng>(&mut self, request: &impl Request, now: Now, rng: &mut R) -> (Decision, Vec<Change>) {
        let (decision, mut changes) = self.look(request, now, rng);
        self.count(&decision, now, &mut changes);
        (decision, changes)
    }

    /// The first half of it: brings time forward and chooses. Until the choice is counted, all that it was made from still
    /// stands, and can be told.
    pub fn look<R: Rng>(&mut self, request: &impl Request, now: Now, rng: &mut R) -> (Decision, Vec<Change>) {
        let changes = self.bring_forward(now);
        (self.choose(request, rng), changes)
    }

    /// Brings time forward, if that changes anything.
    pub fn bring_forward(&mut self, now: Now) -> Vec<Change> {
        let changes = match self.next_deadline() {
            Some(due) if due <= now => self.apply(Event::Tick, now).changes,
            _ => Vec::new(),
        };
        self.bring_loads_forward(now);
        changes
    }

    /// The second half: the decision was answered. The same as to apply that event, without a place for what only others do.
    pub fn count(&mut self, decision: &Decision, now: Now, changes: &mut Vec<Change>) {
        match decision {
            Decision::Route(route) => self.count_choice(route, now),
            Decision::Pass(pass) => self.count_pass(pass),
        }
        self.refresh(changes);
    }

    /// The router for a request, and why. Reads only; standings are those of the last event, so bring time forward first.
    pub fn choose<R: Rng>(&self, request: &impl Request, rng: &mut R) -> Decision {
        let Some(Place::Ingress(id)) = self.places.get(request.path()).copied() else {
            return Decision::Pass(Pass::NotOurs);
        };
        let Some(pool) = self.pool(id) else { return Decision::Pass(Pass::NotOurs) };
        let (chosen, sent) = match first(pool.tree(), self.lore(), request, rng) {
            Some(chosen) if self.probes(chosen.router) => (chosen, Sent::ToProve),
            Some(chosen) => (chosen, Sent::ToServe),
            None => match self.choose_in_need(pool, request, rng, |_| true) {
                Some(found) => found,
                None if pool.serves() => {
                    return Decision::Pass(Pass::NothingForIt(id, pool.tree().dead_end(request)));
                }
                None => return Decision::Pass(Pass::AllDisabled(id)),
            },
        };
        let mut route = Route { number: self.decisions, pool: id, sent, chosen, claim: Claim::default() };
        self.heed(pool, &mut route, request, rng, |_| true);
        Decision::Route(route)
    }

    /// Where a request goes for which nothing may serve, of those that are wanted.
    fn choose_in_need<R: Rng>(
        &self,
        pool: &Pool,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) -> Option<(Candidate, Sent)> {
        let wanted = |chosen: &Candidate| wanted(chosen.router);
        if let Some(chosen) = pool.last_resort().and_then(|tree| self.order(tree, request, rng).find(wanted)) {
            return Some((chosen, Sent::AsLastResort));
        }
        let mut order = self.order(pool.disabled()?, request, rng).filter(wanted);
        let chosen = match pool.when_all_disabled() {
            WhenAllDisabled::Soonest => {
                let health = |chosen: &Candidate| self.routers.get(usize::from(chosen.router.0)).map(Router::health);
                let soonest = order.min_by_key(|chosen| health(chosen).and_then(Health::until))?;
                let busy = health(&soonest).is_none_or(|health| health.permits() > 0);
                (!busy).then_some(Candidate { p: None, ..soonest })?
            }
            WhenAllDisabled::Any | WhenAllDisabled::Pass => order.next()?,
        };
        Some((chosen, Sent::WhileDisabled))
    }

    fn probes(&self, router: RouterId) -> bool {
        self.routers.get(usize::from(router.0)).is_some_and(|router| router.health().is_probing())
    }

    /// Takes an event in. The only writer; what is derived from the rest is up to date when it returns.
    pub fn apply(&mut self, event: Event<'_>, now: Now) -> Applied {
        let mut applied = Applied::default();
        self.write(event, now, &mut applied);
        self.refresh(&mut applied.changes);
        applied
    }

    fn write(&mut self, event: Event<'_>, now: Now, applied: &mut Applied) {
        match event {
            Event::Chosen(route) => self.count_choice(route, now),
            Event::Passed(pass) => self.count_pass(pass),
            Event::Report(report) => {
                self.tick(now, &mut applied.changes);
                if let Some(number) = report.decision {
                    self.under_way.end(number);
                }
                match self.learn(report, now, &mut applied.changes) {
                    Ok(outcome) => applied.outcome = Some(outcome),
                    Err(why) => applied.ignored = Some(why),
                }
            }
            Event::Abandoned(route) => self.abandon(route),
            Event::Command(given) => {
                self.tick(now, &mut applied.changes);
                self.obey(given, now, &mut applied.changes);
            }
            Event::TakenOver(takeover) => {
                self.tick(now, &mut applied.changes);
                self.take_over(takeover, now, &mut applied.changes);
            }
            Event::Tick => self.tick(now, &mut applied.changes),
            Event::Configured(settings) => {
                self.tick(now, &mut applied.changes);
                self.configure(settings);
                self.pardon(now, &mut applied.changes);
            }
        }
    }

    fn count_choice(&mut self, route: &Route, now: Now) {
        self.decisions = self.decisions.wrapping_add(1);
        self.under_way.begin(route.number, route.router(), now);
        let Some(pool) = self.pools.get_mut(usize::from(route.pool.0)) else { return };
        pool.count(route);
        pool.advance(route.sent, route.chosen.leaf, route.claim.among(self.budgets.as_ref()));
        let one_at_a_time = match route.sent {
            Sent::ToServe | Sent::AsLastResort => false,
            Sent::ToProve => true,
            Sent::WhileDisabled => pool.when_all_disabled() == WhenAllDisabled::Soonest,
        };
        self.begin_call(route, now);
        let place = usize::from(route.router().0);
        if let Some(record) = self.routers.record(place) {
            record.chosen += 1;
        }
        if one_at_a_time {
            self.routers.change_health(place, |health, settings| health.permit(route.number, settings, now));
        }
    }

    fn abandon(&mut self, route: &Route) {
        self.under_way.end(route.number);
        if let Some(loads) = &mut self.loads {
            loads.end(route.number);
        }
        self.take_permit_back(route.router(), route.number);
    }

    /// A decision that was to find out about a router said nothing: another one may.
    fn take_permit_back(&mut self, router: RouterId, decision: u64) {
        self.routers.change_health(usize::from(router.0), |health, _| health.take_back(decision));
    }

    /// When time alone will change something next.
    pub fn next_deadline(&self) -> Option<Now> {
        // Each decision asks this, and nearly always in vain: so no chain of options.
        let [first, second, third, fourth] =
            [self.next_return, self.ledger.next_deadline(), self.loads_due(), self.under_way.next_deadline()]
                .map(|due| due.unwrap_or(Now::MAX));
        Some(first.min(second).min(third.min(fourth))).filter(|due| *due < Now::MAX)
    }

    /// The pools, in the order of the settings; a [`PoolId`] counts them.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// One of them.
    pub fn pool(&self, pool: PoolId) -> Option<&Pool> {
        self.pools.get(usize::from(pool.0))
    }

    /// What is to be read of a request for this path before a router is chosen for it.
    pub fn reading(&self, path: &str) -> Reading {
        let Some(Place::Ingress(id) | Place::Relayed(id)) = self.places.get(path).copied() else {
            return Reading::default();
        };
        let Some(pool) = self.pool(id) else { return Reading::default() };
        Reading { asks: pool.tree().asks().cloned(), how_large: pool.has_budgets() }
    }

    /// What the pool of a decision asks of requests.
    pub fn needs(&self, decision: &Decision) -> Option<Needs> {
        let pool = match decision {
            Decision::Route(route) => route.pool,
            Decision::Pass(Pass::NothingForIt(pool, _)) => *pool,
            Decision::Pass(_) => return None,
        };
        self.pool(pool).map(Pool::needs)
    }

    /// The path of a router.
    pub fn path(&self, router: RouterId) -> Option<&RouterPath> {
        self.routers.get(usize::from(router.0)).map(|router| &router.path)
    }

    /// Every router with its standing and its record.
    pub fn routers(&self) -> impl Iterator<Item = (&RouterPath, Standing, &Record)> {
        self.routers.iter().map(|router| (&router.path, router.health().standing(), &router.record))
    }

    /// What shapes the decisions.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn tick(&mut self, now: Now, changes: &mut Vec<Change>) {
        self.expire_calls(now, changes);
        self.under_way.expire(now);
        while let Some(waiting) = self.ledger.expire(now) {
            self.settle(waiting, changes);
            self.refresh(changes);
        }
        if self.next_return.is_none_or(|due| now < due) {
            return;
        }
        self.expire_orders(now, changes);
        for place in 0..self.routers.len() {
            if self.routers.change_health(place, |health, settings| health.tick(settings, now)) == Some(Due::Returned) {
                self.announce(place, now, Change::Standing, changes);
            }
        }
        self.refresh(changes);
    }

    /// Tells of a router's new standing.
    fn announce(&mut self, place: usize, now: Now, kind: fn(Transition) -> Change, changes: &mut Vec<Change>) {
        let Some(router) = self.routers.get(place) else { return };
        changes.push(kind(Transition {
            router: router.path.clone(),
            epoch: router.health().epoch(),
            standing: router.health().standing(),
            at: now,
        }));
    }

    /// Brings up to date what is derived: the pools' trees from operators' weights, and from health and drains who may serve
    /// and when time alone changes that. Every way into the state ends here, and where one event changes something and then
    /// asks, it comes by here in between. Where nothing changed that matters, it costs two comparisons.
    fn refresh(&mut self, changes: &mut Vec<Change>) {
        if self.operator.take_reweighed() {
            self.configure(&self.settings.clone());
        }
        // Both are asked, so that neither is left marked.
        if !(self.routers.take_stale() | self.operator.take_stale()) {
            return;
        }
        self.next_return = self.routers.iter().filter_map(Router::due).chain(self.operator.next_deadline()).min();
        for pool in &mut self.pools {
            let router = |id: RouterId| self.routers.get(usize::from(id.0));
            // To the pool, a router that an operator drained is not there at all.
            let there = |id: &RouterId| self.operator.hold(*id).is_none();
            let health =
                |id| router(id).filter(|_| there(&id)).map(|router| (router.health(), &router.settings().health));
            changes.extend(pool.refresh(health));
        }
    }
}

#[cfg(test)]
mod tests;
