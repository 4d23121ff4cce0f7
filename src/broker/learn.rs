//! From a report to what it means: whom it is about, whether it counts, and what it does to that router.
//!
//! The order of the questions is the order in which the gateway's contract makes them answerable (GATEWAY.md 3.3, 4.7, 5.2);
//! whoever cannot be named cannot be blamed.

use std::time::Duration;

use super::ledger::{Key, Met, Waiting};
use super::{Broker, Place, Router};
use crate::event::{Change, Ignored, Notice};
use crate::health::{Effect, Failure};
use crate::outcome::{Cause, Class, Outcome, Report, Source};
use crate::router::RouterId;
use crate::time::Now;

/// How many refusals in a row are worth a word.
const REFUSALS: u32 = 10;
/// How many answers, all of them 404, are worth a word.
const NOT_FOUNDS: u64 = 3;
/// Below this path the gateway answers by itself (GATEWAY.md 4.9).
const ECHO: &str = "/echo/";

/// What one router has done so far. Counts only ever rise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Decisions that named it.
    pub chosen: u64,
    /// Answers of class Success.
    pub successes: u64,
    /// Answers of class Neutral.
    pub neutral: u64,
    /// Answers of the other classes.
    pub failures: u64,
    /// Completion tokens of the answers that said how many.
    pub tokens: u64,
    /// Time that the upstream took, over all answers that said so.
    pub busy: Duration,
    not_founds: u64,
    refusals: u32,
    refusals_told: bool,
    not_found_told: bool,
    last_success: Option<Now>,
    refused_since: Option<Now>,
}

