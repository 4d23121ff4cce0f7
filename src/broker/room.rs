//! How a choice heeds budgets, and what it takes of them: whoever has no room for a request is passed over while another one
//! has. Where nobody has, the request goes where it would go without budgets: the user's limits never cost an answer.
//!
//! Nothing here costs more than to see that a pool has no budgets, where it has none.

use rand::Rng;

use super::pool::Budgeted;
use super::routers::Router;
use super::{Broker, Claim, Pool, Room, Route, Sent, WhenAllDisabled};
use crate::load::budget::{Budgets, Lack, Seen};
use crate::outcome::{Outcome, Report};
use crate::request::Request;
use crate::router::{RouterId, RouterPath};
use crate::strategy::{Candidate, Roominess};
use crate::time::Now;

impl Claim {
    /// Among whom the choice was made, if not among all.
    pub(super) fn among(self, budgets: Option<&Budgets>) -> Option<Roominess<'_>> {
        budgets.filter(|_| matches!(self.room, Room::Elsewhere(..))).map(|budgets| (budgets, self.tokens))
    }
}

impl Broker {
    /// What becomes of a choice: in a pool with budgets, if its router has no room for the request, the choice is made again
    /// among those that are wanted and have, and stays if none has.
    #[inline]
    pub(super) fn heed<R: Rng>(
        &self,
        pool: &Pool,
        route: &mut Route,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) {
        if pool.has_budgets() {
            self.heed_budgets(pool, route, request, rng, wanted);
        }
    }

    /// With what probability a router comes then depends on who has room, which nobody asks all of them: so it is not told.
    /// Apart, so that other pools do not pay for it.
    #[inline(never)]
    fn heed_budgets<R: Rng>(
        &self,
        pool: &Pool,
        route: &mut Route,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) {
        let (tokens, first) = (request.extent().tokens(), route.router());
        route.chosen.p = None;
        route.claim = Claim { tokens, room: Room::There };
        let Some(budgets) = &self.budgets else { return };
        let Some(lack) = budgets.lack(first, tokens) else { return };
        let others = match route.sent {
            Sent::ToServe | Sent::ToProve => Some(pool.tree()),
            Sent::AsLastResort => pool.last_resort(),
            // Whoever is back first is no matter of room.
            Sent::WhileDisabled => pool.disabled().filter(|_| pool.when_all_disabled() != WhenAllDisabled::Soonest),
        };
        let wanted = |other: &Candidate| wanted(other.router);
        let other = others.and_then(|tree| self.order(tree, request, rng).with_room((budgets, tokens)).find(wanted));
        let Some(other) = other else {
            route.claim.room = Room::Nowhere(lack);
            return;
        };
        if matches!(route.sent, Sent::ToServe | Sent::ToProve) {
            route.sent = if self.probes(other.router) { Sent::ToProve } else { Sent::ToServe };
        }
        route.claim.room = Room::Elsewhere(first, lack);
        route.chosen = Candidate { p: None, ..other };
    }

    /// Begins to count where the settings ask for it now, and forgets where they do no more.
    pub(super) fn keep_budgets(&mut self) {
        for pool in &mut self.pools {
            let routers = pool.tree().routers();
            let settings = routers.filter_map(|id| self.routers.get(usize::from(id.0))).map(Router::settings);
            let budgets = settings.filter_map(|settings| settings.budget);
            pool.keep_budgets(budgets.fold(Budgeted::Nothing, |all, budget| match (all, budget.tpm) {
                (_, Some(_)) | (Budgeted::Tokens, _) => Budgeted::Tokens,
                _ => Budgeted::Calls,
            }));
        }
        self.budgets = if self.pools.iter().any(Pool::has_budgets) {
            let mut budgets = self.budgets.take().unwrap_or_default();
            budgets.keep(self.routers.iter().map(|router| router.settings().budget));
            Some(budgets)
        } else {
            None
        };
    }

    /// A log says what a call used; an error used nothing, unless it says so. Whose call it was only its stamp can say; without
    /// one only that of a client which named the router itself is certainly not one of ours.
    pub(super) fn learn_use(&mut self, report: &Report<'_>, outcome: &Outcome, now: Now) {
        let Some(budgets) = &mut self.budgets else { return };
        let foreign = match report.stamp_id {
            Some(_) => report.decision.is_none(),
            None => report.ingress.is_some() && report.ingress == report.served,
        };
        let Report { decision, used, remaining, .. } = *report;
        let tokens = used.or_else(|| (outcome.status >= 400).then_some(0));
        budgets.learn(&Seen { router: outcome.router, decision, foreign, tokens, remaining }, now);
    }

    /// The routers that might have served the request of a decision, had they had room for it; but for the one that its reason
    /// names.
    pub(super) fn crowded(&self, pool: &Pool, route: &Route) -> impl Iterator<Item = (&RouterPath, Lack)> {
        let named = |id| id == route.router() || matches!(route.claim.room, Room::Elsewhere(first, _) if first == id);
        let others = pool.tree().open().filter(move |router| !named(*router));
        others.filter_map(|router| {
            let lack = self.budgets.as_ref()?.lack(router, route.claim.tokens)?;
            Some((self.path(router)?, lack))
        })
    }
}
