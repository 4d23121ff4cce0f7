//! The relay: a call that fails at one target is answered by another, inside the same call.

use super::support::gateway::{HI, two_rows};
use super::support::{Bus, GPT4, Gateway, Llms, Setup, http};

/// A broker with a relay before this gateway.
fn relaying(bus: &Bus, gateway: &Gateway) -> Setup {
    Setup::on(bus).set("BROKER_RELAY", "127.0.0.1:0").set("BROKER_GATEWAY", format!("http://{}", gateway.addr()))
}

#[tokio::test]
async fn through_the_gateway_a_failing_router_is_never_noticed() {
    let bus = Bus::start().await;
    let llms = Llms::start().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let broker = relaying(&bus, &gateway).ready().await;
    let relay = broker.relay().await;
    llms.answer("gpt35turbo", 503);
    let headers = [("Content-Type", "application/json"), ("Api-Key", "key-of-the-client")];
    for _ in 0..20 {
        let answer = http::send(relay, "POST", "/azure/", &headers, HI.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-broker-router"), Some(GPT4), "{}", answer.head);
    }
    // Each of the two that do not work was found out about once, and once only.
    assert_eq!(llms.calls("gpt35turbo"), 1);
    assert_eq!(broker.count(&["router disabled"]), 2, "{}", broker.text());
}
