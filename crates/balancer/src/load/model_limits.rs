//! Which router rests for one model: its upstream has refused the model for its rate, and serves all others. Vendors count the
//! rate of each model apart.
//!
//! One model of a router at most: where a second one is refused before the time of the first is over, the limit is the account's,
//! and the caller lets the router rest as a whole, for the time of the second. This only notes and answers; the caller decides what
//! follows.

use std::time::Duration;

use rustc_hash::FxHashMap;

use types::router::RouterId;
use types::time::BrokerTime;

/// The longest name of a model that is noted, in bytes. Those of vendors are shorter, fine-tuned models and AWS's profiles included.
pub const MAX_MODEL_BYTES: usize = 256;
/// Routers that may rest for a model at a time; a further one rests as a whole.
pub(crate) const MAX_NOTES: usize = 1_024;

/// A model that a router is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLimit {
    /// As the client named it.
    pub model: Box<str>,
    pub until: BrokerTime,
    /// The upstream itself named the time.
    pub(crate) announced: bool,
    /// When it was refused last.
    pub(crate) refused_at: BrokerTime,
    /// When it was refused last, or sent to its router where nothing else was left.
    pub(crate) asked_at: BrokerTime,
}

/// What a refusal led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// The router rests for this model from now on.
    Begun,
    /// It did already.
    Extended,
    /// Another model is refused too, or there is no room for one more: the router is to rest as a whole.
    WholeRouter,
}

/// The routers that rest for one model, each with that model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelLimits {
    now: BrokerTime,
    notes: FxHashMap<RouterId, ModelLimit>,
    /// When the first of them ends.
    next_deadline: Option<BrokerTime>,
}

impl ModelLimits {
    /// Whether no router rests for a model, so that nothing of a request matters here.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    pub(crate) const fn advance_clock(&mut self, now: BrokerTime) {
        self.now = now;
    }

    /// The model that a router is not sent.
    pub(crate) fn of_router(&self, router: RouterId) -> Option<&ModelLimit> {
        self.notes.get(&router)
    }

    /// The same, if it is this one.
    pub(crate) fn of(&self, router: RouterId, model: &str) -> Option<&ModelLimit> {
        self.of_router(router).filter(|limit| *limit.model == *model)
    }

    /// The routers that rest for any model.
    pub(crate) fn routers(&self) -> impl Iterator<Item = RouterId> {
        self.notes.keys().copied()
    }

    /// The routers that rest for this model.
    pub(crate) fn routers_of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = RouterId> + 'a {
        self.notes.iter().filter(move |(_, limit)| *limit.model == *model).map(|(router, _)| *router)
    }

    /// Whether a router was asked for its model within this time.
    pub(crate) fn was_asked_within(&self, limit: &ModelLimit, time: Duration) -> bool {
        self.now < limit.asked_at.after(time)
    }

    /// The upstream of a router refuses a model for so long.
    pub(crate) fn refused(
        &mut self,
        (router, model): (RouterId, &str),
        wait: Duration,
        announced: bool,
        now: BrokerTime,
    ) -> Noted {
        let is_full = self.notes.len() >= MAX_NOTES;
        let noted = match self.notes.get_mut(&router) {
            Some(limit) if *limit.model == *model => {
                let until = limit.until.max(now.after(wait));
                (limit.until, limit.announced) = (until, limit.announced || announced);
                (limit.refused_at, limit.asked_at) = (now, now);
                Noted::Extended
            }
            // The first one's time goes on: it may be the longer one.
            Some(_) => return Noted::WholeRouter,
            None if is_full => return Noted::WholeRouter,
            None => {
                let until = now.after(wait);
                let limit = ModelLimit { model: model.into(), until, announced, refused_at: now, asked_at: now };
                self.notes.insert(router, limit);
                Noted::Begun
            }
        };
        self.find_deadline();
        noted
    }

    /// A call for the model was sent there all the same. Not inlined, because it is rare.
    #[inline(never)]
    pub(crate) fn asked(&mut self, router: RouterId, now: BrokerTime) {
        if let Some(limit) = self.notes.get_mut(&router) {
            limit.asked_at = now;
        }
    }

    /// A router serves its model again.
    pub(crate) fn end(&mut self, router: RouterId) -> Option<ModelLimit> {
        let ended = self.notes.remove(&router)?;
        self.find_deadline();
        Some(ended)
    }

    /// Ends those whose time is over by now; in the order of their routers.
    pub(crate) fn expire(&mut self, now: BrokerTime) -> Vec<(RouterId, ModelLimit)> {
        if self.next_deadline.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut over: Vec<_> = self.notes.extract_if(|_, limit| limit.until <= now).collect();
        over.sort_unstable_by_key(|(router, _)| *router);
        self.find_deadline();
        over
    }

    pub(crate) const fn next_deadline(&self) -> Option<BrokerTime> {
        self.next_deadline
    }

    /// Whether all that is derived is right, and the bounds are kept.
    pub(crate) fn is_consistent(&self) -> bool {
        let first = self.notes.values().map(|limit| limit.until).min();
        let is_short = |limit: &ModelLimit| limit.model.len() <= MAX_MODEL_BYTES;
        self.notes.len() <= MAX_NOTES && self.next_deadline == first && self.notes.values().all(is_short)
    }

    fn find_deadline(&mut self) {
        self.next_deadline = self.notes.values().map(|limit| limit.until).min();
    }
}
