//! From start to end: before the bus is there, when it goes and comes, when we are asked to stop.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::bus::connect;
use super::support::http::Open;
use super::support::scripted::{Move, Scripted};
use super::support::{APPLY, Broker, Bus, DECIDE, DUD, Log, OUTCOME, PoolsFile, REQUEST, Setup, TOKEN, outcome, soon};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// `broker health`: exit code and what it says.
fn health(address: &str, arguments: &[&str]) -> (i32, String) {
    let asked = Command::new(env!("CARGO_BIN_EXE_broker"))
        .arg("health")
        .args(arguments)
        .env_clear()
        .env("BROKER_HTTP", address)
        .output()
        .unwrap();
    let said = [asked.stdout, asked.stderr].concat();
    (asked.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn it_starts_before_the_bus_and_is_ready_when_the_bus_comes() {
    let port = free_port();
    let broker = Setup::at(&format!("127.0.0.1:{port}")).spawn();
    let address = broker.http().await.to_string();
    broker.until_nth(&["no connection to the bus", &port.to_string()], 2).await;
    let answer = broker.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("no connection to the bus at 127.0.0.1"), "{}", answer.text());
    assert_eq!(broker.get("/livez").await.status, 200, "away from the bus is never dead");
    assert_eq!(health(&address, &[]).0, 0);
    let (code, said) = health(&address, &["--ready"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no connection to the bus"), "{said}");

    let bus = Bus::with(port, "").await;
    broker.until_nth(&["connected to the bus and subscribed"], 2).await;
    let answer = broker.get("/readyz").await;
    assert_eq!((answer.status, answer.text().trim()), (200, "ready"));
    assert_eq!(broker.get("/livez").await.status, 200);
    assert_eq!(health(&address, &["--ready"]).0, 0);
    assert_eq!(broker.get("/other").await.status, 404);
    assert!(bus.decide().await["gl_path"].is_string());
    // One line per connection, not per try.
    broker.exactly(&["no connection to the bus"], 2).await;
}

#[tokio::test]
async fn health_without_a_broker_is_an_error_with_the_address() {
    let address = format!("127.0.0.1:{}", free_port());
    let (code, said) = health(&address, &[]);
    assert_eq!(code, 1);
    assert!(said.contains(&address), "{said}");
    let (code, said) = health("off", &[]);
    assert_eq!(code, 1);
    assert!(said.contains("BROKER_HTTP"), "{said}");
}

#[tokio::test]
async fn a_wrong_token_or_none_ends_it_with_a_plain_sentence() {
    let bus = Bus::start().await;
    for setup in
        [Setup::on(&bus).set("NATS_TOKEN", "wr0ng-one").secret("wr0ng-one"), Setup::on(&bus).unset("NATS_TOKEN")]
    {
        let ended = setup.ended().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.out.contains("refuses our credentials") && ended.out.contains("NATS_TOKEN"), "{ended:?}");
        assert!(ended.out.contains(&bus.host()), "{ended:?}");
    }
}

#[tokio::test]
async fn a_token_that_becomes_wrong_later_is_said_once_and_does_not_end_it() {
    let mut bus = Bus::start().await;
    let mut broker = Setup::on(&bus).ready().await;
    let port = bus.server.port();
    bus.server.kill();
    broker.until_nth(&["the connection to the bus is lost"], 2).await;
    let other = gateway_sim::nats_server::NatsServer::start(port, "another-token", "").unwrap();
    broker.until_nth(&["the bus refuses our credentials"], 2).await;
    let answer = broker.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("refuses our credentials"), "{}", answer.text());
    assert!(broker.is_running(), "it goes on trying");
    drop(other);
    bus.server.restart().unwrap();
    broker.until_nth(&["connected to the bus and subscribed"], 4).await;
    // Once per connection.
    broker.exactly(&["the bus refuses our credentials"], 2).await;
    assert!(bus.decide().await["gl_path"].is_string());
}

/// Sends requests with this many in flight, until stopped.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: tokio::task::JoinSet<()>,
}

