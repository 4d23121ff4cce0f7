//! Each mode by table and property, nested trees against a slow and obvious model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::json;

use super::*;
use crate::fixtures::Body;
use types::router::{RouterId, RouterPath};

fn user(name: &str) -> Body {
    Body(json!({"user": name}), Vec::new())
}

fn leaf(number: u16, weight: f64) -> Target {
    let path = RouterPath::parse(&format!("/r/{number}/")).unwrap();
    Target { weight, ..Target::plain(TargetKind::Router(path)) }
}

fn branch(policy: Policy, targets: Vec<Target>) -> Target {
    Target::plain(TargetKind::Branch { policy, targets })
}

/// A tree whose leaves are numbered as their paths say.
fn tree(root: &Target) -> Tree {
    Tree::new(root, |path| path.as_str().trim_matches(['/', 'r']).parse().ok().map(RouterId))
}

/// Gives each router a share of its weight; 0: it does not serve.
fn serve(tree: &mut Tree, share: impl Fn(RouterId) -> f64) {
    tree.refresh(|router| Some((Tier::Serving, share(router))).filter(|(_, share)| *share > 0.0));
}

fn flat(policy: Policy, weights: &[f64]) -> Tree {
    let leaves = (0_u16..).zip(weights).map(|(number, weight)| leaf(number, *weight)).collect();
    tree(&branch(policy, leaves))
}

fn order(tree: &Tree, request: &Body, rng: &mut SmallRng) -> Vec<u16> {
    Candidates::new(tree, request, rng).map(|candidate| candidate.router.0).collect()
}

/// The first candidate, used.
fn take(tree: &mut Tree, request: &Body, rng: &mut SmallRng) -> Option<u16> {
    let candidate = CandidateCursor::default().next(tree, PickContext::default(), request, rng)?;
    tree.advance(candidate.leaf, Tier::Serving, None);
    Some(candidate.router.0)
}

fn dice() -> SmallRng {
    SmallRng::seed_from_u64(42)
}

mod loadbalance {
    use super::*;

    /// Asserts shares by a chi-square bound at 99.9 %.
    fn assert_shares(tree: &Tree, expected: &[f64], bound: f64) {
        let mut rng = dice();
        let mut seen = vec![0.0; expected.len()];
        for _ in 0..30_000 {
            let first = Candidates::new(tree, &user("x"), &mut rng).next().unwrap();
            assert!((first.p.unwrap() - expected[usize::from(first.router.0)]).abs() < 1e-9, "p is the share");
            seen[usize::from(first.router.0)] += 1.0;
        }
        let total: f64 = expected.iter().sum();
        let chi: f64 = seen
            .iter()
            .zip(expected)
            .filter(|(_, share)| **share > 0.0)
            .map(|(seen, share)| {
                let expected = share / total * 30_000.0;
                (seen - expected) * (seen - expected) / expected
            })
            .sum();
        assert!(chi < bound, "chi-square {chi} of {seen:?} against {expected:?}");
        assert!(
            seen.iter().zip(expected).all(|(seen, share)| *share > 0.0 || *seen == 0.0),
            "weight 0 receives nothing"
        );
    }

    #[test]
    fn shares_follow_the_weights() {
        assert_shares(&flat(Policy::LoadBalance, &[1.0, 1.0, 1.0]), &[1.0 / 3.0; 3], 13.82);
        assert_shares(&flat(Policy::LoadBalance, &[0.9, 0.1]), &[0.9, 0.1], 10.83);
        assert_shares(&flat(Policy::LoadBalance, &[5.0, 0.0, 15.0]), &[0.25, 0.0, 0.75], 10.83);
    }

    #[test]
    fn what_cannot_serve_gives_its_share_to_the_others_in_proportion() {
        let mut tree = flat(Policy::LoadBalance, &[2.0, 5.0, 3.0]);
        serve(&mut tree, |id| f64::from(id.0 != 1));
        assert_shares(&tree, &[0.4, 0.0, 0.6], 10.83);
    }

    #[test]
    fn all_zero_or_all_out_offers_nothing() {
        let mut tree = flat(Policy::LoadBalance, &[0.0, 0.0]);
        assert!(!tree.has_eligible(Tier::Serving));
        assert!(order(&tree, &user("x"), &mut dice()).is_empty());
        tree = flat(Policy::LoadBalance, &[1.0, 1.0]);
        serve(&mut tree, |_| 0.0);
        assert!(order(&tree, &user("x"), &mut dice()).is_empty());
        serve(&mut tree, |_| 1.0);
        assert_eq!(order(&tree, &user("x"), &mut dice()).len(), 2);
    }
}

