//! The page in a real Chromium: what a person sees and does there, while routers fail, brokers go and strangers send markup.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::support::{Broker, Bus, DUD, Log, Setup, http, tool};

const ADMIN: &str = "the-operators-own-token";

/// What `BROWSER_PYTHON` says while all other tests run: a browser beside them gets too little of the machine, so `make test`
/// runs this test by itself afterwards.
const LATER: &str = "later";

/// The Python that drives a browser; `make test` sets it.
fn python() -> Option<PathBuf> {
    std::env::var_os("BROWSER_PYTHON").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The browser, which says what is to happen around it.
struct Person {
    child: Child,
    asks: BufReader<ChildStdout>,
    answers: ChildStdin,
}

impl Person {
    fn start(python: PathBuf, address: &str) -> Self {
        let mut child = Command::new(python)
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page.py"), address, ADMIN])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (asks, answers) = (BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
        Self { child, asks, answers }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::task::block_in_place(|| self.asks.read_line(&mut line)).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn broker(bus: &Bus, port: u16) -> Broker {
    let setup = Setup::on(bus).set("BROKER_HTTP", format!("127.0.0.1:{port}")).set("BROKER_ADMIN_TOKEN", ADMIN);
    setup.set("BROKER_RELAY", "127.0.0.1:0").set("DISABLED_TIME", "0.05").secret(ADMIN).ready().await
}

/// A call that the gateway's own endpoint serves, since no target may, and one that the relay answers itself.
async fn pass(bus: &Bus, broker: &Broker) {
    assert_eq!(bus.decide().await["gl_path"], Value::Null);
    bus.log(Log::of("/azure/", 201)).await;
    let headers = [("Content-Type", "application/json")];
    let answer = http::send(broker.relay().await, "POST", "/azure/", &headers, br#"{"model":"m"}"#).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
}

/// Some decisions; who was chosen.
async fn decide(bus: &Bus) -> String {
    let mut chosen = Vec::new();
    for _ in 0..40 {
        chosen.push(bus.decide().await["gl_path"].to_string());
    }
    chosen.join(" ")
}

/// A call whose client and upstream write markup wherever they can.
async fn inject(bus: &Bus) {
    let decision = bus.decide().await;
    let mut log = Log::of(decision["gl_path"].as_str().unwrap(), 400);
    let markup = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>";
    log.0["session_id"] = json!(markup);
    log.0["transaction_id"] = json!(markup);
    log.0["request"]["broker"] = decision["broker"].clone();
    log.0["request"]["original_gl_path"] = Value::from(markup);
    bus.log(log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_a_person_watches_a_router_go_and_return_and_drains_another() {
    if python().is_some_and(|python| python.as_os_str() == LATER) {
        println!("skipped: it runs by itself afterwards");
        return;
    }
    let Some(python) = python() else {
        return tool::missing("browser", "BROWSER_PYTHON names no Python with Playwright; `make test` sets it");
    };
    let bus = Bus::start().await;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut running = Some(broker(&bus, port).await);
    let mut person = Person::start(python, &format!("http://127.0.0.1:{port}/"));
    loop {
        let line = person.line();
        let mut answer = "done".to_owned();
        match line.as_str() {
            "want fail" => bus.log(Log::of(DUD, 500)).await,
            "want prove" => bus.log(Log::of(DUD, 200)).await,
            "want decide" => answer = decide(&bus).await,
            "want pass" => pass(&bus, running.as_ref().unwrap()).await,
            "want inject" => inject(&bus).await,
            "want stop" => drop(running.take()),
            "want start" => {
                running = Some(broker(&bus, port).await);
                // Before the page can have noticed: it has to ask for what it missed.
                decide(&bus).await;
            }
            "ended" => break,
            other => panic!("the browser ended early: {other:?}; its output is above"),
        }
        writeln!(person.answers, "{answer}").unwrap();
    }
    assert!(person.child.wait().unwrap().success());
    let broker = running.unwrap();
    assert_eq!(broker.count(&["command of an operator"]), 0, "that was the one before");
}

#[tokio::test]
async fn the_page_runs_nothing_and_loads_nothing_but_its_own_files() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let page = broker.get("/").await.text();
    assert!(page.starts_with("<!doctype html>"), "{page}");
    for file in ["/page.js", "/page.css"] {
        assert!(page.contains(file));
        let text = broker.get(file).await.text();
        for outside in ["http://", "https://", "innerHTML", "eval(", "@import", "localStorage"] {
            assert!(!text.contains(outside) && !page.contains(outside), "{file}: {outside}");
        }
    }
}
