//! More routers than fit into one message of the bus: none is left out, and no failure is silent.

use serde_json::Value;

use super::support::broker::field;
use super::support::{Broker, Bus, DUD, Log, PoolsFile, ProcessOutput, Setup};

/// Their status is some 2 MB, where a bus takes 1 MiB in one message by default.
const ROUTERS: usize = 5_000;

fn name(number: usize) -> String {
    format!("/azure/adeployment/withaname/aslongas/companieswithmany/teamslike/{number:04}/")
}

/// A pool of this many routers, and one more.
fn file(routers: usize) -> PoolsFile {
    let targets: Vec<_> = (0..routers).map(|number| format!(r#"{{"router": "{}"}}"#, name(number))).collect();
    let last = format!(r#"{{"router": "{DUD}"}}"#);
    PoolsFile::of(&format!(r#"{{"pools": [{{"ingress": "/azure/", "targets": [{}, {last}]}}]}}"#, targets.join(",")))
}

async fn status(bus: &Bus, arguments: &[&str]) -> ProcessOutput {
    let asked = Setup::on(bus).arguments(&[&["status"], arguments].concat()).ended().await;
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    asked
}

async fn broker(bus: &Bus, file: &PoolsFile) -> Broker {
    Setup::on(bus).set("BROKER_CONFIG", file.path()).ready().await
}

/// How many routers each replica says are disabled.
async fn disabled(bus: &Bus, routers: usize) -> Vec<usize> {
    let documents: Value = serde_json::from_str(&status(bus, &["--json"]).await.out).unwrap();
    let count = |document: &Value| {
        let all = document["routers"].as_array().unwrap();
        assert_eq!(all.len(), routers);
        all.iter().filter(|router| router["state"] == "disabled").count()
    };
    documents.as_array().unwrap().iter().map(count).collect()
}

#[tokio::test]
async fn thousands_of_routers_are_shown_over_a_bus_with_its_usual_limit() {
    let bus = Bus::start().await;
    assert_eq!(bus.client.max_payload(), 1 << 20, "its usual limit");
    let file = file(ROUTERS);
    let first = broker(&bus, &file).await;
    bus.log(Log::of(DUD, 500)).await;
    first.until(&["router disabled", DUD]).await;
    let second = broker(&bus, &file).await;
    second.until(&["taking over the state of another replica", "out=1"]).await;

    let text = status(&bus, &[]).await.out;
    assert!(text.starts_with("2 replicas answering"), "{text:.200}");
    assert_eq!(text.lines().filter(|line| line.starts_with("/azure/a")).count(), ROUTERS);
    assert_eq!(disabled(&bus, ROUTERS + 1).await, [1, 1]);
    let whole = first.get("/api/v1/status").await;
    assert!(whole.body.len() > 3 << 19, "more than a message takes: {}", whole.body.len());
    assert_eq!(first.count(&["could not be sent"]) + second.count(&["could not be sent"]), 0);
}

#[tokio::test]
async fn what_a_replica_knows_is_taken_over_in_parts_and_still_proved() {
    const MANY: usize = 300;
    const ADMIN: &str = "the-operators-own-token";
    let bus = Bus::with(0, "max_payload: 16384").await;
    let file = file(MANY);
    let setup = || {
        let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path());
        setup.set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN)
    };
    let first = setup().ready().await;
    for number in 0..MANY {
        bus.log(Log::of(&name(number), 502)).await;
    }
    first.until(&["router disabled", &name(MANY - 1)]).await;
    let drained = setup().unset("BROKER_CONFIG").unset("BROKER_HTTP").arguments(&["drain", DUD]).ended().await;
    assert_eq!(drained.code, Some(0), "{drained:?}");

    let second = setup().ready().await;
    let line = second.until(&["taking over the state of another replica"]).await;
    let said = ["out", "orders", "proved"].map(|name| field(&line, name).unwrap());
    assert_eq!(said, [MANY.to_string(), "1".to_owned(), "true".to_owned()], "{line}");
    assert_eq!(disabled(&bus, MANY + 1).await, [MANY, MANY]);
}
