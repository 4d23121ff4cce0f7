//! How a choice heeds budgets, and what it takes of them: whoever has no room for a request is passed over while another one
//! has. Where nobody has, the request goes where it would go without budgets: the user's limits never cost an answer.
//!
//! Nothing here costs more than to see that a pool has no budgets, where it has none.

use rand::Rng;

use super::pool::Budgeted;
use super::{Broker, Claim, Pool, Room, Route};
use crate::load::budget::{Budgets, Lack, Seen};
use crate::outcome::{Outcome, Report};
use crate::request::Request;
use crate::router::RouterPath;
use crate::strategy::{Candidate, Roominess, Tree};
use crate::time::Now;

/// A router, and what the request takes of its budget.
pub(super) type Picked = (Candidate, Claim);

impl Claim {
    /// Among whom the choice was made, if not among all.
    pub(super) fn among(self, budgets: Option<&Budgets>) -> Option<Roominess<'_>> {
        budgets.filter(|_| matches!(self.room, Room::Elsewhere(..))).map(|budgets| (budgets, self.tokens))
    }
}

impl Broker {
    /// The first of a tree's order that has room for a request; if none has, the first.
    pub(super) fn pick<R: Rng>(&self, pool: &Pool, tree: &Tree, request: &impl Request, rng: &mut R) -> Option<Picked> {
        let first = self.order(tree, request, rng).next()?;
        match &self.budgets {
            Some(budgets) if pool.budgets() != Budgeted::Nothing => {
                Some(self.pick_within(budgets, tree, first, self.claim(pool, request), request, rng))
            }
            _ => Some((first, Claim::default())),
        }
    }

    /// With what probability a router comes depends on who has room, which nobody asks all of them: so it is not told.
    fn pick_within<R: Rng>(
        &self,
        budgets: &Budgets,
        tree: &Tree,
        first: Candidate,
        claim: Claim,
        request: &impl Request,
        rng: &mut R,
    ) -> Picked {
        let first = Candidate { p: None, ..first };
        let Some(lack) = budgets.lack(first.router, claim.tokens) else { return (first, claim) };
        match self.order(tree, request, rng).with_room((budgets, claim.tokens)).next() {
            Some(other) => {
                let room = Room::Elsewhere(first.router, lack);
                (Candidate { p: None, ..other }, Claim { room, ..claim })
            }
            None => (first, Claim { room: Room::Nowhere(lack), ..claim }),
        }
    }

    /// What a request is expected to use of a pool's budgets.
    pub(super) fn claim(&self, pool: &Pool, request: &impl Request) -> Claim {
        let tokens = if pool.budgets() == Budgeted::Nothing { 0 } else { request.extent().tokens() };
        Claim { tokens, room: Room::There }
    }

    /// Begins to count where the settings ask for it now, and forgets where they do no more.
    pub(super) fn keep_budgets(&mut self) {
        for pool in &mut self.pools {
            let routers = pool.tree().routers();
            let settings = routers.filter_map(|id| self.routers.get(usize::from(id.0))).map(|router| &router.settings);
            let budgets = settings.filter_map(|settings| settings.budget);
            pool.keep_budgets(budgets.fold(Budgeted::Nothing, |all, budget| match (all, budget.tpm) {
                (_, Some(_)) | (Budgeted::Tokens, _) => Budgeted::Tokens,
                _ => Budgeted::Calls,
            }));
        }
        self.budgets = if self.pools.iter().any(|pool| pool.budgets() != Budgeted::Nothing) {
            let mut budgets = self.budgets.take().unwrap_or_default();
            budgets.keep(self.routers.iter().map(|router| router.settings.budget));
            Some(budgets)
        } else {
            None
        };
    }

    /// A log says what a call used; an error used nothing, unless it says so. Whose call it was only its stamp can say; without one only that of a client which named
    /// the router itself is certainly not one of ours.
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
