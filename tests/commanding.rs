//! The command line against running brokers: what it shows, what it changes, and its exit codes.

use serde_json::{Value, json};

use super::support::{Bus, DUD, Ended, GPT4, Log, Setup};

const ADMIN: &str = "the-operators-own-token";

fn admin(bus: &Bus) -> Setup {
    Setup::on(bus).set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN)
}

async fn command(bus: &Bus, arguments: &[&str]) -> Ended {
    admin(bus).unset("BROKER_HTTP").arguments(arguments).ended().await
}

#[tokio::test]
async fn status_shows_all_replicas_and_json_is_their_documents() {
    let bus = Bus::start().await;
    let brokers = [admin(&bus).ready().await, admin(&bus).ready().await];
    bus.log(Log::of(DUD, 500)).await;
    for broker in &brokers {
        broker.until(&["router disabled", DUD]).await;
    }
    let shown = command(&bus, &["status"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for words in
        ["2 replicas answering", "50.0 %    /azure/gpt4/", "0.0 %    /azure/dud/", "disabled for ", "answered 500"]
    {
        assert!(shown.out.contains(words), "{words:?} in\n{}", shown.out);
    }
    let documents = command(&bus, &["status", "--json"]).await;
    let documents: Value = serde_json::from_str(&documents.out).unwrap();
    assert_eq!(documents.as_array().map(Vec::len), Some(2));
    assert_eq!(documents[0]["routers"][0]["router"], "/azure/gpt35turbo/");
}

#[tokio::test]
async fn drain_wait_and_resume_say_what_they_changed_and_where() {
    let bus = Bus::start().await;
    let brokers = [admin(&bus).ready().await, admin(&bus).ready().await];
    let decision = bus.decide().await;
    let used = decision["gl_path"].as_str().unwrap().to_owned();
    let mut log = Log::of(&used, 200);
    log.0["request"]["broker"] = decision["broker"].clone();
    bus.log(log).await;
    let done = command(&bus, &["drain", &used, "--for", "30m", "--reason", "new keys", "--wait"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains(&format!("{used} drained on 2 replicas")), "{}", done.out);
    assert!(done.out.contains("no call is under way"), "{}", done.out);
    for broker in &brokers {
        broker.until(&["an operator's word", "the command line over the bus", "new keys"]).await;
    }
    let shown = command(&bus, &["status"]).await;
    assert!(shown.out.contains("yes until ") && shown.out.contains("new keys"), "{}", shown.out);
    let done = command(&bus, &["resume", &used]).await;
    assert!(done.out.contains("resumed on 2 replicas"), "{done:?}");
    let done = command(&bus, &["weight", "/azure/", DUD, "0"]).await;
    assert!(done.out.contains("weighs 0 on 2 replicas"), "{done:?}");
    let done = command(&bus, &["mode", "observe"]).await;
    assert!(done.out.contains("mode is observe on 2 replicas"), "{done:?}");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_an_exit_code() {
    let bus = Bus::start().await;
    let nobody = command(&bus, &["status"]).await;
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.err.contains("no broker answers"), "{nobody:?}");
    let nobody = command(&bus, &["drain", DUD]).await;
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.err.contains("no broker answers"), "{nobody:?}");

    let closed = Setup::on(&bus).ready().await;
    let refused = command(&bus, &["drain", DUD]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("only lets itself be read"), "{refused:?}");
    drop(closed);

    let _broker = admin(&bus).ready().await;
    let unset = Setup::on(&bus).arguments(&["drain", DUD]).ended().await;
    assert_eq!(unset.code, Some(1), "{unset:?}");
    assert!(unset.err.contains("BROKER_ADMIN_TOKEN"), "{unset:?}");
    for (arguments, code, words) in [
        (&["drain", "/nobodys/"][..], 1, "/nobodys/ stands in no pool"),
        (&["drain", "dud"], 2, "begin and end with"),
        (&["drain", DUD, "--for", "soon"], 1, "soon"),
        (&["disable", DUD], 1, "\"for\""),
        (&["mode", "fast"], 2, "observe"),
    ] {
        let ended = command(&bus, arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(words), "{arguments:?}: {ended:?}");
    }
    let away = Setup::at("127.0.0.1:1").unset("BROKER_HTTP").arguments(&["status"]).ended().await;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.err.contains("127.0.0.1:1"), "{away:?}");
}

#[tokio::test]
async fn the_last_one_that_is_drained_is_said() {
    let bus = Bus::start().await;
    let _broker = admin(&bus).set("BROKER_ROUTERS", DUD).ready().await;
    let done = command(&bus, &["drain", DUD]).await;
    assert!(done.out.contains("nothing else in /azure/ may serve"), "{done:?}");
}

#[tokio::test]
async fn watch_shows_the_calls_of_one_session() {
    let bus = Bus::start().await;
    let watching = admin(&bus).unset("BROKER_HTTP").arguments(&["watch", "--session", "mine"]).spawn();
    let session = |id: &str, router: &str| {
        let mut log = Log::of(router, 200);
        log.0["session_id"] = json!(id);
        log.0["request"]["broker"] = json!({"router": router, "why": "random, 3 of 3 serve"});
        log
    };
    watching.until(&["watching coburn.gl.logger"]).await;
    bus.log(session("yours", GPT4)).await;
    bus.log(session("mine", DUD)).await;
    let line = watching.until(&["random, 3 of 3 serve"]).await;
    assert!(line.contains("  200  5 ms  "), "{line}");
    assert_eq!(watching.count(&["/azure/gpt4/"]), 0, "another session's");
}

#[tokio::test]
async fn completions_for_a_shell() {
    let done = Setup::bare().arguments(&["completions", "bash"]).ended().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("drain") && done.out.contains("--reason"), "{}", done.out);
}