impl Broker {
    /// Learns from a report. An error says why there was nothing to learn.
    pub(super) fn learn(&mut self, report: &Report<'_>, now: Now, changes: &mut Vec<Change>) -> Result<(), Ignored> {
        if let Some(field) = report.filtered {
            if !self.filter_told {
                self.filter_told = true;
                changes.push(Change::Notice(Notice::LogFiltered(field)));
            }
            return Err(Ignored::Filtered);
        }
        let outcome = self.interpret(report)?;
        match report.source {
            Source::Message => self.learn_message(report, outcome, now, changes),
            Source::Log => return self.learn_log(report, outcome, now, changes),
        }
        Ok(())
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
            (None, Some(status)) if report.source == Source::Message && status != 500 => status,
            _ => return Err(Ignored::NoStatus),
        };
        match report.served.and_then(|path| self.places.get(path)).copied() {
            Some(Place::Router(router)) => Ok(self.outcome(report, router, status)),
            Some(Place::Ingress(_)) => self.interpret_fallback(report, status),
            None => Err(Ignored::NotOurs),
        }
    }

    fn outcome(&self, report: &Report<'_>, router: RouterId, status: u16) -> Outcome {
        let rule = self.routers.get(usize::from(router.0)).map(|router| &router.settings.failures);
        let class = rule.unwrap_or(&self.settings.defaults.failures).classify(
            status,
            report.made_by_gateway,
            report.deployment_missing,
        );
        let cause = if report.made_by_gateway { Cause::Unreachable(status) } else { Cause::Answered(status) };
        Outcome {
            router,
            class,
            status,
            cause,
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

    /// A failure acts at once; everything else waits for its log, which knows better.
    fn learn_message(&mut self, report: &Report<'_>, outcome: Outcome, now: Now, changes: &mut Vec<Change>) {
        let key = Key::new(report.transaction, outcome.router, outcome.status);
        if self.ledger.overtaken(key) {
            return;
        }
        let counted = outcome.class.disables();
        let trip = if counted { self.count(outcome, now, changes) } else { None };
        self.ledger.keep(key, Waiting { outcome, at: now, counted, trip }, now);
    }

    /// A log has the last word: it counts, unless its message has done so already; then it only adds what that one lacked.
    fn learn_log(
        &mut self,
        report: &Report<'_>,
        outcome: Outcome,
        now: Now,
        changes: &mut Vec<Change>,
    ) -> Result<(), Ignored> {
        let key = Key::new(report.transaction, outcome.router, outcome.status);
        match self.ledger.log(key, report.egress_status, report.started, now) {
            Met::Twice => return Err(Ignored::Twice),
            Met::Message(Waiting { counted: true, trip, .. }) => self.complete(outcome, trip, now, changes),
            Met::Message(_) | Met::Nothing => {
                self.count(outcome, now, changes);
            }
        }
        Ok(())
    }

    /// Counts an outcome and does to its router what it calls for. Answers with the epoch of the trip, if that was one.
    pub(super) fn count(&mut self, outcome: Outcome, now: Now, changes: &mut Vec<Change>) -> Option<u32> {
        let place = usize::from(outcome.router.0);
        let router = self.routers.get_mut(place)?;
        router.record.count(&outcome, now);
        router.record.add(&outcome);
        let trip = self.blame(place, outcome, now, changes);
        self.notice(place, outcome.status, changes);
        trip
    }

    /// The log of a request that has counted: what its message could not say. If the message could not even say when the
    /// request began, and so did nothing, the log does it now.
    fn complete(&mut self, outcome: Outcome, trip: Option<u32>, now: Now, changes: &mut Vec<Change>) {
        let place = usize::from(outcome.router.0);
        let Some(router) = self.routers.get_mut(place) else { return };
        router.record.add(&outcome);
        match (trip, outcome.stopped) {
            (Some(epoch), Some(stopped)) => router.health.date_trip(epoch, stopped),
            (Some(_), None) => {}
            (None, _) => drop(self.blame(place, outcome, now, changes)),
        }
    }

    /// Does to a router what an outcome calls for.
    fn blame(&mut self, place: usize, outcome: Outcome, now: Now, changes: &mut Vec<Change>) -> Option<u32> {
        if !outcome.class.disables() {
            return None;
        }
        let failure = Failure { cause: outcome.cause, started: outcome.started, stopped: outcome.stopped };
        let router = self.routers.get_mut(place)?;
        let effect = router.health.fail(failure, router.settings.health, now);
        let epoch = router.health.epoch();
        match effect {
            Effect::None => return None,
            Effect::Tripped => self.announce(place, now, Change::Standing, changes),
            Effect::Extended => self.announce(place, now, Change::Extended, changes),
        }
        (effect == Effect::Tripped).then_some(epoch)
    }

    /// Says once what no waiting will mend.
    fn notice(&mut self, place: usize, status: u16, changes: &mut Vec<Change>) {
        let Some(Router { path, record, .. }) = self.routers.get(place) else { return };
        let notice = if record.refusals >= REFUSALS && !record.refusals_told {
            let others = self.routers.iter().enumerate().filter(|(other, _)| *other != place);
            let elsewhere = others.filter_map(|(_, router)| router.record.last_success).max();
            let works_elsewhere = elsewhere.is_some() && elsewhere >= record.refused_since;
            works_elsewhere.then(|| Notice::RefusesCredentials(path.clone(), status))
        } else if record.not_founds >= NOT_FOUNDS && record.not_founds == record.answers() && !record.not_found_told {
            Some(Notice::OnlyNotFound(path.clone()))
        } else {
            None
        };
        let (Some(notice), Some(router)) = (notice, self.routers.get_mut(place)) else { return };
        match notice {
            Notice::RefusesCredentials(..) => router.record.refusals_told = true,
            _ => router.record.not_found_told = true,
        }
        changes.push(Change::Notice(notice));
    }
}

impl Record {
    /// Answers of every class.
    pub const fn answers(&self) -> u64 {
        self.successes + self.neutral + self.failures
    }

    fn count(&mut self, outcome: &Outcome, now: Now) {
        match outcome.class {
            Class::Success => self.successes += 1,
            Class::Neutral => self.neutral += 1,
            Class::Failure | Class::Overloaded | Class::RateLimited => self.failures += 1,
        }
        self.not_founds += u64::from(outcome.status == 404);
        if outcome.class == Class::Success {
            self.last_success = Some(now);
        }
        if matches!(outcome.status, 401 | 403) {
            self.refusals = self.refusals.saturating_add(1);
            self.refused_since.get_or_insert(now);
        } else {
            self.refusals = 0;
            self.refused_since = None;
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.tokens = self.tokens.saturating_add(outcome.tokens.unwrap_or(0));
        self.busy = self.busy.saturating_add(outcome.latency.unwrap_or_default());
    }
}
