//! The course of one request that may be sent more than once: whom it was sent to, and how far its walk has come.
//!
//! It walks the same order that a single choice takes the first of, and asks at each step who may serve by then, and who has
//! room. Whoever was tried is offered again only when nobody else is left: whether that is worth a wait is not judged here.

use rand::Rng;
use smallvec::SmallVec;

use super::{Broker, Claim, Pass, Place, Pool, Room, Route, Sent};
use crate::event::Standing;
use crate::request::Request;
use crate::router::{PoolId, RouterId, RouterPath};
use crate::strategy::{Candidate, Lore, Note, Tree, Walk, WhyClosed};
use crate::time::Now;

/// One request on its way.
#[derive(Debug, Clone, Default)]
pub struct Course {
    walk: Walk,
    /// Which settings the walk's places belong to.
    edition: u64,
    tried: SmallVec<[Tried; 4]>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    router: RouterId,
    /// Trying it once more may help.
    again: bool,
}

/// Who may be tried next.
#[derive(Debug, Clone, PartialEq)]
pub enum Offer {
    /// Somebody who was not tried.
    New(Route),
    /// Nobody else is left: somebody who was tried.
    Again(Route),
    /// Nobody, and why.
    Nobody {
        /// Why.
        why: Pass,
        /// When the first of those that are out is back, if waiting helps at all.
        until: Option<Now>,
    },
}

impl Course {
    /// The request was sent there; `again`: it makes sense to send it there once more.
    pub fn note(&mut self, router: RouterId, again: bool) {
        match self.tried.iter_mut().find(|tried| tried.router == router) {
            Some(tried) => tried.again = again,
            None => self.tried.push(Tried { router, again }),
        }
    }

    fn has_tried(&self, router: RouterId) -> bool {
        self.tried.iter().any(|tried| tried.router == router)
    }

    fn may_again(&self, router: RouterId) -> bool {
        self.tried.iter().all(|tried| tried.router != router || tried.again)
    }

