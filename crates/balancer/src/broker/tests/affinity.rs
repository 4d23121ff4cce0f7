//! A request that names what one target made goes there, if that may serve it.

use super::*;
use crate::strategy::{Condition, Field, Query, Test};
use types::request::FieldValue;

/// A request of the relay that prefers a router.
struct TestRequest {
    preferred: Option<RouterPath>,
    model: &'static str,
    is_generation: bool,
}

impl Request for TestRequest {
    fn path(&self) -> &str {
        INGRESS
    }

    fn param(&self, _names: &[String]) -> Option<FieldValue> {
        self.is_generation.then(|| FieldValue::Value(self.model.into()))
    }

    fn is_generation(&self) -> bool {
        self.is_generation
    }

    fn preferred(&self) -> Option<&RouterPath> {
        self.preferred.as_ref()
    }
}

fn asked(preferred: &str) -> TestRequest {
    TestRequest { preferred: RouterPath::parse(preferred).ok(), model: "a", is_generation: true }
}

/// The next target's path, and why.
fn next(harness: &mut Harness, asked: &TestRequest, history: &mut AttemptHistory) -> (String, String) {
    let offer = harness.broker.next_target(asked, history, &mut SmallRng::seed_from_u64(1));
    let (NextTarget::Untried(route) | NextTarget::Retry(route)) = offer else { panic!("{offer:?}") };
    history.note(route.router(), false);
    let broker = &harness.broker;
    (
        broker.path(route.router()).unwrap().to_string(),
        broker.description(route.pool).unwrap().reason(&route).to_string(),
    )
}

fn fallback(policy: Policy) -> Harness {
    let mut settings = settings(3);
    let Target { kind: TargetKind::Branch { targets, .. }, .. } = settings.pools[0].root.clone() else { panic!() };
    settings.pools[0].root = Target::plain(TargetKind::Branch { policy, targets });
    Harness::of(settings)
}

#[test]
fn s1_9_a_request_goes_where_what_it_names_was_made_and_then_on_in_order() {
    let mut harness = fallback(Policy::Fallback);
    let mut history = AttemptHistory::default();
    let asked = asked("/azure/r1/");
    assert_eq!(next(&mut harness, &asked, &mut history), ("/azure/r1/".to_owned(), "affinity".to_owned()));
    let (second, why) = next(&mut harness, &asked, &mut history);
    assert_eq!(
        (second.as_str(), why.as_str()),
        ("/azure/r0/", "first in order, 3 of 3 serve; affinity with /azure/r1/ not possible")
    );
    assert_eq!(next(&mut harness, &asked, &mut history).0, "/azure/r2/");
    let plain = TestRequest { preferred: None, ..asked };
    assert_eq!(next(&mut harness, &plain, &mut AttemptHistory::default()).1, "first in order, 3 of 3 serve");
}

#[test]
fn s1_9_a_target_that_may_not_serve_is_not_preferred_and_the_reason_says_so() {
    let mut harness = fallback(Policy::Fallback);
    harness.learn(&log(&router(1), 500, "A_1_1_1", 0, 1), at(0));
    let (chosen, why) = next(&mut harness, &asked("/azure/r1/"), &mut AttemptHistory::default());
    assert_eq!(chosen, "/azure/r0/");
    assert!(why.ends_with("; affinity with /azure/r1/ not possible"), "{why}");
    // What is no router of ours cannot be preferred.
    for odd in ["/elsewhere/", INGRESS] {
        let (chosen, why) = next(&mut harness, &asked(odd), &mut AttemptHistory::default());
        assert_eq!((chosen.as_str(), why.as_str()), ("/azure/r0/", "first in order, 2 of 3 serve"), "{odd}");
    }
}

#[test]
fn s1_9_conditions_hold_for_what_is_made_and_not_for_what_is_fetched() {
    let query = Query::Field(Field::parse("params.model").unwrap(), vec![Test::Eq("a".into())]);
    let conditions = vec![Condition { query, then: 0 }].into();
    let mut harness = fallback(Policy::Conditional { conditions, default: Some(2) });
    let mut chosen = |asked: TestRequest| next(&mut harness, &asked, &mut AttemptHistory::default()).0;
    assert_eq!(chosen(asked("/azure/r0/")), "/azure/r0/");
    assert_eq!(chosen(asked("/azure/r1/")), "/azure/r0/", "the condition leads elsewhere");
    assert_eq!(chosen(TestRequest { model: "b", ..asked("/azure/r0/") }), "/azure/r2/", "the default does");
    assert_eq!(chosen(TestRequest { is_generation: false, ..asked("/azure/r0/") }), "/azure/r0/");
    assert_eq!(chosen(TestRequest { is_generation: false, preferred: None, model: "" }), "/azure/r2/");
}
