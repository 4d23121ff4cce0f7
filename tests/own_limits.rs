//! A hostile client, a hanging file or a lack of the broker's own resources costs no other client an answer, and no target its
//! place.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::{Value, json};

use super::support::http::{self, Open};
use super::support::metrics::Scrape;
use super::support::pools::pool;
use super::support::scripted::{Scripted, answer};
use super::support::{Bus, DECIDE, GPT4, GPT35, PoolsFile, REQUEST, Setup, TOKEN, soon};

const ADMIN: &str = "the-operators-own-token";

/// A pools file whose relay has one target.
fn one_target(url: &str) -> PoolsFile {
    PoolsFile::of(&format!(r#"{{"pools": [{{"ingress": "/llm/", "targets": [{{"name": "a", "url": "{url}"}}]}}]}}"#))
}

#[tokio::test]
async fn without_descriptors_of_its_own_the_relay_says_so_and_blames_no_target() {
    let bus = Bus::start().await;
    let target = Scripted::start(answer(200, &[], "{}")).await;
    let file = one_target(&target.url());
    let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
    let broker = setup.ready().await;
    let relay = broker.relay().await;
    let pid = Pid::from_raw(i32::try_from(broker.pid()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let mut client = Open::raw(relay, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.until("no_such_pool").await;
    // Lower than what is open already: there is not one more.
    let before = limit(Some(3));
    let hi = b"POST /llm/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    client.again(hi).await;
    client.until("broker_exhausted").await;
    assert!(client.text().contains("503 Service Unavailable") && client.text().contains("retry-after: 1"));
    assert_eq!(target.calls(), 0);
    assert_eq!(
        before.current,
        Some(maximum.unwrap_or(u64::MAX).min(1 << 20)),
        "the soft limit was raised to the hard one"
    );
    limit(before.current);
    client.again(hi).await;
    client.until("200 Any").await;
    assert_eq!((target.calls(), broker.count(&["router disabled"])), (1, 0), "{}", broker.text());
    let scrape = Scrape::of(&broker).await;
    scrape.has(&[("gecholog_broker_resources_exhausted_total", &["needed_for=\"relay_connect\""], 1.0)]);
}

/// `broker`, with its log in a pipe that nobody reads; its address of HTTP is not known from the log.
fn with_unread_log(bus: &Bus, http: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_broker"))
        .env_clear()
        .envs([("GECHOLOG_HOST", bus.host().as_str()), ("NATS_TOKEN", TOKEN), ("BROKER_LOG", "debug")])
        .env("BROKER_HTTP", http)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_hangs_stops_no_decision_and_loses_only_what_does_not_fit() {
    let bus = Bus::start().await;
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut broker = with_unread_log(&bus, &http.to_string());
    let get = |path| async move { http::send(http, "GET", path, &[], b"").await };
    soon("a ready broker", async {
        while !get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // More lines than the pipe and the queue take.
    for _ in 0..200 {
        let asked = (0..64).map(|_| bus.client.request(DECIDE, REQUEST.into()));
        let answers = soon("decisions", join_all(asked)).await;
        assert!(answers.into_iter().all(|answer| !answer.unwrap().payload.is_empty()));
    }
    assert_eq!(get("/livez").await.unwrap().status, 200);
    let metrics = get("/metrics").await.unwrap().text();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("gecholog_broker_log_lines_dropped_total "));
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    let mut log = BufReader::new(broker.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = log.next().unwrap();
    assert!(first.contains("broker starts"), "{first}");
    let reported = log.find(|line| line.contains("log lines were dropped")).unwrap();
    assert!(reported.contains("total="), "{reported}");
    bus.decide().await;
    kill_process(Pid::from_child(&broker), Signal::TERM).unwrap();
    let rest: Vec<_> = log.collect();
    assert!(rest.iter().any(|line| line.contains("DEBUG")), "the decision after it: {rest:?}");
    assert!(rest.last().unwrap().contains("stopped"), "{rest:?}");
    assert_eq!(broker.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_log_whose_reader_hangs_delays_the_end_by_two_seconds_at_most() {
    let bus = Bus::start().await;
    let mut broker = with_unread_log(&bus, "off");
    soon("a decision", async { while bus.client.request(DECIDE, REQUEST.into()).await.is_err() {} }).await;
    for _ in 0..10 {
        let asked = (0..64).map(|_| bus.client.request(DECIDE, REQUEST.into()));
        soon("decisions", join_all(asked)).await;
    }
    kill_process(Pid::from_child(&broker), Signal::TERM).unwrap();
    let begin = Instant::now();
    assert_eq!(tokio::task::spawn_blocking(move || broker.wait()).await.unwrap().unwrap().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn idle_connections_keep_no_client_out() {
    let bus = Bus::start().await;
    let target = Scripted::start(answer(200, &[], "{}")).await;
    let file = one_target(&target.url());
    let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
    // Twice as many connections as calls.
    let broker = setup.set("BROKER_RELAY_CALLS", "8").ready().await;
    let (http, relay) = (broker.http().await, broker.relay().await);
    for (address, path, places) in [(http, "/livez", 72), (relay, "/llm/chat", 16)] {
        let half = join_all((0..places + 20).map(|_| Open::raw(address, b"GET /li"))).await;
        let served = http::send(address, "POST", path, &[], b"{}").await.unwrap();
        assert!(matches!(served.status, 200 | 405), "{path}: {served:?}");
        let mut half = half.into_iter();
        // Places were taken back in the order in which they were given.
        assert_eq!(half.next().unwrap().closed().await, "");
        drop(half);
    }
    assert_eq!(target.calls(), 1);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_the_pools_file_stops_nothing() {
    let bus = Bus::start().await;
    let file = PoolsFile::of(&pool("{}", &format!(r#"{{"router": "{GPT4}"}}"#)));
    let broker = Setup::on(&bus).set("BROKER_CONFIG", file.path()).ready().await;
    let pipe = file.folder().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::rename(&pipe, file.path()).unwrap();
    broker.until(&["it is a named pipe, and must be a regular file"]).await;
    broker.signal("HUP");
    broker.until_nth(&["it is a named pipe"], 2).await;
    assert_eq!(broker.get("/livez").await.status, 200);
    assert_eq!(bus.decide().await["gl_path"], GPT4);
    file.put(&pool("{}", &format!(r#"{{"router": "{GPT35}"}}"#)));
    broker.until(&["pools file applied"]).await;
    assert_eq!(bus.decide().await["gl_path"], GPT35);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_any_file_is_a_fault_at_the_start() {
    let folder = PoolsFile::none();
    let pipe = folder.folder().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let names = [
        "BROKER_CONFIG",
        "BROKER_ADMIN_TOKEN_FILE",
        "NATS_TOKEN_FILE",
        "NATS_CREDS",
        "NATS_CA",
        "BROKER_RELAY_CA",
        "BROKER_TLS_CERT",
        "BROKER_TLS_KEY",
    ];
    let setup = names.iter().fold(Setup::bare(), |setup, name| setup.set(name, &pipe));
    let ended = setup.ended().await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.err.matches("it is a named pipe, and must be a regular file").count(),
        names.len(),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn a_hangup_without_a_pools_file_does_nothing() {
    let bus = Bus::start().await;
    let mut broker = Setup::on(&bus).ready().await;
    broker.signal("HUP");
    broker.until(&["SIGHUP: there is no pools file"]).await;
    assert!(broker.is_running());
    assert!(bus.decide().await["gl_path"].is_string());
}

#[tokio::test]
async fn a_value_that_is_too_long_matches_no_condition_and_the_reason_says_so() {
    let bus = Bus::start().await;
    let conditions = r#"{"mode": "conditional", "default": "b", "conditions": [{"query": {"params.model": {"$regex": "^a"}}, "then": "a"}]}"#;
    let targets = format!(r#"{{"name": "a", "router": "{GPT4}"}}, {{"name": "b", "router": "{GPT35}"}}"#);
    let file = PoolsFile::of(&pool(conditions, &targets));
    let _broker = Setup::on(&bus).set("BROKER_CONFIG", file.path()).ready().await;
    // Its quotes count.
    for (length, router, why) in
        [(4_094, GPT4, "condition 1 on params.model"), (4_095, GPT35, "longer than 4096 bytes")]
    {
        let request = json!({"gl_path": "/azure/", "outbound_payload": {"model": "a".repeat(length)}});
        let answer: Value =
            serde_json::from_slice(&bus.ask(super::support::DECIDE, request.to_string()).await).unwrap();
        assert_eq!(answer["gl_path"], router);
        assert!(answer["broker"]["why"].as_str().unwrap().contains(why), "{answer}");
    }
}

#[tokio::test]
async fn wrong_tokens_wait_a_second_eight_at_a_time_and_the_right_one_never() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN).ready().await;
    let http = broker.http().await;
    let present = |token: &str| {
        let header = format!("Bearer {token}");
        async move {
            let begun = Instant::now();
            let body = br#"{"mode": "balance"}"#;
            let answer = http::send(http, "POST", "/api/v1/mode", &[("Authorization", &header)], body).await.unwrap();
            (answer.status, begun.elapsed() >= Duration::from_secs(1))
        }
    };
    let wrong = tokio::spawn(join_all((0..20).map(|number| present(&format!("{ADMIN}{number}"))).collect::<Vec<_>>()));
    // The first line says that they have come; the right one comes while they wait.
    broker.until(&["a wrong operators' token was presented"]).await;
    let (status, _) = present(ADMIN).await;
    assert!(status == 200 && !wrong.is_finished(), "the right one is not delayed");
    let answers = soon("all answers", wrong).await.unwrap();
    let count = |wanted: (u16, bool)| answers.iter().filter(|answer| **answer == wanted).count();
    assert_eq!(count((401, true)), 8, "{answers:?}");
    assert_eq!(answers.iter().filter(|(status, _)| *status == 429).count(), 12, "{answers:?}");
    assert_eq!(present("").await.0, 401);
    // One line a minute.
    broker.exactly(&["a wrong operators' token"], 1).await;
    let scrape = Scrape::of(&broker).await;
    scrape.has(&[("gecholog_broker_wrong_tokens_total", &["via=\"http\""], 21.0)]);
}

#[tokio::test]
async fn a_token_that_is_easy_to_guess_is_refused_at_the_start() {
    for weak in ["passwordpassword", "1234567890123456"] {
        let ended = Setup::bare().set("BROKER_ADMIN_TOKEN", weak).secret(weak).ended().await;
        assert_eq!(ended.code, Some(2));
        assert!(ended.err.contains("BROKER_ADMIN_TOKEN: is too easy to guess"), "{}", ended.err);
    }
}

#[tokio::test]
async fn thousands_of_targets_are_explained_up_to_the_hundredth() {
    let targets: Vec<_> = (0..8_000).map(|number| format!(r#"{{"router": "/r{number}/"}}"#)).collect();
    let file = PoolsFile::of(&pool("{}", &targets.join(",")));
    let ended = Setup::bare().set("BROKER_CONFIG", file.path()).arguments(&["explain"]).ended().await;
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 101), "{}", ended.err);
    assert!(ended.out.ends_with("  then 7900 more that may serve\n"), "{}", ended.out);
}
