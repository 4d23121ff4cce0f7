//! Pools that clients bring along: a tree of their own over the targets of one pool of the settings. Health, limits and counts are
//! those of the targets and of that pool, and are shared by all trees.
//!
//! At most [`MAX_CLIENT_POOLS`] are kept, the ones used last; with other settings all are gone. A call brings its tree each time.

use std::sync::Arc;

use super::operator::OperatorOverrides;
use super::routers::Routers;
use super::{AttemptHistory, Broker, Pool, PoolDescription};
use crate::strategy::{Target, Tree};
use types::router::{PoolId, RouterPath};

/// So many are kept.
pub(crate) const MAX_CLIENT_POOLS: usize = 256;
/// The first id of these pools; those of the settings have smaller ones.
const FIRST: u16 = u16::MAX - MAX_CLIENT_POOLS as u16;

/// A tree that a client brings along.
#[derive(Debug, Clone)]
pub struct ClientTree {
    /// The pool over whose targets it is.
    pub ingress: RouterPath,
    /// What it was made of, as a collision-resistant hash.
    pub digest: String,
    /// Its targets, each a copy of one of the pool's: a branch.
    pub root: Target,
    /// The attempts of a call that it allows.
    pub attempts: u32,
    /// The settings that the copies were made from: see [`Broker::config_generation`].
    pub generation: u64,
}

#[derive(Debug, Clone)]
struct CachedPool {
    tree: Arc<ClientTree>,
    base: PoolId,
    pool: Pool,
    description: PoolDescription,
    last_used: u64,
    /// Up to which change of a router's eligibility its tree is up to date.
    changes_seen: u64,
}

/// The trees that are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientPools {
    kept: Vec<CachedPool>,
    uses: u64,
}

impl ClientPools {
    pub(super) fn get(&self, id: PoolId) -> Option<&Pool> {
        self.at(id).map(|kept| &kept.pool)
    }

    pub(super) fn get_mut(&mut self, id: PoolId) -> Option<&mut Pool> {
        let place = id.0.checked_sub(FIRST)?;
        self.kept.get_mut(usize::from(place)).map(|kept| &mut kept.pool)
    }

    pub(super) fn description(&self, id: PoolId) -> Option<&PoolDescription> {
        self.at(id).map(|kept| &kept.description)
    }

    /// The pool of the settings that this one is over.
    pub(super) fn base(&self, id: PoolId) -> Option<PoolId> {
        self.at(id).map(|kept| kept.base)
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    fn at(&self, id: PoolId) -> Option<&CachedPool> {
        self.kept.get(usize::from(id.0.checked_sub(FIRST)?))
    }

    fn place(&self, ingress: &RouterPath, digest: &str) -> Option<usize> {
        self.kept.iter().position(|kept| kept.tree.digest == digest && kept.tree.ingress == *ingress)
    }

    /// Keeps one in the place of the same one before; else in a new place, or, where there is no room, in that of the one that
    /// was not used for longest.
    fn keep(&mut self, before: Option<usize>, kept: CachedPool) -> usize {
        let has_room = self.kept.len() < MAX_CLIENT_POOLS;
        let oldest = || self.kept.iter().enumerate().min_by_key(|(_, kept)| kept.last_used).map(|(place, _)| place);
        let place = before.or_else(|| if has_room { None } else { oldest() }).unwrap_or(self.kept.len());
        match self.kept.get_mut(place) {
            Some(slot) => *slot = kept,
            None => self.kept.push(kept),
        }
        place
    }
}

impl Broker {
    /// The kept tree of this digest over this pool, if it is of the present settings.
    pub fn client_tree(&self, ingress: &RouterPath, digest: &str) -> Option<Arc<ClientTree>> {
        let kept = self.client_pools.kept.get(self.client_pools.place(ingress, digest)?)?;
        (kept.tree.generation == self.config_generation).then(|| Arc::clone(&kept.tree))
    }

    /// Lets a call choose over this tree instead of its pool's. Targets that the present settings do not have are left out. The
    /// tree learns here which routers have changed since it was used: a change of a router visits no trees of clients.
    pub fn use_client_tree(&mut self, tree: &Arc<ClientTree>, history: &mut AttemptHistory) {
        self.client_pools.uses += 1;
        let (last_used, changes_seen) = (self.client_pools.uses, self.eligibility_changes);
        let known = self.client_pools.place(&tree.ingress, &tree.digest);
        let place = match known.and_then(|place| self.client_pools.kept.get_mut(place).zip(Some(place))) {
            Some((kept, place)) if kept.tree.generation == tree.generation => {
                kept.last_used = last_used;
                if std::mem::replace(&mut kept.changes_seen, changes_seen) != changes_seen {
                    refresh(&mut kept.pool, &self.routers, &self.operator);
                }
                Some(place)
            }
            found => {
                let before = found.map(|(_, place)| place);
                let made = self.client_pool(tree);
                made.map(|(base, pool)| {
                    let (tree, description) = (Arc::clone(tree), PoolDescription::new(&pool, &self.paths));
                    let kept = CachedPool { tree, base, pool, description, last_used, changes_seen };
                    self.client_pools.keep(before, kept)
                })
            }
        };
        history.client_pool = place.and_then(|place| u16::try_from(place).ok()).map(|place| PoolId(FIRST + place));
    }

