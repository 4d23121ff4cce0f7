//! What the calls of `--requests` show, and whether it is right: pure, from what was seen to a list of faults.
//!
//! Nothing is tolerated that need not be. The calls are made one after the other, and the broker learns of a failure
//! before the client has its answer (a sync response processor), so each time that the failing router is enabled ends with
//! its first failure: exactly one failure per period. What can only be seen in enough calls is not taken as seen in fewer.
//! Two things need a bound:
//! - The draw is random: the even share is within five standard deviations of the binomial distribution, which a right
//!   broker exceeds once in 1.7 million runs.
//! - The gateway waits 50 ms for a processor and no longer, and on a machine whose processors are all taken a message can
//!   be on its way for longer. A call for which the gateway demonstrably waited so long is late: one in ten may be, and a
//!   failure that the broker heard of late may be followed by one more. A missing answer without such a wait is a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::calls::Answer;
use crate::pools::Pool;
use crate::watch::{Call, Change, Event, Standing};

/// How many standard deviations a router's share may be off.
const SIGMAS: f64 = 5.0;
/// How late the line about a router's return may be: the broker sleeps until that moment, and machines are busy.
const LATE: Duration = Duration::from_secs(1);
/// So many calls in a row that miss an enabled router are no chance: with 3 routers, 1 in 37 thousand million.
const MISSES: usize = 60;
/// How long the gateway waits for a processor, by `timeout` in gl_config.json, less what a timer may be short.
const PATIENCE: Duration = Duration::from_millis(48);
/// One in so many calls may be late.
const ONE_LATE_IN: usize = 10;

/// Everything that was seen in one run.
#[derive(Debug)]
pub(crate) struct Run {
    pools: Vec<Pool>,
    /// The router that is expected to fail, if a pool has it.
    failing: Option<String>,
    asked: usize,
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
    /// Percent of the calls that working routers served; none for the failing router.
    pub(crate) of_working: Option<f64>,
    /// How often it was disabled.
    pub(crate) disabled: usize,
    /// How long it was disabled, in all.
    pub(crate) out: Duration,
    /// How many of the calls were served here because the gateway waited for the broker in vain.
    pub(crate) late: usize,
}

/// A time during which a router was disabled.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Period {
    from: Timestamp,
    /// When it was to end, as announced.
    until: Timestamp,
    /// When the broker said that it was over.
    back: Option<Timestamp>,
}

impl Call {
    fn failed(&self) -> bool {
        self.status.is_none_or(|status| !(200..300).contains(&status))
    }

    /// The ingress router itself served it, after the gateway had waited for the broker as long as it does.
    fn is_late(&self) -> bool {
        self.router == self.ingress && between(self.began, self.decided) >= PATIENCE
    }

    /// The gateway may not have waited for the broker to hear of the outcome.
    fn is_heard_late(&self) -> bool {
        between(self.decided, self.ended) >= PATIENCE
    }
}

impl Run {
    pub(crate) fn new(pools: Vec<Pool>, failing: Option<&str>, asked: u32) -> Self {
        let asked = usize::try_from(asked).unwrap_or(usize::MAX);
        let (answers, calls, changes) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            pools,
            failing: failing.map(str::to_owned),
            asked,
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
            Event::Remark(..) => {}
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
        let of_working = (self.works(&router) && working > 0).then(|| 100.0 * calls as f64 / working as f64);
        Share { router, calls, failures, of_working, disabled: periods.len(), out, late }
    }

