//! Scripted faults of a fake LLM: outages, errors, latency and rate limits, each with a begin and an end.
//!
//! Has no clock: the time since the script began is an argument. Random samples are a hash of the script's seed, the
//! deployment's name and the number of the call, so the same calls meet the same errors in every run. A rate limit counts
//! the calls that it admitted, whichever client sent them.

use std::time::Duration;

use crate::llm::Behaviour;

/// The faults of one deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Seeds the random samples.
    pub seed: u64,
    /// In any order; episodes may overlap.
    pub episodes: Vec<Episode>,
}

/// One fault, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// When it begins, counted from the script's begin.
    pub from: Duration,
    /// When it ends (exclusive), counted from the script's begin; `None` is never.
    pub to: Option<Duration>,
    /// What happens to calls in that time.
    pub fault: Fault,
}

/// What can happen to calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The connection is closed without an answer.
    Outage,
    /// Some calls are answered with an error.
    Errors {
        /// The share of the calls, from 0 to 1.
        rate: f64,
        /// Status of the answer.
        status: u16,
    },
    /// Answers come later. Outages and rate limits are not delayed.
    Latency {
        /// Added to the delay of the answer.
        add: Duration,
    },
    /// Calls beyond the limit are answered with 429 and a `Retry-After` with the rest of the window, in whole seconds.
    RateLimit {
        /// Calls that pass in each window.
        requests: u32,
        /// The length of a window; the first begins with the episode. Not zero.
        per: Duration,
    },
}

impl Episode {
    fn is_active(&self, elapsed: Duration) -> bool {
        self.from <= elapsed && self.to.is_none_or(|to| elapsed < to)
    }
}

/// A script in progress, with its counters.
#[derive(Debug)]
pub(crate) struct ScriptRun {
    script: Script,
    /// A hash of the deployment's name.
    name: u64,
    calls: u64,
    /// For each episode, the number of its last window and the calls admitted in it.
    windows: Vec<(u128, u32)>,
}

impl ScriptRun {
    pub(crate) fn new(deployment: &str, script: Script) -> Self {
        let name = deployment.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
        });
        let windows = vec![(0, 0); script.episodes.len()];
        Self { script, name, calls: 0, windows }
    }

    /// What happens to the next call, `elapsed` after the script began.
    pub(crate) fn next(&mut self, elapsed: Duration) -> Behaviour {
        self.calls += 1;
        let on: Vec<_> =
            self.script.episodes.iter().enumerate().filter(|(_, episode)| episode.is_active(elapsed)).collect();
        if on.iter().any(|(_, episode)| episode.fault == Fault::Outage) {
            return Behaviour { close: true, ..Behaviour::default() };
        }
        let mut behaviour = Behaviour::default();
        for (number, episode) in on {
            match episode.fault {
                Fault::Outage => {}
                Fault::RateLimit { requests, per } => {
                    let (window, rest) = window(elapsed.saturating_sub(episode.from), per);
                    if let Some(last) = self.windows.get_mut(number)
                        && !admit(last, window, requests)
                    {
                        return rate_limited(rest);
                    }
                }
                Fault::Errors { rate, status } if self.sample(number) < rate => behaviour.status = status,
                Fault::Errors { .. } => {}
                Fault::Latency { add } => behaviour.delay += add,
            }
        }
        behaviour
    }

    /// A number from 0 up to 1.
    fn sample(&self, episode: usize) -> f64 {
        let mixed = [episode as u64, self.calls]
            .into_iter()
            .fold(self.script.seed ^ self.name, |state, next| mix(state ^ next));
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One step of SplitMix64.
fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// The number of the window, and the time until it ends.
fn window(elapsed: Duration, per: Duration) -> (u128, Duration) {
    let per = per.max(Duration::from_millis(1)).as_nanos();
    let left = per - elapsed.as_nanos() % per;
    (elapsed.as_nanos() / per, Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
}

fn admit(last: &mut (u128, u32), window: u128, requests: u32) -> bool {
    if last.0 != window {
        *last = (window, 0);
    }
    let admitted = last.1 < requests;
    last.1 += u32::from(admitted);
    admitted
}

/// Rounds up to whole seconds, so that a call made then is in the next window.
fn rate_limited(rest: Duration) -> Behaviour {
    let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
    let headers = vec![("retry-after".to_owned(), seconds.to_string())];
    Behaviour { status: 429, headers, ..Behaviour::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn play(seed: u64, episodes: &[(u64, Option<u64>, Fault)]) -> ScriptRun {
        let episode = |(from, to, fault): &(u64, Option<u64>, Fault)| Episode {
            from: millis(*from),
            to: to.map(millis),
            fault: *fault,
        };
        ScriptRun::new("gpt4", Script { seed, episodes: episodes.iter().map(episode).collect() })
    }

    #[test]
    fn an_outage_lasts_from_its_first_moment_to_its_last() {
        let mut play = play(0, &[(2_000, Some(6_000), Fault::Outage), (9_000, None, Fault::Outage)]);
        for (at, close) in
            [(0, false), (1_999, false), (2_000, true), (5_999, true), (6_000, false), (9_000, true), (99_000, true)]
        {
            assert_eq!(play.next(millis(at)).close, close, "{at} ms");
        }
    }

    #[test]
    fn the_same_calls_meet_the_same_errors() {
        let errors = [(0, None, Fault::Errors { rate: 0.3, status: 500 })];
        let run = |seed| {
            let mut play = play(seed, &errors);
            (0..1_000).map(|at| play.next(millis(at)).status).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let failed = run(7).iter().filter(|status| **status == 500).count();
        assert!((230..370).contains(&failed), "{failed} of 1000 with 0.3");
        let mut all = play(1, &[(0, None, Fault::Errors { rate: 1.0, status: 503 })]);
        assert!((0..1_000).all(|at| all.next(millis(at)).status == 503));
    }

    #[test]
    fn a_rate_limit_admits_its_number_and_announces_the_next_window() {
        let mut play = play(0, &[(500, None, Fault::RateLimit { requests: 2, per: millis(2_500) })]);
        let mut at = |at| {
            let behaviour = play.next(millis(at));
            (behaviour.status, behaviour.headers.first().map(|(_, seconds)| seconds.clone()).unwrap_or_default())
        };
        let (well, wait) = ((200, String::new()), |seconds: &str| (429, seconds.to_owned()));
        assert_eq!([at(0), at(1), at(2)], [well.clone(), well.clone(), well.clone()], "before it begins");
        assert_eq!([at(500), at(600)], [well.clone(), well.clone()]);
        assert_eq!([at(700), at(1_000), at(2_000), at(2_999)], [wait("3"), wait("2"), wait("1"), wait("1")]);
        assert_eq!([at(3_000), at(3_001)], [well.clone(), well], "refused calls do not count");
        assert_eq!(at(3_002), wait("3"));
    }

    #[test]
    fn faults_add_up_and_an_outage_overrides_them() {
        let slow = |add| Fault::Latency { add: millis(add) };
        let mut play = play(
            0,
            &[
                (0, None, slow(100)),
                (1_000, None, slow(200)),
                (2_000, None, Fault::Errors { rate: 1.0, status: 500 }),
                (3_000, None, Fault::Outage),
            ],
        );
        let mut at = |at| {
            let behaviour = play.next(millis(at));
            (behaviour.status, behaviour.delay, behaviour.close)
        };
        assert_eq!(at(0), (200, millis(100), false));
        assert_eq!(at(1_000), (200, millis(300), false));
        assert_eq!(at(2_000), (500, millis(300), false));
        assert_eq!(at(3_000), (200, millis(0), true));
    }
}
