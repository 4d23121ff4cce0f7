//! Asks by tables, and what a signature holds and does not.

use super::state::{ActiveOverride, EjectedRouter, ModeCommand};
use super::*;
use crate::fixtures::path;
use types::outcome::{Cause, ErrorClass, TransportFailure};

const START: BrokerTime = BrokerTime::from_nanos(1_800_000_000_000_000_000);

fn command(action: AdminAction, body: &str) -> Result<AdminCommand, String> {
    let ask = AdminRequest::read(body.as_bytes()).map_err(|fault| fault.to_string())?;
    ask.command(action, "test".to_owned(), START).map_err(|fault| fault.to_string())
}

#[test]
fn a_request_becomes_a_command() {
    let given = |command, seconds: Option<u64>, reason: &str| {
        let until = seconds.map(|seconds| START.after(Duration::from_secs(seconds)));
        Ok(AdminCommand::Broker(OperatorCommand { command, until, by: "test".to_owned(), reason: reason.to_owned() }))
    };
    let (a, pool) = (path("/a/"), path("/in/"));
    for (action, body, expected) in [
        (AdminAction::Drain, r#"{"router":"/a/"}"#, given(Command::Drain(a.clone()), None, "")),
        (
            AdminAction::Drain,
            r#"{"router":"/a/","for":"1h 30m","reason":"new keys"}"#,
            given(Command::Drain(a.clone()), Some(5_400), "new keys"),
        ),
        (AdminAction::Resume, r#"{"router":"/a/"}"#, given(Command::Resume(a.clone()), None, "")),
        (AdminAction::Enable, r#"{"router":"/a/"}"#, given(Command::Enable(a.clone()), None, "")),
        (AdminAction::Disable, r#"{"router":"/a/","for":"90s"}"#, given(Command::Disable(a.clone()), Some(90), "")),
        (
            AdminAction::Weight,
            r#"{"pool":"/in/","router":"/a/","weight":0.25,"for":"10m"}"#,
            given(Command::SetWeight { pool: pool.clone(), router: a.clone(), weight: Some(0.25) }, Some(600), ""),
        ),
        (
            AdminAction::Weight,
            r#"{"pool":"/in/","router":"/a/"}"#,
            given(Command::SetWeight { pool, router: a, weight: None }, None, ""),
        ),
        (
            AdminAction::Mode,
            r#"{"mode":"observe"}"#,
            Ok(AdminCommand::Mode { mode: OperatingMode::Observe, by: "test".to_owned(), reason: String::new() }),
        ),
    ] {
        assert_eq!(command(action, body), expected, "{body}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let long = format!(r#"{{"router":"/a/","reason":"{}"}}"#, "x".repeat(201));
    let huge = format!(r#"{{"router":"/a/","reason":"{}"}}"#, "x".repeat(5_000));
    for (action, body, words) in [
        (AdminAction::Drain, "", "needs \"router\""),
        (AdminAction::Drain, "{", "not understood"),
        (AdminAction::Drain, "[]", "not understood"),
        (AdminAction::Drain, r#"{"router":"/a-b/"}"#, "'-'"),
        (AdminAction::Drain, r#"{"router":"/a/","fro":"1m"}"#, "unknown field `fro`"),
        (AdminAction::Drain, r#"{"router":"/a/","for":"-5m"}"#, "-5m"),
        (AdminAction::Drain, r#"{"router":"/a/","for":"0s"}"#, "more than 0"),
        (AdminAction::Drain, r#"{"router":"/a/","for":"31d"}"#, "30 days"),
        (AdminAction::Drain, r#"{"router":"/a/","for":"99999h"}"#, "30 days"),
        (AdminAction::Drain, r#"{"router":"/a/","for":"soon"}"#, "soon"),
        (AdminAction::Drain, r#"{"router":"/a/","for":10}"#, "not understood"),
        (AdminAction::Drain, r#"{"router":"/a/","weight":1}"#, "does not take \"weight\""),
        (AdminAction::Drain, r#"{"router":"/a/","reason":"two\nlines"}"#, "one line"),
        (AdminAction::Drain, &long, "200 characters"),
        (AdminAction::Drain, &huge, "larger than 4096"),
        (AdminAction::Disable, r#"{"router":"/a/"}"#, "needs \"for\""),
        (AdminAction::Enable, r#"{"router":"/a/","for":"1m"}"#, "does not take \"for\""),
        (AdminAction::Weight, r#"{"router":"/a/","weight":1}"#, "needs \"pool\""),
        (AdminAction::Weight, r#"{"pool":"/in/","router":"/a/","weight":-1}"#, "not negative"),
        (AdminAction::Weight, r#"{"pool":"/in/","router":"/a/","weight":1e9}"#, "at most"),
        (AdminAction::Mode, r#"{"mode":"fast"}"#, "balance or observe"),
        (AdminAction::Mode, "{}", "balance or observe"),
    ] {
        let fault = command(action, body).unwrap_err();
        assert!(fault.contains(words), "{action:?} {body}: {fault}");
    }
}

#[test]
fn a_signature_holds_for_one_message_for_half_a_minute() {
    let token = Token::new("the operators' own");
    let mac = token.sign("ctl.drain", START, "nonce".to_owned(), b"{}");
    let check = |mac: &MessageSignature, subject: &str, body: &[u8], now| token.check(subject, mac, body, now);
    assert_eq!(check(&mac, "ctl.drain", b"{}", START), Ok(()));
    assert_eq!(check(&mac, "ctl.drain", b"{}", START.after(SIGNATURE_WINDOW)), Ok(()));
    let later = START.after(SIGNATURE_WINDOW + Duration::from_nanos(1));
    assert_eq!(check(&mac, "ctl.drain", b"{}", later), Err(AuthError::Stale));
    let ahead = token.sign("ctl.drain", later, "nonce".to_owned(), b"{}");
    assert_eq!(check(&ahead, "ctl.drain", b"{}", START), Err(AuthError::Stale));
    assert_eq!(check(&mac, "ctl.resume", b"{}", START), Err(AuthError::Wrong), "another subject");
    assert_eq!(check(&mac, "ctl.drain", b"{ }", START), Err(AuthError::Wrong), "another body");
    for changed in [
        MessageSignature { at: mac.at + 1, ..mac.clone() },
        MessageSignature { nonce: "other".to_owned(), ..mac.clone() },
        MessageSignature { mac: String::new(), ..mac.clone() },
        MessageSignature { mac: "zz".to_owned(), ..mac.clone() },
        MessageSignature { mac: mac.mac[..62].to_owned(), ..mac.clone() },
        MessageSignature { nonce: String::new(), ..mac.clone() },
    ] {
        assert_eq!(check(&changed, "ctl.drain", b"{}", START), Err(AuthError::Wrong), "{changed:?}");
    }
    let other = Token::new("another");
    assert_eq!(other.check("ctl.drain", &mac, b"{}", START), Err(AuthError::Wrong));
    assert!(token.matches("the operators' own") && !token.matches("the operators' ow") && !token.matches(""));
    assert_eq!(format!("{token:?}"), "(secret)");
}

fn nonce(nonce: &str, at: BrokerTime) -> MessageSignature {
    MessageSignature { at: at.as_nanos(), nonce: nonce.to_owned(), mac: String::new() }
}

#[test]
fn a_nonce_is_taken_once_and_forgotten_when_its_message_is_stale() {
    let mut nonces = Nonces::since(START);
    let mut take = |name: &str, now: BrokerTime| nonces.take(&nonce(name, now), now);
    assert_eq!(take("a", START), Ok(()));
    assert_eq!(take("a", START.after(SIGNATURE_WINDOW)), Err(AuthError::Repeated));
    assert_eq!(take("b", START), Ok(()));
    assert_eq!(take("a", START.after(SIGNATURE_WINDOW * 3)), Ok(()));
    let mut nonces = Nonces::since(START);
    for number in 0..10_000 {
        nonces.take(&nonce(&number.to_string(), START), START).unwrap();
    }
    assert_eq!(nonces.take(&nonce("one more", START), START), Err(AuthError::TooMany));
}

#[test]
fn what_was_signed_before_the_start_is_refused_unless_others_remember_that_time() {
    let (second, later) = (Duration::from_secs(1), START.after(Duration::from_secs(60)));
    let mut first = Nonces::since(START);
    let order = nonce("given while the first ran", later);
    assert_eq!(first.take(&order, later), Ok(()));
    let restarted = later.after(second);
    let mut alone = Nonces::since(restarted);
    assert_eq!(alone.take(&order, restarted), Err(AuthError::BeforeStart), "a recording");
    assert_eq!(alone.take(&nonce("new", restarted), restarted), Ok(()));
    // A clock that is behind: new, but it looks like one from before the start.
    let behind = nonce("new, by a clock that is behind", later);
    assert_eq!(alone.take(&behind, restarted), Err(AuthError::BeforeStart));
    // Another replica that ran all the while: times are handed over as they have passed, by clocks that differ.
    let handed = AcceptedNonces::from_nonces(&first, restarted);
    let skewed = restarted.after(second * 7);
    let mut third = Nonces::since(skewed);
    let (taken, complete) = handed.moments(skewed);
    third.take_over(taken, complete);
    assert_eq!(third.take(&order, skewed), Err(AuthError::Repeated));
    assert_eq!(third.take(&behind, skewed), Ok(()), "nothing of that time is forgotten");
    let ancient = nonce("from before all of them", BrokerTime::from_nanos(0));
    assert_eq!(third.take(&ancient, skewed), Err(AuthError::BeforeStart));
}

#[test]
fn more_nonces_than_fit_are_not_taken_for_all() {
    let mut nonces = Nonces::since(START);
    let many = (0..20_000).map(|number: u32| (number.to_string(), START));
    nonces.take_over(many, BrokerTime::from_nanos(0));
    assert_eq!((nonces.taken().count(), nonces.complete_since()), (10_000, START));
}

fn out(router: &str, seconds_left: Option<f64>) -> EjectedRouter {
    EjectedRouter { router: path(router), seconds_left, cause: Cause::Answered(500) }
}

fn drained(router: &str, seconds_ago: f64, reason: &str) -> ActiveOverride {
    let (by, reason) = (String::new(), reason.to_owned());
    ActiveOverride { router: path(router), pool: None, weight: None, seconds_left: None, seconds_ago, by, reason }
}

fn mode(mode: OperatingMode, seconds_ago: f64) -> Option<ModeCommand> {
    Some(ModeCommand { mode, seconds_ago, by: String::new(), reason: String::new() })
}

#[test]
fn several_answers_become_the_most_cautious_health_and_the_newest_overrides_in_whatever_order_they_came() {
    let weighs = |seconds_ago, weight| ActiveOverride {
        pool: Some(path("/in/")),
        weight: Some(weight),
        ..drained("/a/", seconds_ago, "")
    };
    let state = |replica: &str, routers, overrides, mode_command| ReplicaState {
        replica: replica.to_owned(),
        routers,
        overrides,
        mode_command,
        ..ReplicaState::default()
    };
    let states = [
        state(
            "b",
            vec![out("/a/", Some(5.0)), out("/b/", None)],
            vec![weighs(9.0, 2.0)],
            mode(OperatingMode::Observe, 50.0),
        ),
        state(
            "a",
            vec![out("/a/", Some(7.0)), out("/c/", None)],
            vec![drained("/a/", 3.0, "newer"), weighs(9.0, 1.0)],
            None,
        ),
        state(
            "c",
            vec![out("/b/", Some(0.5))],
            vec![drained("/a/", 8.0, "older"), weighs(20.0, 3.0)],
            mode(OperatingMode::Balance, 40.0),
        ),
    ];
    let expected = ReplicaState {
        replica: "a,b,c".to_owned(),
        routers: vec![out("/a/", Some(7.0)), out("/b/", Some(0.5)), out("/c/", None)],
        overrides: vec![weighs(9.0, 1.0), drained("/a/", 3.0, "newer")],
        mode_command: mode(OperatingMode::Balance, 40.0),
        ..ReplicaState::default()
    };
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let merged = ReplicaState::merge(order.iter().map(|place| states[*place].clone()).collect());
        assert_eq!(merged.as_ref(), Some(&expected), "{order:?}");
    }
    let twice = states.iter().chain(&states).cloned().collect();
    assert_eq!(ReplicaState::merge(twice), Some(expected), "each replica counts once");
    assert_eq!(ReplicaState::merge(Vec::new()), None);
}

#[test]
fn a_state_of_an_earlier_version_is_read_and_strange_numbers_end_somewhere() {
    let text = r#"{"replica":"r","mode":"balance","orders":[{"router":"/b/","pool":null,"weight":null,"seconds_left":-7,"by":"","reason":""}],
        "routers":[{"router":"/a/","seconds_left":1e300,"why":"answered 500"},{"router":"/c/","seconds_left":-1,"why":"too slow"}]}"#;
    let state: ReplicaState = serde_json::from_str(text).unwrap();
    let takeover = state.takeover(START, true);
    let until: Vec<_> = takeover.routers.iter().map(|out| out.until).collect();
    assert_eq!(until, [Some(START.after(MAX_DURATION)), Some(START)]);
    assert_eq!((takeover.orders[0].given.until, takeover.orders[0].since), (Some(START), START));
    assert_eq!(state.takeover(START, false).orders, [], "orders are taken over only if they are proved");
}

#[test]
fn a_state_that_waited_is_as_much_older() {
    let second = Duration::from_secs(1);
    let state = ReplicaState {
        mode_command: mode(OperatingMode::Observe, 3.0),
        routers: vec![out("/a/", Some(5.0)), out("/b/", Some(0.5)), out("/c/", None)],
        overrides: vec![ActiveOverride { seconds_left: Some(60.0), ..drained("/a/", 3.0, "") }],
        accepted_nonces: AcceptedNonces { complete_seconds: 9.0, nonces: [("n".to_owned(), 2.0)].into() },
        ..ReplicaState::default()
    };
    let expected = ReplicaState {
        mode_command: mode(OperatingMode::Observe, 4.0),
        routers: vec![out("/a/", Some(4.0)), out("/b/", Some(0.0)), out("/c/", None)],
        overrides: vec![ActiveOverride { seconds_left: Some(59.0), ..drained("/a/", 4.0, "") }],
        accepted_nonces: AcceptedNonces { complete_seconds: 10.0, nonces: [("n".to_owned(), 3.0)].into() },
        ..ReplicaState::default()
    };
    assert_eq!(state.later(second), expected);
}

const FIRST: &str = include_str!("../../tests/fixtures/replica-state/1-first.json");
const LAST_OF_1: &str = include_str!("../../tests/fixtures/replica-state/1-last.json");
const SECOND: &str = include_str!("../../tests/fixtures/replica-state/2.json");

fn read(text: &str) -> ReplicaState {
    serde_json::from_str(text).unwrap()
}

#[test]
fn no_recorded_message_of_any_version_loses_a_router_an_override_or_a_mode() {
    for (text, routers) in [(FIRST, 10), (LAST_OF_1, 13), (SECOND, 13)] {
        let state = read(text);
        let takeover = state.takeover(START, true);
        assert_eq!(takeover.routers.len(), routers, "{state:?}");
        let of = |router: &str| takeover.routers.iter().find(|out| out.router.as_str() == router).unwrap();
        assert_eq!(of("/in/operator/").cause, Cause::Operator);
        assert_eq!(of("/in/probation/").until, None);
        assert!(of("/in/ratelimited/").until > Some(START.after(Duration::from_secs(40))));
        let orders: Vec<_> = takeover.orders.iter().map(|order| &order.given.command).collect();
        let weigh = Command::SetWeight { pool: path("/in/"), router: path("/in/heavy/"), weight: Some(0.5) };
        assert_eq!(orders, [&Command::Drain(path("/in/drained/")), &weigh]);
        assert_eq!(state.mode, OperatingMode::Observe);
        if text != FIRST {
            let ordered = state.mode_command.as_ref().map(|order| (order.mode, order.reason.as_str()));
            assert_eq!((ordered, state.accepted_nonces.nonces.len()), (Some((OperatingMode::Observe, "a look")), 5));
        }
    }
}

#[test]
fn causes_travel_as_data_by_names_that_never_change() {
    let causes = |text| read(text).routers.into_iter().map(|out| (out.router.to_string(), out.cause));
    let expected = [
        ("/in/answered/", Cause::Answered(503)),
        ("/in/ratelimited/", Cause::Answered(429)),
        ("/in/unreachable/", Cause::Unreachable(502)),
        ("/in/operator/", Cause::Operator),
        ("/in/unknown/", Cause::UnknownToGateway),
        ("/in/probation/", Cause::Operator),
        ("/dkey/key/", Cause::KeyRefused),
        ("/dquota/quota/", Cause::AccountQuotaExhausted(Some(1_798_590_735))),
        ("/daccount/account/", Cause::AccountQuotaExhausted(None)),
        ("/dclose/close/", Cause::Transport(TransportFailure::ConnectionClosed)),
        ("/dempty/empty/", Cause::Transport(TransportFailure::EmptyAnswer)),
        ("/djunk/junk/", Cause::Transport(TransportFailure::InvalidJson)),
        ("/drefused/refused/", Cause::Transport(TransportFailure::Connect)),
    ];
    assert!(causes(SECOND).eq(expected.map(|(router, cause)| (router.to_owned(), cause))), "{:?}", read(SECOND));
    let every = TransportFailure::ALL.map(Cause::Transport).into_iter().chain([
        Cause::LowSuccessRate(500),
        Cause::RateLimitExhausted,
        Cause::CutOff,
        Cause::TooSlow,
        Cause::Unknown,
        Cause::Transport(TransportFailure::ErrorEvent(ErrorClass::ContentFiltered)),
    ]);
    for cause in every {
        let sent = EjectedRouter { cause, ..out("/a/", None) };
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<EjectedRouter>(&text).unwrap(), sent, "{text}");
    }
}

#[test]
fn a_broker_of_version_1_finds_every_field_that_it_needs_and_texts_that_it_knows() {
    // What the two brokers read from whose messages the recordings of version 1 are.
    #[derive(serde::Deserialize)]
    struct State {
        #[allow(dead_code)]
        replica: String,
        #[allow(dead_code)]
        mode: String,
        routers: Vec<Router>,
        orders: Vec<serde_json::Value>,
    }
    #[derive(serde::Deserialize)]
    struct Router {
        #[allow(dead_code)]
        router: String,
        #[allow(dead_code)]
        seconds_left: Option<f64>,
        why: String,
    }
    let known = [
        "answered 503",
        "answered 429",
        "unreachable (the gateway says 502)",
        "by an operator",
        "unknown to the gateway",
        "its rate limit is used up",
        "closed the connection without an answer",
    ];
    let state: State = serde_json::from_str(&serde_json::to_string(&read(SECOND)).unwrap()).unwrap();
    assert_eq!((state.routers.len(), state.orders.len()), (13, 2));
    for router in state.routers {
        assert!(known.contains(&router.why.as_str()), "{}", router.why);
    }
}

/// As an older broker reads `broken_answer`, which came after the others: it has the same rule since version 2, and of version 1
/// it is the text that counts.
#[test]
fn a_cause_of_a_newer_version_is_unknown_and_costs_its_router_nothing() {
    for cause in [
        r#"{"transport": "melted"}"#,
        r#"{"transport": {"error_event": "bored"}}"#,
        r#"{"transport": {"melted": 7}}"#,
        r#"{"transport": 7}"#,
        r#"{"answered": "late"}"#,
        r#"{"answered": 500, "since": 7}"#,
        r#""melted""#,
        "[]",
        "7",
    ] {
        let text = format!(
            r#"{{"version": 2, "replica": "r", "mode": "auto", "orders": [], "routers": [
                {{"router": "/a/", "seconds_left": 9, "why": "closed the connection without an answer", "cause": {cause}}},
                {{"router": "/b/", "seconds_left": 5, "why": "answered 500", "cause": {{"answered": 500}}}}]}}"#
        );
        let expected = [EjectedRouter { cause: Cause::Unknown, ..out("/a/", Some(9.0)) }, out("/b/", Some(5.0))];
        assert_eq!(read(&text).routers, expected, "{cause}");
    }
    let broken = EjectedRouter { cause: Cause::Transport(TransportFailure::BrokenAnswer), ..out("/a/", Some(9.0)) };
    let sent: serde_json::Value = serde_json::to_value(&broken).unwrap();
    assert_eq!(sent["cause"], serde_json::json!({"transport": "broken_answer"}));
    assert_eq!(sent["why"], "closed the connection without an answer");
}

#[test]
fn what_only_a_newer_version_knows_costs_nothing_else() {
    let text = r#"{"version": 9, "replica": "r", "mode": "pause", "mode_order": {"mode": "pause", "seconds_ago": 1, "by": "", "reason": ""},
        "routers": [{"router": "/a/", "seconds_left": 9, "cause": {"struck_by_lightning": 7}, "why": "?", "zone": 3},
            {"router": "/b/", "seconds_left": "soon"}, {"router": "/c/", "seconds_left": null, "cause": {"answered": 500}}],
        "orders": [{"kind": "freeze"}, {"router": "/b/", "pool": null, "weight": null, "seconds_left": null, "by": "", "reason": ""}],
        "taken": 5, "circuit": {}}"#;
    let state = read(text);
    let causes: Vec<_> = state.routers.iter().map(|out| (out.router.as_str(), out.cause)).collect();
    assert_eq!(causes, [("/a/", Cause::Unknown), ("/c/", Cause::Answered(500))]);
    assert_eq!(
        (state.overrides.len(), state.mode_command, state.accepted_nonces),
        (1, None, AcceptedNonces::default())
    );
}

mod convergence {
    use balancer::broker::{Broker, BrokerInput, BrokerSettings, RouterSettings, Snapshot};
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> BrokerTime {
        START.after(Duration::from_secs(seconds))
    }

    fn snapshot(broker: &Broker, seconds: u64) -> Snapshot {
        let basis = broker.snapshot_basis();
        let routers = broker.router_statuses(0..basis.routers(), at(seconds));
        Snapshot::new(at(seconds), &basis, &broker.passes(0..basis.pools()), routers)
    }

    /// What operators have set, without when.
    fn set(snapshot: &Snapshot) -> Vec<String> {
        let drained = snapshot.routers.iter().filter(|router| router.drained.is_some());
        let weights = snapshot.pools.iter().flat_map(|pool| &pool.weights);
        let weights = weights.map(|one| format!("{} {}", one.router, one.weight));
        let mut all: Vec<_> = drained.map(|router| router.router.to_string()).chain(weights).collect();
        all.sort();
        all
    }

    /// One replica takes over what the others know.
    fn pull(replicas: &mut [Broker], one: usize, now: u64) {
        let others = replicas.iter().enumerate().filter(|(place, _)| *place != one);
        let states = others.map(|(place, broker)| {
            let ended: Vec<_> = broker.ended_overrides().cloned().collect();
            let (mode, nonces) = (OperatingMode::Balance, AcceptedNonces::default());
            let state =
                ReplicaState::from_snapshot(&place.to_string(), mode, None, &ended, nonces, &snapshot(broker, now));
            serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap()
        });
        let known = ReplicaState::merge(states.collect()).unwrap().takeover(at(now), true);
        replicas[one].apply(BrokerInput::Imported(&known), at(now));
    }

    proptest! {
        /// Commands reach only some of the replicas; once those that were away have connected, all hold what was ordered last.
        #[test]
        fn replicas_that_were_away_end_with_the_last_order_about_each_thing(
            orders in prop::collection::vec((0_usize..3, 0_u8..6, prop::sample::subsequence(vec![0_usize, 1, 2], 1..=3)), 1..12),
            connect in Just([0_usize, 1, 2]).prop_shuffle(),
        ) {
            let settings = BrokerSettings::flat(
                path("/in/"), ["/a/", "/b/", "/c/"].map(path).to_vec(), RouterSettings::default(),
            );
            let broker = || Broker::new(settings.clone());
            let (mut replicas, mut all) = (vec![broker(), broker(), broker()], broker());
            let mut now = 0;
            for (router, kind, reached) in orders {
                now += 10;
                let (pool, router) = (path("/in/"), path(["/a/", "/b/", "/c/"][router]));
                // Its time is over before the next order.
                let until = (kind > 3).then(|| at(now + 5));
                let command = match kind {
                    0 | 4 => Command::Drain(router),
                    1 => Command::Resume(router),
                    2 | 5 => Command::SetWeight { pool, router, weight: Some(f64::from(u32::try_from(now).unwrap())) },
                    _ => Command::SetWeight { pool, router, weight: None },
                };
                let given = OperatorCommand { command, until, by: "test".to_owned(), reason: String::new() };
                all.apply(BrokerInput::Command(&given), at(now));
                for place in reached {
                    replicas[place].apply(BrokerInput::Command(&given), at(now));
                }
                for broker in replicas.iter_mut().chain([&mut all]) {
                    broker.apply(BrokerInput::Tick, at(now + 5));
                }
            }
            // Each that connects asks, and so do those that hear of it.
            for one in connect {
                pull(&mut replicas, one, now + 10);
                for other in 0..3 {
                    pull(&mut replicas, other, now + 20);
                }
            }
            for replica in &replicas {
                prop_assert_eq!(set(&snapshot(replica, now + 30)), set(&snapshot(&all, now + 30)));
            }
            let before: Vec<_> = replicas.iter().map(|broker| snapshot(broker, now + 30)).collect();
            (0..3).for_each(|one| pull(&mut replicas, one, now + 40));
            let after: Vec<_> = replicas.iter().map(|broker| snapshot(broker, now + 30)).collect();
            prop_assert_eq!(before, after, "what all know already changes nothing");
        }
    }
}
