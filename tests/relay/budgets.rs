//! Budgets steer the relay as they steer a single choice: targets over their limits are tried after the others, and no call fails
//! for it.

use super::super::support::http::{Answer, Open};
use super::super::support::scripted::{Move, Scripted, answer};
use super::{CHAT, HI, Harness, good, pools, target};

/// An answer that does not say what it used, so that what was expected stands.
const BODY_WITHOUT_USAGE: &str = r#"{"choices":[{"message":{"content":"hello"}}]}"#;

async fn quiet() -> Scripted {
    Scripted::start(answer(200, &[], BODY_WITHOUT_USAGE)).await
}

fn limited(name: &str, upstream: &Scripted, budget: &str) -> String {
    target(name, &upstream.url()).replacen('{', &format!(r#"{{"budget": {budget}, "#), 1)
}

/// Who answered, at which attempt.
fn served(answer: &Answer) -> (String, String) {
    assert_eq!((answer.status, answer.text().as_str()), (200, BODY_WITHOUT_USAGE));
    let header = |name| answer.header(name).unwrap().to_owned();
    (header("x-broker-router"), header("x-broker-attempts"))
}

fn by(router: &str, attempts: &str) -> (String, String) {
    (format!("/llm/{router}/"), attempts.to_owned())
}

#[tokio::test]
async fn a_call_goes_first_to_those_that_have_room_and_never_fails_for_want_of_it() {
    let (a, b) = (quiet().await, quiet().await);
    let harness = Harness::of(&pools(&[limited("a", &a, r#"{"rpm": 2}"#), limited("b", &b, r#"{"rpm": 3}"#)])).await;
    for router in ["a", "a", "b", "b", "b"] {
        assert_eq!(served(&harness.call().await), by(router, "1"));
    }
    assert_eq!(
        served(&harness.call().await),
        by("a", "1"),
        "where no target is within its limits it goes where it would without budgets"
    );
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_target_over_its_limits_is_asked_when_the_others_fail() {
    let (a, b) = (quiet().await, quiet().await);
    let harness = Harness::of(&pools(&[limited("a", &a, r#"{"rpm": 1}"#), target("b", &b.url())])).await;
    assert_eq!(served(&harness.call().await), by("a", "1"));
    b.once(answer(503, &[], "{}"));
    assert_eq!(served(&harness.call().await), by("a", "2"));
    assert_eq!((a.calls(), b.calls()), (2, 1));
}

#[tokio::test]
async fn the_size_of_a_call_counts() {
    let (a, b) = (quiet().await, quiet().await);
    let harness = Harness::of(&pools(&[limited("a", &a, r#"{"tpm": 1000}"#), target("b", &b.url())])).await;
    let large = r#"{"max_tokens": 900, "messages": []}"#;
    for (body, router) in [(large, "a"), (large, "b"), (HI, "a")] {
        assert_eq!(served(&harness.send(CHAT, &[], body).await), by(router, "1"), "{body}");
    }
}

#[tokio::test]
async fn a_call_whose_client_leaves_is_counted_as_its_vendor_counts_it() {
    let (a, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(good()).await);
    let harness = Harness::of(&pools(&[limited("a", &a, r#"{"rpm": 2}"#), target("b", &b.url())])).await;
    for calls in 1..=2 {
        let open = Open::post(harness.relay, CHAT, HI).await;
        a.called(calls).await;
        drop(open);
        a.gone(calls).await;
    }
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    assert_eq!(a.calls(), 2);
}