    fn client_pool(&self, tree: &ClientTree) -> Option<(PoolId, Pool)> {
        let base = self.pool_at(tree.ingress.as_str())?;
        let root = self.operator.with_weight_overrides(&tree.ingress, &tree.root);
        let mut pool = self.pool(base)?.over(Tree::new(&root, |path| self.router_at(path.as_str())));
        refresh(&mut pool, &self.routers, &self.operator);
        Some((base, pool))
    }
}

fn refresh(pool: &mut Pool, routers: &Routers, operator: &OperatorOverrides) {
    pool.refresh(|id| operator.readiness(routers, id));
    // What becomes of all targets of a pool is reported for the pool of the settings.
    // Who waits is woken by the base pool's.
    let _ = pool.finish_change(0);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::broker::tests::fixture::flat;
    use crate::broker::tests::report::{Source, TestObservation};
    use crate::broker::{BrokerInput, BrokerSettings, NextTarget, Route, RouterSettings};
    use crate::fixtures::path;
    use crate::strategy::{Policy, TargetKind};
    use types::time::BrokerTime;

    const NOW: BrokerTime = BrokerTime::from_nanos(1_800_000_000_000_000_000);

    fn broker() -> Broker {
        flat("/in/", &["/a/", "/b/"])
    }

    fn tree(broker: &Broker, digest: &str, routers: &[&str]) -> Arc<ClientTree> {
        let targets = routers.iter().map(|router| Target::plain(TargetKind::Router(path(router)))).collect();
        let root = Target::plain(TargetKind::Branch { policy: Policy::Fallback, targets });
        let generation = broker.config_generation();
        Arc::new(ClientTree { ingress: path("/in/"), digest: digest.to_owned(), root, attempts: 4, generation })
    }

    fn chosen(broker: &mut Broker, tree: &Arc<ClientTree>) -> Option<Route> {
        let mut history = AttemptHistory::default();
        broker.use_client_tree(tree, &mut history);
        match broker.next_target(&"/in/", &mut history, &mut SmallRng::seed_from_u64(1)) {
            NextTarget::Untried(route) => Some(route),
            NextTarget::Retry(_) | NextTarget::None { .. } => None,
        }
    }

    #[test]
    fn a_tree_chooses_for_its_call_and_what_is_learnt_and_counted_is_shared() {
        let mut broker = broker();
        let tree = tree(&broker, "x", &["/b/", "/a/"]);
        let route = chosen(&mut broker, &tree).unwrap();
        assert_eq!(broker.path(route.router()), Some(&path("/b/")));
        assert_eq!(broker.pool(route.pool).unwrap().ingress(), &path("/in/"));
        broker.commit_route(&route, NOW);
        assert_eq!(broker.snapshot(NOW).pools[0].decisions.iter().map(|(_, _, count)| count).sum::<u64>(), 1);
        let failed = TestObservation {
            served_path: Some("/b/"),
            status: Some(500),
            transaction: Some("X_1_1_1"),
            ..TestObservation::empty(Source::Attempt)
        };
        failed.apply(&mut broker, NOW);
        let next = chosen(&mut broker, &tree).unwrap();
        assert_eq!(broker.path(next.router()), Some(&path("/a/")), "the other one is out for this tree too");
        assert_eq!(broker.pools().len(), 1);
    }

    #[test]
    fn the_trees_used_last_are_kept_and_none_outlives_its_settings() {
        let mut broker = broker();
        let first = tree(&broker, "first", &["/a/"]);
        chosen(&mut broker, &first).unwrap();
        for number in 0..2 * MAX_CLIENT_POOLS {
            let other = tree(&broker, &number.to_string(), &["/b/"]);
            chosen(&mut broker, &other).unwrap();
            chosen(&mut broker, &first).unwrap();
            assert!(broker.client_pools.kept.len() <= MAX_CLIENT_POOLS);
        }
        let known = |broker: &Broker, digest: &str| broker.client_tree(&path("/in/"), digest).is_some();
        assert!(known(&broker, "first") && known(&broker, "511") && !known(&broker, "0"));
        assert!(broker.client_tree(&path("/other/"), "first").is_none());

        let settings = BrokerSettings::flat(path("/in/"), vec![path("/b/")], RouterSettings::default());
        broker.apply(BrokerInput::Configured(&settings), NOW);
        assert!(!known(&broker, "first"));
        assert_eq!(chosen(&mut broker, &first).map(|route| route.router()), None, "a target that is gone");
        assert!(!known(&broker, "first"), "of other settings");
    }
}
