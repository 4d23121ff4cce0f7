//! The candidates of a tree for one request, lazily and depth first: all of a branch before its sibling.
//!
//! A router that stands in two leaves comes twice; whoever walks on skips what was tried.

use rand::Rng;
use smallvec::{SmallVec, smallvec};

use super::tree::{Branch, NodeId, Roominess, Tree};
use super::{Named, Note};
use crate::load::Loads;
use types::request::Request;
use types::router::RouterId;

/// One router of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The router.
    pub router: RouterId,
    /// The leaf it was found at.
    pub leaf: NodeId,
    /// The probability with which it was drawn at this step; absent below a mode that is not chance alone.
    pub p: Option<f64>,
    /// Why: one branch after the other, from the root.
    pub why: Steps,
}

/// The branches from the root to a leaf, each with the reason for its choice.
pub type Steps = SmallVec<[(NodeId, Note); 4]>;

/// What a walk knows besides its tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lore<'a> {
    /// For modes that choose by what was learnt; without it all are level to them.
    pub loads: Option<&'a Loads>,
    /// Only those who have room for the request are to be named.
    pub room: Option<Roominess<'a>>,
}

/// How far a walk through a tree has come: plain data, so that whoever retries can rest between two steps, in which others
/// may go out or come back. Its places belong to the tree it began in.
#[derive(Debug, Clone)]
pub struct Walk {
    path: SmallVec<[Frame; 4]>,
}

/// A branch on the way, and which of its children have been named.
#[derive(Debug, Clone)]
struct Frame {
    branch: NodeId,
    drawn: SmallVec<[u16; 4]>,
    p: Option<f64>,
    note: Note,
}

impl Frame {
    const fn at(branch: NodeId, p: Option<f64>) -> Self {
        Self { branch, drawn: SmallVec::new_const(), p, note: Note::First }
    }
}

impl Default for Walk {
    /// One that has not begun.
    fn default() -> Self {
        Self { path: smallvec![Frame::at(NodeId::ROOT, Some(1.0))] }
    }
}

impl Walk {
    /// The next candidate, of those that may serve now.
    #[inline]
    pub fn next<Q: Request, R: Rng>(
        &mut self,
        tree: &Tree,
        lore: Lore<'_>,
        request: &Q,
        rng: &mut R,
    ) -> Option<Candidate> {
        loop {
            let frame = self.path.last_mut()?;
            let Some(branch) = tree.branch(frame.branch) else {
                self.path.pop();
                continue;
            };
            let Some((node, Named { child, p, note })) = name(tree, branch, lore, &frame.drawn, request, rng) else {
                self.path.pop();
                continue;
            };
            frame.drawn.push(child);
            frame.note = note;
            let p = frame.p.zip(p).map(|(above, here)| above * here);
            match tree.router(node) {
                None => self.path.push(Frame::at(node, p)),
                Some(router) => {
                    let why = self.path.iter().map(|frame| (frame.branch, frame.note)).collect();
                    return Some(Candidate { router, leaf: node, p, why });
                }
            }
        }
    }
}

/// The first candidate, which is all that most requests need: without what going on takes. Where a condition leads nowhere the
/// walk finds out who is left.
#[inline]
pub fn first<Q: Request, R: Rng>(tree: &Tree, lore: Lore<'_>, request: &Q, rng: &mut R) -> Option<Candidate> {
    let (mut at, mut p, mut why) = (NodeId::ROOT, Some(1.0), Steps::new_const());
    while let Some((node, named)) = tree.branch(at).and_then(|branch| name(tree, branch, lore, &[], request, rng)) {
        p = p.zip(named.p).map(|(above, here)| above * here);
        why.push((at, named.note));
        match tree.router(node) {
            None => at = node,
            Some(router) => return Some(Candidate { router, leaf: node, p, why }),
        }
    }
    on_foot(tree, lore, request, rng)
}

/// Apart, because it is rare.
#[inline(never)]
fn on_foot<Q: Request, R: Rng>(tree: &Tree, lore: Lore<'_>, request: &Q, rng: &mut R) -> Option<Candidate> {
    Walk::default().next(tree, lore, request, rng)
}

/// The next child of a branch after those already `drawn`, and its node.
#[inline]
fn name<Q: Request, R: Rng>(
    tree: &Tree,
    branch: &Branch,
    lore: Lore<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<(NodeId, Named)> {
    let those = branch.those(tree, lore.loads);
    let named = match lore.room {
        None => branch.mode.next(those, drawn, request, rng),
        Some(among) => tree.roomy(branch, among).next(&branch.mode, those, drawn, request, rng),
    }?;
    Some((*branch.children.get(usize::from(named.child))?, named))
}

/// A walk through a tree in one go.
#[derive(Debug)]
pub struct Order<'a, Q, R> {
    tree: &'a Tree,
    lore: Lore<'a>,
    request: &'a Q,
    rng: &'a mut R,
    walk: Walk,
}

impl<'a, Q: Request, R: Rng> Order<'a, Q, R> {
    /// A walk that has not begun.
    pub fn new(tree: &'a Tree, request: &'a Q, rng: &'a mut R) -> Self {
        Self { tree, lore: Lore::default(), request, rng, walk: Walk::default() }
    }

    /// The same walk, for modes that choose by what was learnt; without it all are level to them.
    #[must_use]
    pub fn knowing(self, loads: Option<&'a Loads>) -> Self {
        Self { lore: Lore { loads, ..self.lore }, ..self }
    }

    /// The same walk among those only that have room.
    #[must_use]
    pub fn with_room(self, among: Roominess<'a>) -> Self {
        Self { lore: Lore { room: Some(among), ..self.lore }, ..self }
    }
}

impl<Q: Request, R: Rng> Iterator for Order<'_, Q, R> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        self.walk.next(self.tree, self.lore, self.request, self.rng)
    }
}
