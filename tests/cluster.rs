//! A bus of several servers that are replaced one after the other: the broker finds those that join later, and leaves those
//! that announce their end before they go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gateway_sim::nats_server::NatsServer;

use super::support::bus::connect;
use super::support::metrics::Scrape;
use super::support::{DECIDE, DUD, OUTCOME, REQUEST, Setup, TOKEN, outcome, soon};

/// One server of a cluster, and where it reports its connections.
struct Member {
    server: NatsServer,
    monitor: SocketAddr,
    route: u16,
    /// Where the server writes which ports it has.
    ports: PathBuf,
}

/// What the server writes of its ports, as addresses.
#[derive(serde::Deserialize)]
struct Ports {
    monitoring: Vec<String>,
    cluster: Vec<String>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.ports);
    }
}

impl Member {
    /// Joins the cluster of these. `listed`: the others announce it to clients.
    async fn join(members: &[Self], listed: bool) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let ports = std::env::temp_dir().join(format!("cluster-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&ports).unwrap();
        let routes: Vec<_> = members.iter().map(|member| format!("\"nats://127.0.0.1:{}\"", member.route)).collect();
        // The server takes free ports and writes them to a file: a port chosen here could be taken before the server has it.
        let settings = format!(
            "server_name: s{number}\nhttp: \"127.0.0.1:-1\"\nports_file_dir: {:?}\n\
             lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"20s\"\n\
             cluster {{ name: c, listen: \"127.0.0.1:-1\", no_advertise: {}, routes: [{}] }}",
            ports,
            !listed,
            routes.join(", ")
        );
        let server = NatsServer::start(0, TOKEN, &settings).unwrap();
        let had: Ports = soon("the file of the ports", async {
            loop {
                let files = std::fs::read_dir(&ports).unwrap();
                let text = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).next();
                // A file that is half written is no JSON yet.
                if let Some(ports) = text.and_then(|text| serde_json::from_str(&text).ok()) {
                    return ports;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let address = |urls: &[String]| urls[0].split_once("://").unwrap().1.parse::<SocketAddr>().unwrap();
        Self { server, monitor: address(&had.monitoring), route: address(&had.cluster).port(), ports }
    }

    /// What the server reports; `None` if it has ended.
    async fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://{}{path}", self.monitor);
        let get = move || ureq::get(&url).call().ok()?.body_mut().read_to_string().ok();
        tokio::task::spawn_blocking(get).await.unwrap()
    }

    /// Waits until it has routes to this many others.
    async fn joined(&self, others: usize) {
        soon("the routes of a cluster", async {
            let is_joined = |text: String| {
                let routes: serde_json::Value = serde_json::from_str(&text).unwrap();
                let routes = routes["routes"].as_array().cloned().unwrap_or_default();
                let names: std::collections::BTreeSet<_> =
                    routes.iter().map(|one| one["remote_name"].to_string()).collect();
                names.len() >= others
            };
            while !is_joined(self.get("/routez").await.unwrap()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Waits until the broker has no connection here. A server that announced its end ends when its last client has gone.
    async fn left(&self) {
        soon("the broker to leave", async {
            while self.get("/connz").await.is_some_and(|clients| clients.contains("gecholog-broker")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_cluster_is_replaced_server_by_server_and_every_request_is_answered() {
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::join(&members, true).await);
    }
    // The server of the gateway stays, and the broker does not know it.
    let gateway = Member::join(&members, false).await;
    gateway.joined(3).await;
    let broker = Setup::at(&members[0].server.host()).set("DISABLED_TIME", "0").ready().await;
    let client = connect(&gateway.server).await;
    soon("the first answer", async { while client.request(DECIDE, REQUEST.into()).await.is_err() {} }).await;
    let sent = Arc::<AtomicU64>::default();
    let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut load = tokio::task::JoinSet::new();
    for worker in 0..16 {
        let (client, stop, answered) = (client.clone(), Arc::clone(&stop), Arc::clone(&answered));
        let sent = Arc::clone(&sent);
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = client.request(DECIDE, REQUEST.into()).await;
                let answer = answer.unwrap_or_else(|error| panic!("worker {worker}: {error}"));
                assert!(!answer.payload.is_empty());
                answered.fetch_add(1, Ordering::Relaxed);
                sent.fetch_add(1, Ordering::Relaxed);
                let answer = client.request(OUTCOME, outcome(DUD, 500)).await;
                answer.unwrap_or_else(|error| panic!("worker {worker}, an outcome: {error}"));
            }
        });
    }
    for round in 0..3 {
        let oldest = members.remove(0);
        oldest.server.announce_end().unwrap();
        oldest.left().await;
        if round == 0 {
            broker.until(&["the server of the bus is about to stop", "decisions"]).await;
            broker.until(&["moved to another server of the bus"]).await;
        }
        drop(oldest);
        members.push(Member::join(&members, true).await);
        let newest = members.last().unwrap();
        // Both connections hear of the server that has joined, at an address that is in no setting.
        for connection in ["decisions", "logs"] {
            broker.until(&["servers of the bus", connection, &newest.server.host()]).await;
        }
        let before = answered.load(Ordering::Relaxed);
        soon("some load", async {
            while answered.load(Ordering::Relaxed) < before + 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    soon("the end of the load", load.join_all()).await;
    assert_eq!(broker.count(&["is lost", "decisions"]), 0, "it moved before the server went:\n{}", broker.text());
    // Both connections of a move get an outcome, and one learns from it; a few of the milliseconds of a move may be missed.
    let (sent, counted) = (sent.load(Ordering::Relaxed), Scrape::of(&broker).await);
    let counted = counted.series("gecholog_broker_outcomes_total", &[DUD, r#"class="failure""#]).unwrap();
    let share = counted / sent as f64;
    assert!((0.99..=1.0).contains(&share), "{counted} of {sent} outcomes");
    println!("{} requests answered while three servers were replaced", answered.load(Ordering::Relaxed));
}
