//! What the calls of `--relay` show, and whether it is right: pure, from what was seen to a list of faults.
//!
//! The calls are made one after the other, so each return of a failing target costs exactly one attempt, and no
//! client may notice any of them.

use std::collections::BTreeMap;

use super::client::Answer;
use crate::watch::{Call, Change, RouterState};

pub(super) const EAST: &str = "/llm/east/";
pub(super) const WEST: &str = "/llm/west/";
pub(super) const NORTH: &str = "/llm/north/";

/// The parts of the show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scene {
    /// East fails, west is well.
    OneFails,
    /// West is dead too.
    WestDies,
    /// West is well again.
    WestIsBack,
}

/// A client's call, what it got, and the log's entry of each attempt, in their order.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) scene: Scene,
    pub(super) answer: Result<Answer, String>,
    pub(super) attempts: Vec<Call>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) made: Vec<Made>,
    pub(super) changes: Vec<Change>,
}

impl Made {
    pub(super) fn served_by(&self) -> &str {
        self.answer.as_ref().map_or("-", |answer| answer.router.as_str())
    }

    fn tried(&self, router: &str) -> usize {
        self.attempts.iter().filter(|attempt| attempt.router == router && !is_good(attempt)).count()
    }
}

pub(super) fn is_good(attempt: &Call) -> bool {
    attempt.status.is_some_and(|status| (200..300).contains(&status))
}

impl Run {
    /// How many calls needed this many attempts.
    pub(super) fn by_attempts(&self) -> BTreeMap<usize, usize> {
        let mut calls = BTreeMap::new();
        for answer in self.made.iter().filter_map(|made| made.answer.as_ref().ok()) {
            *calls.entry(answer.attempts).or_default() += 1;
        }
        calls
    }

    /// How many attempts failed there.
    pub(super) fn failures(&self, router: &str) -> usize {
        self.made.iter().map(|made| made.tried(router)).sum()
    }

    /// How often it was left out.
    pub(super) fn disabled(&self, router: &str) -> usize {
        let out = |change: &&Change| change.router == router && matches!(change.to, RouterState::Disabled { .. });
        self.changes.iter().filter(out).count()
    }

    /// The first call that needed three attempts.
    pub(super) fn longest(&self) -> Option<&Answer> {
        self.made.iter().filter_map(|made| made.answer.as_ref().ok()).find(|answer| answer.attempts == 3)
    }

    fn in_scene(&self, scene: Scene) -> impl Iterator<Item = &Made> {
        self.made.iter().filter(move |made| made.scene == scene)
    }

    /// How many calls west served in a scene.
    pub(super) fn served_by_west(&self, scene: Scene) -> usize {
        self.in_scene(scene).filter(|made| made.served_by() == WEST).count()
    }

    /// Everything that was wrong.
    pub(super) fn faults(&self) -> Vec<String> {
        [self.noticed(), self.untold(), self.east(), self.west()].concat()
    }

    /// No client may notice anything.
    fn noticed(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.made.is_empty() {
            faults.push("no call was made".to_owned());
        }
        for (number, made) in self.made.iter().enumerate() {
            let number = number + 1;
            match &made.answer {
                Err(error) => faults.push(format!("the client of call {number} got no answer: {error}")),
                Ok(answer) if answer.status != 200 => {
                    faults.push(format!("the client of call {number} got {}", answer.status));
                }
                Ok(Answer { broken: Some(how), .. }) => {
                    faults.push(format!("the answer to call {number} was not whole: {how}"));
                }
                Ok(_) => {}
            }
        }
        faults
    }

    /// The log must have each attempt, the last of which is the answer's.
    fn untold(&self) -> Vec<String> {
        let wrong = |made: &&Made| {
            let Ok(answer) = &made.answer else { return false };
            let last = made.attempts.last().map(|attempt| attempt.router.as_str());
            made.attempts.len() != answer.attempts || last != Some(answer.router.as_str())
        };
        let wrong = self.made.iter().filter(wrong).count();
        let fault = format!("the log does not have the attempts that {wrong} answers say they needed");
        if wrong > 0 { vec![fault] } else { Vec::new() }
    }

    fn east(&self) -> Vec<String> {
        let (failures, disabled) = (self.failures(EAST), self.disabled(EAST));
        let mut faults = Vec::new();
        if failures == 0 {
            faults.push(format!("{EAST} failed no call: there was nothing to see"));
        }
        if failures != disabled {
            faults.push(format!("{EAST} failed {failures} attempts, but was left out {disabled} times: one each"));
        }
        if self.disabled(NORTH) > 0 {
            faults.push(format!("{NORTH} works and was left out"));
        }
        faults
    }

