//! From a report to what it means: whom it is about, whether it counts, and what it does to that router.
//!
//! The order of the questions is the order in which the gateway's contract makes them answerable (GATEWAY.md 3.3, 4.7, 5.2);
//! whoever cannot be named cannot be blamed.

use super::ledger::{Key, Met, Waiting};
use super::{Broker, Place, Pool, RouterSettings};
use crate::event::{Change, Ignored, Notice};
use crate::health::{Effect, LONGEST_CALL};
use crate::outcome::{Cause, Class, Evidence, Outcome, Report, Source};
use crate::router::RouterId;
use crate::strategy::hash;
use crate::time::{GatewayTime, Now};

/// Below this path the gateway answers by itself (GATEWAY.md 4.9).
const ECHO: &str = "/echo/";

/// What an outcome did to its router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Verdict {
    pub(super) effect: Effect,
    /// Of the router, after that.
    pub(super) epoch: u32,
}

impl Broker {
    /// Learns from a report; what it said. An error says why there was nothing to learn.
    pub(super) fn learn(
        &mut self,
        report: &Report<'_>,
        now: Now,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, Ignored> {
        self.end_call(report);
        if let Some(field) = report.filtered {
            if !self.filter_told {
                self.filter_told = true;
                changes.push(Change::Notice(Notice::LogFiltered(field)));
            }
            return Err(Ignored::Filtered);
        }
        let interpreted = self.interpret(report);
        self.release(report, interpreted.as_ref().ok());
        let outcome = interpreted?;
        match report.source {
            Source::Message | Source::OneRow => self.learn_message(report, &outcome, now, changes),
            Source::Attempt => self.learn_attempt(report, outcome, now, changes),
            Source::Log => self.learn_log(report, &outcome, now, changes)?,
        }
        Ok(outcome)
    }

    /// A probe of ours that another router served, or nobody, says nothing: the next request may find out.
    fn release(&mut self, report: &Report<'_>, outcome: Option<&Outcome>) {
        let Some(decision) = report.decision.filter(|_| report.probe) else { return };
        let probed = self.stamped(report);
        if let Some(probed) = probed.filter(|probed| outcome.is_none_or(|outcome| outcome.router != *probed)) {
            self.take_permit_back(probed, decision);
        }
    }

    /// The router that our stamp named.
    fn stamped(&self, report: &Report<'_>) -> Option<RouterId> {
        match report.stamped.and_then(|path| self.places.get(path)) {
            Some(Place::Router(router)) => Some(*router),
            _ => None,
        }
    }

    /// How much a report may decide about this router.
    fn evidence(&self, report: &Report<'_>, router: RouterId) -> Evidence {
        match (report.source, report.stamped) {
            (Source::Attempt, _) => match report.began {
                Some(began) => Evidence::Own { began, permit: report.decision.filter(|_| report.probe) },
                None => Evidence::Word,
            },
            (Source::OneRow, _) | (Source::Log, None) => self.presume(router, report.started),
            (Source::Log, _) if report.probe && self.stamped(report) == Some(router) => {
                Evidence::Probe(report.decision)
            }
            _ => Evidence::Hearsay,
        }
    }

    /// What a call without a stamp is worth. If its router is one that requests get only because nothing else is left, that is
    /// why it was sent.
    fn presume(&self, router: RouterId, started: Option<GatewayTime>) -> Evidence {
        let Some(known) = self.routers.get(usize::from(router.0)) else { return Evidence::Word };
        let in_need =
            |pool: &Pool| !pool.serves() && pool.disabled().is_some_and(|tree| tree.open().any(|open| open == router));
        match known.health().presume(started) {
            Evidence::Word if known.health().is_out() && self.pools.iter().any(in_need) => Evidence::Probe(None),
            evidence => evidence,
        }
    }

    /// A message that has waited in vain for its log: nothing better will come.
    pub(super) fn settle(&mut self, waiting: Waiting, changes: &mut Vec<Change>) {
        let Waiting { outcome, at, counted, verdict } = waiting;
        if !counted {
            let evidence = self.presume(outcome.router, outcome.started);
            self.count_outcome(&Outcome { evidence, ..outcome }, at, changes);
        } else if let (Some(Verdict { effect: Effect::Tripped | Effect::Paused, epoch }), Some(started)) =
            (verdict, outcome.started)
        {
            // What began before that call did is old for sure.
            self.routers.change_health(usize::from(outcome.router.0), |health, _| health.date_trip(epoch, started));
        }
    }

    /// Whom a report is about and what it says of them.
    fn interpret(&self, report: &Report<'_>) -> Result<Outcome, Ignored> {
        if report.control {
            return Err(Ignored::Control);
        }
        if report.ingress.or(report.served).is_some_and(|path| path.starts_with(ECHO)) {
            return Err(Ignored::Echo);
        }
        let status = match (report.status, report.egress_status) {
            (Some(status), _) => status,
            // What the client was told stands in for what the upstream said, except a 500, which the gateway also makes.
            (None, Some(status)) if report.source != Source::Log && status != 500 => status,
            _ => return Err(Ignored::NoStatus),
        };
        match report.served.and_then(|path| self.places.get(path)).copied() {
            Some(Place::Router(router)) => Ok(self.outcome(report, router, status)),
            Some(Place::Ingress(_) | Place::Relayed(_)) => self.interpret_fallback(report, status),
            None => Err(Ignored::NotOurs),
        }
    }

    fn outcome(&self, report: &Report<'_>, router: RouterId, status: u16) -> Outcome {
        let known = self.routers.get(usize::from(router.0));
        let settings = known.map_or(&self.settings.defaults, |router| router.settings());
        let (class, cause) = judge(settings, report, status);
        // Only what can take a router out needs a lot.
        let path = known.map(|router| router.path.as_str()).filter(|_| class != Class::Neutral).unwrap_or_default();
        let lot = if settings.health.cooldown.jitter > 0.0 {
            hash(&[path, report.transaction.unwrap_or_default()].concat())
        } else {
            0
        };
        Outcome {
            router,
            class,
            status,
            cause,
            evidence: self.evidence(report, router),
            lot,
            hint: report.hint,
            started: report.started,
            stopped: report.stopped,
            latency: report.latency,
            tokens: report.tokens,
        }
    }

    /// The ingress itself served the call. If the gateway was asked for a router of ours, it does not have that router; if
    /// our stamp named one and nobody asked for it, row 2 failed.
    fn interpret_fallback(&self, report: &Report<'_>, status: u16) -> Result<Outcome, Ignored> {
        if let Some(Place::Router(router)) = report.asked.and_then(|path| self.places.get(path)).copied() {
            let outcome = self.outcome(report, router, status);
            return Ok(Outcome { class: Class::Failure, cause: Cause::UnknownToGateway, ..outcome });
        }
        Err(if report.stamped.is_some() { Ignored::NotApplied } else { Ignored::NotOurs })
    }

    /// A failure takes a router out at once. Everything else waits for its log, which knows better: whether a call was sent
    /// to find out about a router, and so may decide about one that does not serve; or when a busy upstream wants to be asked
    /// again, if its headers were not sent along. Where no log can know better, the message decides.
    fn learn_message(&mut self, report: &Report<'_>, outcome: &Outcome, now: Now, changes: &mut Vec<Change>) {
        let key = Key::new(report.transaction, outcome.router, outcome.status);
        if self.ledger.overtaken(key) {
            return;
        }
        let serves = self.serves(outcome.router);
        let acts = match report.source {
            Source::OneRow => outcome.class.disables() || !serves,
            _ => outcome.class.disables() && serves && !(report.headless && self.honors_hints(outcome)),
        };
        let verdict = if acts { self.count_outcome(outcome, now, changes) } else { None };
        self.ledger.keep(key, Waiting { outcome: *outcome, at: now, counted: acts, verdict }, now);
    }

    /// Whether this answer's own word about when to come back would be heeded.
    fn honors_hints(&self, outcome: &Outcome) -> bool {
        let router = self.routers.get(usize::from(outcome.router.0));
        matches!(outcome.class, Class::RateLimited | Class::Overloaded)
            && router.is_some_and(|router| router.settings().health.retry_after.honor)
    }

    /// We saw its end ourselves, so it counts at once, whatever it is; its log only adds what we do not know. A log that came
    /// before has counted already, and can only not know of a permit.
    fn learn_attempt(&mut self, report: &Report<'_>, outcome: Outcome, now: Now, changes: &mut Vec<Change>) {
        let key = Key::new(report.transaction, outcome.router, outcome.status);
        if self.ledger.overtaken(key) {
            if let Some(decision) = report.decision.filter(|_| report.probe) {
                self.take_permit_back(outcome.router, decision);
            }
            return;
        }
        // The log adds the time, and cannot know better whether this was old news.
        let outcome = Outcome { latency: None, ..outcome };
        let mut verdict = self.count_outcome(&outcome, now, changes);
        if let Some(Verdict { effect: effect @ Effect::None, .. }) = &mut verdict {
            *effect = Effect::Counted;
        }
        self.ledger.keep(key, Waiting { outcome, at: now, counted: true, verdict }, now);
    }

    /// A log has the last word: it counts, unless its message has done so already; then it only adds what that one lacked.
    fn learn_log(
        &mut self,
        report: &Report<'_>,
        outcome: &Outcome,
        now: Now,
        changes: &mut Vec<Change>,
    ) -> Result<(), Ignored> {
        let key = Key::new(report.transaction, outcome.router, outcome.status);
        let met = self.ledger.log(key, report.egress_status, report.started, now);
        if met == Met::Twice {
            return Err(Ignored::Twice);
        }
        let at_fault = self.is_at_fault(report, outcome, now, changes);
        let neutral;
        let outcome = if at_fault {
            neutral = Outcome { class: Class::Neutral, ..*outcome };
            &neutral
        } else {
            outcome
        };
        let verdict = match met {
            Met::Message(Waiting { counted: true, verdict, .. }) if at_fault => {
                self.acquit(outcome, verdict, now, changes)
            }
            Met::Message(Waiting { counted: true, verdict, .. }) => self.complete(outcome, verdict, now, changes),
            Met::Message(_) | Met::Nothing | Met::Twice => self.count_outcome(outcome, now, changes),
        };
        self.remember_trip(report, outcome.router, verdict);
        self.learn_speed(outcome, now);
        self.learn_use(report, outcome, now);
        Ok(())
    }

    /// Counts an outcome and does to its router what it calls for.
    pub(super) fn count_outcome(&mut self, outcome: &Outcome, now: Now, changes: &mut Vec<Change>) -> Option<Verdict> {
        let place = usize::from(outcome.router.0);
        let record = self.routers.record(place)?;
        record.count(outcome, now);
        record.add(outcome);
        let verdict = self.judge(place, outcome, now, changes);
        self.notice(place, outcome.status, changes);
        verdict
    }

    /// The log of a request that has counted: what its message could not say. If the message could not even say when the
    /// request began, and so did nothing, the log does it now.
    fn complete(
        &mut self,
        outcome: &Outcome,
        verdict: Option<Verdict>,
        now: Now,
        changes: &mut Vec<Change>,
    ) -> Option<Verdict> {
        let place = usize::from(outcome.router.0);
        self.routers.record(place)?.add(outcome);
        match (verdict, outcome.stopped) {
            (None | Some(Verdict { effect: Effect::None, .. }), _) => {
                return self.judge(place, outcome, now, changes);
            }
            (Some(Verdict { effect: Effect::Tripped | Effect::Paused, epoch }), Some(stopped)) => {
                self.routers.change_health(place, |health, _| health.date_trip(epoch, stopped));
            }
            _ => {}
        }
        verdict
    }

    /// Lets a router's health learn, and tells what came of it.
    fn judge(&mut self, place: usize, outcome: &Outcome, now: Now, changes: &mut Vec<Change>) -> Option<Verdict> {
        let mut effect = self.routers.change_health(place, |health, settings| health.learn(outcome, settings, now))?;
        if effect == Effect::Suspected {
            effect = self.convict(place, outcome, now, changes);
        }
        let epoch = self.routers.get(place)?.health().epoch();
        match effect {
            Effect::None | Effect::Counted | Effect::Suspected | Effect::Freed => {}
            Effect::Tripped | Effect::Returned => self.announce(place, now, Change::Standing, changes),
            Effect::Extended | Effect::Paused => self.announce(place, now, Change::Extended, changes),
        }
        if effect == Effect::Tripped {
            self.advise(place, changes);
        }
        Some(Verdict { effect, epoch })
    }

    fn serves(&self, router: RouterId) -> bool {
        self.routers.get(usize::from(router.0)).is_some_and(|router| router.health().serves())
    }

    /// Takes a suspected router out, unless it is the last that serves in some pool: that would be too much for a guess.
    fn convict(&mut self, place: usize, outcome: &Outcome, now: Now, changes: &mut Vec<Change>) -> Effect {
        self.refresh(changes);
        if self.pools.iter().any(|pool| pool.hangs_on(outcome.router, |router| self.serves(router))) {
            return Effect::Counted;
        }
        let convicted = self.routers.change_health(place, |health, settings| health.convict(outcome, settings, now));
        convicted.unwrap_or(Effect::None)
    }
}

/// What an answer means, its status first, and then what hides behind the status.
fn judge(settings: &RouterSettings, report: &Report<'_>, status: u16) -> (Class, Cause) {
    let class = settings.failures.classify(status, report.made_by_gateway, report.missing);
    let cause = if report.made_by_gateway { Cause::Unreachable(status) } else { Cause::Answered(status) };
    if let Some(breakage) = report.broken {
        return (Class::Failure, Cause::Broken(breakage));
    }
    match report.latency {
        Some(latency) if latency >= LONGEST_CALL => (Class::Failure, Cause::CutOff),
        Some(latency) if class == Class::Success && settings.health.slow.is_some_and(|slow| latency > slow) => {
            (Class::Failure, Cause::TooSlow)
        }
        _ if report.html && (200..300).contains(&status) && class == Class::Success => (Class::Neutral, cause),
        _ => (class, cause),
    }
}
