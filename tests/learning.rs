//! Three sources, each sufficient by itself; and whose fault a bad answer is.

use std::collections::BTreeSet;

use serde_json::json;

use super::support::broker::{field, moment};
use super::support::gateway::{HI, one_row, two_rows};
use super::support::messages::{SENTINEL, sentinels};
use super::support::{
    Broker, Bus, DECIDE, DUD, GPT4, GPT35, Gateway, LOGGER, Llms, Log, OUTCOME, REQUEST, Setup, chosen, outcome,
    sentinel,
};

/// A pool of this many routers besides sentinels, `/r/0/` and so on.
fn pool(routers: usize) -> String {
    let names: Vec<_> = (0..routers).map(|number| format!("/r/{number}/")).collect();
    format!("{},{}", names.join(","), sentinels(100))
}

/// The routers that were taken out so far, without the sentinels.
fn disabled(broker: &Broker) -> BTreeSet<String> {
    let lines = broker.lines(&["router disabled"]);
    let routers = lines.iter().filter_map(|line| field(line, "router"));
    routers.filter(|router| !router.starts_with(SENTINEL)).collect()
}

#[tokio::test]
async fn the_log_alone_is_enough() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    bus.log(Log::of(DUD, 500)).await;
    let line = broker.until(&["router disabled", DUD]).await;
    assert!(line.contains("answered 500") && line.contains("seconds=600"), "{line}");
    assert!(!chosen(&bus, 300).await.contains(&DUD.to_owned()));
}

#[tokio::test]
async fn an_outcome_message_alone_is_enough_and_acts_before_it_is_answered() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    assert_eq!(bus.ask(OUTCOME, outcome(DUD, 429)).await, "");
    assert!(!chosen(&bus, 300).await.contains(&DUD.to_owned()), "known before the answer");
    assert!(broker.until(&["router disabled", DUD]).await.contains("answered 429"));
}

