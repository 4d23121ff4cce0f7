//! A fake upstream: how long it takes to answer, and a script of what goes wrong with it.
//!
//! It knows nothing of policies. Its dice come from the call, so that the same call gets the same answer from it whichever
//! policy sent it there.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::call::{Answer, Kind};

/// How long a client is left without an answer until the gateway gives up.
const MAX_LATENCY: Duration = Duration::from_secs(200);
/// How long it takes an upstream to say that it will not do it.
const REFUSAL: Duration = Duration::from_millis(50);
/// Within which time the calls in progress break off when an upstream dies.
const BREAKING: Duration = Duration::from_secs(1);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Every call fails, after this time.
    Dead(Duration),
    /// This share of the calls fails.
    Errors(f64),
    /// Every call takes this many times as long.
    Slow(f64),
    /// It has room for few calls at a time, at first one, at the end of the spell so many; the rest fail.
    Cold(f64),
}

/// Something that goes wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spell {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) fault: Fault,
}

/// So many calls in each window of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    pub(crate) calls: u32,
    pub(crate) per: Duration,
    /// The 429 says when the window ends.
    pub(crate) says_when: bool,
}

/// An upstream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upstream {
    /// Half of its answers take less than this.
    pub(crate) median: Duration,
    /// Of the logarithm of what they take.
    pub(crate) spread: f64,
    pub(crate) spells: Vec<Spell>,
    pub(crate) limit: Option<Limit>,
    window: u32,
    used: u32,
    pub(crate) in_flight: u32,
}

impl Upstream {
    pub(crate) const fn new(median: Duration) -> Self {
        let spells = Vec::new();
        Self { median, spread: 0.5, spells, limit: None, window: 0, used: 0, in_flight: 0 }
    }

    /// The same with something that goes wrong, from one second to another.
    pub(crate) fn with(mut self, from: u64, to: u64, fault: Fault) -> Self {
        self.spells.push(Spell { from: Duration::from_secs(from), to: Duration::from_secs(to), fault });
        self
    }

    fn now_wrong(&self, now: Duration) -> impl Iterator<Item = &Spell> {
        self.spells.iter().filter(move |spell| spell.from <= now && now < spell.to)
    }

    /// The spell in which no call can succeed, if it is one now.
    pub(crate) fn dead(&self, now: Duration) -> Option<&Spell> {
        self.now_wrong(now).find(|spell| matches!(spell.fault, Fault::Dead(_)))
    }

    /// What part of its work it would do now.
    pub(crate) fn capacity(&self, now: Duration) -> f64 {
        let left = self.now_wrong(now).map(|spell| match spell.fault {
            Fault::Dead(_) => 0.0,
            Fault::Errors(share) => 1.0 - share,
            Fault::Slow(_) => 1.0,
            Fault::Cold(room) => spell.room(room, now) / room,
        });
        let spent = self.limit.is_some_and(|limit| self.window_at(limit, now) == (self.window, true));
        if spent { 0.0 } else { left.product() }
    }

    /// The window that a moment lies in, and whether it would be spent if it were the one that is counted.
    fn window_at(&self, limit: Limit, now: Duration) -> (u32, bool) {
        let window = (now.as_nanos() / limit.per.as_nanos()) as u32;
        (window, self.used >= limit.calls)
    }

    /// Answers a call.
    pub(crate) fn ask(&mut self, kind: Kind, now: Duration, dice: &mut SmallRng) -> Answer {
        let (long, luck, breaks) = (self.duration(now, dice), dice.random::<f64>(), dice.random::<f64>());
        if let Some(Fault::Dead(after)) = self.dead(now).map(|spell| spell.fault) {
            return Answer { gateway_generated: true, ..plain(502, after) };
        }
        if let Some(limited) = self.limited(now) {
            return limited;
        }
        if let Some(death) = self.dies_within(now, long) {
            return plain(502, death - now + BREAKING.mul_f64(breaks));
        }
        for spell in self.now_wrong(now) {
            match spell.fault {
                Fault::Errors(share) if luck < share => return plain(500, long.mul_f64(breaks)),
                Fault::Cold(room) if f64::from(self.in_flight) >= spell.room(room, now) => return plain(503, REFUSAL),
                _ => {}
            }
        }
        match kind {
            Kind::Good => plain(200, long),
            Kind::Bad => plain(400, REFUSAL),
            Kind::Poison => plain(500, long.mul_f64(breaks)),
        }
    }

    fn duration(&self, now: Duration, dice: &mut SmallRng) -> Duration {
        let slower: f64 =
            self.now_wrong(now).map(|spell| if let Fault::Slow(by) = spell.fault { by } else { 1.0 }).product();
        // Twelve dice are as good as a bell curve.
        let bell = (0..12).map(|_| dice.random::<f64>()).sum::<f64>() - 6.0;
        self.median.mul_f64(slower * (bell * self.spread).exp()).min(MAX_LATENCY)
    }

    fn dies_within(&self, now: Duration, long: Duration) -> Option<Duration> {
        let deaths = self.spells.iter().filter(|spell| matches!(spell.fault, Fault::Dead(_))).map(|spell| spell.from);
        deaths.filter(|death| now < *death && *death < now + long).min()
    }

    /// Counts a call against the limit; an answer if there is no room for it.
    fn limited(&mut self, now: Duration) -> Option<Answer> {
        let limit = self.limit?;
        let (window, spent) = self.window_at(limit, now);
        if window != self.window {
            (self.window, self.used) = (window, 0);
        } else if spent {
            let ends = limit.per * (window + 1);
            return Some(Answer { retry_after: limit.says_when.then(|| ends - now), ..plain(429, REFUSAL) });
        }
        self.used += 1;
        None
    }
}

impl Spell {
    /// For how many calls there is room by now.
    fn room(&self, at_the_end: f64, now: Duration) -> f64 {
        let gone = (now - self.from).as_secs_f64() / (self.to - self.from).as_secs_f64();
        1.0 + (at_the_end - 1.0) * gone
    }
}

const fn plain(status: u16, after: Duration) -> Answer {
    Answer { status, after, retry_after: None, gateway_generated: false }
}
