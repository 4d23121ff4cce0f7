//! When the targets of one request are back, of which none may serve it now.
//!
//! The targets of a request are those that its conditions lead to: others that serve, or wait for another time, say nothing
//! about it.

use super::{AttemptHistory, Broker, Pool, WhenAllDisabled};
use crate::load::model_limits::ModelLimit;
use types::request::Request;
use types::router::RouterId;
use types::time::BrokerTime;
use types::transition::HealthState;

/// Why none of a request's targets may serve it, and until when. Targets that would answer it the same again do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unavailability {
    /// When the first of them is back; `None`: a wait does not help.
    pub until: Option<BrokerTime>,
    /// Each is asked too often.
    pub rate_limited: bool,
    /// The upstream of each has announced a wait, and the pool keeps to it: a client is answered at once, and may come back
    /// itself.
    pub announced: bool,
}

impl Broker {
    /// Why none of a request's targets may serve it now.
    pub(super) fn unavailability(
        &self,
        pool: &Pool,
        request: &impl Request,
        history: &AttemptHistory,
    ) -> Unavailability {
        let keeps_waits = pool.when_all_disabled() == WhenAllDisabled::Soonest;
        let mut unavailability = Unavailability { until: None, rate_limited: true, announced: keeps_waits };
        let mut is_out = false;
        for router in pool.tree().reachable(request).filter(|router| history.may_retry(*router)) {
            let rests = self.model_limit(router, request);
            unavailability.until = unavailability.until.into_iter().chain(self.back(router, rests)).min();
            let Some(known) = self.routers.get(router).filter(|_| self.operator.drained_by(router).is_none()) else {
                continue;
            };
            is_out = true;
            let health = known.health();
            if let Some(limit) = rests.filter(|_| health.until().is_none()) {
                unavailability.announced &= limit.announced;
                continue;
            }
            unavailability.rate_limited &=
                matches!(health.state(), HealthState::Cooling { cause, .. } if cause.is_rate_limit());
            unavailability.announced &= health.is_ejected() && health.waits_as_announced();
        }
        Unavailability {
            rate_limited: is_out && unavailability.rate_limited,
            announced: is_out && unavailability.announced,
            ..unavailability
        }
    }

    /// When a client may send a request again: the soonest moment at which one of its targets may serve, which may be in the
    /// past; `None` if that is unknown. `not_before`: until when a target has asked this request not to be sent; that may be later
    /// than what its health says, which goes only so far.
    pub fn retry_at(
        &self,
        request: &impl Request,
        history: &AttemptHistory,
        now: BrokerTime,
        not_before: impl Fn(RouterId) -> Option<BrokerTime>,
    ) -> Option<BrokerTime> {
        let pool = self.pool(self.pool_of(request, history)?)?;
        let ready = |router| {
            let asked_to_wait = not_before(router);
            // One that refused and named no time would refuse again.
            if !history.may_retry(router) && asked_to_wait.is_none() {
                return None;
            }
            let rests = self.model_limit(router, request);
            let is_out = rests.is_some()
                || self.operator.drained_by(router).is_some()
                || self.routers.get(router)?.health().until().is_some();
            let back = if is_out { self.back(router, rests)? } else { now };
            Some(asked_to_wait.map_or(back, |asked| asked.max(back)))
        };
        let mut soonest: Option<BrokerTime> = None;
        for at in pool.tree().reachable(request).filter_map(ready) {
            if at <= now {
                return Some(at);
            }
            soonest = soonest.into_iter().chain([at]).min();
        }
        soonest
    }

    /// Which change of eligibility was the last one of the pool at this ingress; of any pool, where there is none.
    pub fn last_change(&self, ingress: &str) -> u64 {
        let pool = self.pool_at(ingress).and_then(|id| self.pools.get(id));
        pool.map_or(self.eligibility_changes, Pool::changed_at)
    }

    /// When a router that is ejected, drained by an operator or resting for the requested model is back; `None` if it is none of
    /// these, or does not come back by itself.
    fn back(&self, router: RouterId, rests: Option<&ModelLimit>) -> Option<BrokerTime> {
        let until = self.routers.get(router)?.health().until().max(rests.map(|limit| limit.until));
        match self.operator.drained_by(router) {
            None => until,
            Some(terms) => terms.until.map(|held| until.map_or(held, |until| until.max(held))),
        }
    }
}