#[tokio::test]
async fn a_response_on_the_requests_subject_alone_is_enough() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let response = |router: &str, status: u16| json!({"gl_path": router, "egress_status_code": status}).to_string();
    assert_eq!(bus.ask(DECIDE, response(GPT4, 500)).await, "", "a 500 may be the gateway's own: the log decides");
    assert_eq!(bus.ask(DECIDE, response("/azure/", 200)).await, "", "never answered with a route");
    assert_eq!(bus.ask(DECIDE, r#"{"gl_path":"/azure/","egress_status_code":"200"}"#).await, "");
    assert_eq!(bus.ask(DECIDE, r#"{"gl_path":"/azure/","egress_status_code":null}"#).await, "");
    assert_eq!(bus.ask(DECIDE, r#"{"egress_status_code":503}"#).await, "", "about no router");
    assert_eq!(bus.ask(DECIDE, r#"{"egress_status_code":401}"#).await, "");
    assert_eq!(broker.count(&["router disabled"]), 0);
    assert_eq!(bus.ask(DECIDE, response(DUD, 502)).await, "");
    assert!(!chosen(&bus, 300).await.contains(&DUD.to_owned()));
    broker.until(&["router disabled", DUD]).await;
    let with_status = r#"{"gl_path":"/azure/gpt4/","inbound_status_code":500,"egress_status_code":500}"#;
    assert_eq!(bus.ask(DECIDE, with_status).await, "");
    broker.until(&["router disabled", GPT4]).await;
    assert!(chosen(&bus, 50).await.iter().all(|router| router == GPT35));
    assert_eq!(broker.count(&["a message is"]), 0, "none of it was malformed: {}", broker.text());
}

#[tokio::test]
async fn statuses_mean_what_the_one_classification_says() {
    let bus = Bus::start().await;
    let disabling = [408, 429, 500, 502, 503, 504, 529, 599];
    let harmless = [200, 201, 204, 299, 302, 400, 401, 403, 404, 405, 409, 413, 415, 422, 431, 451, 499, 501, 505];
    let statuses: Vec<u16> = disabling.into_iter().chain(harmless).collect();
    let expected: BTreeSet<_> = (0..disabling.len()).map(|number| format!("/r/{number}/")).collect();
    let by_log = Setup::on(&bus).set("BROKER_ROUTERS", pool(statuses.len())).ready().await;
    for (number, &status) in statuses.iter().enumerate() {
        bus.log(Log::of(&format!("/r/{number}/"), status)).await;
        sentinel(&bus, &by_log).await;
    }
    assert_eq!(disabled(&by_log), expected);
    drop(by_log);
    let by_message = Setup::on(&bus).set("BROKER_ROUTERS", pool(statuses.len())).ready().await;
    for (number, &status) in statuses.iter().enumerate() {
        bus.ask(OUTCOME, outcome(&format!("/r/{number}/"), status)).await;
    }
    by_message.until_nth(&["router disabled"], disabling.len()).await;
    assert_eq!(disabled(&by_message), expected);
}

#[tokio::test]
async fn a_404_counts_only_if_its_body_says_that_the_deployment_does_not_exist() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", pool(4)).ready().await;
    let not_found = |number: usize, code: &str| {
        Log::of(&format!("/r/{number}/"), 404).with("/response/inbound_payload/error/code", json!(code))
    };
    bus.log(not_found(0, "DeploymentNotFound")).await;
    bus.log(not_found(1, "model_not_found")).await;
    bus.log(Log::of("/r/2/", 404).with("/response/inbound_payload", json!("DeploymentNotFound"))).await;
    bus.log(Log::of("/r/3/", 400).with("/response/inbound_payload/error/code", json!("DeploymentNotFound"))).await;
    sentinel(&bus, &broker).await;
    assert_eq!(disabled(&broker), BTreeSet::from(["/r/0/".to_owned()]));
}

#[tokio::test]
async fn the_list_of_statuses_can_be_replaced() {
    let bus = Bus::start().await;
    let statuses = [200, 302, 400, 404, 429, 500, 503];
    for (rule, expected) in
        [("404,429", vec![404, 429]), ("any", vec![302, 400, 404, 429, 500, 503]), ("5xx", vec![500, 503])]
    {
        let setup = Setup::on(&bus).set("BROKER_ROUTERS", pool(statuses.len())).set("BROKER_FAILURE_STATUS", rule);
        let broker = setup.ready().await;
        for (number, &status) in statuses.iter().enumerate() {
            bus.ask(OUTCOME, outcome(&format!("/r/{number}/"), status)).await;
        }
        broker.until_nth(&["router disabled"], expected.len()).await;
        let places = expected.iter().map(|status| statuses.iter().position(|one| one == status).unwrap());
        assert_eq!(disabled(&broker), places.map(|place| format!("/r/{place}/")).collect(), "{rule}");
    }
}

#[tokio::test]
async fn what_the_gateway_makes_itself_when_it_cannot_reach_the_upstream_is_the_routers_failure() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", pool(4)).ready().await;
    for (number, status) in [502, 503, 500].into_iter().enumerate() {
        let log = Log::of(&format!("/r/{number}/"), status).with("/response/inbound_headers", json!({}));
        bus.log(log.with("/response/inbound_payload", json!({"error": "failure making request"}))).await;
        let line = broker.until(&["router disabled", &format!("/r/{number}/")]).await;
        assert!(line.contains("unreachable") && line.contains(&status.to_string()), "{line}");
    }
    // No upstream was asked: no status in the log, and the client's 500 says nothing about the router.
    let unasked = Log::of("/r/3/", 500).without("/response/inbound_status_code");
    let never = json!({"start": "0001-01-01T00:00:00Z", "stop": "0001-01-01T00:00:00Z", "duration": 0});
    bus.log(unasked.with("/response/outbound_inbound_timer", never)).await;
    sentinel(&bus, &broker).await;
    assert_eq!(disabled(&broker).len(), 3);
    assert_eq!(broker.count(&["fields_exclude"]), 0, "and no filter is suspected: {}", broker.text());
}

#[tokio::test]
async fn answers_of_processors_and_of_the_echo_are_ignored() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", pool(2)).ready().await;
    bus.log(Log::of("/r/0/", 503).with("/request/control", json!({"refused": true}))).await;
    bus.log(Log::of("/r/1/", 503).with("/request/original_gl_path", json!("/echo/"))).await;
    bus.log(Log::of("/echo/", 503)).await;
    bus.log(Log::of("/not/ours/", 503)).await;
    bus.log("no JSON at all").await;
    bus.log("{}").await;
    sentinel(&bus, &broker).await;
    assert_eq!(disabled(&broker), BTreeSet::new());
}

#[tokio::test]
async fn a_failure_in_the_message_and_in_the_log_counts_once_and_stragglers_do_not_count() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", pool(1)).set("DISABLED_TIME", "0.03").ready().await;
    let second = 1_000_000_000;
    let begin = 1_800_000_000 * second;
    let lasting = |start: u64, seconds: u64| {
        let log = Log::of("/r/0/", 500).lasting(start, std::time::Duration::from_secs(seconds));
        let id = json!(format!("LAB00002_{start}_1_0"));
        log.with("/transaction_id", id.clone()).with("/response/egress_headers/Session-Id", json!([id]))
    };
    let line = ["router disabled", "/r/0/"];
    let trip = lasting(begin, 5);
    assert_eq!(bus.ask(OUTCOME, trip.outcome()).await, "");
    broker.until(&line).await;
    bus.log(trip.clone()).await;
    bus.log(trip).await;
    bus.log(lasting(begin + second, 60)).await;
    assert_eq!(bus.ask(OUTCOME, lasting(begin + 2 * second, 1).outcome()).await, "");
    let out = broker.until(&line).await;
    let back = broker.until(&["router on probation", "/r/0/"]).await;
    let time = moment(&back) - moment(&out);
    // Lines carry the time at which they were written, on a busy machine a little after what they say happened.
    assert!((1.5..2.2).contains(&time.as_secs_f64()), "{time:?}: none of them extended it");
    // Very slow ones, which began before it was taken out, end when it is back.
    bus.log(lasting(begin + 3 * second, 60)).await;
    assert_eq!(bus.ask(OUTCOME, lasting(begin + 4 * second, 60).outcome()).await, "");
    sentinel(&bus, &broker).await;
    assert_eq!(broker.count(&line), 1, "{}", broker.text());
    // One that began later decides about its return; the message alone would wait for its log.
    bus.log(lasting(begin + 6 * second, 1)).await;
    assert!(broker.until_nth(&line, 2).await.contains("epoch=2"));
}

#[tokio::test]
async fn a_router_that_the_gateway_does_not_have_is_disabled_with_that_cause() {
    for rows in [one_row, two_rows] {
        let (bus, llms) = (Bus::start().await, Llms::start().await);
        let broker = Setup::on(&bus).set("BROKER_ROUTERS", "/azure/gpt4/,/azure/none/").ready().await;
        let gateway = Gateway::start(&bus, &rows(&bus, &llms)).await;
        // Half of the calls ask for it: thirty in a row that do not are one in a billion.
        for _ in 0..30 {
            assert_eq!(gateway.call().await.status, 200, "served by the ingress");
        }
        let line = broker.until(&["router disabled", "/azure/none/"]).await;
        assert!(line.contains("unknown to the gateway"), "{line}");
        broker.exactly(&["router disabled"], 1).await;
        assert!(chosen(&bus, 50).await.iter().all(|router| router == GPT4));
    }
}

#[tokio::test]
async fn a_second_row_that_does_not_run_is_logged_and_no_router_is_disabled() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let setup = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT4},{GPT35},{}", sentinels(1)));
    let broker = setup.ready().await;
    let mut config = two_rows(&bus, &llms);
    config["request"]["processors"].as_array_mut().unwrap().remove(1);
    let gateway = Gateway::start(&bus, &config).await;
    llms.answer("gpt4", 500);
    for _ in 0..10 {
        assert_eq!(gateway.call().await.status, 500, "served by the ingress, whose own endpoint is gpt4");
    }
    let line = broker.until(&["was not applied"]).await;
    assert!(line.contains(".apply") && line.contains("gl_config.json"), "what to look at: {line}");
    sentinel(&bus, &broker).await;
    assert_eq!(disabled(&broker), BTreeSet::new(), "{}", broker.text());
}

#[tokio::test]
async fn ten_refused_keys_in_a_row_while_another_router_works_are_said_once() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT4},{GPT35}")).ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    // The gateway logs no 401: only the outcome message reports it, and it waits ten seconds for the log that never comes.
    llms.answer("gpt4", 401);
    let mut refused = 0;
    while refused < 15 {
        refused += usize::from(gateway.call().await.status == 401);
    }
    let line = broker.until(&["refuses every call"]).await;
    assert!(line.contains(GPT4) && line.contains("status=401") && line.contains("key"), "{line}");
    for _ in 0..10 {
        gateway.call().await;
    }
    broker.exactly(&["refuses every call"], 1).await;
    assert_eq!(broker.count(&["router disabled"]), 0, "{}", broker.text());
}

