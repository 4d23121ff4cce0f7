//! Those of a branch that have room for a request, as if the others could not serve: so that each mode does among them what
//! it does, and needs not know of budgets. Built anew for a request whose first router has no room; no other pays for it.

use rand::Rng;

use super::{Branch, Mode, NodeKind, Tree};
use crate::load::budget::Budgets;
use crate::strategy::{Named, Open, Those};
use types::request::Request;

/// What knows who has room, and for how many tokens it is asked.
pub type Roominess<'a> = (&'a Budgets, u32);

/// Those that may serve and have room.
#[derive(Debug)]
pub(in crate::strategy) struct Roomy {
    open: Vec<Open>,
    even: bool,
}

impl Roomy {
    /// The next child that a mode names among them. Apart from the walk, which nearly always does without.
    #[inline(never)]
    pub(in crate::strategy) fn next<Q: Request, R: Rng>(
        &self,
        mode: &Mode,
        those: Those<'_>,
        drawn: &[u16],
        request: &Q,
        rng: &mut R,
    ) -> Option<Named> {
        mode.next(Those { open: &self.open, even: self.even, ..those }, drawn, request, rng)
    }

    pub(super) fn has(&self, child: u16) -> bool {
        self.open.binary_search_by_key(&child, |open| open.child).is_ok()
    }
}

impl Tree {
    /// Of a branch's children, leaves that have room for so many tokens and branches with such a leaf.
    #[inline(never)]
    pub(in crate::strategy) fn roomy(&self, branch: &Branch, among: Roominess<'_>) -> Roomy {
        let mut upto = 0.0;
        let has_room = |open: &&Open| self.has_room(branch, open, among);
        let kept = branch.open.iter().filter(has_room).map(|open| {
            upto += open.weight;
            Open { upto, ..*open }
        });
        let open: Vec<_> = kept.collect();
        Roomy { even: even(&open), open }
    }

    fn has_room(&self, above: &Branch, child: &Open, (budgets, tokens): Roominess<'_>) -> bool {
        if let Some(router) = child.router {
            return budgets.lack(router, tokens).is_none();
        }
        let node = above.children.get(usize::from(child.child)).and_then(|id| self.node(*id));
        match node.map(|node| &node.kind) {
            Some(NodeKind::Branch(branch)) => {
                branch.open.iter().any(|child| self.has_room(branch, child, (budgets, tokens)))
            }
            Some(NodeKind::Leaf(_)) | None => false,
        }
    }
}

/// Whether all weigh the same.
pub(super) fn even(open: &[Open]) -> bool {
    open.windows(2).all(|two| two.iter().all(|open| open.weight == two[0].weight))
}