    /// The next on the walk that was not tried; at its end, whoever came back behind it.
    fn onward<R: Rng>(&mut self, tree: (&Tree, Lore<'_>), request: &impl Request, rng: &mut R) -> Option<Candidate> {
        let mut walk = std::mem::take(&mut self.walk);
        let onward = first(&mut walk, tree, request, rng, |router| !self.has_tried(router));
        self.walk = walk;
        onward.or_else(|| first(&mut Walk::default(), tree, request, rng, |router| !self.has_tried(router)))
    }
}

fn first<R: Rng>(
    walk: &mut Walk,
    (tree, lore): (&Tree, Lore<'_>),
    request: &impl Request,
    rng: &mut R,
    wanted: impl Fn(RouterId) -> bool,
) -> Option<Candidate> {
    std::iter::from_fn(|| walk.next(tree, lore, request, rng)).find(|candidate| wanted(candidate.router))
}

impl Broker {
    /// The ingress that a path lies at or below; the longest, as the gateway matches.
    pub fn ingress_of(&self, path: &str) -> Option<&RouterPath> {
        let above = self.pools.iter().map(Pool::ingress).filter(|ingress| path.starts_with(ingress.as_str()));
        above.max_by_key(|ingress| ingress.as_str().len())
    }

    /// Who is next for a request that went its course so far. Reads only; bring time forward first.
    pub fn offer<R: Rng>(&self, request: &impl Request, course: &mut Course, rng: &mut R) -> Offer {
        let Some(Place::Ingress(id) | Place::Relayed(id)) = self.places.get(request.path()).copied() else {
            return Offer::Nobody { why: Pass::NotOurs, until: None };
        };
        let Some(pool) = self.pool(id) else { return Offer::Nobody { why: Pass::NotOurs, until: None } };
        if course.edition != self.edition {
            (course.edition, course.walk) = (self.edition, Walk::default());
        }
        let known = (pool.tree(), Lore { loads: self.loads.as_ref(), room: None });
        let before = pool.has_budgets().then(|| course.walk.clone());
        if let Some(chosen) = course.onward(known, request, rng) {
            let mut route = self.route(id, chosen);
            self.heed(pool, &mut route, request, rng, |router| !course.has_tried(router));
            if let (Some(walk), Room::Elsewhere(..)) = (before, route.claim.room) {
                // Whoever was passed over for want of room is still to be named.
                course.walk = walk;
            }
            return Offer::New(route);
        }
        let unseen = |router| !course.has_tried(router);
        let again = |router| course.may_again(router);
        let need = self.offer_in_need(id, pool, request, rng, &unseen);
        // Whoever proves itself before whoever was tried, and whoever is disabled after.
        if let Some(route) = need.clone().filter(|route| route.sent == Sent::AsLastResort) {
            return Offer::New(route);
        }
        if let Some(chosen) = first(&mut Walk::default(), known, request, rng, again) {
            let mut route = self.route(id, chosen);
            self.heed(pool, &mut route, request, rng, again);
            return Offer::Again(route);
        }
        let need = need.map(Offer::New);
        let need = need.or_else(|| self.offer_in_need(id, pool, request, rng, &again).map(Offer::Again));
        need.unwrap_or_else(|| self.nobody(id, pool, request, course))
    }

    /// Where a request goes for which nothing may serve.
    fn offer_in_need<R: Rng>(
        &self,
        id: PoolId,
        pool: &Pool,
        request: &impl Request,
        rng: &mut R,
        wanted: &impl Fn(RouterId) -> bool,
    ) -> Option<Route> {
        let (chosen, sent) = self.choose_in_need(pool, request, rng, wanted)?;
        let mut route = Route { sent, ..self.route(id, chosen) };
        self.heed(pool, &mut route, request, rng, wanted);
        Some(route)
    }

    fn route(&self, pool: PoolId, chosen: Candidate) -> Route {
        let sent = if self.probes(chosen.router) { Sent::ToProve } else { Sent::ToServe };
        Route { number: self.decisions, pool, sent, chosen, claim: Claim::default() }
    }

    /// Why nobody is left, and until when. A request that is meant for nobody, and a router that will say the same again, are
    /// not worth a wait.
    fn nobody(&self, id: PoolId, pool: &Pool, request: &impl Request, course: &Course) -> Offer {
        let out = pool.tree().closed().filter(|(router, why)| *why == WhyClosed::Disabled && course.may_again(*router));
        let until = out.filter_map(|(router, _)| self.back(router)).min();
        if !pool.serves() {
            return Offer::Nobody { why: Pass::AllDisabled(id), until };
        }
        let dead_end = pool.tree().dead_end(request);
        let meant = !matches!(dead_end, Some((_, Note::NoMatch(_))));
        Offer::Nobody { why: Pass::NothingForIt(id, dead_end), until: until.filter(|_| meant) }
    }

    /// When a router that is out is back.
    fn back(&self, router: RouterId) -> Option<Now> {
        match self.routers.get(usize::from(router.0))?.health().standing() {
            Standing::Cooling { until, .. } => Some(until),
            Standing::Serving | Standing::Probing { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::broker::{Event, RouterSettings, Settings, invariants};
    use crate::outcome::{Report, Source};

    const INGRESS: &str = "/azure/";
    const A: &str = "/azure/a/";
    const B: &str = "/azure/b/";
    const START: Now = Now::from_nanos(1_800_000_000_000_000_000);

    fn broker(routers: &[&str]) -> Broker {
        let routers = routers.iter().map(|path| RouterPath::parse(path).unwrap()).collect();
        Broker::new(Settings::flat(RouterPath::parse(INGRESS).unwrap(), routers, RouterSettings::default()))
    }

    fn report<'a>(source: Source, router: &'a str, status: u16, transaction: &'a str) -> Report<'a> {
        let report = Report::empty(source);
        Report { served: Some(router), status: Some(status), transaction: Some(transaction), ..report }
    }

    fn seconds(seconds: u64) -> Now {
        START.after(Duration::from_secs(seconds))
    }

    fn offer(broker: &mut Broker, now: Now) -> Offer {
        broker.apply(Event::Tick, now);
        broker.offer(&INGRESS, &mut Course::default(), &mut SmallRng::seed_from_u64(1))
    }

    fn failures(broker: &Broker) -> Vec<u64> {
        broker.routers().map(|(_, _, record)| record.failures).collect()
    }

    #[test]
    fn an_attempt_and_its_log_count_once_in_either_order() {
        for attempt_first in [true, false] {
            let mut broker = broker(&[A, B]);
            let attempt = Report { began: Some(START), ..report(Source::Attempt, A, 500, "X_1_1_1") };
            let mut events = [attempt, report(Source::Log, A, 500, "X_1_1_1")];
            if !attempt_first {
                events.reverse();
            }
            for event in &events {
                broker.apply(Event::Report(event), seconds(1));
            }
            assert_eq!(failures(&broker), [1, 0]);
            broker.apply(Event::Report(&report(Source::Log, A, 500, "X_1_1_2")), seconds(1));
            assert_eq!(failures(&broker), [2, 0], "another call's log counts");
        }
    }

    #[test]
    fn an_attempt_from_before_the_trip_is_old_news_and_a_later_one_is_not() {
        let mut broker = broker(&[A]);
        let until = |broker: &Broker| match broker.routers().next().unwrap().1 {
            Standing::Cooling { until, .. } => until,
            standing => panic!("{standing:?}"),
        };
        let attempt = |began, id| Report { began: Some(began), ..report(Source::Attempt, A, 500, id) };
        broker.apply(Event::Report(&attempt(START, "X_1_1_1")), seconds(10));
        broker.apply(Event::Report(&attempt(seconds(9), "X_1_2_1")), seconds(20));
        assert_eq!(until(&broker), seconds(610));
        // Its log says the same and must not extend the time either.
        broker.apply(Event::Report(&report(Source::Log, A, 500, "X_1_2_1")), seconds(21));
        assert_eq!(until(&broker), seconds(610));
        broker.apply(Event::Report(&attempt(seconds(11), "X_1_3_1")), seconds(20));
        assert_eq!(until(&broker), seconds(620));
    }

    #[test]
    fn a_probe_decides_at_once_and_an_abandoned_one_frees_its_permit() {
        let mut broker = broker(&[A]);
        let failed = Report { began: Some(START), ..report(Source::Attempt, A, 500, "X_1_1_1") };
        broker.apply(Event::Report(&failed), START);
        let Offer::New(probe) = offer(&mut broker, seconds(600)) else { panic!("it is back") };
        assert_eq!(probe.sent, Sent::ToProve);
        broker.apply(Event::Chosen(&probe), seconds(600));
        let Offer::New(resort) = offer(&mut broker, seconds(600)) else { panic!("there is nothing better") };
        assert_eq!(resort.sent, Sent::AsLastResort);
        broker.apply(Event::Abandoned(&probe), seconds(601));
        assert_eq!(invariants::broken(&broker), None);
        let Offer::New(probe) = offer(&mut broker, seconds(602)) else { panic!("it is back") };
        assert_eq!(probe.sent, Sent::ToProve, "another may find out");
        broker.apply(Event::Chosen(&probe), seconds(602));
        let worked = report(Source::Attempt, A, 200, "X_1_2_1");
        let worked = Report { began: Some(seconds(602)), decision: Some(probe.number), probe: true, ..worked };
        broker.apply(Event::Report(&worked), seconds(603));
        assert_eq!(broker.routers().next().unwrap().1, Standing::Serving);
    }

    #[test]
    fn the_longest_ingress_serves_a_path() {
        let broker = broker(&[A]);
        let ingress = |path| broker.ingress_of(path).map(RouterPath::as_str);
        assert_eq!(ingress("/azure/v1/chat/completions"), Some(INGRESS));
        assert_eq!((ingress("/azure"), ingress("/azurex/"), ingress("/")), (None, None, None));
    }

    #[test]
    fn a_course_outlives_a_change_of_settings() {
        let mut broker = broker(&[A, B]);
        let (mut course, mut rng) = (Course::default(), SmallRng::seed_from_u64(1));
        let Offer::New(first) = broker.offer(&INGRESS, &mut course, &mut rng) else { panic!("two serve") };
        course.note(first.router(), true);
        let settings = broker.settings().clone();
        broker.apply(Event::Configured(&settings), START);
        let Offer::New(second) = broker.offer(&INGRESS, &mut course, &mut rng) else { panic!("one is left") };
        assert_ne!(first.router(), second.router());
        course.note(second.router(), true);
        assert!(matches!(broker.offer(&INGRESS, &mut course, &mut rng), Offer::Again(_)));
    }
}
