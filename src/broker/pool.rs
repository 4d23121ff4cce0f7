//! A pool: the routers behind one ingress, and which of them may serve now.
//!
//! The list of those that serve is derived from the routers' health, renewed when a standing changes (rare) so that a
//! decision (frequent) only has to draw from it.

use crate::event::Change;
use crate::router::{RouterId, RouterPath};

/// The routers behind one ingress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    ingress: RouterPath,
    members: Vec<RouterId>,
    serving: Vec<RouterId>,
}

impl Pool {
    pub(super) fn new(ingress: RouterPath, members: Vec<RouterId>) -> Self {
        Self { ingress, serving: members.clone(), members }
    }

    /// The router that clients call.
    pub const fn ingress(&self) -> &RouterPath {
        &self.ingress
    }

    /// All routers, in the order of the settings.
    pub fn members(&self) -> &[RouterId] {
        &self.members
    }

    /// Those that may serve, in the order of the settings.
    pub fn serving(&self) -> &[RouterId] {
        &self.serving
    }

    /// Renews the list of those that serve; a change if the pool became empty or is no longer so.
    pub(super) fn refresh(&mut self, serves: impl Fn(&RouterId) -> bool) -> Option<Change> {
        let was_empty = self.serving.is_empty();
        self.serving.clear();
        self.serving.extend(self.members.iter().copied().filter(serves));
        match (was_empty, self.serving.is_empty()) {
            (false, true) => Some(Change::AllDisabled(self.ingress.clone())),
            (true, false) => Some(Change::SomeEnabled(self.ingress.clone())),
            _ => None,
        }
    }
}