    fn served_by<'a>(&'a self, router: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| call.router == router)
    }

    /// Whether it is one of the pools' routers that are expected to work.
    fn works(&self, router: &str) -> bool {
        !self.fails(router) && self.pools.iter().any(|pool| pool.routers.iter().any(|one| one == router))
    }

    fn fails(&self, router: &str) -> bool {
        self.failing.as_deref() == Some(router)
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

    fn periods(&self, router: &str) -> Vec<Period> {
        let mut periods: Vec<Period> = Vec::new();
        for change in self.changes.iter().filter(|change| change.router == router) {
            match (&change.to, periods.last_mut()) {
                (Standing::Enabled | Standing::OnProbation, Some(last)) => last.back = last.back.or(Some(change.at)),
                (Standing::Enabled | Standing::OnProbation, None) => {}
                (Standing::Disabled { until, .. }, _) => {
                    periods.push(Period { from: change.at, until: *until, back: None });
                }
            }
        }
        periods
    }

    /// What was right, when nothing was wrong.
    pub(crate) fn praise(&self) -> String {
        let mut praise = "Every call got an answer, from the router that its stamp names.".to_owned();
        if let Some(failing) = &self.failing {
            let periods = self.periods(failing);
            let returns = periods.iter().filter(|period| period.back.is_some()).count();
            let (failed, back) = (times(periods.len()), times(returns));
            praise += &match periods.len() {
                0 => format!("\n{failing} got no call."),
                _ => format!(
                    "\n{failing} failed {failed}, got no call while it was disabled, and came back {back} on time."
                ),
            };
        }
        if self.is_even() {
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
            self.failing.as_deref().map(|failing| self.wrong_standing(failing)).unwrap_or_default(),
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
        if self.answers.len() != self.asked {
            faults.push(format!("{} calls were made, not {}", self.answers.len(), self.asked));
        }
        faults
    }

    /// What the client saw and what the log says must be the same calls with the same answers.
    fn unmatched(&self) -> Vec<String> {
        let logged: BTreeMap<_, _> = self.calls.iter().map(|call| (&call.transaction, call.status)).collect();
        let answers: Vec<_> = self.answers.iter().flatten().collect();
        let same = |answer: &&&Answer| logged.get(&answer.transaction) == Some(&Some(answer.status));
        let told = answers.iter().filter(same).count();
        let mut faults = Vec::new();
        if told != answers.len() {
            faults.push(format!("{} answers have no log entry with their id and status", answers.len() - told));
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
        let may_pass = |call: &Call| call.router == call.ingress && self.pool(call).is_some_and(|pool| pool.may_pass);
        let undecided = in_time.iter().filter(|call| call.stamped.is_none() && !may_pass(call)).count();
        let elsewhere = |call: &&&Call| call.stamped.as_ref().is_some_and(|named| !self.is_served_at(call, named));
        let strays: Vec<_> = in_time.iter().filter(elsewhere).collect();
        let mut faults = Vec::new();
        if late * ONE_LATE_IN > self.asked {
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

    /// What the router that is expected to fail shows.
    fn wrong_standing(&self, failing: &str) -> Vec<String> {
        let missed = if self.is_even() { self.missed(failing) } else { Vec::new() };
        [self.wrong_periods(failing), self.disturbed(failing), self.wrong_returns(failing), missed].concat()
    }

    fn wrong_failures(&self) -> Vec<String> {
        let others = self.calls.iter().filter(|call| call.failed() && !self.fails(&call.router)).count();
        match &self.failing {
            None if others > 0 => vec![format!("{others} calls failed, and every router works")],
            Some(failing) if others > 0 => vec![format!("{others} failures were not answered by {failing}")],
            _ => Vec::new(),
        }
    }

    /// Nobody who works is ever disabled.
    fn wrong_changes(&self) -> Vec<String> {
        let routers = self.changes.iter().map(|change| change.router.as_str());
        let others: BTreeSet<_> = routers.filter(|router| !self.fails(router)).collect();
        others.iter().map(|router| format!("{router} works and was disabled")).collect()
    }

    /// It always fails; one failure, one period. Where it need not get a call, it may have had none.
    fn wrong_periods(&self, failing: &str) -> Vec<String> {
        let well = self.served_by(failing).filter(|call| !call.failed()).count();
        let failures = self.calls.iter().filter(|call| call.failed()).count();
        let periods = self.periods(failing).len();
        let mut faults = Vec::new();
        if well > 0 {
            faults.push(format!("{failing} did not fail in {well} calls, so there is nothing to see"));
        }
        if periods == 0 && (failures > 0 || self.is_even()) {
            faults.push(format!("{failing} was never disabled"));
        }
        let heard_late = self.served_by(failing).filter(|call| call.is_heard_late()).count();
        if failures < periods || failures > periods + heard_late {
            faults.push(format!("{failures} failures, but {failing} was disabled {periods} times"));
        }
        faults
    }

    /// While a router is disabled it gets no call. What the broker decided, it decided between the call's beginning and
    /// the end of the request processors; so a call counts if all of that is in the period.
    fn disturbed(&self, failing: &str) -> Vec<String> {
        let periods = self.periods(failing);
        let inside =
            |call: &&Call| periods.iter().any(|period| call.began >= period.from && call.decided < period.until);
        let calls = self.served_by(failing).filter(inside).count();
        if calls == 0 { Vec::new() } else { vec![format!("{calls} calls went to {failing} while it was disabled")] }
    }

    /// A router is back when its time is over: not before, not much later, and before it is disabled again.
    fn wrong_returns(&self, failing: &str) -> Vec<String> {
        let periods = self.periods(failing);
        let mut faults = Vec::new();
        for (number, period) in numbered(&periods) {
            match period.back {
                Some(back) if back < period.until => faults.push(format!("period {number} ended too early")),
                Some(back) if between(period.until, back) > LATE => {
                    faults.push(format!("period {number} ended too late"))
                }
                None if number < periods.len() => faults.push(format!("period {number} ran into the next one")),
                None if between(period.until, self.ended) > LATE => faults.push(format!("period {number} never ended")),
                _ => {}
            }
        }
        faults
    }

    /// An enabled router is drawn again.
    fn missed(&self, failing: &str) -> Vec<String> {
        let periods = self.periods(failing);
        let out = |call: &Call| {
            periods.iter().any(|period| call.decided >= period.from && call.began <= period.back.unwrap_or(self.ended))
        };
        let (mut row, mut longest) = (0, 0);
        for call in self.calls.iter().filter(|call| !call.is_late()) {
            row = if call.router == failing || out(call) { 0 } else { row + 1 };
            longest = longest.max(row);
        }
        let text = format!("{failing} was enabled and not drawn in {longest} calls in a row");
        if longest > MISSES { vec![text] } else { Vec::new() }
    }

    fn uneven(&self) -> Vec<String> {
        let working: Vec<_> = self.shares().into_iter().filter(|share| self.works(&share.router)).collect();
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

fn numbered(periods: &[Period]) -> impl Iterator<Item = (usize, &Period)> {
    periods.iter().enumerate().map(|(index, period)| (index + 1, period))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gecholog_broker::broker::{RouterSettings, Settings};
    use gecholog_broker::router::RouterPath;

    use super::*;

    /// Milliseconds since the run began.
    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
    }

    fn call(run: &mut Run, millis: i64, router: &str, status: u16) {
        let transaction = format!("BROKER01_{millis}_0_0");
        run.answers.push(Ok(Answer { status, transaction: transaction.clone() }));
        run.calls.push(Call {
            began: at(millis),
            decided: at(millis + 1),
            ended: at(millis + 2),
            transaction,
            ingress: "/azure/".to_owned(),
            router: router.to_owned(),
            stamped: Some(router.to_owned()),
            status: Some(status),
            why: None,
        });
    }

    fn change(run: &mut Run, millis: i64, router: &str, to: Standing) {
        run.take(Event::Change(Change { at: at(millis), router: router.to_owned(), to }));
    }

    fn disabled(until: i64) -> Standing {
        Standing::Disabled { until: at(until), cause: String::new() }
    }

    /// 120 calls, 50 ms apart: /d/ fails at 0 and at 3050, each time for 3 s; /a/ and /b/ alternate.
    fn good() -> Run {
        let path = |text| RouterPath::parse(text).unwrap();
        let routers = vec![path("/a/"), path("/b/"), path("/d/")];
        let settings = Settings::flat(path("/azure/"), routers, RouterSettings::default());
        let mut run = Run::new(Pool::all(&settings), Some("/d/"), 120);
        for number in 0..120 {
            let (router, status) = match number {
                0 | 61 => ("/d/", 502),
                even if even % 2 == 0 => ("/a/", 200),
                _ => ("/b/", 200),
            };
            call(&mut run, number * 50, router, status);
        }
        change(&mut run, 2, "/d/", disabled(3002));
        change(&mut run, 3003, "/d/", Standing::Enabled);
        change(&mut run, 3052, "/d/", disabled(6052));
        run.ended = at(5960);
        run
    }

    #[track_caller]
    fn wrong(spoil: impl FnOnce(&mut Run), word: &str) {
        let mut run = good();
        spoil(&mut run);
        let faults = run.faults();
        assert!(faults.iter().any(|fault| fault.contains(word)), "{word:?} is not in {faults:?}");
    }

    #[test]
    fn a_good_run_is_right() {
        let run = good();
        assert_eq!(run.faults(), [""; 0]);
        let shares = run.shares();
        assert_eq!(shares.iter().map(|share| share.calls).collect::<Vec<_>>(), [59, 59, 2]);
        assert_eq!(shares[2].out, Duration::from_millis(3001 + 2908));
        assert_eq!((shares[0].of_working, shares[2].of_working), (Some(50.0), None));
    }

    #[test]
    fn nothing_seen_is_not_right() {
        let run = Run::new(good().pools, Some("/d/"), 120);
        assert!(run.faults().len() >= 3, "{:?}", run.faults());
        assert!(!run.is_logged());
    }

    #[test]
    fn every_call_has_an_answer_and_a_log_entry() {
        wrong(|run| run.answers[5] = Err("connection closed".to_owned()), "got no answer");
        wrong(|run| drop(run.answers.pop()), "were made");
        wrong(|run| drop(run.calls.remove(7)), "no log entry");
        wrong(|run| run.calls[7].status = Some(201), "no log entry");
        wrong(|run| run.calls.push(run.calls[7].clone()), "wants the gateway for itself");
    }

    #[test]
    fn the_broker_decided_every_call() {
        wrong(|run| run.calls[7].stamped = None, "have no stamp");
        wrong(|run| run.calls[7].router = "/azure/".to_owned(), "where the broker said");
        wrong(|run| run.calls[7].ingress = "/b/".to_owned(), "where the broker said");
    }

    #[test]
    fn a_late_answer_is_excused_if_the_gateway_waited_and_few_are() {
        let late = |run: &mut Run, number: usize| {
            let call = &mut run.calls[number];
            (call.router, call.stamped) = (call.ingress.clone(), None);
            (call.decided, call.ended) =
                (call.began + Duration::from_millis(50), call.began + Duration::from_millis(51));
        };
        let mut run = good();
        (5..15).for_each(|number| late(&mut run, number));
        assert_eq!(run.faults(), [""; 0]);
        wrong(|run| (5..18).for_each(|number| late(run, number)), "in vain");
        wrong(
            |run| {
                late(run, 5);
                run.calls[5].decided = run.calls[5].began;
            },
            "have no stamp",
        );
    }

    #[test]
    fn a_failure_heard_of_late_excuses_one_more() {
        let mut run = good();
        run.calls[61].ended = at(3102);
        call(&mut run, 3051, "/d/", 502);
        run.asked += 1;
        assert_eq!(run.faults(), [""; 0]);
        call(&mut run, 3051, "/d/", 502);
        assert!(run.faults().iter().any(|fault| fault.contains("4 failures")), "{:?}", run.faults());
    }

    #[test]
    fn only_the_failing_router_fails_and_always() {
        wrong(|run| run.calls[7].status = Some(500), "not answered by /d/");
        wrong(|run| run.calls[0].status = Some(200), "nothing to see");
    }

    #[test]
    fn one_failure_per_period() {
        wrong(|run| call(run, 5970, "/d/", 502), "3 failures, but /d/ was disabled 2 times");
        wrong(|run| run.changes.clear(), "never disabled");
        wrong(|run| change(run, 4000, "/a/", disabled(7000)), "/a/ works and was disabled");
    }

    #[test]
    fn no_call_while_disabled() {
        wrong(|run| run.calls[30].router = "/d/".to_owned(), "1 calls went to /d/ while it was disabled");
    }

    #[test]
    fn it_comes_back_in_time() {
        wrong(|run| run.changes[1].at = at(2990), "too early");
        wrong(|run| run.changes[1].at = at(4100), "too late");
        wrong(|run| drop(run.changes.remove(1)), "period 1 ran into the next one");
        wrong(|run| run.ended = at(7100), "period 2 never ended");
    }

    #[test]
    fn it_is_drawn_again() {
        wrong(
            |run| {
                change(run, 6053, "/d/", Standing::Enabled);
                for number in 0..70 {
                    call(run, 6060 + number * 50, ["/a/", "/b/"][usize::from(number % 2 == 0)], 200);
                }
                (run.asked, run.ended) = (190, at(9600));
            },
            "not drawn in 70 calls",
        );
    }

    #[test]
    fn where_routers_are_not_drawn_alike_the_rest_is_judged_all_the_same() {
        let uneven = |run: &mut Run| {
            run.pools[0].even = false;
            run.calls.iter_mut().filter(|call| call.router == "/b/").for_each(|call| {
                "/a/".clone_into(&mut call.router);
                call.stamped = Some("/a/".to_owned());
            });
        };
        let mut run = good();
        uneven(&mut run);
        assert_eq!(run.faults(), [""; 0]);
        assert!(!run.praise().contains("evenly"));
        wrong(|run| (uneven(run), run.calls[7].status = Some(500)).0, "not answered by /d/");
        wrong(|run| (uneven(run), run.failing = None).0, "2 calls failed");
        wrong(|run| (uneven(run), run.changes.clear()).0, "never disabled");
        wrong(|run| (uneven(run), run.calls[7].stamped = None).0, "have no stamp");
        let mut run = good();
        run.pools[0].may_pass = true;
        "/azure/".clone_into(&mut run.calls[7].router);
        run.calls[7].stamped = None;
        assert_eq!(run.faults(), [""; 0]);
    }

    #[test]
    fn the_others_share_evenly() {
        wrong(|run| run.calls.iter_mut().for_each(|call| call.router = "/a/".to_owned()), "/b/ served 0 calls");
        wrong(|run| run.calls.truncate(20), "too few");
    }
}
