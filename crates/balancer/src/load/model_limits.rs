//! Which router rests for which models: its upstream has refused them for their rate, and serves all others. Vendors count the rate of
//! each model apart.
//!
//! `MAX_MODELS` of a router at most: where a further one is refused before the time of one of them is over, the limit is taken for
//! the account's, and the caller lets the router rest as a whole, for the time of that one. This only notes and answers; the caller
//! decides what follows.

use std::time::Duration;

use rustc_hash::FxHashMap;

use types::router::RouterId;
use types::time::BrokerTime;

/// The longest name of a model that is noted, in bytes. Those of vendors are shorter, fine-tuned models and AWS's profiles included.
pub const MAX_MODEL_BYTES: usize = 256;
/// Models that one router may rest for at a time. Few models are so busy that their limits are met, and where the account's is, this
/// many calls are refused before that is seen.
pub(crate) const MAX_MODELS: usize = 4;
/// Routers that may rest for models at a time; a further one rests as a whole.
pub(crate) const MAX_ROUTERS: usize = 1_024;

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
    /// More models are refused than are noted: the router is to rest as a whole.
    WholeRouter,
}

/// The routers that rest for models, each with those.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelLimits {
    now: BrokerTime,
    /// Each list has at least one.
    notes: FxHashMap<RouterId, Vec<ModelLimit>>,
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

    /// The models that a router is not sent.
    pub(crate) fn of_router(&self, router: RouterId) -> &[ModelLimit] {
        self.notes.get(&router).map(Vec::as_slice).unwrap_or_default()
    }

    /// The limit of a model at a router.
    pub(crate) fn of(&self, router: RouterId, model: &str) -> Option<&ModelLimit> {
        self.of_router(router).iter().find(|limit| *limit.model == *model)
    }

    /// The place of a model among those of a router, which holds until the next change.
    pub(crate) fn place(&self, router: RouterId, model: &str) -> Option<u8> {
        let mut places = (0..).zip(self.of_router(router));
        places.find(|(_, limit)| *limit.model == *model).map(|(place, _)| place)
    }

    /// The routers that rest for any model.
    pub(crate) fn routers(&self) -> impl Iterator<Item = RouterId> {
        self.notes.keys().copied()
    }

    /// The routers that rest for this model.
    pub(crate) fn routers_of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = RouterId> + 'a {
        self.routers().filter(move |router| self.of(*router, model).is_some())
    }

    /// Whether a router was asked for its model within this time.
    pub(crate) fn was_asked_within(&self, limit: &ModelLimit, time: Duration) -> bool {
        self.now < limit.asked_at.after(time)
    }

    /// The upstream of a router refuses a model for so long.
    pub(crate) fn refused(
        &mut self,
        router: RouterId,
        model: &str,
        wait: Duration,
        announced: bool,
        now: BrokerTime,
    ) -> Noted {
        let is_full = self.notes.len() >= MAX_ROUTERS && !self.notes.contains_key(&router);
        let (until, known) = (now.after(wait), self.notes.get_mut(&router));
        let noted = if let Some(limit) = known.and_then(|known| known.iter_mut().find(|limit| *limit.model == *model)) {
            (limit.until, limit.announced) = (limit.until.max(until), limit.announced || announced);
            (limit.refused_at, limit.asked_at) = (now, now);
            Noted::Extended
        } else if is_full || self.of_router(router).len() >= MAX_MODELS {
            return Noted::WholeRouter;
        } else {
            let limit = ModelLimit { model: model.into(), until, announced, refused_at: now, asked_at: now };
            self.notes.entry(router).or_default().push(limit);
            Noted::Begun
        };
        self.find_deadline();
        noted
    }

    /// A call for the model at this place was sent there all the same. Not inlined, because it is rare.
    #[inline(never)]
    pub(crate) fn asked(&mut self, router: RouterId, place: u8, now: BrokerTime) {
        if let Some(limit) = self.notes.get_mut(&router).and_then(|limits| limits.get_mut(usize::from(place))) {
            limit.asked_at = now;
        }
    }

    /// Ends those limits of a router for which that is so.
    pub(crate) fn end(&mut self, router: RouterId, ends: impl Fn(&ModelLimit) -> bool) -> Vec<ModelLimit> {
        let Some(limits) = self.notes.get_mut(&router) else { return Vec::new() };
        let ended = limits.extract_if(.., |limit| ends(limit)).collect();
        if limits.is_empty() {
            self.notes.remove(&router);
        }
        self.find_deadline();
        ended
    }

    /// Ends those whose time is over by now; in the order of their routers.
    pub(crate) fn expire(&mut self, now: BrokerTime) -> Vec<(RouterId, ModelLimit)> {
        if self.next_deadline.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut over = Vec::new();
        self.notes.retain(|router, limits| {
            over.extend(limits.extract_if(.., |limit| limit.until <= now).map(|limit| (*router, limit)));
            !limits.is_empty()
        });
        over.sort_by_key(|(router, _)| *router);
        self.find_deadline();
        over
    }

    pub(crate) const fn next_deadline(&self) -> Option<BrokerTime> {
        self.next_deadline
    }

    /// Whether all that is derived is right, and the bounds are kept.
    pub(crate) fn is_consistent(&self) -> bool {
        let first = self.limits().map(|limit| limit.until).min();
        let are_few = |limits: &Vec<ModelLimit>| (1..=MAX_MODELS).contains(&limits.len());
        self.notes.len() <= MAX_ROUTERS
            && self.notes.values().all(are_few)
            && self.next_deadline == first
            && self.limits().all(|limit| limit.model.len() <= MAX_MODEL_BYTES)
    }

    fn limits(&self) -> impl Iterator<Item = &ModelLimit> {
        self.notes.values().flatten()
    }

    fn find_deadline(&mut self) {
        self.next_deadline = self.limits().map(|limit| limit.until).min();
    }
}