mod round_robin {
    use super::*;

    #[test]
    fn exact_over_one_cycle_and_smooth() {
        let mut tree = flat(Policy::RoundRobin, &[5.0, 1.0, 1.0]);
        let mut rng = dice();
        let cycle: Vec<_> = (0..7).map(|_| take(&mut tree, &user("x"), &mut rng).unwrap()).collect();
        assert_eq!(cycle, [0, 0, 1, 0, 2, 0, 0]);
        let again: Vec<_> = (0..7).map(|_| take(&mut tree, &user("x"), &mut rng).unwrap()).collect();
        assert_eq!(again, cycle);
    }

    #[test]
    fn looking_is_not_taking() {
        let tree = flat(Policy::RoundRobin, &[1.0, 1.0]);
        for _ in 0..5 {
            assert_eq!(order(&tree, &user("x"), &mut dice()), [0, 1]);
        }
        let first = Candidates::new(&tree, &user("x"), &mut dice()).next().unwrap();
        assert_eq!(first.p, None, "no chance in it");
    }

    #[test]
    fn one_that_leaves_or_returns_does_not_make_the_others_jump() {
        let mut tree = flat(Policy::RoundRobin, &[1.0, 1.0, 1.0, 1.0]);
        let mut rng = dice();
        let mut next = |tree: &mut Tree| take(tree, &user("x"), &mut rng).unwrap();
        assert_eq!((next(&mut tree), next(&mut tree)), (0, 1));
        serve(&mut tree, |id| f64::from(id.0 != 0));
        let rest: Vec<_> = (0..6).map(|_| next(&mut tree)).collect();
        assert_eq!(rest, [2, 3, 1, 2, 3, 1]);
        serve(&mut tree, |_| 1.0);
        let after: Vec<_> = (0..8).map(|_| next(&mut tree)).collect();
        for router in 0..4 {
            assert_eq!(after.iter().filter(|other| **other == router).count(), 2, "{after:?}");
        }
    }

    proptest! {
        #[test]
        fn every_cycle_is_exact(weights in prop::collection::vec(0_u16..6, 1..8)) {
            let total: u16 = weights.iter().sum();
            let mut tree = flat(Policy::RoundRobin, &weights.iter().map(|weight| f64::from(*weight)).collect::<Vec<_>>());
            let mut rng = dice();
            for _ in 0..3 {
                let mut seen = vec![0; weights.len()];
                for _ in 0..total {
                    seen[usize::from(take(&mut tree, &user("x"), &mut rng).unwrap())] += 1;
                }
                prop_assert_eq!(&seen, &weights);
            }
        }
    }
}

mod fallback {
    use super::*;

    #[test]
    fn the_first_that_may_serve_whatever_it_weighs() {
        let mut tree = flat(Policy::Fallback, &[0.0, 1.0, 9.0]);
        assert_eq!(order(&tree, &user("x"), &mut dice()), [0, 1, 2]);
        serve(&mut tree, |id| f64::from(id.0 != 0));
        assert_eq!(order(&tree, &user("x"), &mut dice()), [1, 2]);
    }
}

mod sticky {
    use super::*;

    const USERS: usize = 100_000;

    fn by_user(weights: &[f64]) -> Tree {
        flat(Policy::Sticky(Field::parse("params.user").unwrap()), weights)
    }

    fn homes(tree: &Tree) -> Vec<u16> {
        let home =
            |number| Candidates::new(tree, &user(&format!("user-{number}")), &mut dice()).next().unwrap().router.0;
        (0..USERS).map(home).collect()
    }

    #[test]
    fn the_same_key_stays_and_only_the_share_of_one_that_leaves_moves() {
        let mut tree = by_user(&[1.0; 10]);
        let before = homes(&tree);
        assert_eq!(before, homes(&tree));
        serve(&mut tree, |id| f64::from(id.0 != 3));
        let after = homes(&tree);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(moved <= USERS / 10 + USERS / 100, "{moved} keys moved");
        assert!(
            before.iter().zip(&after).all(|(before, after)| before == after || *before == 3),
            "only those of the one"
        );
        serve(&mut tree, |_| 1.0);
        assert_eq!(before, homes(&tree), "and come back with it");
    }

    #[test]
    fn shares_of_keys_follow_the_weights() {
        let homes = homes(&by_user(&[95.0, 5.0, 0.0]));
        let share = homes.iter().filter(|home| **home == 1).count() as f64 / USERS as f64;
        assert!((share - 0.05).abs() < 0.004, "{share}");
        assert!(!homes.contains(&2));
    }

