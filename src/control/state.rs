//! What a replica tells one that starts: who is disabled and for how long, and what operators said. Times are what is left
//! of them, so that clocks need not agree.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::{Command, Given, Snapshot, Takeover, Word};
use crate::outcome::{Breakage, Cause};
use crate::router::RouterPath;
use crate::time::Now;

/// More routers than a broker has, and no more than a message may bring.
const MOST: usize = 65_536;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Who tells.
    pub replica: String,
    /// `balance` or `observe`.
    pub mode: String,
    /// Routers that do not simply serve.
    pub routers: Vec<Out>,
    /// Operators' words, oldest first.
    pub orders: Vec<Standing>,
}

/// A router that is disabled or on probation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Out {
    /// Which.
    pub router: RouterPath,
    /// For how long yet; none: on probation.
    pub seconds_left: Option<f64>,
    /// Why, in the words of log lines.
    pub why: String,
}

/// An operator's word that still holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// About which router.
    pub router: RouterPath,
    /// A weight in this pool; none: it is drained.
    pub pool: Option<RouterPath>,
    /// The weight.
    pub weight: Option<f64>,
    /// For how long yet; none: until somebody says otherwise.
    pub seconds_left: Option<f64>,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl State {
    /// What a replica knows.
    pub fn of(replica: &str, mode: &str, broker: &Snapshot) -> Self {
        let left = |until: Option<Now>| until.map(|until| until.since(broker.at).as_secs_f64());
        let out = broker.routers.iter().filter(|router| router.standing != Word::Enabled).map(|router| Out {
            router: router.router.clone(),
            seconds_left: router.seconds_left,
            why: router.why.map(|why| why.to_string()).unwrap_or_default(),
        });
        let drained = broker.routers.iter().filter_map(|router| {
            let hold = router.drained.as_ref()?;
            Some(Standing {
                router: router.router.clone(),
                pool: None,
                weight: None,
                seconds_left: left(hold.until),
                by: hold.by.clone(),
                reason: hold.reason.clone(),
            })
        });
        let weights = broker.pools.iter().flat_map(|pool| &pool.weights).map(|weight| Standing {
            router: weight.router.clone(),
            pool: Some(weight.pool.clone()),
            weight: Some(weight.weight),
            seconds_left: left(weight.hold.until),
            by: weight.hold.by.clone(),
            reason: weight.hold.reason.clone(),
        });
        let orders = drained.chain(weights).collect();
        Self { replica: replica.to_owned(), mode: mode.to_owned(), routers: out.collect(), orders }
    }

    /// Who is to be out, until when.
    pub fn takeovers(&self, now: Now) -> Vec<Takeover> {
        let takeover = |out: &Out| {
            let until = out.seconds_left.map(|left| after(now, left));
            Some(Takeover { router: out.router.clone(), until, cause: cause(&out.why)? })
        };
        self.routers.iter().take(MOST).filter_map(takeover).collect()
    }

    /// What operators said, as commands.
    pub fn commands(&self, now: Now) -> Vec<Given> {
        let given = |order: &Standing| {
            let router = order.router.clone();
            let command = match &order.pool {
                None => Command::Drain(router),
                Some(pool) => Command::Weigh { pool: pool.clone(), router, weight: order.weight },
            };
            let until = order.seconds_left.map(|left| after(now, left));
            Given { command, until, by: order.by.clone(), reason: order.reason.clone() }
        };
        self.orders.iter().take(MOST).map(given).collect()
    }
}

/// A moment so many seconds ahead, at most 30 days.
fn after(now: Now, seconds: f64) -> Now {
    let longest = super::LONGEST;
    now.after(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(longest).min(longest))
}

/// A cause by its words. One that a newer version knows and we do not is none.
fn cause(words: &str) -> Option<Cause> {
    let digits: String = words.chars().filter(char::is_ascii_digit).take(3).collect();
    let status = digits.parse().unwrap_or(0);
    let known = [
        Cause::Answered(status),
        Cause::Unreachable(status),
        Cause::FailsOften(status),
        Cause::UsedUp,
        Cause::CutOff,
        Cause::TooSlow,
        Cause::UnknownToGateway,
        Cause::Ordered,
    ];
    let broken = Breakage::ALL.into_iter().map(Cause::Broken);
    known.into_iter().chain(broken).find(|cause| cause.to_string() == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_known_by_its_words() {
        for known in [
            Cause::Answered(503),
            Cause::Unreachable(502),
            Cause::FailsOften(500),
            Cause::UsedUp,
            Cause::CutOff,
            Cause::TooSlow,
            Cause::UnknownToGateway,
            Cause::Broken(Breakage::Silent),
            Cause::Ordered,
        ] {
            assert_eq!(cause(&known.to_string()), Some(known));
        }
        for strange in ["", "answered", "answered 99999", "struck by lightning 500"] {
            assert_eq!(cause(strange), None, "{strange}");
        }
    }
}
