//! The candidates of a tree for one request, lazily and depth first: all of a branch before its sibling.
//!
//! A router that stands in two leaves comes twice; whoever walks on skips what was tried.

use rand::Rng;
use smallvec::{SmallVec, smallvec};

use super::tree::{Branch, NodeId, RateLimitFilter, Tree};
use super::{Pick, PickReason};
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
    pub why: PickPath,
}

/// The branches from the root to a leaf, each with the reason for its choice.
pub type PickPath = SmallVec<[(NodeId, PickReason); 4]>;

/// What a cursor knows besides its tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickContext<'a> {
    /// For modes that choose by what was learnt; without it all are level to them.
    pub loads: Option<&'a Loads>,
    /// Only those who have room for the request are to be named.
    pub limits: Option<RateLimitFilter<'a>>,
}

/// How far a cursor through a tree has come: plain data, so that whoever retries can rest between two steps, in which others
/// may go out or come back. Its places belong to the tree it began in.
#[derive(Debug, Clone)]
pub struct CandidateCursor {
    path: SmallVec<[Frame; 4]>,
}

/// A branch on the way, and which of its children have been named.
#[derive(Debug, Clone)]
struct Frame {
    branch: NodeId,
    drawn: SmallVec<[u16; 4]>,
    p: Option<f64>,
    reason: PickReason,
}

impl Frame {
    const fn at(branch: NodeId, p: Option<f64>) -> Self {
        Self { branch, drawn: SmallVec::new_const(), p, reason: PickReason::First }
    }
}

impl Default for CandidateCursor {
    /// One that has not begun.
    fn default() -> Self {
        Self { path: smallvec![Frame::at(NodeId::ROOT, Some(1.0))] }
    }
}

impl CandidateCursor {
    /// The next candidate, of those that may serve now.
    #[inline]
    pub fn next<Q: Request, R: Rng>(
        &mut self,
        tree: &Tree,
        context: PickContext<'_>,
        request: &Q,
        rng: &mut R,
    ) -> Option<Candidate> {
        loop {
            let frame = self.path.last_mut()?;
            let Some(branch) = tree.branch(frame.branch) else {
                self.path.pop();
                continue;
            };
            let Some((node, Pick { child, p, reason })) = pick_child(tree, branch, context, &frame.drawn, request, rng)
            else {
                self.path.pop();
                continue;
            };
            frame.drawn.push(child);
            frame.reason = reason;
            let p = frame.p.zip(p).map(|(above, here)| above * here);
            match tree.router(node) {
                None => self.path.push(Frame::at(node, p)),
                Some(router) => {
                    let why = self.path.iter().map(|frame| (frame.branch, frame.reason)).collect();
                    return Some(Candidate { router, leaf: node, p, why });
                }
            }
        }
    }
}

/// The first candidate, which is all that most requests need: without what going on takes. Where a condition retry_on nowhere the
/// cursor finds out who is left.
#[inline]
pub fn first<Q: Request, R: Rng>(tree: &Tree, context: PickContext<'_>, request: &Q, rng: &mut R) -> Option<Candidate> {
    let (mut at, mut p, mut why) = (NodeId::ROOT, Some(1.0), PickPath::new_const());
    while let Some((node, named)) =
        tree.branch(at).and_then(|branch| pick_child(tree, branch, context, &[], request, rng))
    {
        p = p.zip(named.p).map(|(above, here)| above * here);
        why.push((at, named.reason));
        match tree.router(node) {
            None => at = node,
            Some(router) => return Some(Candidate { router, leaf: node, p, why }),
        }
    }
    slow_path(tree, context, request, rng)
}

/// Apart, because it is rare.
#[inline(never)]
fn slow_path<Q: Request, R: Rng>(tree: &Tree, context: PickContext<'_>, request: &Q, rng: &mut R) -> Option<Candidate> {
    CandidateCursor::default().next(tree, context, request, rng)
}

/// The next child of a branch after those already `drawn`, and its node.
#[inline]
fn pick_child<Q: Request, R: Rng>(
    tree: &Tree,
    branch: &Branch,
    context: PickContext<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<(NodeId, Pick)> {
    let choices = branch.choices(tree, context.loads);
    let named = match context.limits {
        None => branch.mode.next(choices, drawn, request, rng),
        Some(among) => tree.within_limits(branch, among).next(&branch.mode, choices, drawn, request, rng),
    }?;
    Some((*branch.children.get(usize::from(named.child))?, named))
}

/// A cursor through a tree in one go.
#[derive(Debug)]
pub struct Candidates<'a, Q, R> {
    tree: &'a Tree,
    context: PickContext<'a>,
    request: &'a Q,
    rng: &'a mut R,
    cursor: CandidateCursor,
}

impl<'a, Q: Request, R: Rng> Candidates<'a, Q, R> {
    /// A cursor that has not begun.
    pub fn new(tree: &'a Tree, request: &'a Q, rng: &'a mut R) -> Self {
        Self { tree, context: PickContext::default(), request, rng, cursor: CandidateCursor::default() }
    }

    /// The same cursor, for modes that choose by what was learnt; without it all are level to them.
    #[must_use]
    pub fn with_loads(self, loads: Option<&'a Loads>) -> Self {
        Self { context: PickContext { loads, ..self.context }, ..self }
    }

    /// The same cursor among those only that have room.
    #[must_use]
    pub fn within_limits(self, among: RateLimitFilter<'a>) -> Self {
        Self { context: PickContext { limits: Some(among), ..self.context }, ..self }
    }
}

impl<Q: Request, R: Rng> Iterator for Candidates<'_, Q, R> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        self.cursor.next(self.tree, self.context, self.request, self.rng)
    }
}
