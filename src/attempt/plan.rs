//! The plan of one request: what to do next, given who may be tried.
//!
//! It holds three promises, whatever the answers are: no more attempts than the limit, nobody tried again while somebody
//! untried may serve (the offer's doing, and it takes offers as they are), and an end within the time.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use smallvec::SmallVec;

use super::{Budget, Limits};
use crate::broker::{Offer, Route};
use crate::router::RouterId;
use crate::time::Now;

/// No pause is shorter: a clock that stands still must not make anybody spin.
const SHORTEST: Duration = Duration::from_millis(1);

/// One request's plan.
#[derive(Debug, Clone)]
pub struct Plan {
    limits: Limits,
    deadline: Now,
    sent: u32,
    pauses: u32,
    /// The pause before this attempt is over.
    rested: bool,
    /// Who asked not to be asked again before when.
    hints: SmallVec<[(RouterId, Now); 4]>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send it there.
    Send {
        /// Where.
        route: Route,
        /// When the first byte of an answer must be here.
        by: Now,
    },
    /// Wait so long, then ask again.
    Pause(Duration),
    /// Nothing more.
    Stop(Stop),
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It was sent as often as it may be.
    Attempts,
    /// Its time is over, or would be before the next attempt.
    Time,
    /// All requests together have been sent again as often as they may be.
    Budget,
    /// Nobody is left; with the moment when the first is back, if that is known.
    Nobody(Option<Now>),
}

impl Stop {
    /// The words of all, as metrics spell them.
    pub const WORDS: [&str; 4] = ["attempts", "time", "budget", "nobody_left"];

    /// As metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Attempts => Self::WORDS[0],
            Self::Time => Self::WORDS[1],
            Self::Budget => Self::WORDS[2],
            Self::Nobody(_) => Self::WORDS[3],
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempts => "as many attempts as allowed",
            Self::Time => "no time left for another attempt",
            Self::Budget => "too many retries of all requests together",
            Self::Nobody(_) => "no target left",
        })
    }
}

impl Plan {
    /// The plan of a request that came now.
    pub fn new(limits: Limits, now: Now) -> Self {
        let deadline = now.after(limits.whole);
        Self { limits, deadline, sent: 0, pauses: 0, rested: false, hints: SmallVec::new() }
    }

    /// How often it was sent.
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// When it must be over.
    pub const fn deadline(&self) -> Now {
        self.deadline
    }

    /// A target asked to be left alone for so long.
    pub fn heed(&mut self, router: RouterId, wait: Option<Duration>, now: Now) {
        self.hints.retain(|(other, _)| *other != router);
        self.hints.extend(wait.map(|wait| (router, now.after(wait))));
    }

    /// What to do with this offer.
    pub fn next<R: Rng>(&mut self, offer: Offer, budget: &mut Budget, now: Now, rng: &mut R) -> Step {
        if now >= self.deadline {
            return Step::Stop(match offer {
                Offer::Nobody { until, .. } => Stop::Nobody(until),
                Offer::New(_) | Offer::Again(_) => Stop::Time,
            });
        }
        match offer {
            Offer::Nobody { until: None, .. } => Step::Stop(Stop::Nobody(None)),
            _ if self.sent >= self.limits.attempts => Step::Stop(Stop::Attempts),
            _ if self.sent > 0 && !budget.affords(now) => Step::Stop(Stop::Budget),
            Offer::New(route) => self.send(route, budget, now),
            Offer::Again(route) if self.rested => self.send(route, budget, now),
            Offer::Again(route) => {
                let hint = self.hints.iter().find(|(router, _)| *router == route.router());
                let wait =
                    hint.map_or_else(|| self.limits.backoff.draw(self.pauses, rng), |(_, until)| until.since(now));
                self.pause(wait, Stop::Time, now)
            }
            Offer::Nobody { until: Some(until), .. } => {
                // All who wait for it would otherwise come in the same moment.
                let spread = self.limits.backoff.draw(0, rng);
                self.pause(until.since(now).saturating_add(spread), Stop::Nobody(Some(until)), now)
            }
        }
    }

    /// Sends the request to the same target once more at once, if another attempt may be made: for a connection that was closed
    /// before the target answered. It counts as an attempt. With the moment when the first byte of an answer must be here.
    pub fn resend(&mut self, budget: &mut Budget, now: Now) -> Option<Now> {
        let may = now < self.deadline && self.sent < self.limits.attempts && budget.withdraw(now);
        may.then(|| {
            self.sent += 1;
            self.answer_by(now)
        })
    }

    /// When the first byte of an answer must be here to a request that is sent now.
    fn answer_by(&self, now: Now) -> Now {
        now.after(self.limits.connect.saturating_add(self.limits.first_byte)).min(self.deadline)
    }

    fn send(&mut self, route: Route, budget: &mut Budget, now: Now) -> Step {
        if self.sent == 0 {
            budget.deposit(now);
        } else if !budget.withdraw(now) {
            return Step::Stop(Stop::Budget);
        }
        self.sent += 1;
        self.rested = false;
        Step::Send { route, by: self.answer_by(now) }
    }

    /// A wait, unless it would take all the time that is left.
    fn pause(&mut self, wait: Duration, otherwise: Stop, now: Now) -> Step {
        let wait = wait.max(SHORTEST);
        if wait >= self.deadline.since(now) {
            return Step::Stop(otherwise);
        }
        self.pauses += 1;
        self.rested = true;
        Step::Pause(wait)
    }
}
