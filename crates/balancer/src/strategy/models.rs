//! The models that a pool can serve, as far as its settings name them.
//!
//! A target serves what the conditions before it name; else the model that it sets, or those that its `model_map` has a name
//! for. One that passes on whatever it is asked for is not known, and then neither is the pool.
//!
//! A name that is none of those is refused, with two exceptions: a target that sets its model takes any name, and one with a
//! `model_map` also takes the names that stand on its right side, since those are the target's own, and any where it has a row
//! for all others.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::query::{Field, Query, Test};
use super::tree::{Policy, Target, TargetKind};
use types::request::Patch;

/// The field that names the model.
const MODEL: &str = "model";

type Names = BTreeSet<String>;

/// The models of a pool.
#[derive(Debug, Clone)]
pub struct Models {
    names: Option<Arc<[String]>>,
    /// Those, and the targets' own names, if nothing else is taken.
    taken: Option<Names>,
}

impl Models {
    pub(crate) fn from_tree(root: &Target) -> Self {
        let taken = if takes_any(root) { None } else { served(root, None, Side::Both) };
        Self { names: names(root).map(Arc::from), taken }
    }

    /// Those that clients may ask for, in order, if the settings name those of all targets.
    pub const fn names(&self) -> Option<&Arc<[String]>> {
        self.names.as_ref()
    }

    /// The same, if no target serves the one that is asked for, whatever its state.
    pub(crate) fn instead_of(&self, asked: &str) -> Option<&Arc<[String]>> {
        let is_unknown = self.taken.as_ref().is_some_and(|taken| !taken.contains(asked));
        self.names.as_ref().filter(|_| is_unknown)
    }
}

/// Which names of a `model_map` are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Those for clients.
    Clients,
    /// Those, and the target's own.
    Both,
}

/// The names that clients may ask for; `None` if a target may serve others too, or there is no target.
pub(super) fn names(root: &Target) -> Option<Vec<String>> {
    let names = served(root, None, Side::Clients)?;
    (!names.is_empty()).then(|| names.into_iter().collect())
}

/// Whether some target takes whatever name is asked for: no condition on the model is before it, and it sets the model itself or
/// passes every name on.
pub(super) fn takes_any(root: &Target) -> bool {
    match &root.kind {
        _ if root.drained => false,
        TargetKind::Router(_) => {
            let map = &root.patch.model_map;
            root.patch.merge.contains_key(MODEL) || map.is_empty() || map.contains_key(Patch::ANY)
        }
        TargetKind::Branch { policy: Policy::Conditional { conditions, default }, targets } => {
            let unnamed = conditions.iter().filter(|condition| named(&condition.query).is_none());
            let mut unnamed = unnamed.map(|condition| condition.then).chain(*default);
            unnamed.any(|child| targets.get(usize::from(child)).is_some_and(takes_any))
        }
        TargetKind::Branch { targets, .. } => targets.iter().any(takes_any),
    }
}

/// What a target serves of the requests that reach it: all, or those for `asked`. A drained one serves nothing, but what it names
/// is still known.
fn served(target: &Target, asked: Option<&Names>, side: Side) -> Option<Names> {
    match side {
        Side::Clients if target.drained => Some(Names::new()),
        Side::Both if target.drained => named_by(target, asked, side).or_else(|| Some(Names::new())),
        Side::Clients | Side::Both => named_by(target, asked, side),
    }
}

fn named_by(target: &Target, asked: Option<&Names>, side: Side) -> Option<Names> {
    match &target.kind {
        TargetKind::Router(_) => asked.cloned().or_else(|| own(target, side)),
        TargetKind::Branch { policy: Policy::Conditional { conditions, default }, targets } => {
            let mut all = Names::new();
            let by_condition = conditions.iter().map(|condition| (condition.then, named(&condition.query)));
            for (child, named) in by_condition.chain(default.map(|child| (child, None))) {
                let both = match (named, asked) {
                    (Some(named), Some(asked)) => Some(named.intersection(asked).cloned().collect()),
                    (named, asked) => named.or_else(|| asked.cloned()),
                };
                all.extend(served(targets.get(usize::from(child))?, both.as_ref(), side)?);
            }
            Some(all)
        }
        TargetKind::Branch { targets, .. } => {
            let all: Option<Vec<Names>> = targets.iter().map(|target| served(target, asked, side)).collect();
            Some(all?.into_iter().flatten().collect())
        }
    }
}