    #[test]
    fn the_order_in_the_file_means_nothing() {
        let policy = || Policy::Sticky(Field::parse("params.user").unwrap());
        let one = tree(&branch(policy(), vec![leaf(0, 1.0), leaf(1, 1.0), leaf(2, 1.0)]));
        let other = tree(&branch(policy(), vec![leaf(2, 1.0), leaf(0, 1.0), leaf(1, 1.0)]));
        assert_eq!(homes(&one)[..1_000], homes(&other)[..1_000]);
    }

    #[test]
    fn without_a_key_it_is_random_and_says_so() {
        let tree = by_user(&[1.0, 1.0]);
        let first = Candidates::new(&tree, &Body(json!({}), Vec::new()), &mut dice()).next().unwrap();
        assert_eq!(first.p, Some(0.5));
        assert_eq!(tree.details().why(&first.why).to_string(), "no params.user: random, 2 of 2 serve");
        let keyed = Candidates::new(&tree, &user("a"), &mut dice()).next().unwrap();
        assert_eq!(tree.details().why(&keyed.why).to_string(), "sticky by params.user", "never the value");
    }
}

mod conditional {
    use super::*;

    fn by_model(default: Option<u16>) -> Tree {
        let is = |model: &str, then| Condition {
            query: Query::Field(Field::parse("params.model").unwrap(), vec![Test::Eq(json!(model))]),
            then,
        };
        flat(Policy::Conditional { conditions: vec![is("a", 0), is("b", 1)].into(), default }, &[1.0; 3])
    }

    fn model(name: &str) -> Body {
        Body(json!({"model": name}), Vec::new())
    }

    #[test]
    fn the_first_that_holds_else_the_default_else_nothing() {
        let tree = by_model(Some(2));
        assert_eq!(order(&tree, &model("b"), &mut dice()), [1], "only the matching one");
        assert_eq!(order(&tree, &model("z"), &mut dice()), [2]);
        assert!(order(&by_model(None), &model("z"), &mut dice()).is_empty());
        let first = Candidates::new(&tree, &model("b"), &mut dice()).next().unwrap();
        assert_eq!(tree.details().why(&first.why).to_string(), "condition 2 on params.model");
        let in_full = format!("{:#}", tree.details().why(&first.why));
        assert_eq!(in_full, "condition 2 on params.model (false: condition 1 on params.model)");
    }

    #[test]
    fn a_match_that_cannot_serve_is_not_replaced() {
        let mut tree = by_model(Some(2));
        serve(&mut tree, |id| f64::from(id.0 != 1));
        assert!(order(&tree, &model("b"), &mut dice()).is_empty());
        assert!(tree.has_eligible(Tier::Serving), "others may");
    }
}

/// An obvious model of a tree: who may come first, by plain recursion over what was written.
fn may_come_first(target: &Target, serves: &dyn Fn(u16) -> bool) -> Vec<u16> {
    let TargetKind::Branch { policy, targets } = &target.kind else {
        let TargetKind::Router(path) = &target.kind else { unreachable!() };
        let number: u16 = path.as_str().trim_matches(['/', 'r']).parse().unwrap();
        return if serves(number) { vec![number] } else { Vec::new() };
    };
    let uses_weights = !matches!(policy, Policy::Fallback);
    let able = |child: &&Target| {
        !child.drained && (!uses_weights || child.weight > 0.0) && !may_come_first(child, serves).is_empty()
    };
    let mut able = targets.iter().filter(able);
    match policy {
        Policy::Fallback => able.next().map(|child| may_come_first(child, serves)).unwrap_or_default(),
        _ => able.flat_map(|child| may_come_first(child, serves)).collect(),
    }
}

fn any_tree() -> impl Strategy<Value = Target> {
    let weight = prop_oneof![Just(0.0), Just(1.0), 0.1..5.0_f64];
    let leaf = (0_u16..12, weight.clone(), prop::bool::weighted(0.1))
        .prop_map(|(number, weight, drained)| Target { drained, ..super::tests::leaf(number, weight) });
    let inner = leaf.prop_recursive(6, 40, 4, move |inner| {
        let modes = [Policy::LoadBalance, Policy::RoundRobin, Policy::Fallback, Policy::Fastest, Policy::LeastBusy];
        let policy = prop::sample::select(modes.to_vec());
        (policy, prop::collection::vec(inner, 1..4), weight.clone())
            .prop_map(|(policy, targets, weight)| Target { weight, ..branch(policy, targets) })
    });
    prop::collection::vec(inner, 1..4).prop_map(|targets| branch(Policy::LoadBalance, targets))
}

