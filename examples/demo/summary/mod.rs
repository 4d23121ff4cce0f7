//! What the calls of `--requests` and `--faults` show, and whether it is right: pure, from what was seen to a list of faults.
//!
//! Nothing is tolerated that need not be. The calls are made one after the other, and the broker learns of a failure
//! before the client has its answer (a sync response processor), so each time that a failing router is enabled ends with
//! its first failure: exactly one failure per period (`periods`). Whatever else fails must be scripted (`scripted`). What can only be seen in enough calls is not taken as seen in fewer.
//! Two things need a bound:
//! - The draw is random: the even share is within five standard deviations of the binomial distribution, which a right
//!   broker exceeds once in 1.7 million runs.
//! - The gateway waits 50 ms for a processor and no longer, and on a machine whose processors are all taken a message can
//!   be on its way for longer. A call for which the gateway demonstrably waited that long is late: one in ten may be, and a
//!   failure that the broker heard of late may be followed by one more. A missing answer without such a wait is a fault.

mod periods;
mod scripted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::calls::{Amount, Answer};
use crate::faults::Scripted;
use crate::pools::Pool;
use crate::watch::{Call, Change, Event};

/// How many standard deviations a router's share may be off.
const SIGMAS: f64 = 5.0;
/// How long the gateway waits for a processor, by `timeout` in gl_config.json, less what a timer may be short.
const SLOW_DECISION: Duration = Duration::from_millis(48);
/// One in this many calls may be late.
const ONE_LATE_IN: usize = 10;

/// Everything that was seen in one run.
#[derive(Debug)]
pub(crate) struct Run {
    pools: Vec<Pool>,
    /// The router that is expected to fail, if a pool has it.
    failing: Option<String>,
    /// How many calls were asked for, if not as many as a time has room for.
    asked: Option<usize>,
    script: Option<scripted::Script>,
    answers: Vec<Result<Answer, String>>,
    calls: Vec<Call>,
    changes: Vec<Change>,
    ended: Timestamp,
}

/// What one router did.
#[derive(Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) router: String,
    pub(crate) calls: usize,
    pub(crate) failures: usize,
    /// Percent of the calls that working routers served; none for a failing router, nor where only one works.
    pub(crate) of_working: Option<f64>,
    /// How often it was disabled.
    pub(crate) disabled: usize,
    /// How long it was disabled, in all.
    pub(crate) out: Duration,
    /// How many of the calls were served here because the gateway waited for the broker in vain.
    pub(crate) late: usize,
}

impl Call {
    fn failed(&self) -> bool {
        self.status.is_none_or(|status| !(200..300).contains(&status))
    }

    /// The ingress router itself served it, after the gateway had waited for the broker as long as it does.
    fn is_late(&self) -> bool {
        self.router == self.ingress && between(self.began, self.decided) >= SLOW_DECISION
    }

    /// The gateway may not have waited for the broker to hear of the outcome.
    fn is_heard_late(&self) -> bool {
        between(self.answered, self.ended) >= SLOW_DECISION
    }
}