impl Target {
    /// The models that its settings and those of the targets below it set, map, or map to.
    pub fn models(&self) -> Vec<String> {
        let set = self.patch.merge.get(MODEL).and_then(Value::as_str).map(str::to_owned);
        let mapped =
            self.patch.model_map.iter().flat_map(|(from, to)| [from, to]).filter(|name| *name != Patch::ANY).cloned();
        let below = match &self.kind {
            TargetKind::Router(_) => &[][..],
            TargetKind::Branch { targets, .. } => targets,
        };
        set.into_iter().chain(mapped).chain(below.iter().flat_map(Self::models)).collect()
    }
}

/// What a leaf serves whatever it is asked for, by its own settings.
fn own(leaf: &Target, side: Side) -> Option<Names> {
    let map = &leaf.patch.model_map;
    match leaf.patch.merge.get(MODEL) {
        Some(Value::String(model)) => Some(Names::from([model.clone()])),
        Some(_) => None,
        None if map.is_empty() || map.get(Patch::ANY).is_some_and(|to| to == Patch::ANY) => None,
        None => {
            // What all other names become is a name for clients too.
            let shown = map.iter().filter(|(from, _)| side == Side::Both || *from == Patch::ANY).map(|(_, to)| to);
            Some(map.keys().chain(shown).filter(|name| *name != Patch::ANY).cloned().collect())
        }
    }
}