    fn west(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let (failures, disabled) = (self.failures(WEST), self.disabled(WEST));
        let odd: usize =
            self.made.iter().filter(|made| made.scene != Scene::WestDies).map(|made| made.tried(WEST)).sum();
        if odd > 0 {
            faults.push(format!("{WEST} failed {odd} attempts while it was well"));
        }
        if failures == 0 || disabled == 0 {
            faults.push(format!("no attempt found out that {WEST} had died"));
        }
        if failures != disabled {
            faults.push(format!("{WEST} failed {failures} attempts, but was left out {disabled} times: one each"));
        }
        if self.served_by_west(Scene::OneFails) == 0 {
            faults.push(format!("{WEST} served nothing before it died"));
        }
        let last = self.changes.iter().rev().find(|change| change.router == WEST);
        let back = last.is_some_and(|change| change.to == RouterState::Enabled);
        if !back || self.served_by_west(Scene::WestIsBack) == 0 {
            faults.push(format!("{WEST} was well again and did not come back"));
        }
        if self.longest().is_none() {
            faults.push("no call needed three attempts: there is no trace to show".to_owned());
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn attempt(router: &str, status: u16) -> Call {
        let at = Timestamp::UNIX_EPOCH;
        Call {
            began: at,
            decided: at,
            answered: at,
            ended: at,
            transaction: "A_1_1_1".to_owned(),
            ingress: "/llm/".to_owned(),
            router: router.to_owned(),
            stamped: None,
            status: Some(status),
            retry_after: None,
            why: None,
            used: None,
        }
    }

    fn made(scene: Scene, attempts: &[(&str, u16)]) -> Made {
        let attempts: Vec<_> = attempts.iter().map(|(router, status)| attempt(router, *status)).collect();
        let answer = Answer {
            status: 200,
            broken: None,
            router: attempts.last().unwrap().router.clone(),
            attempts: attempts.len(),
            session: "A_1_1_0".to_owned(),
        };
        Made { scene, answer: Ok(answer), attempts }
    }

    fn change(router: &str, to: RouterState) -> Change {
        Change { at: Timestamp::UNIX_EPOCH, router: router.to_owned(), to }
    }

    fn good() -> Run {
        let out = || RouterState::Disabled { until: Timestamp::UNIX_EPOCH, cause: String::new() };
        Run {
            made: vec![
                made(Scene::OneFails, &[(EAST, 503), (WEST, 200)]),
                made(Scene::OneFails, &[(WEST, 200)]),
                made(Scene::WestDies, &[(EAST, 503), (WEST, 502), (NORTH, 200)]),
                made(Scene::WestDies, &[(NORTH, 200)]),
                made(Scene::WestIsBack, &[(WEST, 200)]),
            ],
            changes: vec![
                change(EAST, out()),
                change(EAST, out()),
                change(WEST, out()),
                change(WEST, RouterState::OnProbation),
                change(WEST, RouterState::Enabled),
            ],
        }
    }

    #[test]
    fn a_run_that_no_client_noticed_is_right() {
        let run = good();
        assert_eq!(run.faults(), [""; 0]);
        assert_eq!(run.by_attempts(), BTreeMap::from([(1, 3), (2, 1), (3, 1)]));
        assert!(run.longest().is_some());
        assert!(!Run::default().faults().is_empty(), "nothing is right before anything was seen");
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        fn answer(run: &mut Run) -> &mut Answer {
            run.made[1].answer.as_mut().unwrap()
        }
        type Spoil = fn(&mut Run);
        let spoilt: [(Spoil, &str); 11] = [
            (|run| answer(run).status = 503, "call 2 got 503"),
            (|run| answer(run).broken = Some("it has no end".to_owned()), "call 2 was not whole: it has no end"),
            (|run| run.made[1].answer = Err("refused".to_owned()), "call 2 got no answer: refused"),
            (|run| answer(run).attempts = 2, "attempts that 1 answers"),
            (|run| run.made[1].attempts.clear(), "attempts that 1 answers"),
            (|run| run.changes.truncate(4), "did not come back"),
            (|run| drop(run.changes.remove(0)), "/llm/east/ failed 2 attempts, but was left out 1 times"),
            (|run| drop(run.changes.remove(2)), "no attempt found out"),
            (|run| drop(run.made.remove(4)), "did not come back"),
            (|run| drop(run.made.remove(2)), "no call needed three attempts"),
            (|run| run.made[2].scene = Scene::OneFails, "/llm/west/ failed 1 attempts while it was well"),
        ];
        for (spoil, words) in spoilt {
            let mut run = good();
            spoil(&mut run);
            let faults = run.faults();
            assert!(faults.iter().any(|fault| fault.contains(words)), "{words:?} is not in {faults:?}");
        }
    }
}