impl Run {
    pub(crate) fn new(pools: Vec<Pool>, failing: Option<&str>, amount: Amount) -> Self {
        let asked = match amount {
            Amount::Number(number) => Some(usize::try_from(number).unwrap_or(usize::MAX)),
            Amount::Time(_) => None,
        };
        let (answers, calls, changes) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            pools,
            failing: failing.map(str::to_owned),
            asked,
            script: None,
            answers,
            calls,
            changes,
            ended: Timestamp::UNIX_EPOCH,
        }
    }

    /// Takes what happened.
    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Call(call) => self.calls.push(call),
            Event::Change(change) => self.changes.push(change),
            Event::Remark(..) | Event::Scripted(..) => {}
        }
    }

    /// All calls are made, and this is what the client got.
    pub(crate) fn called(&mut self, answers: Vec<Result<Answer, String>>, ended: Timestamp) {
        self.answers = answers;
        self.ended = ended;
    }

    /// Whether all calls are made and every answer's log entry is here.
    pub(crate) fn is_logged(&self) -> bool {
        !self.answers.is_empty() && self.calls.len() >= self.answers.iter().flatten().count()
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(crate) fn lasted(&self) -> Duration {
        let began = self.calls.iter().map(|call| call.began).min();
        began.map_or(Duration::ZERO, |began| between(began, self.ended))
    }

    /// One for each router of the pools, then whatever else served calls.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let mut known = BTreeSet::new();
        let all = self.pools.iter().flat_map(|pool| &pool.routers);
        let mut routers: Vec<_> = all.filter(|router| known.insert((*router).clone())).cloned().collect();
        let served: BTreeSet<_> = self.calls.iter().map(|call| call.router.clone()).collect();
        routers.extend(served.difference(&known).cloned());
        routers.into_iter().map(|router| self.share(router)).collect()
    }

    fn share(&self, router: String) -> Share {
        let (calls, working) = (self.served_by(&router).count(), self.working_calls());
        let failures = self.served_by(&router).filter(|call| call.failed()).count();
        let late = self.served_by(&router).filter(|call| call.is_late()).count();
        let periods = self.periods(&router);
        let out = periods.iter().map(|period| between(period.from, period.back.unwrap_or(self.ended))).sum();
        let of_working = (self.works(&router) && self.working().len() > 1 && working > 0)
            .then(|| 100.0 * calls as f64 / working as f64);
        Share { router, calls, failures, of_working, disabled: periods.len(), out, late }
    }

    fn served_by<'a>(&'a self, router: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| call.router == router)
    }

    /// Whether it is one of the pools' routers that are expected to work.
    fn works(&self, router: &str) -> bool {
        !self.is_ill(router) && self.pools.iter().any(|pool| pool.routers.iter().any(|one| one == router))
    }

    /// Whether it is expected to fail, and always.
    fn fails(&self, router: &str) -> bool {
        self.failing.as_deref() == Some(router)
    }

    /// Whether it is expected to fail, always or as scripted.
    fn is_ill(&self, router: &str) -> bool {
        self.fails(router) || self.script_of(router).is_some_and(Scripted::fails)
    }

    /// All routers of the pools, each once.
    fn routers(&self) -> BTreeSet<&str> {
        self.pools.iter().flat_map(|pool| &pool.routers).map(String::as_str).collect()
    }

    /// Those that work.
    fn working(&self) -> Vec<&str> {
        self.routers().into_iter().filter(|router| self.works(router)).collect()
    }

    /// Whether every router must come to its turn: one pool, from which each is drawn alike.
    fn is_even(&self) -> bool {
        matches!(&self.pools[..], [pool] if pool.even)
    }

    fn pool(&self, call: &Call) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.ingress == call.ingress)
    }

    /// How many calls the working routers served.
    fn working_calls(&self) -> usize {
        self.calls.iter().filter(|call| self.works(&call.router)).count()
    }

    /// What was right, when nothing was wrong.
    pub(crate) fn praise(&self) -> String {
        let mut praise = "Every call got an answer, from the router that its stamp names.".to_owned();
        if let Some(failing) = &self.failing {
            let periods = self.periods(failing);
            let returns = periods.iter().filter(|period| period.back.is_some()).count();
            let failed = times(periods.len());
            praise += &match (periods.len(), returns) {
                (0, _) => format!("\n{failing} got no call."),
                (_, 0) => format!("\n{failing} failed {failed} and got no call from then on, while it was disabled."),
                _ => {
                    let back = times(returns);
                    format!(
                        "\n{failing} failed {failed}, got no call while it was disabled, and came back {back} on time."
                    )
                }
            };
        }
        if self.script.is_some() {
            praise +=
                "\nNothing else failed but what was scripted, and who was disabled got no call and came back on time.";
        }
        if self.is_even() && self.working().len() > 1 {
            praise +=
                &format!("\nThe other routers shared the rest evenly, within {SIGMAS} standard deviations of chance.");
        }
        praise
    }

    /// Everything that was wrong; nothing is right before enough was seen.
    pub(crate) fn faults(&self) -> Vec<String> {
        [
            self.unanswered(),
            self.unmatched(),
            self.unrouted(),
            self.wrong_failures(),
            self.wrong_changes(),
            self.routers()
                .into_iter()
                .filter(|router| self.is_ill(router))
                .flat_map(|ill| self.wrong_state(ill))
                .collect(),
            self.wrong_scripted(),
            if self.is_even() { self.uneven() } else { Vec::new() },
        ]
        .concat()
    }

    fn unanswered(&self) -> Vec<String> {
        let errors: Vec<_> = self.answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        let mut faults = Vec::new();
        if let Some(first) = errors.first() {
            faults.push(format!("{} calls got no answer; the first: {first}", errors.len()));
        }
        if let Some(asked) = self.asked.filter(|asked| *asked != self.answers.len()) {
            faults.push(format!("{} calls were made, not {asked}", self.answers.len()));
        }
        if self.answers.is_empty() {
            faults.push("no call was made".to_owned());
        }
        faults
    }

    /// What the client saw and what the log says must be the same calls with the same answers.
    fn unmatched(&self) -> Vec<String> {
        let logged: BTreeMap<_, _> = self.calls.iter().map(|call| (&call.transaction, call.status)).collect();
        let answers: Vec<_> = self.answers.iter().flatten().collect();
        let same = |answer: &&&Answer| logged.get(&answer.transaction) == Some(&Some(answer.status));
        let logged = answers.iter().filter(same).count();
        let mut faults = Vec::new();
        if logged != answers.len() {
            faults.push(format!("{} answers have no log entry with their id and status", answers.len() - logged));
        }
        if self.calls.len() > answers.len() {
            let more = self.calls.len() - answers.len();
            faults.push(format!("{more} calls more were logged than made: the check wants the gateway for itself"));
        }
        faults
    }

    /// Every call must have been decided by the broker, and served where the broker said.
    fn unrouted(&self) -> Vec<String> {
        let late = self.calls.iter().filter(|call| call.is_late()).count();
        let in_time: Vec<_> = self.calls.iter().filter(|call| !call.is_late()).collect();
        let may_pass = |call: &Call| {
            let may = self.pool(call).is_some_and(|pool| pool.may_pass) || self.were_all_disabled(call);
            call.router == call.ingress && may
        };
        let undecided = in_time.iter().filter(|call| call.stamped.is_none() && !may_pass(call)).count();
        let elsewhere = |call: &&&Call| call.stamped.as_ref().is_some_and(|named| !self.is_served_at(call, named));
        let strays: Vec<_> = in_time.iter().filter(elsewhere).collect();
        let mut faults = Vec::new();
        if late * ONE_LATE_IN > self.asked.unwrap_or(self.answers.len()) {
            faults.push(format!("{late} calls waited for the broker in vain, more than a busy machine explains"));
        }
        if undecided > 0 {
            faults.push(format!("{undecided} calls have no stamp, and not because the broker was late"));
        }
        if let Some(first) = strays.first() {
            let (number, named) = (strays.len(), first.stamped.as_deref().unwrap_or_default());
            let router = &first.router;
            faults.push(format!("{number} calls were not served where the broker said: {router} instead of {named}"));
        }
        faults
    }

    fn is_served_at(&self, call: &Call, named: &str) -> bool {
        call.router == named && self.pool(call).is_some_and(|pool| pool.routers.contains(&call.router))
    }

    fn wrong_failures(&self) -> Vec<String> {
        let odd = |call: &&Call| call.failed() && !self.fails(&call.router) && !self.is_scripted(call);
        let odd: Vec<_> = self.calls.iter().filter(odd).collect();
        let (Some(first), number) = (odd.first(), odd.len()) else { return Vec::new() };
        let status = first.status.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
        let first = format!("the first: {status} from {}", first.router);
        vec![match &self.failing {
            _ if self.script.is_some() => format!("{number} failures were not scripted; {first}"),
            None => format!("{number} calls failed, and every router works; {first}"),
            Some(failing) => format!("{number} failures were not answered by {failing}; {first}"),
        }]
    }

    /// No router that works is ever disabled.
    fn wrong_changes(&self) -> Vec<String> {
        let routers = self.changes.iter().map(|change| change.router.as_str());
        let others: BTreeSet<_> = routers.filter(|router| !self.is_ill(router)).collect();
        others.iter().map(|router| format!("{router} works and was disabled")).collect()
    }

    fn uneven(&self) -> Vec<String> {
        let working: Vec<_> = self.shares().into_iter().filter(|share| self.works(&share.router)).collect();
        if working.len() < 2 && self.script.is_some() {
            return Vec::new();
        }
        let (calls, share) = (self.working_calls() as f64, 1.0 / working.len() as f64);
        let (expected, bound) = (calls * share, SIGMAS * (calls * share * (1.0 - share)).sqrt());
        if expected <= bound {
            return vec![format!("{calls} calls are too few to tell whether the routers share them evenly")];
        }
        let off = working.into_iter().filter(|share| (share.calls as f64 - expected).abs() > bound);
        let text =
            |share: Share| format!("{} served {} calls, not {expected:.0} ± {bound:.0}", share.router, share.calls);
        off.map(text).collect()
    }
}

/// How often, in words.
pub(crate) fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{number} times"),
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