impl Load {
    fn on(client: &async_nats::Client, in_flight: usize) -> Self {
        let (stop, answered): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..in_flight {
            let (client, stop, answered) = (client.clone(), stop.clone(), answered.clone());
            let subject = [DECIDE, DECIDE, APPLY, OUTCOME][number % 4];
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let asked = client.request(subject, REQUEST.into());
                    if matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(_))) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        // No responder: the bus answers at once, so pause instead of asking in a tight loop.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            });
        }
        Self { stop, answered, tasks }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        soon("the end of the load", self.tasks.join_all()).await;
    }
}

#[tokio::test]
async fn a_bus_that_is_killed_under_load_is_answered_again_after_each_return() {
    let mut bus = Bus::start().await;
    let mut broker = Setup::on(&bus).ready().await;
    let load = Load::on(&bus.client, 64);
    for round in 1..=3 {
        let before = load.answered();
        soon("some load", async {
            while load.answered() < before + 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        bus.server.kill();
        broker.until_nth(&["the connection to the bus is lost"], 2 * round).await;
        let answer = broker.get("/readyz").await;
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("lost"), "{}", answer.text());
        assert_eq!(broker.get("/livez").await.status, 200);
        // Long enough for pauses between tries to have grown to their longest.
        tokio::time::sleep(Duration::from_secs(1)).await;
        bus.server.restart().unwrap();
        let client = connect(&bus.server).await;
        for subject in [DECIDE, OUTCOME] {
            let answered = async {
                while client.request(subject, REQUEST.into()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            soon("an answer", answered).await;
        }
        broker.until_nth(&["connected to the bus and subscribed"], 2 + 2 * round).await;
        assert_eq!(broker.get("/readyz").await.status, 200);
    }
    load.end().await;
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["router disabled", DUD]).await;
    assert!(broker.is_running());
}

/// Stops it. It ends with 0, and by itself: the time limit of a stop, which would cut answers off, is not reached.
async fn stop(broker: &mut Broker, signal: &str) {
    broker.signal(signal);
    assert_eq!(broker.exit().await.code(), Some(0), "{}", broker.text());
    assert_eq!(broker.count(&["stopped before every answer was written"]), 0, "{}", broker.text());
    // Another thread may still have logged that its connection to the bus is away.
    broker.exactly(&[" INFO stopped"], 1).await;
}

#[tokio::test]
async fn asked_to_stop_it_ends_with_0_idle_or_busy_or_without_a_bus() {
    let bus = Bus::start().await;
    for signal in ["TERM", "INT"] {
        let mut idle = Setup::on(&bus).ready().await;
        stop(&mut idle, signal).await;
    }
    let mut busy = Setup::on(&bus).ready().await;
    let load = Load::on(&bus.client, 64);
    soon("some load", async {
        while load.answered() < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stop(&mut busy, "TERM").await;
    load.end().await;
    let mut waiting = Setup::at(&format!("127.0.0.1:{}", free_port())).spawn();
    waiting.until(&["no connection to the bus"]).await;
    stop(&mut waiting, "TERM").await;
}

#[tokio::test]
async fn asked_to_stop_while_the_bus_is_away_it_ends_too() {
    let mut bus = Bus::start().await;
    let mut broker = Setup::on(&bus).ready().await;
    bus.server.kill();
    broker.until_nth(&["the connection to the bus is lost"], 2).await;
    stop(&mut broker, "TERM").await;
}

#[tokio::test]
async fn asked_twice_it_ends_at_once() {
    let bus = Bus::start().await;
    // A call that is never answered: for that a stop waits longer than this test does.
    let a = Scripted::start(vec![Move::Hold]).await;
    let file = format!(r#"{{"pools": [{{"ingress": "/llm/", "targets": [{{"name": "a", "url": "{}"}}]}}]}}"#, a.url());
    let file = PoolsFile::of(&file);
    let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
    let mut broker = setup.set("BROKER_RELAY_GRACE", "600").ready().await;
    let _call = Open::post(broker.relay().await, "/llm/chat/completions", "{}").await;
    a.called(1).await;
    broker.signal("TERM");
    broker.until(&["stopping"]).await;
    broker.signal("TERM");
    assert_eq!(broker.exit().await.code(), Some(1), "{}", broker.text());
    broker.exactly(&["second signal"], 1).await;
}

#[tokio::test]
async fn the_default_port_in_use_is_a_warning_and_one_that_was_set_an_error() {
    let bus = Bus::start().await;
    // If another process has it, it is in use too, which is all this needs.
    let _default = TcpListener::bind((Ipv4Addr::LOCALHOST, 5381));
    let broker = Setup::on(&bus).unset("BROKER_HTTP").ready().await;
    assert!(broker.until(&["WARN", "127.0.0.1:5381"]).await.contains("BROKER_HTTP"));
    assert_eq!(bus.ask(OUTCOME, outcome(DUD, 500)).await, "");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Setup::on(&bus).set("BROKER_HTTP", &address).ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("BROKER_HTTP") && ended.out.contains("in use"), "{ended:?}");
    assert!(ended.out.contains(&address), "says which: {ended:?}");
}

#[tokio::test]
async fn http_can_be_off() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_HTTP", "off").ready().await;
    assert_eq!(broker.count(&["HTTP"]), 0, "{}", broker.text());
}

#[tokio::test]
async fn log_lines_can_be_json_and_never_hold_the_token_even_when_all_is_traced() {
    let bus = Bus::start().await;
    let setup = Setup::on(&bus).set("BROKER_LOG", "trace").set("BROKER_LOG_FORMAT", "json");
    let broker = setup
        .set("NATS_URL", format!("nats://{TOKEN}@{}", bus.host()))
        .unset("GECHOLOG_HOST")
        .unset("NATS_TOKEN")
        .ready()
        .await;
    bus.decide().await;
    bus.ask(OUTCOME, outcome(DUD, 500)).await;
    let line = broker.until(&["router disabled"]).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["router"], DUD);
    for line in broker.lines(&[]) {
        serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

/// A way to the bus that can fall silent while it stays open, as a lost machine or a full table of a router does.
struct Way {
    address: std::net::SocketAddr,
    silent: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Way {
    async fn to(bus: &Bus) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, host) = (tokio::sync::watch::Sender::new(false), bus.host());
        let heard = silent.subscribe();
        let task = tokio::spawn(async move {
            let mut ways = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = tokio::net::TcpStream::connect(&host).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                ways.spawn(carry(near_in, far_out, heard.clone()));
                ways.spawn(carry(far_in, near_out, heard.clone()));
            }
        });
        Self { address, silent, task }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut silent: tokio::sync::watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_bus_that_falls_silent_is_noticed() {
    let bus = Bus::start().await;
    let way = Way::to(&bus).await;
    let broker = Setup::at(&way.address.to_string()).ready().await;
    assert!(bus.decide().await["gl_path"].is_string());
    way.silent.send_replace(true);
    // By pings that are not answered: nothing else shows it. That takes 12 s.
    broker.until_nth(&["the connection to the bus is lost"], 2).await;
    assert_eq!(broker.get("/readyz").await.status, 503);
    way.silent.send_replace(false);
    broker.until_nth(&["connected to the bus and subscribed"], 4).await;
    // Until the bus has seen the end of the old connection it may still send requests there; those are lost.
    soon("an answer", async { while bus.client.request(DECIDE, REQUEST.into()).await.is_err() {} }).await;
}

#[tokio::test]
async fn it_goes_on_trying_to_connect_and_not_in_a_tight_loop() {
    // A silent server: each connection is accepted and closed.
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = Setup::at(&address).spawn();
    let begin = Instant::now();
    for _ in 0..20 {
        drop(soon("a try", listener.accept()).await.unwrap());
    }
    // Two connections, of which each pauses at least nine times, for a tenth of a second or more.
    assert!(begin.elapsed() > Duration::from_millis(900), "{:?}", begin.elapsed());
    broker.exactly(&["no connection to the bus"], 2).await;
}
