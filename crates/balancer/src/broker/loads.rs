//! How the broker keeps what some modes choose by, and hands it to them. Where no mode asks, there is nothing to keep, and
//! nothing here costs more than to see that.

use rand::Rng;

use super::{Broker, Route};
use crate::load::Loads;
use crate::strategy::{Lore, Order, Tree};
use types::event::{Change, Notice};
use types::outcome::{Outcome, Report};
use types::request::Request;
use types::time::Now;

impl Broker {
    /// A walk through a tree that knows what was learnt.
    pub(super) fn order<'a, Q, R>(&'a self, tree: &'a Tree, request: &'a Q, rng: &'a mut R) -> Order<'a, Q, R>
    where
        Q: Request,
        R: Rng,
    {
        Order::new(tree, request, rng).knowing(self.loads.as_ref())
    }

    /// What a walk knows, where it does not ask for room.
    pub(super) const fn lore(&self) -> Lore<'_> {
        Lore { loads: self.loads.as_ref(), room: None }
    }

    /// Begins to learn where the settings ask for it now, and forgets where they do no more.
    pub(super) fn keep_loads(&mut self) {
        let learns = self.pools.iter().any(|pool| pool.tree().learns());
        self.loads = if learns { Some(self.loads.take().unwrap_or_default()) } else { None };
        self.weigh();
    }

    pub(super) const fn bring_loads_forward(&mut self, now: Now) {
        if let Some(loads) = &mut self.loads {
            loads.bring_forward(now);
        }
        if let Some(budgets) = &mut self.budgets {
            budgets.bring_forward(now);
        }
    }

    pub(super) fn begin_call(&mut self, route: &Route, now: Now) {
        if let Some(loads) = &mut self.loads {
            loads.begin(route.number, route.router(), now);
        }
        if let Some(budgets) = &mut self.budgets {
            budgets.take(route.number, route.router(), route.claim.tokens, now);
        }
    }

    /// A log with a stamp of ours ends its call, also where it teaches nothing else.
    pub(super) fn end_call(&mut self, report: &Report<'_>) {
        if let (Some(loads), Some(decision)) = (&mut self.loads, report.decision) {
            loads.end(decision);
        }
    }

    pub(super) fn expire_calls(&mut self, now: Now, changes: &mut Vec<Change>) {
        if self.loads.as_mut().is_some_and(|loads| loads.expire(now)) {
            changes.push(Change::Notice(Notice::StampsUnseen));
        }
    }

    pub(super) fn learn_speed(&mut self, outcome: &Outcome, now: Now) {
        if self.loads.as_mut().is_some_and(|loads| loads.learn(outcome, now)) {
            self.weigh();
        }
    }

    pub(super) fn loads_due(&self) -> Option<Now> {
        self.loads.as_ref().and_then(Loads::next_deadline)
    }

    /// Finds anew what newcomers are taken for.
    fn weigh(&mut self) {
        if let Some(loads) = &self.loads {
            self.pools.iter_mut().for_each(|pool| pool.weigh(loads));
        }
    }
}
