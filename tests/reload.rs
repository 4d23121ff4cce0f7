//! A changed pools file takes over without a restart: in one step, or not at all.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::support::broker::field;
use super::support::bus::connect;
use super::support::metrics::Scrape;
use super::support::pools::pool;
use super::support::{
    Broker, Bus, DECIDE, DUD, GPT4, GPT35, OUTCOME, PoolsFile, REQUEST, Setup, chosen, outcome, soon,
};

const RELOADS: usize = 1_000;
const IN_FLIGHT: usize = 8;

const TAKEN: &str = "pools file applied";
const WRONG: &str = "is wrong and changes nothing";

async fn broker(bus: &Bus, file: &PoolsFile) -> Broker {
    Setup::on(bus).set("BROKER_CONFIG", file.path()).ready().await
}

/// A pool of these routers, evenly.
fn flat(routers: &[&str]) -> String {
    let targets: Vec<_> = routers.iter().map(|router| format!(r#"{{"router": "{router}"}}"#)).collect();
    pool("{}", &targets.join(","))
}

/// What one answer names: the file it was answered from, and the router.
fn named(answer: &[u8]) -> (String, String) {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_else(|_| panic!("no route: {answer:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(answer["gl_path"], answer["broker"]["router"]);
    (text(&answer["broker"]["config"]), text(&answer["gl_path"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_leave_no_request_unanswered_and_none_answered_from_half_a_file() {
    let bus = Bus::start().await;
    let good = [["/azure/a1/", "/azure/a2/"], ["/azure/b1/", "/azure/b2/"]];
    let file = PoolsFile::of(&flat(&good[0]));
    let broker = broker(&bus, &file).await;
    let stop: Arc<AtomicBool> = Arc::default();
    let answered: Arc<AtomicU64> = Arc::default();
    let seen: Arc<Mutex<HashMap<(String, String), u64>>> = Arc::default();
    let client = connect(&bus.server).await;
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, stop, answered) = (client.clone(), Arc::clone(&stop), Arc::clone(&answered));
        let seen = Arc::clone(&seen);
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = client.request(DECIDE, REQUEST.into()).await.unwrap();
                *seen.lock().unwrap().entry(named(&answer.payload)).or_default() += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let first = field(&broker.until(&["broker starts"]).await, "config").unwrap();
    let mut configs = vec![first];
    for number in 1..=RELOADS {
        // Some requests between any two.
        let before = answered.load(Ordering::Relaxed);
        soon("some load", async {
            while answered.load(Ordering::Relaxed) < before + 4 {
                assert!(load.try_join_next().is_none(), "a request went wrong");
                tokio::task::yield_now().await;
            }
        })
        .await;
        if number % 2 == 1 {
            file.put(&format!(r#"{{"pools": [{{"ingress": "/azure/", "targets": [{{"router": "/azure/bad{number}/", "weight": -1}}]}}]}}"#));
            broker.until_nth(&[WRONG], number.div_ceil(2)).await;
        } else {
            file.put(&flat(&good[(number / 2) % 2]));
            let line = broker.until_nth(&[TAKEN], number / 2).await;
            configs.push(field(&line, "config").unwrap());
        }
    }
    stop.store(true, Ordering::Relaxed);
    soon("the end of the load", load.join_all()).await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let answered = answered.load(Ordering::Relaxed);
    println!("{answered} requests answered over {RELOADS} reloads: {seen:?}");
    assert_ne!(configs[0], configs[1]);
    for (number, config) in configs.iter().enumerate() {
        assert_eq!(*config, configs[number % 2], "the same file, the same hash");
    }
    let allowed = |config: &str, router: &str| (0..2).any(|one| configs[one] == config && good[one].contains(&router));
    for ((config, router), count) in &seen {
        assert!(
            allowed(config, router),
            "{count} answers with {router} from {config}; the files are {:?}",
            &configs[..2]
        );
    }
    assert_eq!(seen.len(), 4, "both files, both routers: {seen:?}");
    // Each file once.
    broker.exactly(&[TAKEN], RELOADS / 2).await;
    broker.exactly(&[WRONG], RELOADS / 2).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_lists_its_faults() {
    let bus = Bus::start().await;
    let file = PoolsFile::of(&flat(&[GPT4]));
    let mut broker = broker(&bus, &file).await;
    let before = named(&bus.ask(DECIDE, REQUEST).await);
    file.put("{\n \"pools\": [{\"ingress\": \"/azure/\", \"targets\": [\n  {\"router\": \"/azure/x-1/\"},\n  {\"router\": \"/azure/y/\", \"weight\": -2}]}]}");
    assert_eq!(field(&broker.until(&[WRONG]).await, "faults").unwrap(), "2");
    broker.until(&["broker.json:3:14 pools[0].targets[0].router", "/azure/x-1/"]).await;
    broker.until(&["broker.json:4:37 pools[0].targets[1].weight", "-2"]).await;
    assert_eq!(named(&bus.ask(DECIDE, REQUEST).await), before);
    fs::remove_file(file.path()).unwrap();
    broker.until(&["broker.json", "cannot read the file"]).await;
    assert_eq!(named(&bus.ask(DECIDE, REQUEST).await), before);
    file.put("");
    broker.until(&["broker.json", "is empty"]).await;
    assert_eq!(named(&bus.ask(DECIDE, REQUEST).await), before);
    file.put(&flat(&[GPT35]));
    broker.until(&[TAKEN]).await;
    assert_eq!(named(&bus.ask(DECIDE, REQUEST).await).1, GPT35);
    assert!(broker.is_running());
}

#[tokio::test]
async fn a_router_that_remains_keeps_its_state() {
    let bus = Bus::start().await;
    let file = PoolsFile::of(&flat(&[GPT4, GPT35, DUD]));
    let broker = broker(&bus, &file).await;
    bus.ask(OUTCOME, outcome(DUD, 500)).await;
    broker.until(&["router disabled", DUD]).await;
    file.put(&pool(r#"{"mode": "fallback"}"#, &format!(r#"{{"router": "{DUD}"}}, {{"router": "{GPT4}"}}"#)));
    broker.until_nth(&[TAKEN], 1).await;
    assert_eq!(chosen(&bus, 20).await, [GPT4; 20], "the first in order is still disabled");
    // Gone for a while and back again, among them.
    file.put(&flat(&[GPT35]));
    broker.until_nth(&[TAKEN], 2).await;
    assert_eq!(chosen(&bus, 5).await, [GPT35; 5]);
    file.put(&flat(&[DUD]));
    broker.until_nth(&[TAKEN], 3).await;
    assert_eq!(bus.ask(DECIDE, REQUEST).await, "", "nothing may serve");
    assert_eq!(broker.count(&["router enabled"]), 0, "{}", broker.text());
}

#[tokio::test]
async fn a_pool_that_is_removed_is_answered_no_more_and_one_that_is_added_is() {
    let bus = Bus::start().await;
    let pools = |ingresses: &[&str]| {
        let pools: Vec<_> =
            ingresses.iter().map(|ingress| json!({"ingress": ingress, "targets": [{"router": GPT4}]})).collect();
        json!({"pools": pools}).to_string()
    };
    let file = PoolsFile::of(&pools(&["/azure/", "/other/"]));
    let broker = broker(&bus, &file).await;
    let asked = async |ingress: &str| {
        let answer = bus.ask(DECIDE, json!({"gl_path": ingress}).to_string()).await;
        if answer.is_empty() { String::new() } else { named(&answer).1 }
    };
    assert_eq!([asked("/azure/").await, asked("/other/").await, asked("/third/").await], [GPT4, GPT4, ""]);
    file.put(&pools(&["/azure/", "/third/"]));
    broker.until(&[TAKEN]).await;
    assert_eq!([asked("/azure/").await, asked("/other/").await, asked("/third/").await], [GPT4, "", GPT4]);
}

#[tokio::test]
async fn the_swapped_links_of_kubernetes_are_noticed() {
    let bus = Bus::start().await;
    let file = PoolsFile::none();
    let mount = file.folder();
    let version = |name: &str, routers: &[&str]| {
        fs::create_dir(mount.join(name)).unwrap();
        fs::write(mount.join(name).join("broker.json"), flat(routers)).unwrap();
    };
    version("..1", &[GPT4]);
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/broker.json", file.path()).unwrap();
    let broker = broker(&bus, &file).await;
    assert_eq!(chosen(&bus, 3).await, [GPT4; 3]);
    for (number, router) in [(2, GPT35), (3, DUD)] {
        let name = format!("..{number}");
        version(&name, &[router]);
        symlink(&name, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        fs::remove_dir_all(mount.join(format!("..{}", number - 1))).unwrap();
        broker.until_nth(&[TAKEN], number - 1).await;
        assert_eq!(chosen(&bus, 3).await, [router; 3]);
    }
    assert_eq!(broker.count(&[WRONG]), 0, "{}", broker.text());
}

#[tokio::test]
async fn a_change_without_an_event_is_noticed_all_the_same() {
    let bus = Bus::start().await;
    // As where one file is mounted: its folder, which is watched, never hears of it.
    let (file, elsewhere) = (PoolsFile::none(), PoolsFile::of(&flat(&[GPT4])));
    symlink(elsewhere.path(), file.path()).unwrap();
    let broker = broker(&bus, &file).await;
    elsewhere.put(&flat(&[GPT35]));
    // The file is compared every 2 s.
    broker.until(&[TAKEN]).await;
    assert_eq!(chosen(&bus, 3).await, [GPT35; 3]);
}

#[tokio::test]
async fn sighup_reads_it_in_any_case() {
    let bus = Bus::start().await;
    let file = PoolsFile::of(&flat(&[GPT4]));
    let mut broker = broker(&bus, &file).await;
    let first = field(&broker.until(&["broker starts"]).await, "config");
    for number in 1..=3 {
        broker.signal("HUP");
        assert_eq!(field(&broker.until_nth(&[TAKEN], number).await, "config"), first, "nothing has changed");
    }
    assert_eq!(chosen(&bus, 3).await, [GPT4; 3]);
    assert!(broker.is_running());
}

#[tokio::test]
async fn what_came_of_each_reload_is_counted() {
    let bus = Bus::start().await;
    let file = PoolsFile::of(&flat(&[GPT4]));
    let broker = broker(&bus, &file).await;
    let good = |results: [f64; 3], last| {
        let [applied, refused, unreadable] = results;
        [
            ("gecholog_broker_reloads_total", &["applied"][..], applied),
            ("gecholog_broker_reloads_total", &["refused"], refused),
            ("gecholog_broker_reloads_total", &["unreadable"], unreadable),
            ("gecholog_broker_last_reload_successful", &[], last),
        ]
    };
    Scrape::of(&broker).await.has(&good([0.0, 0.0, 0.0], 1.0));
    file.put("{");
    broker.until(&[WRONG]).await;
    Scrape::of(&broker).await.has(&good([0.0, 1.0, 0.0], 0.0));
    fs::remove_file(file.path()).unwrap();
    broker.until_nth(&[WRONG], 2).await;
    Scrape::of(&broker).await.has(&good([0.0, 1.0, 1.0], 0.0));
    file.put(&flat(&[DUD]));
    broker.until(&[TAKEN]).await;
    Scrape::of(&broker).await.has(&good([1.0, 1.0, 1.0], 1.0));
}
