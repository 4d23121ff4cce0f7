//! The candidates of a tree for one request, lazily and depth first: all targets of a branch before the branch's
//! sibling.
//!
//! A router that is in two leaves comes twice; a retrying caller skips those it has tried.

use rand::Rng;
use smallvec::{SmallVec, smallvec};

use super::tree::{Branch, NodeId, RateLimitFilter, Tier, Tree};
use super::{Choices, Pick, PickReason};
use crate::load::LoadReader;
use types::request::Request;
use types::router::RouterId;

/// One router in the order of preference.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The router.
    pub router: RouterId,
    /// The leaf it is in.
    pub leaf: NodeId,
    /// The probability of this draw; `None` below a policy that is not pure chance.
    pub p: Option<f64>,
    /// The reason of each branch, from the root.
    pub why: PickPath,
}

/// The branches from the root to a leaf, each with the reason for its pick.
pub type PickPath = SmallVec<[(NodeId, PickReason); 4]>;

/// What picking needs besides the tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickContext<'a> {
    /// For policies that choose by load; without it all children are equal to them.
    pub loads: Option<LoadReader<'a>>,
    /// Picks only routers within their rate limits.
    pub limits: Option<RateLimitFilter<'a>>,
    /// Picks only routers of this tier.
    pub tier: Tier,
}

/// A position in the order of candidates. Plain data, so that a caller may back off between two steps while routers
/// come and go. It is valid for the tree it began in.
#[derive(Debug, Clone)]
pub struct CandidateCursor {
    path: SmallVec<[Frame; 4]>,
}

/// A branch on the path, and the children that were picked so far.
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
    /// At the start.
    fn default() -> Self {
        Self { path: smallvec![Frame::at(NodeId::ROOT, Some(1.0))] }
    }
}

impl CandidateCursor {
    /// The next candidate that may serve now.
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

/// The first candidate, which is all that most requests need, without the cost of a cursor. Falls back to a cursor
/// where a condition matches a target that may not serve.
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

/// Not inlined, because it is rare.
#[inline(never)]
fn slow_path<Q: Request, R: Rng>(tree: &Tree, context: PickContext<'_>, request: &Q, rng: &mut R) -> Option<Candidate> {
    CandidateCursor::default().next(tree, context, request, rng)
}

/// The next child of a branch after `drawn`, and its node.
#[inline]
fn pick_child<Q: Request, R: Rng>(
    tree: &Tree,
    branch: &Branch,
    context: PickContext<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<(NodeId, Pick)> {
    let choices = branch.choices(tree, context.tier, context.loads);
    let named = match context.limits {
        None => branch.mode.next(choices, drawn, request, rng),
        Some(among) => pick_within_limits(branch, choices, among, drawn, request, rng),
    }?;
    Some((*branch.children.get(usize::from(named.child))?, named))
}

/// The same among the children within their limits. Not inlined, because it is rare.
#[inline(never)]
fn pick_within_limits<Q: Request, R: Rng>(
    branch: &Branch,
    choices: Choices<'_>,
    among: RateLimitFilter<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<Pick> {
    let within_limits = choices.load.within_limits(among);
    branch.mode.next(Choices { eligible: &within_limits, ..choices }, drawn, request, rng)
}

/// All candidates as an iterator.
#[derive(Debug)]
pub struct Candidates<'a, Q, R> {
    tree: &'a Tree,
    context: PickContext<'a>,
    request: &'a Q,
    rng: &'a mut R,
    cursor: CandidateCursor,
}

impl<'a, Q: Request, R: Rng> Candidates<'a, Q, R> {
    /// Starts at the first candidate.
    pub fn new(tree: &'a Tree, request: &'a Q, rng: &'a mut R) -> Self {
        Self { tree, context: PickContext::default(), request, rng, cursor: CandidateCursor::default() }
    }

    /// With more to pick by than the tree.
    #[must_use]
    pub fn with(self, context: PickContext<'a>) -> Self {
        Self { context, ..self }
    }
}

impl<Q: Request, R: Rng> Iterator for Candidates<'_, Q, R> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        self.cursor.next(self.tree, self.context, self.request, self.rng)
    }
}