/// The models for which a query can hold; `None` if it does not limit them to a list.
fn named(query: &Query) -> Option<Names> {
    match query {
        Query::All(queries) => {
            let mut lists = queries.iter().filter_map(named);
            let first = lists.next()?;
            Some(lists.fold(first, |all, names| all.intersection(&names).cloned().collect()))
        }
        Query::Any(queries) => {
            let lists: Option<Vec<Names>> = queries.iter().map(named).collect();
            Some(lists?.into_iter().flatten().collect())
        }
        Query::Not(_) => None,
        Query::Field(Field::Param(path), tests) if path.as_slice() == [MODEL] => {
            let listed = tests.iter().find_map(|test| match test {
                Test::Eq(value) => Some(std::slice::from_ref(value)),
                Test::In(values) => Some(values.as_slice()),
                _ => None,
            })?;
            let holds = |value: &&Value| tests.iter().all(|test| test.holds(std::slice::from_ref(*value)));
            Some(listed.iter().filter(holds).filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Query::Field(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tree::Condition;
    use super::*;
    use types::request::Patch;
    use types::router::RouterPath;

    fn leaf(patch: Patch) -> Target {
        let router = RouterPath::parse("/azure/a/").unwrap();
        Target { patch: Arc::new(patch), ..Target::plain(TargetKind::Router(router)) }
    }

    fn any() -> Target {
        leaf(Patch::default())
    }

    fn mapped(names: &[&str]) -> Target {
        let model_map = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        leaf(Patch { model_map, ..Patch::default() })
    }

    fn set(model: Value) -> Target {
        leaf(Patch { merge: [(MODEL.to_owned(), model)].into_iter().collect(), ..Patch::default() })
    }

    fn branch(policy: Policy, targets: Vec<Target>) -> Target {
        Target::plain(TargetKind::Branch { policy, targets })
    }

    fn model(tests: Vec<Test>) -> Query {
        Query::Field(Field::Param(vec![MODEL.to_owned()]), tests)
    }

    fn conditional(queries: Vec<Query>, default: Option<u16>, targets: Vec<Target>) -> Target {
        let conditions = (0..).zip(queries).map(|(then, query)| Condition { query, then }).collect();
        branch(Policy::Conditional { conditions, default }, targets)
    }

    #[test]
    fn s2_what_a_pool_can_serve() {
        let eq = |name: &str| model(vec![Test::Eq(json!(name))]);
        let either = |names: &[&str]| model(vec![Test::In(names.iter().map(|name| json!(name)).collect())]);
        let other = || Query::Field(Field::Header("x-tier".to_owned()), vec![Test::Eq(json!("gold"))]);
        let drained = Target { drained: true, ..any() };
        for (number, (root, names)) in [
            (branch(Policy::Fallback, vec![mapped(&["b", "a"]), set(json!("c"))]), Some(vec!["a", "b", "c"])),
            (branch(Policy::Fallback, vec![mapped(&["a"]), any()]), None),
            (branch(Policy::Fallback, vec![mapped(&["a"]), drained]), Some(vec!["a"])),
            (branch(Policy::Fallback, vec![set(json!(null))]), None),
            (branch(Policy::Fallback, Vec::new()), None),
            (conditional(vec![eq("a"), either(&["b", "c"])], None, vec![any(), any()]), Some(vec!["a", "b", "c"])),
            (conditional(vec![eq("a")], Some(1), vec![any(), any()]), None),
            (conditional(vec![eq("a")], Some(1), vec![any(), mapped(&["m"])]), Some(vec!["a", "m"])),
            (conditional(vec![other()], Some(1), vec![mapped(&["a"]), mapped(&["m"])]), Some(vec!["a", "m"])),
            (conditional(vec![other()], None, vec![any()]), None),
            (
                conditional(vec![Query::All(vec![either(&["a", "b"]), other()])], None, vec![any()]),
                Some(vec!["a", "b"]),
            ),
            (conditional(vec![Query::Any(vec![eq("a"), other()])], None, vec![any()]), None),
            (conditional(vec![Query::Any(vec![eq("a"), eq("b")])], None, vec![any()]), Some(vec!["a", "b"])),
            (conditional(vec![Query::Not(Box::new(eq("a")))], None, vec![any()]), None),
            (
                conditional(
                    vec![model(vec![Test::In(vec![json!("a"), json!("b"), json!(7)]), Test::Ne(json!("b"))])],
                    None,
                    vec![any()],
                ),
                Some(vec!["a"]),
            ),
            (
                conditional(
                    vec![either(&["a", "b"])],
                    None,
                    vec![conditional(vec![either(&["b", "c"])], Some(1), vec![any(), any()])],
                ),
                Some(vec!["a", "b"]),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let is_limited = [2, 5, 7, 8, 10, 12, 14, 15].contains(&number);
            assert_eq!(takes_any(&root), !is_limited && number != 4, "{number}");
            let found = super::names(&root);
            let found: Option<Vec<_>> = found.as_ref().map(|names| names.iter().map(String::as_str).collect());
            assert_eq!(found, names, "{number}");
        }
    }

    #[test]
    fn a_row_for_all_other_names_is_no_name() {
        let map = |rows: &[(&str, &str)]| {
            let model_map = rows.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
            leaf(Patch { model_map, ..Patch::default() })
        };
        for (rows, shown, all) in [
            (&[("a", "x"), ("*", "y")][..], Some(vec!["a", "y"]), vec!["a", "x", "y"]),
            (&[("a", "x"), ("*", "*")], None, vec!["a", "x"]),
            (&[("a", "*")], Some(vec!["a"]), vec!["a"]),
        ] {
            let leaf = map(rows);
            let names = super::names(&leaf);
            assert_eq!(names, shown.map(|names| names.into_iter().map(str::to_owned).collect()), "{rows:?}");
            assert_eq!(
                leaf.models().into_iter().collect::<BTreeSet<_>>(),
                all.into_iter().map(str::to_owned).collect()
            );
        }
    }

    #[test]
    fn s2_a_model_that_no_target_takes_is_known_before_one_is_asked() {
        let eq = |name: &str| model(vec![Test::Eq(json!(name))]);
        let own = || Target { drained: true, ..any() };
        for (number, (root, taken, unknown)) in [
            // The target's own name is taken, and not shown.
            (
                branch(Policy::Fallback, vec![mapped(&["b", "a"]), mapped(&["c"])]),
                vec!["a", "b", "c", "x"],
                vec!["d", ""],
            ),
            (branch(Policy::Fallback, vec![mapped(&["a"]), own()]), vec!["a", "x"], vec!["b"]),
            // Whoever serves it comes back.
            (
                branch(Policy::Fallback, vec![mapped(&["a"]), Target { drained: true, ..mapped(&["m"]) }]),
                vec!["a", "m", "x"],
                vec!["b"],
            ),
            (conditional(vec![eq("a")], Some(1), vec![any(), mapped(&["m"])]), vec!["a", "m", "x"], vec!["b"]),
            // Behind a condition only what it names arrives.
            (conditional(vec![eq("a")], None, vec![mapped(&["a", "b"])]), vec!["a"], vec!["b", "x"]),
            // An alias, and a target that judges itself.
            (branch(Policy::Fallback, vec![mapped(&["a"]), set(json!("c"))]), vec!["a", "c", "d"], vec![]),
            (branch(Policy::Fallback, vec![mapped(&["a"]), any()]), vec!["a", "d"], vec![]),
            (conditional(vec![eq("a")], Some(1), vec![any(), any()]), vec!["a", "d"], vec![]),
            (branch(Policy::Fallback, vec![own()]), vec!["a"], vec![]),
            // A row for all other names, which is no name itself.
            (branch(Policy::Fallback, vec![mapped(&["a"]), mapped(&["b", "*"])]), vec!["a", "b", "d"], vec![]),
            (conditional(vec![eq("a")], None, vec![mapped(&["*"])]), vec!["a"], vec!["b", "*"]),
        ]
        .into_iter()
        .enumerate()
        {
            let models = Models::from_tree(&root);
            for name in taken {
                assert_eq!(models.instead_of(name), None, "{number} {name}");
            }
            for name in unknown {
                assert_eq!(models.instead_of(name), models.names(), "{number} {name}");
                assert!(models.names().is_some(), "{number}");
            }
        }
    }
}
