//! A bus of several servers that are replaced one after the other: the broker finds those that join later, and leaves those
//! that announce their end before they go.

use std::net::{SocketAddr, TcpListener};
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
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Member {
    /// Joins the cluster of these. `listed`: the others tell clients of it.
    fn join(members: &[Self], listed: bool) -> Self {
        let (route, monitor) = (free_port(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let routes: Vec<_> = members.iter().map(|member| format!("\"nats://127.0.0.1:{}\"", member.route)).collect();
        let settings = format!(
            "server_name: s{route}\nhttp: \"{monitor}\"\nlame_duck_duration: \"30s\"\nlame_duck_grace_period: \"20s\"\n\
             cluster {{ name: c, listen: \"127.0.0.1:{route}\", no_advertise: {}, routes: [{}] }}",
            !listed,
            routes.join(", ")
        );
        Self { server: NatsServer::start(0, TOKEN, &settings).unwrap(), monitor, route }
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.monitor);
        let get = move || ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        tokio::task::spawn_blocking(get).await.unwrap()
    }

    /// Waits until it has routes to so many others.
    async fn joined(&self, others: usize) {
        soon("the routes of a cluster", async {
            let is_joined = |text: String| {
                let routes: serde_json::Value = serde_json::from_str(&text).unwrap();
                let routes = routes["routes"].as_array().cloned().unwrap_or_default();
                let names: std::collections::BTreeSet<_> =
                    routes.iter().map(|one| one["remote_name"].to_string()).collect();
                names.len() >= others
            };
            while !is_joined(self.get("/routez").await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Waits until the broker has no connection here.
    async fn left(&self) {
        soon("the broker to leave", async {
            while self.get("/connz").await.contains("gecholog-broker") {
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
        members.push(Member::join(&members, true));
    }
    // The server of the gateway stays, and the broker does not know it.
    let gateway = Member::join(&members, false);
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
        members.push(Member::join(&members, true));
        let newest = members.last().unwrap();
        // Both connections hear of the server that has joined, at an address that is in no setting.
        broker.until_nth(&["servers of the bus", &newest.server.host()], 2).await;
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