#[tokio::test]
async fn nothing_but_404_is_said_once() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT4},{}", sentinels(1))).ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.answer_with("gpt4", 404, r#"{"error":{"code":"404","message":"Resource not found"}}"#);
    for _ in 0..10 {
        assert_eq!(gateway.send(GPT4, &[("Api-Key", "BLOCKED")], HI.as_bytes()).await.status, 404);
    }
    let line = broker.until(&["nothing but 404"]).await;
    assert!(line.contains(GPT4) && line.contains("endpoint"), "{line}");
    sentinel(&bus, &broker).await;
    broker.exactly(&["nothing but 404"], 1).await;
    assert_eq!(disabled(&broker), BTreeSet::new());
}

#[tokio::test]
async fn filters_that_empty_the_log_are_logged_once_with_the_setting_that_fixes_them() {
    for (fields, missing) in [(json!(["gl_path"]), "inbound_status_code"), (json!(["inbound_headers"]), "gl_path")] {
        let (bus, llms) = (Bus::start().await, Llms::start().await);
        let broker = Setup::on(&bus).ready().await;
        let mut config = two_rows(&bus, &llms);
        config["logger"]["request"]["fields_include"] = fields.clone();
        config["logger"]["response"]["fields_include"] = fields;
        let gateway = Gateway::start(&bus, &config).await;
        for _ in 0..10 {
            gateway.call().await;
        }
        let line = broker.until(&["the gateway's log comes without"]).await;
        assert!(line.contains(missing), "{missing} in {line}");
        assert!(line.contains("fields_include") && line.contains("logger"), "{line}");
        // The messages still teach.
        while broker.count(&["router disabled", DUD]) == 0 {
            gateway.call().await;
        }
        broker.exactly(&["the gateway's log comes without"], 1).await;
    }
}