/// What is wanted comes as often as if what is not were stepped over, one after the other.
#[test]
fn what_is_wanted_is_drawn_as_if_the_others_were_stepped_over() {
    let below = |numbers: [u16; 3]| numbers.map(|number| leaf(number, f64::from(number + 1))).into();
    let weighted = |policy, numbers| Target { weight: 2.0, ..branch(policy, below(numbers)) };
    let first = weighted(Policy::LoadBalance, [0, 1, 2]);
    let root = branch(Policy::LoadBalance, vec![first, weighted(Policy::Fallback, [3, 4, 5]), leaf(6, 3.0)]);
    let (tree, user, wanted) = (tree(&root), user("x"), |router: RouterId| [1, 2, 4, 6].contains(&router.0));
    let mut rng = dice();
    let mut seen = [[0_i32; 7]; 2];
    for _ in 0..30_000 {
        let stepped = Candidates::new(&tree, &user, &mut rng).find(|candidate| wanted(candidate.router)).unwrap();
        let drawn = Candidates::new(&tree, &user, &mut rng).next_wanted(wanted).unwrap();
        seen[0][usize::from(stepped.router.0)] += 1;
        seen[1][usize::from(drawn.router.0)] += 1;
    }
    for (stepped, drawn) in seen[0].iter().zip(seen[1]) {
        assert!((stepped - drawn).abs() < 600, "{seen:?}");
        assert_eq!(*stepped == 0, drawn == 0, "{seen:?}");
    }
}

proptest! {
    #[test]
    fn what_is_wanted_is_found_wherever_stepping_would_find_it(
        root in any_tree(), out: u16, wanted: u16, steps in 0_usize..4, seed: u64,
    ) {
        let mut tree = tree(&root);
        serve(&mut tree, |id| f64::from(out & (1 << id.0) == 0));
        let (user, wanted) = (user("x"), |router: RouterId| wanted & (1 << router.0) != 0);
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut all: Vec<_> = tree.eligible_for(Tier::Serving, &user).collect();
        let mut stepped: Vec<_> = Candidates::new(&tree, &user, &mut rng).map(|candidate| candidate.router).collect();
        all.sort_unstable();
        stepped.sort_unstable();
        prop_assert_eq!(all, stepped, "one walk names what drawing would");
        let mut begun = Candidates::new(&tree, &user, &mut rng);
        let _ = begun.by_ref().take(steps).last();
        let cursor = begun.into_cursor();
        let stepped = Candidates::new(&tree, &user, &mut rng).starting_at(cursor.clone()).find(|one| wanted(one.router));
        let found = Candidates::new(&tree, &user, &mut rng).starting_at(cursor).next_wanted(wanted);
        prop_assert_eq!(stepped.is_some(), found.is_some());
        prop_assert!(found.is_none_or(|found| wanted(found.router)));
    }

    #[test]
    fn nested_trees_agree_with_the_model(root in any_tree(), out: u16, seed: u64) {
        let serves = |number: u16| out & (1 << number) == 0;
        let mut tree = tree(&root);
        serve(&mut tree, |id| f64::from(serves(id.0)));
        let firsts = may_come_first(&root, &serves);
        let mut rng = SmallRng::seed_from_u64(seed);
        for _ in 0..20 {
            match take(&mut tree, &user("x"), &mut rng) {
                Some(first) => prop_assert!(firsts.contains(&first), "{first} of {firsts:?}"),
                None => prop_assert!(firsts.is_empty(), "nothing of {firsts:?}"),
            }
        }
    }

    #[test]
    fn an_order_names_each_leaf_that_may_serve_once(root in any_tree(), out: u16, seed: u64) {
        let serves = |number: u16| out & (1 << number) == 0;
        let mut tree = tree(&root);
        serve(&mut tree, |id| f64::from(serves(id.0)));
        let mut seen = BTreeMap::new();
        for candidate in Candidates::new(&tree, &user("x"), &mut SmallRng::seed_from_u64(seed)) {
            prop_assert!(serves(candidate.router.0), "a disabled router");
            *seen.entry(format!("{:?}", candidate.leaf)).or_insert(0) += 1;
        }
        prop_assert!(seen.values().all(|count| *count == 1));
        prop_assert_eq!(seen.is_empty(), !tree.has_eligible(Tier::Serving));
    }
}
