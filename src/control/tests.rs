//! Asks by tables, and what a signature holds and does not.

use super::*;

const START: Now = Now::from_nanos(1_800_000_000_000_000_000);

fn order(verb: Verb, body: &str) -> Result<Order, String> {
    let ask = Ask::read(body.as_bytes()).map_err(|fault| fault.to_string())?;
    ask.order(verb, "test".to_owned(), START).map_err(|fault| fault.to_string())
}

fn path(text: &str) -> RouterPath {
    RouterPath::parse(text).unwrap()
}

#[test]
fn what_is_asked_for_becomes_an_order() {
    let given = |command, seconds: Option<u64>, reason: &str| {
        let until = seconds.map(|seconds| START.after(Duration::from_secs(seconds)));
        Ok(Order::Broker(Given { command, until, by: "test".to_owned(), reason: reason.to_owned() }))
    };
    let (a, pool) = (path("/a/"), path("/in/"));
    for (verb, body, expected) in [
        (Verb::Drain, r#"{"router":"/a/"}"#, given(Command::Drain(a.clone()), None, "")),
        (
            Verb::Drain,
            r#"{"router":"/a/","for":"1h 30m","reason":"new keys"}"#,
            given(Command::Drain(a.clone()), Some(5_400), "new keys"),
        ),
        (Verb::Resume, r#"{"router":"/a/"}"#, given(Command::Resume(a.clone()), None, "")),
        (Verb::Enable, r#"{"router":"/a/"}"#, given(Command::Enable(a.clone()), None, "")),
        (Verb::Disable, r#"{"router":"/a/","for":"90s"}"#, given(Command::Disable(a.clone()), Some(90), "")),
        (
            Verb::Weight,
            r#"{"pool":"/in/","router":"/a/","weight":0.25,"for":"10m"}"#,
            given(Command::Weigh { pool: pool.clone(), router: a.clone(), weight: Some(0.25) }, Some(600), ""),
        ),
        (
            Verb::Weight,
            r#"{"pool":"/in/","router":"/a/"}"#,
            given(Command::Weigh { pool, router: a, weight: None }, None, ""),
        ),
        (
            Verb::Mode,
            r#"{"mode":"observe"}"#,
            Ok(Order::Mode { mode: Mode::Observe, by: "test".to_owned(), reason: String::new() }),
        ),
    ] {
        assert_eq!(order(verb, body), expected, "{body}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let long = format!(r#"{{"router":"/a/","reason":"{}"}}"#, "x".repeat(201));
    let huge = format!(r#"{{"router":"/a/","reason":"{}"}}"#, "x".repeat(5_000));
    for (verb, body, words) in [
        (Verb::Drain, "", "needs \"router\""),
        (Verb::Drain, "{", "not understood"),
        (Verb::Drain, "[]", "not understood"),
        (Verb::Drain, r#"{"router":"/a-b/"}"#, "'-'"),
        (Verb::Drain, r#"{"router":"/a/","fro":"1m"}"#, "unknown field `fro`"),
        (Verb::Drain, r#"{"router":"/a/","for":"-5m"}"#, "-5m"),
        (Verb::Drain, r#"{"router":"/a/","for":"0s"}"#, "more than 0"),
        (Verb::Drain, r#"{"router":"/a/","for":"31d"}"#, "30 days"),
        (Verb::Drain, r#"{"router":"/a/","for":"99999h"}"#, "30 days"),
        (Verb::Drain, r#"{"router":"/a/","for":"soon"}"#, "soon"),
        (Verb::Drain, r#"{"router":"/a/","for":10}"#, "not understood"),
        (Verb::Drain, r#"{"router":"/a/","weight":1}"#, "no use for \"weight\""),
        (Verb::Drain, r#"{"router":"/a/","reason":"two\nlines"}"#, "one line"),
        (Verb::Drain, &long, "200 characters"),
        (Verb::Drain, &huge, "larger than 4096"),
        (Verb::Disable, r#"{"router":"/a/"}"#, "needs \"for\""),
        (Verb::Enable, r#"{"router":"/a/","for":"1m"}"#, "no use for \"for\""),
        (Verb::Weight, r#"{"router":"/a/","weight":1}"#, "needs \"pool\""),
        (Verb::Weight, r#"{"pool":"/in/","router":"/a/","weight":-1}"#, "not negative"),
        (Verb::Weight, r#"{"pool":"/in/","router":"/a/","weight":1e9}"#, "at most"),
        (Verb::Mode, r#"{"mode":"fast"}"#, "balance or observe"),
        (Verb::Mode, "{}", "balance or observe"),
    ] {
        let fault = order(verb, body).unwrap_err();
        assert!(fault.contains(words), "{verb:?} {body}: {fault}");
    }
}

#[test]
fn a_signature_holds_for_one_message_for_half_a_minute() {
    let token = Token::new("the operators' own");
    let mac = token.sign("ctl.drain", START, "nonce".to_owned(), b"{}");
    let check = |mac: &Mac, subject: &str, body: &[u8], now| token.check(subject, mac, body, now);
    assert_eq!(check(&mac, "ctl.drain", b"{}", START), Ok(()));
    assert_eq!(check(&mac, "ctl.drain", b"{}", START.after(WINDOW)), Ok(()));
    let later = START.after(WINDOW + Duration::from_nanos(1));
    assert_eq!(check(&mac, "ctl.drain", b"{}", later), Err(Unsigned::Stale));
    let ahead = token.sign("ctl.drain", later, "nonce".to_owned(), b"{}");
    assert_eq!(check(&ahead, "ctl.drain", b"{}", START), Err(Unsigned::Stale));
    assert_eq!(check(&mac, "ctl.resume", b"{}", START), Err(Unsigned::Wrong), "another subject");
    assert_eq!(check(&mac, "ctl.drain", b"{ }", START), Err(Unsigned::Wrong), "another body");
    for changed in [
        Mac { at: mac.at + 1, ..mac.clone() },
        Mac { nonce: "other".to_owned(), ..mac.clone() },
        Mac { mac: String::new(), ..mac.clone() },
        Mac { mac: "zz".to_owned(), ..mac.clone() },
        Mac { mac: mac.mac[..62].to_owned(), ..mac.clone() },
        Mac { nonce: String::new(), ..mac.clone() },
    ] {
        assert_eq!(check(&changed, "ctl.drain", b"{}", START), Err(Unsigned::Wrong), "{changed:?}");
    }
    let other = Token::new("another");
    assert_eq!(other.check("ctl.drain", &mac, b"{}", START), Err(Unsigned::Wrong));
    assert!(token.is("the operators' own") && !token.is("the operators' ow") && !token.is(""));
    assert_eq!(format!("{token:?}"), "(secret)");
}

#[test]
fn a_nonce_is_taken_once_and_forgotten_when_its_message_is_stale() {
    let mut nonces = Nonces::default();
    assert_eq!(nonces.take("a", START), Ok(()));
    assert_eq!(nonces.take("a", START.after(WINDOW)), Err(Unsigned::Repeated));
    assert_eq!(nonces.take("b", START), Ok(()));
    assert_eq!(nonces.take("a", START.after(WINDOW * 3)), Ok(()));
    let mut nonces = Nonces::default();
    for number in 0..10_000 {
        nonces.take(&number.to_string(), START).unwrap();
    }
    assert_eq!(nonces.take("one more", START), Err(Unsigned::TooMany));
}