#[tokio::test]
async fn a_failure_whose_log_is_too_long_for_the_bus_is_learnt_all_the_same() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT4},{GPT35}")).ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(1_500_000));
    llms.answer_with("gpt4", 500, long);
    while gateway.call().await.status != 500 {}
    assert_eq!(gateway.call().await.status, 200, "known before the client had its answer");
    broker.until(&["router disabled", GPT4]).await;
}

#[tokio::test]
async fn a_burst_of_small_log_entries_is_learnt_whole() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", pool(200)).ready().await;
    // What the gateway writes when many calls in progress fail together.
    for number in 0..200 {
        bus.client.publish(LOGGER, Log::of(&format!("/r/{number}/"), 500).bytes()).await.unwrap();
    }
    bus.client.flush().await.unwrap();
    broker.until_nth(&["router disabled"], 200).await;
    assert_eq!(broker.count(&["dropped"]), 0, "{}", broker.text());
}

#[tokio::test]
async fn what_strangers_write_to_the_log_and_the_outcomes_stops_nothing() {
    let bus = Bus::start().await;
    let mut broker = Setup::on(&bus).set("BROKER_ROUTERS", pool(1)).ready().await;
    let whole = Log::of("/r/0/", 200).bytes();
    let deep = "[".repeat(300_000);
    let strange = [
        "",
        "[]",
        "null",
        "0",
        "\"\"",
        r#"{"response":1,"request":[]}"#,
        r#"{"response":{"gl_path":{}}}"#,
        &deep,
        r#"{"response":{"gl_path":"/r/0/","inbound_status_code":1e999}}"#,
        r#"{"response":{"gl_path":"/r/0/","inbound_status_code":-500}}"#,
        r#"{"response":{"gl_path":"/r/0/","inbound_status_code":"500"}}"#,
        r#"{"gl_path":"/r/0/","egress_status_code":99999999999999999999}"#,
    ];
    for text in strange {
        bus.log(text.to_owned()).await;
        assert_eq!(bus.ask(OUTCOME, text.to_owned()).await, "", "{}", &text[..text.len().min(80)]);
        sentinel(&bus, &broker).await;
    }
    // Cut anywhere, and with bytes that are no UTF-8 anywhere.
    for (number, at) in (0..whole.len()).step_by(7).enumerate() {
        let mut broken = whole.to_vec();
        broken[at] = 0xff;
        bus.log(whole.slice(..at)).await;
        bus.log(broken).await;
        bus.ask(OUTCOME, whole.slice(..at)).await;
        if number % 4 == 0 {
            sentinel(&bus, &broker).await;
        }
    }
    sentinel(&bus, &broker).await;
    assert_eq!(disabled(&broker), BTreeSet::new(), "{}", broker.text());
    assert_ne!(bus.ask(DECIDE, REQUEST).await, "");
    assert!(broker.is_running());
}
