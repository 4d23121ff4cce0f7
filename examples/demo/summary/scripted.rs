//! Whether the broker did right by what was scripted, and what there was to see of it: one line or two per fault.
//!
//! What was not seen to happen, or not to its end, is not right: the run was too short.

use std::time::Duration;

use balancer::broker::{BrokerSettings, RouterSettings};
use balancer::health;
use gateway_sim::script::{Episode, Fault};
use jiff::Timestamp;

use super::periods::Period;
use super::{Run, between, times};
use crate::faults::{Faults, Scripted, words};
use crate::watch::{Call, Change, RouterState};

/// How much two clocks may be off around the beginning and the end of a fault.
const SLACK: Duration = Duration::from_millis(50);
/// How much a cooldown may be off what the upstream asked for; that is in whole seconds.
const OFF: Duration = Duration::from_millis(500);
/// Lengths of cooldowns that are listed.
const MAX_LISTED: usize = 8;

/// The script that the run follows.
#[derive(Debug)]
pub(super) struct Script {
    faults: Faults,
    settings: BrokerSettings,
    zero: Timestamp,
}

/// One fault of one router, and what there was of it.
struct EpisodeReview<'a> {
    run: &'a Run,
    router: &'a str,
    episode: &'a Episode,
    from: Timestamp,
    /// Its end, or that of the run.
    to: Timestamp,
    /// The router's calls that it may have met.
    calls: Vec<&'a Call>,
    periods: Vec<Period>,
}

impl Run {
    /// From now on these faults happen; these are the broker's settings.
    pub(crate) fn follow(&mut self, faults: Faults, settings: BrokerSettings, zero: Timestamp) {
        self.script = Some(Script { faults, settings, zero });
    }

    /// The broker's settings of a router.
    pub(super) fn settings_of(&self, router: &str) -> RouterSettings {
        let Some(Script { settings, .. }) = &self.script else { return RouterSettings::default() };
        let own = settings.routers.iter().find(|(path, _)| path.as_str() == router);
        own.map_or(&settings.defaults, |(_, own)| own).clone()
    }

    /// What is scripted for a router.
    pub(super) fn script_of(&self, router: &str) -> Option<&Scripted> {
        self.script.as_ref().and_then(|script| script.faults.of(router))
    }

    /// Whether the script explains that this call failed.
    pub(super) fn is_scripted(&self, call: &Call) -> bool {
        let Some(script) = &self.script else { return false };
        let may = |episode: &Episode| {
            let met = script.zero + episode.from <= call.ended + SLACK
                && episode.to.is_none_or(|to| call.began < script.zero + to + SLACK);
            met && makes(&episode.fault, call)
        };
        self.script_of(&call.router).is_some_and(|scripted| scripted.episodes.iter().any(may))
    }

    fn seen(&self) -> Vec<EpisodeReview<'_>> {
        let Some(script) = &self.script else { return Vec::new() };
        let routers = self.pools.iter().flat_map(|pool| &pool.routers).map(String::as_str);
        let mut routers: Vec<_> = routers.filter_map(|router| Some((router, script.faults.of(router)?))).collect();
        routers.sort_by_key(|(router, _)| *router);
        routers.dedup_by_key(|(router, _)| *router);
        let all = routers.into_iter().flat_map(|(router, scripted)| {
            let seen = move |episode| EpisodeReview::of(self, script.zero, router, episode);
            scripted.episodes.iter().map(seen)
        });
        all.collect()
    }

    /// What was scripted, and what it came to.
    pub(crate) fn scripted(&self) -> Vec<String> {
        let lines = self.seen().into_iter().flat_map(|seen| [seen.title(), format!("      {}", seen.story())]);
        let mut lines: Vec<_> = lines.collect();
        if !lines.is_empty() {
            lines.insert(0, "\nScripted:".to_owned());
        }
        lines
    }

    /// What was wrong with it.
    pub(super) fn wrong_scripted(&self) -> Vec<String> {
        self.seen().iter().flat_map(EpisodeReview::faults).collect()
    }
}

