//! What an answer means is not always what its status says; and a request can be at fault itself.

use super::*;

fn harness() -> Harness {
    Harness::new(3)
}

#[test]
fn a_page_for_people_is_no_success() {
    let mut harness = harness();
    harness.learn(&TestObservation { html: true, ..log("/azure/r0/", 200, "A_1_1_0", 0, 5) }, START);
    assert_eq!((harness.stats(0).successes, harness.stats(0).neutral), (0, 1));
    harness.learn(&TestObservation { html: true, ..log("/azure/r0/", 502, "A_2_1_0", 0, 5) }, START);
    assert_eq!(harness.out(), ["/azure/r0/"], "a failure is one however it looks");
}

#[test]
fn a_call_whose_client_was_cut_off_is_a_failure_whatever_its_status() {
    for (millis, status, out) in [(199_999, 200, false), (200_000, 200, true), (200_000, 400, true)] {
        let mut harness = harness();
        let latency = Some(Duration::from_millis(millis));
        harness.learn(&TestObservation { latency, ..log("/azure/r0/", status, "A_1_1_0", 0, millis) }, at(millis));
        assert_eq!(!harness.out().is_empty(), out, "{status} after {millis} ms");
    }
}

#[test]
fn slow_is_a_failure_where_that_is_asked_for() {
    for (slow, millis, out) in [(None, 199_000, false), (Some(10), 10_000, false), (Some(10), 10_001, true)] {
        let mut settings = settings(2);
        settings.defaults.health.slow = slow.map(Duration::from_secs);
        let mut harness = Harness::of(settings);
        let latency = Some(Duration::from_millis(millis));
        harness.learn(&TestObservation { latency, ..log("/azure/r0/", 200, "A_1_1_0", 0, millis) }, at(millis));
        assert_eq!(!harness.out().is_empty(), out, "{millis} ms where {slow:?} s are allowed");
    }
}

mod poison {
    use super::*;

    /// Three routers; one that fails is ejected at once.
    fn harness() -> Harness {
        let mut settings = settings(3);
        settings.defaults.health.poison = true;
        Harness::of(settings)
    }

    fn answer(harness: &mut Harness, place: usize, status: u16, payload: &str, millis: u64) {
        let (served, id) = (router(place), format!("P_{place}_{millis}_0"));
        let payload = Some(payload.as_bytes());
        harness.learn(&TestObservation { payload, ..log(&served, status, &id, millis, millis + 1) }, at(millis + 1));
    }

    #[test]
    fn a_bad_prompt_does_not_walk_through_all_routers() {
        let mut harness = harness();
        answer(&mut harness, 0, 500, "bad", 0);
        assert_eq!(harness.out(), ["/azure/r0/"]);
        answer(&mut harness, 1, 200, "good", 100);
        answer(&mut harness, 1, 500, "bad", 200);
        assert_eq!(harness.out(), Vec::<String>::new(), "the second stays, and the first is back");
        assert_eq!(harness.state(0), HealthState::Serving);
        assert_eq!(harness.state(1), HealthState::Serving);
        answer(&mut harness, 2, 500, "bad", 300);
        assert_eq!(harness.state(2), HealthState::Serving, "it is known by now");
        let notice = Advisory::RequestAtFault(path("/azure/r0/"), path("/azure/r1/"));
        assert!(harness.emitted.contains(&BrokerEvent::Advisory(notice)));
    }

    #[test]
    fn the_trip_that_its_message_made_is_undone() {
        let mut harness = harness();
        answer(&mut harness, 0, 500, "bad", 0);
        answer(&mut harness, 1, 200, "good", 100);
        let early = TestObservation { started: gateway(200), ..message("/azure/r1/", 500, "M_1_1_0") };
        harness.learn(&early, at(201));
        assert_eq!(harness.out(), ["/azure/r0/", "/azure/r1/"], "the message knows no better");
        let late = TestObservation { payload: Some(b"bad"), ..log("/azure/r1/", 500, "M_1_1_0", 200, 201) };
        harness.learn(&late, at(202));
        assert_eq!(harness.state(1), HealthState::Serving);
        assert_eq!(harness.stats(1).failures, 1, "counts only ever rise");
    }

    #[test]
    fn the_same_health_check_on_two_dead_routers_is_no_poison() {
        let mut harness = harness();
        answer(&mut harness, 1, 200, "good", 0);
        answer(&mut harness, 0, 500, "ping", 100);
        answer(&mut harness, 1, 500, "ping", 200);
        assert_eq!(harness.out(), ["/azure/r0/", "/azure/r1/"]);
    }

    #[test]
    fn what_succeeds_somewhere_is_none() {
        let mut harness = harness();
        answer(&mut harness, 0, 500, "fine", 0);
        answer(&mut harness, 1, 200, "fine", 100);
        answer(&mut harness, 1, 500, "fine", 200);
        assert_eq!(harness.out(), ["/azure/r0/", "/azure/r1/"]);
    }

    #[test]
    fn it_is_sought_only_where_that_is_wanted() {
        let mut harness = super::harness();
        answer(&mut harness, 0, 500, "bad", 0);
        answer(&mut harness, 1, 200, "good", 100);
        answer(&mut harness, 1, 500, "bad", 200);
        assert_eq!(harness.out(), ["/azure/r0/", "/azure/r1/"]);
    }

    #[test]
    fn who_was_out_for_another_reason_stays_out() {
        let mut harness = harness();
        answer(&mut harness, 0, 500, "other", 0);
        // Began before the trip, and so did nothing.
        let early = TestObservation { payload: Some(b"bad"), ..log("/azure/r0/", 500, "E_1_1_0", 0, 50) };
        harness.learn(&early, at(50));
        answer(&mut harness, 1, 200, "good", 100);
        answer(&mut harness, 1, 500, "bad", 200);
        assert_eq!(harness.out(), ["/azure/r0/"]);
    }
}
