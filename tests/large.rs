//! More routers than one message of the bus can tell of: nothing is left out, and nothing fails without a word.

use serde_json::Value;

use super::support::broker::field;
use super::support::{Broker, Bus, DUD, Ended, Log, PoolsFile, Setup};

/// With names this long, what a replica knows of so many when all are disabled is more than the 1 MiB that a bus takes by
/// default; their status is several times that.
const ROUTERS: usize = 8_000;

fn name(number: usize) -> String {
    format!("/azure/adeployment/withaname/aslongas/companieswithmany/teamslike/{number:04}/")
}

fn file() -> PoolsFile {
    let targets: Vec<_> = (0..ROUTERS).map(|number| format!(r#"{{"router": "{}"}}"#, name(number))).collect();
    let last = format!(r#"{{"router": "{DUD}"}}"#);
    PoolsFile::of(&format!(r#"{{"pools": [{{"ingress": "/azure/", "targets": [{}, {last}]}}]}}"#, targets.join(",")))
}

async fn status(bus: &Bus, arguments: &[&str]) -> Ended {
    let asked = Setup::on(bus).arguments(&[&["status"], arguments].concat()).ended().await;
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    asked
}

async fn broker(bus: &Bus, file: &PoolsFile) -> Broker {
    Setup::on(bus).set("BROKER_CONFIG", file.path()).ready().await
}

#[tokio::test]
async fn thousands_of_routers_are_shown_and_taken_over_over_a_bus_with_its_usual_limit() {
    let bus = Bus::start().await;
    assert_eq!(bus.client.max_payload(), 1 << 20, "its usual limit");
    let file = file();
    let first = broker(&bus, &file).await;
    for number in 0..ROUTERS {
        bus.log(Log::of(&name(number), 502)).await;
    }
    bus.log(Log::of(DUD, 500)).await;
    first.until(&["router disabled", DUD]).await;

    let text = status(&bus, &[]).await.out;
    let rows = text.lines().filter(|line| line.starts_with("/azure/") && line.contains("disabled for")).count();
    assert_eq!(rows, ROUTERS + 1, "{text:.2000}");
    let json: Value = serde_json::from_str(&status(&bus, &["--json"]).await.out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["routers"].as_array().unwrap().len(), ROUTERS + 1);
    assert!(json[0].to_string().len() > 2 << 20, "more than a message takes");

    let second = broker(&bus, &file).await;
    let line = second.until(&["taking over what another replica knows"]).await;
    assert_eq!(field(&line, "out").unwrap(), (ROUTERS + 1).to_string());
    let json: Value = serde_json::from_str(&status(&bus, &["--json"]).await.out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2, "both answer");
    let all = json.as_array().unwrap().iter().flat_map(|one| one["routers"].as_array().unwrap());
    assert_eq!(all.filter(|router| router["standing"] == "disabled").count(), 2 * (ROUTERS + 1));
    assert_eq!(first.count(&["could not be sent"]) + second.count(&["could not be sent"]), 0);
}