/// One time out after a refusal.
struct Wait {
    /// What the upstream asked for.
    hint: Duration,
    was: Duration,
    /// How long it should be.
    due: Duration,
}

/// How long a router is left out that asked for so much (docs/health.md).
fn due(hint: Duration, failed_returns: u32, health: &health::HealthSettings) -> Duration {
    if !health.retry_after.honor {
        return health.disabled_time;
    }
    let believed = hint.min(health.retry_after.max);
    let doubled = believed.max(Duration::from_secs(1)).saturating_mul(2_u32.saturating_pow(failed_returns));
    believed.max(doubled.min(health.disabled_time))
}

/// Whether a fault makes calls end like this one.
fn makes(fault: &Fault, call: &Call) -> bool {
    match fault {
        // What the gateway says when it has no answer.
        Fault::Outage => call.status.is_none_or(|status| matches!(status, 500 | 502)),
        Fault::Errors { status, .. } => call.status == Some(*status),
        Fault::RateLimit { .. } => call.status == Some(429),
        Fault::Latency { .. } => false,
    }
}

impl<'a> EpisodeReview<'a> {
    fn of(run: &'a Run, zero: Timestamp, router: &'a str, episode: &'a Episode) -> Self {
        let from = zero + episode.from;
        let to = episode.to.map_or(run.ended, |to| (zero + to).min(run.ended));
        let met = |call: &&Call| call.ended + SLACK >= from && call.began < to + SLACK;
        let calls = run.served_by(router).filter(met).collect();
        Self { run, router, episode, from, to, calls, periods: run.periods(router) }
    }

