//! The candidates of a tree for one request, lazily and depth first: all targets of a branch before the branch's
//! sibling.
//!
//! A router that is in two leaves comes twice; a retrying caller skips those it has tried.

use rand::Rng;
use smallvec::SmallVec;

use super::tree::{Branch, NodeId, RouterFilter, Tier, Tree};
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

/// The branches from the root to a leaf.
pub type PickPath = SmallVec<[PickStep; 4]>;

/// A branch, and why its child was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickStep {
    pub branch: NodeId,
    pub reason: PickReason,
    /// How many of its children served then; 0 for affinity, which does not choose among them.
    pub serving: u16,
}

/// What picking needs besides the tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickContext<'a> {
    /// For policies that choose by load; without it all children are equal to them.
    pub loads: Option<LoadReader<'a>>,
    /// Picks only among these routers.
    pub among: Option<&'a RouterFilter<'a>>,
    /// Picks only routers of this tier.
    pub tier: Tier,
}

/// A position in the order of candidates; its first step is all that most requests need. Plain data, so that a caller may back
/// off between two steps while routers come and go. It is valid for the tree it began in.
#[derive(Debug, Clone)]
pub struct CandidateCursor {
    /// The branch that the next candidate is looked for in; `None` after the last candidate.
    at: Option<Frame>,
    /// The branches above it, from the root.
    above: SmallVec<[Frame; 4]>,
    /// The children that were picked before the last one, branch after branch from the root.
    drawn: SmallVec<[u16; 8]>,
    /// Begins again with new draws where the first descent ends below a condition whose target may not serve.
    redraws: bool,
}

/// A branch on the path.
#[derive(Debug, Clone, Copy)]
struct Frame {
    branch: NodeId,
    /// The child that was picked last. Only the next pick needs to know, so a cursor of one step keeps no list.
    last: Option<u16>,
    reason: PickReason,
    serving: u16,
    /// The probability of coming here.
    p: Option<f64>,
    /// Where the children of this branch begin among those that were picked.
    drawn_from: usize,
}

impl Frame {
    const fn at(branch: NodeId, p: Option<f64>, drawn_from: usize) -> Self {
        Self { branch, last: None, reason: PickReason::First, serving: 0, p, drawn_from }
    }

    const fn step(&self) -> PickStep {
        PickStep { branch: self.branch, reason: self.reason, serving: self.serving }
    }
}

impl Default for CandidateCursor {
    /// At the start.
    #[inline]
    fn default() -> Self {
        let at = Some(Frame::at(NodeId::ROOT, Some(1.0), 0));
        Self { at, above: SmallVec::new(), drawn: SmallVec::new(), redraws: false }
    }
}

impl CandidateCursor {
    /// For a request that takes the first candidate only.
    #[inline]
    pub fn of_one_step() -> Self {
        Self { redraws: true, ..Self::default() }
    }

    /// The branch has nothing more. Not inlined, because it is rare.
    #[inline(never)]
    fn leave_branch(&mut self) {
        if self.redraws {
            *self = Self::default();
        } else {
            self.drawn.truncate(self.at.map_or(0, |frame| frame.drawn_from));
            self.at = self.above.pop();
        }
    }

    /// The next candidate that may serve now.
    #[inline(always)]
    pub fn next<Q: Request, R: Rng>(
        &mut self,
        tree: &Tree,
        context: PickContext<'_>,
        request: &Q,
        rng: &mut R,
    ) -> Option<Candidate> {
        loop {
            let frame = self.at.as_mut()?;
            if let Some(last) = frame.last.take() {
                self.drawn.push(last);
            }
            let drawn = self.drawn.get(frame.drawn_from..).unwrap_or_default();
            let picked = tree.branch(frame.branch).and_then(|branch| {
                let picked = pick_child(tree, branch, context, drawn, request, rng)?;
                Some((picked, branch.serving()))
            });
            let Some((Pick { child, node, router, p, reason }, serving)) = picked else {
                self.leave_branch();
                continue;
            };
            (frame.last, frame.reason, frame.serving) = (Some(child), reason, serving);
            let p = frame.p.zip(p).map(|(above, here)| above * here);
            let Some(router) = router else {
                let below = Frame::at(node, p, self.drawn.len());
                self.above.extend(self.at.replace(below));
                continue;
            };
            self.redraws = false;
            let mut why = PickPath::new();
            for above in &self.above {
                why.push(above.step());
            }
            why.push(frame.step());
            return Some(Candidate { router, leaf: node, p, why });
        }
    }
}

/// The next child of a branch after `drawn`.
#[inline(always)]
fn pick_child<Q: Request, R: Rng>(
    tree: &Tree,
    branch: &Branch,
    context: PickContext<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<Pick> {
    let choices = branch.choices(tree, context.tier, context.loads);
    match context.among {
        None => branch.policy.next(choices, drawn, request, rng),
        Some(among) => pick_among(branch, choices, among, drawn, request, rng),
    }
}

/// The same among the children with such a router. Not inlined, because it is rare.
#[inline(never)]
fn pick_among<Q: Request, R: Rng>(
    branch: &Branch,
    choices: Choices<'_>,
    among: &RouterFilter<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<Pick> {
    let eligible = choices.load.eligible_among(among);
    branch.policy.next(Choices { eligible: &eligible, ..choices }, drawn, request, rng)
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

    /// From where a cursor stands.
    #[must_use]
    pub(crate) fn starting_at(self, cursor: CandidateCursor) -> Self {
        Self { cursor, ..self }
    }

    /// The next one of those that are wanted.
    #[inline]
    pub(crate) fn next_wanted(&mut self, wanted: impl Fn(RouterId) -> bool) -> Option<Candidate> {
        let next = self.next()?;
        if wanted(next.router) { Some(next) } else { self.next_among(&wanted) }
    }

    /// The others are not stepped over one by one: where nearly all are tried or out, each call would take as long as the square of
    /// their number.
    #[inline(never)]
    fn next_among(&mut self, wanted: &dyn Fn(RouterId) -> bool) -> Option<Candidate> {
        let before = self.context.among;
        let among = |router| wanted(router) && before.is_none_or(|before| before.holds(router));
        let context = PickContext { among: Some(&RouterFilter(&among)), ..self.context };
        self.cursor.next(self.tree, context, self.request, self.rng)
    }

    /// Where it stands.
    pub(crate) fn into_cursor(self) -> CandidateCursor {
        self.cursor
    }
}

impl<Q: Request, R: Rng> Iterator for Candidates<'_, Q, R> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        self.cursor.next(self.tree, self.context, self.request, self.rng)
    }
}
