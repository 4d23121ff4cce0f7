//! Which router serves a request, and what a rewrite takes from another one.

use serde_json::{Value, json};

use crate::support::harness::{BROKER, Harness};
use crate::support::http::{self, Call, Exchange, Upstream};

async fn harness(change: impl Fn(&mut Value)) -> Harness {
    Harness::start(Upstream::start(|_: &Exchange| http::json(200, "{}")).await, &change).await
}

fn open(config: &mut Value) {
    for router in config["routers"].as_array_mut().unwrap() {
        router["ingress"]["headers"] = json!({});
    }
}

/// A router without endpoint.
fn plain(path: &str, url: &str) -> Value {
    json!({"path": path, "ingress": {"headers": {}}, "outbound": {"url": url, "headers": {}}})
}

#[tokio::test]
async fn the_longest_prefix_on_slashes_wins() {
    let harness = harness(open).await;
    for (nth, (path, router, subpath)) in [
        ("/azure/gpt4/x", "/azure/gpt4/", "x"),
        ("/azure/gpt4x", "/azure/", "gpt4x"),
        ("/azure/foo/bar/", "/azure/", "foo/bar/"),
        ("/azure/%67pt4/", "/azure/gpt4/", ""),
        ("/azure/GPT4/", "/azure/", "GPT4/"),
        ("/azure/a%2Fb%20c", "/azure/", "a/b c"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(harness.send(&Call::post(path)).await.unwrap().status(), 200);
        let log = harness.log(nth).await;
        assert_eq!(log["request"]["gl_path"], router, "{path}");
        assert_eq!(log["request"]["ingress_subpath"], subpath, "{path}");
    }
}

#[tokio::test]
async fn paths_that_no_router_serves_leave_no_trace() {
    let mut harness = harness(open).await;
    for (path, status, text) in [
        ("/other/", 404, "404 page not found"),
        ("/", 404, "404 page not found"),
        ("/azure", 400, "Unsupported path without '/'"),
        ("/azure/gpt4", 400, "Unsupported path without '/'"),
    ] {
        let answer = harness.send(&Call::post(path)).await.unwrap();
        assert_eq!((answer.status(), answer.text().trim_end()), (status, text), "{path}");
    }
    harness.stop_and_drain().await;
    assert!(harness.received().is_empty());
}

#[tokio::test]
async fn unclean_paths_are_redirected_with_their_query() {
    let harness = harness(open).await;
    for (path, location) in
        [("/azure//gpt4/?q=1", "/azure/gpt4/?q=1"), ("/azure/./x", "/azure/x"), ("/azure/../nowhere/", "/nowhere/")]
    {
        let answer = harness.send(&Call::post(path)).await.unwrap();
        assert_eq!(answer.status(), 307);
        assert_eq!(answer.header("Location"), [location]);
    }
}

#[tokio::test]
async fn an_endpoint_hides_the_subpath_and_no_endpoint_shows_it() {
    let harness = harness(|config| {
        open(config);
        let base = config["routers"][1]["outbound"]["url"].as_str().unwrap().to_owned();
        let routers = config["routers"].as_array_mut().unwrap();
        routers.push(plain("/plain/", &format!("{base}v1/")));
        routers.push(plain("/bare/", &base));
    })
    .await;
    for path in ["/azure/deep/er", "/plain/chat/completions", "/plain/a%2Fb%3Fc/", "/bare/"] {
        harness.send(&Call::post(path)).await.unwrap();
    }
    let targets: Vec<String> = harness.upstream.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(
        targets,
        [
            "/openai/deployments/gpt4/chat/completions?api-version=2023-05-15",
            "/v1/chat/completions",
            "/v1/a/b%3Fc/",
            "//",
        ]
    );
}

#[tokio::test]
async fn a_rewrite_takes_only_the_address_from_the_other_router() {
    let harness = harness(|config| {
        let other = &mut config["routers"][2]["outbound"];
        other["endpoint"] = json!("other/path?api-version=9999");
        other["headers"] = json!({"X-Static": ["other"]});
        config["routers"][1]["outbound"]["headers"] = json!({"X-Static": ["ingress"]});
    })
    .await;
    harness.answer(BROKER, |_| r#"{"gl_path":"/azure/gpt4/"}"#.to_owned()).await;
    harness.send(&Call::post("/azure/")).await.unwrap();
    let seen = &harness.upstream.seen()[0];
    assert_eq!(seen.target(), "/other/path?api-version=2023-05-15");
    assert_eq!(seen.header("X-Static"), ["ingress"]);
    let log = harness.log(0).await;
    assert_eq!(log["response"]["gl_path"], "/azure/gpt4/");
    assert_eq!(log["request"]["original_gl_path"], "/azure/");
}

#[tokio::test]
async fn a_rewrite_from_echo_stays_echo_and_one_to_echo_calls_its_url() {
    let harness = harness(|config| {
        open(config);
        config["routers"][0]["outbound"]["url"] = config["routers"][1]["outbound"]["url"].clone();
    })
    .await;
    let route = |request: &Value| {
        let path = if request["gl_path"] == "/echo/" { "/azure/" } else { "/echo/" };
        json!({"gl_path": path}).to_string()
    };
    harness.answer(BROKER, route).await;
    let mirrored = harness.send(&Call::post("/echo/")).await.unwrap();
    assert_eq!(mirrored.text(), http::HI);
    assert_eq!(mirrored.header("Api-Key"), ["secret-client-key"]);
    assert!(harness.upstream.seen().is_empty());
    assert_eq!(harness.send(&Call::post("/azure/x")).await.unwrap().text(), "{}");
    assert_eq!(harness.upstream.seen()[0].target(), "/x?api-version=2023-05-15");
}

#[tokio::test]
async fn a_rewrite_to_a_dropped_router_falls_back_to_the_ingress_router() {
    let harness = harness(|config| config["routers"][2]["outbound"]["url"] = json!("")).await;
    harness.answer(BROKER, |_| r#"{"gl_path":"/azure/gpt4/"}"#.to_owned()).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 200);
    let log = harness.log(0).await;
    assert_eq!(log["response"]["gl_path"], "/azure/");
    assert_eq!(log["request"]["gl_path"], "/azure/gpt4/");
}