    /// The calls that it made fail.
    fn failed(&self) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().copied().filter(|call| makes(&self.episode.fault, call))
    }

    /// Those that happened while it certainly went on.
    fn within(&self) -> impl Iterator<Item = &'a Call> {
        let inside = |call: &&Call| call.began >= self.from + SLACK && call.ended + SLACK <= self.to;
        self.calls.iter().copied().filter(inside)
    }

    /// Seconds since the script began.
    fn second(&self, at: Timestamp) -> String {
        let zero = self.from - self.episode.from;
        format!("{:.1} s", between(zero, at).as_secs_f64())
    }

    fn title(&self) -> String {
        let from = self.episode.from.as_secs_f64();
        let to = self.episode.to.map_or_else(|| "the end".to_owned(), |to| format!("{} s", to.as_secs_f64()));
        format!("  {} {} (from {from} s to {to})", self.router, words(&self.episode.fault))
    }

    fn story(&self) -> String {
        match self.episode.fault {
            _ if self.calls.is_empty() => "got no call in that time".to_owned(),
            Fault::Outage => self.outage(),
            Fault::Errors { .. } => self.errors(),
            Fault::Latency { .. } => self.latency(),
            Fault::RateLimit { .. } => self.rate_limit(),
        }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = self.too_short();
        match self.episode.fault {
            Fault::Outage => faults.extend([self.worked_while_down(), self.tried_too_often(), self.not_back()]),
            Fault::Latency { add } => faults.push(self.too_fast(add)),
            Fault::RateLimit { .. } => faults.extend(self.wrong_waits()),
            Fault::Errors { .. } => {}
        }
        faults.retain(|fault| !fault.is_empty());
        faults
    }

    fn too_short(&self) -> Vec<String> {
        let zero = self.from - self.episode.from;
        let last = zero + self.episode.to.unwrap_or(self.episode.from);
        if last < self.run.ended {
            return Vec::new();
        }
        let (what, ended) = (self.title(), self.second(self.run.ended));
        vec![format!("the calls ended at {ended}, too soon for:{what}; make more --requests")]
    }

    /// The cooldown in which the broker found out about the outage.
    fn detected(&self) -> Option<Period> {
        self.periods.iter().copied().find(|period| period.until > self.from && period.from < self.to + SLACK)
    }

    /// The failed calls after that, and the returns that gave leave to them.
    fn tries(&self, detected: Period) -> (usize, usize) {
        let calls = self.failed().filter(|call| call.began > detected.from).count();
        let back =
            |period: &&Period| period.from >= detected.from && period.back.is_some_and(|back| back < self.to + SLACK);
        (calls, self.periods.iter().filter(back).count())
    }

    /// When the broker said that the router works again, and the calls that it served since the end.
    fn back(&self) -> (Option<Timestamp>, usize) {
        let enabled = |change: &&Change| {
            change.router == self.router && change.to == RouterState::Enabled && change.at >= self.to
        };
        let well = |call: &&Call| !call.failed() && call.began >= self.to;
        let enabled = self.run.changes.iter().find(enabled).map(|change| change.at);
        (enabled, self.run.served_by(self.router).filter(well).count())
    }

    fn outage(&self) -> String {
        let mut story = format!("{} failed", calls(self.failed().count()));
        let Some(detected) = self.detected() else { return story };
        let (tries, returns) = self.tries(detected);
        story += &format!("; the broker found out at {}", self.second(detected.from));
        if returns > 0 {
            story += &format!("; it might try again {}, and got {} then", times(returns), calls(tries));
        }
        match (self.episode.to, self.back()) {
            (None, _) => {}
            (Some(_), (Some(back), served)) => {
                let after = between(self.to, back).as_secs_f64();
                story += &format!(
                    ";\n      enabled again at {}, {after:.1} s after the outage's end; {} served since",
                    self.second(back),
                    calls(served)
                );
            }
            (Some(_), (None, _)) => story += "; not back when the calls ended",
        }
        story
    }

    /// The script itself must be in force, or there is nothing to judge.
    fn worked_while_down(&self) -> String {
        let well = self.within().filter(|call| !call.failed()).count();
        if well == 0 { String::new() } else { format!("{} answered {well} calls while it was down", self.router) }
    }

    fn tried_too_often(&self) -> String {
        let Some(detected) = self.detected() else { return String::new() };
        let (tries, returns) = self.tries(detected);
        let late = self.failed().filter(|call| call.is_heard_late()).count();
        let router = self.router;
        if tries <= returns + late {
            return String::new();
        }
        format!("{router} was known to be down and got {tries} calls in {returns} returns, more than one in each")
    }

    fn not_back(&self) -> String {
        let over = self.episode.to.is_some() && self.to < self.run.ended;
        let router = self.router;
        match self.back() {
            _ if !over || self.detected().is_none() => String::new(),
            (_, 0) => format!("{router} served nothing after its outage before the calls ended; make more --requests"),
            (None, served) => format!("{router} served {served} calls after its outage and was never enabled"),
            _ => String::new(),
        }
    }

    fn errors(&self) -> String {
        let (failed, all) = (self.failed().count(), self.calls.len());
        let percent = 100.0 * failed as f64 / all as f64;
        let out = self.failed().filter(|call| self.run.counts(call)).count();
        let so = match (failed, out) {
            (0, _) => "so there was nothing to learn".to_owned(),
            (_, 0) => "a caller's own fault by its status, so no router was disabled".to_owned(),
            _ => {
                let inside = |at: Timestamp| (self.from..=self.to + OFF).contains(&at);
                let out = self.periods.iter().filter(|period| inside(period.from)).count();
                let changes = self.run.changes.iter().filter(|change| change.router == self.router);
                let back = changes.filter(|change| change.to == RouterState::Enabled && change.at >= self.from).count();
                match out {
                    0 => "not enough in a row to leave it out".to_owned(),
                    _ => format!("disabled {}, enabled again {}", times(out), times(back)),
                }
            }
        };
        format!("{failed} of its {all} calls failed ({percent:.0} %): {so}")
    }

    fn latency(&self) -> String {
        let others = self.run.calls.iter().filter(|call| call.router != self.router && !call.failed());
        let (own, others) = (median(self.calls.iter().copied()), median(others));
        let number = calls(self.calls.len());
        format!("{number}; half of them took {own:.0} ms or more (other routers: {others:.0} ms)")
    }

    /// What fails may be quick.
    fn too_fast(&self, add: Duration) -> String {
        let quick = |call: &&Call| !call.failed() && between(call.began, call.ended) < add;
        let quick = self.within().filter(quick).count();
        if quick == 0 {
            return String::new();
        }
        format!("{} answered {quick} calls in less than the scripted {} ms", self.router, add.as_millis())
    }

    /// Each refusal that took the router out.
    fn waits(&self) -> Vec<Wait> {
        let health = self.run.settings_of(self.router).health;
        let during = |period: &Period| (self.from..=self.to + OFF).contains(&period.from);
        let wait = |(period, failed_returns): (&Period, u32)| {
            let cause = self.run.served_by(self.router).filter(|call| call.began <= period.from).last();
            let hint = cause.filter(|call| makes(&self.episode.fault, call))?.retry_after?;
            Some(Wait { hint, was: between(period.from, period.until), due: due(hint, failed_returns, &health) })
        };
        let periods = self.periods.iter().zip(self.failed_returns());
        periods.filter(|(period, _)| during(period)).filter_map(wait).collect()
    }

    /// For each period, how many returns in a row had failed: those without a success before the next failure.
    fn failed_returns(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        let (mut number, mut before) = (0_u32, None::<Timestamp>);
        for period in &self.periods {
            let between = |call: &Call| before.is_none_or(|before| call.began >= before) && call.ended <= period.from;
            let proven = self.run.served_by(self.router).any(|call| !call.failed() && between(call));
            number = if before.is_none() || proven { 0 } else { number.saturating_add(1) };
            before = Some(period.from);
            numbers.push(number);
        }
        numbers
    }

    fn wrong_waits(&self) -> Vec<String> {
        let wrong = |Wait { hint, was, due }: &Wait| {
            let (hint, was, due) = (hint.as_secs(), was.as_secs_f64(), due.as_secs_f64());
            format!("{} said Retry-After {hint} and was left out for {was:.1} s, not {due:.1} s", self.router)
        };
        self.waits().iter().filter(|wait| wait.was.abs_diff(wait.due) > OFF).map(wrong).collect()
    }

    fn rate_limit(&self) -> String {
        let (refused, all, waits) = (self.failed().count(), self.calls.len(), self.waits());
        let list = |of: fn(&Wait) -> Duration| {
            let all: Vec<_> =
                waits.iter().take(MAX_LISTED).map(|wait| format!("{:.0}", of(wait).as_secs_f64())).collect();
            all.join(", ") + if waits.len() > MAX_LISTED { " …" } else { "" }
        };
        let settings = self.run.settings_of(self.router);
        let times = times(waits.len());
        let (asked, was) = (list(|wait| wait.hint), list(|wait| wait.was));
        let usual = settings.health.disabled_time.as_secs_f64();
        let doubled = waits.iter().any(|wait| wait.due > wait.hint + OFF);
        let why = match settings.health.retry_after.honor {
            false => ", and is ignored as asked",
            true if doubled => ", and a return that fails at once doubles it",
            true => "",
        };
        format!(
            "{refused} of its {all} calls were refused; left out {times}, for {was} s\n      \
             (Retry-After said {asked} s{why}; DISABLED_TIME is {usual:.0} s)"
        )
    }
}

fn calls(number: usize) -> String {
    if number == 1 { "1 call".to_owned() } else { format!("{number} calls") }
}

/// In milliseconds.
fn median<'a>(calls: impl Iterator<Item = &'a Call>) -> f64 {
    let mut took: Vec<_> = calls.map(|call| between(call.began, call.ended)).collect();
    took.sort();
    took.get(took.len() / 2).map_or(0.0, |took| took.as_secs_f64() * 1e3)
}
