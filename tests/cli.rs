//! The command line against running brokers: what it shows, what it changes, and its exit codes.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};

use super::support::{Bus, DUD, GPT4, Log, PoolsFile, ProcessOutput, Setup};

const ADMIN: &str = "the-operators-own-token";

fn admin(bus: &Bus) -> Setup {
    Setup::on(bus).set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN)
}

async fn command(bus: &Bus, arguments: &[&str]) -> ProcessOutput {
    admin(bus).unset("BROKER_HTTP").arguments(arguments).ended().await
}

#[tokio::test]
async fn status_shows_all_replicas_and_json_is_their_documents() {
    let bus = Bus::start().await;
    let brokers = [admin(&bus).ready().await, admin(&bus).ready().await];
    bus.log(Log::of(DUD, 500)).await;
    for broker in &brokers {
        broker.until(&["router disabled", DUD]).await;
    }
    let shown = command(&bus, &["status"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for words in
        ["2 replicas answering", "50.0 %    /azure/gpt4/", "0.0 %    /azure/dud/", "disabled for ", "answered 500"]
    {
        assert!(shown.out.contains(words), "{words:?} in\n{}", shown.out);
    }
    let documents = command(&bus, &["status", "--json"]).await;
    let documents: Value = serde_json::from_str(&documents.out).unwrap();
    assert_eq!(documents.as_array().map(Vec::len), Some(2));
    assert_eq!(documents[0]["routers"][0]["router"], "/azure/gpt35turbo/");
}

#[tokio::test]
async fn drain_wait_and_resume_say_what_they_changed_and_where() {
    let bus = Bus::start().await;
    let brokers = [admin(&bus).ready().await, admin(&bus).ready().await];
    let decision = bus.decide().await;
    let used = decision["gl_path"].as_str().unwrap().to_owned();
    let mut log = Log::of(&used, 200);
    log.0["request"]["broker"] = decision["broker"].clone();
    bus.log(log).await;
    let done = command(&bus, &["drain", &used, "--for", "30m", "--reason", "new keys", "--wait"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains(&format!("{used} drained on 2 replicas")), "{}", done.out);
    assert!(done.out.contains("no call is in progress"), "{}", done.out);
    for broker in &brokers {
        broker.until(&["command of an operator", "the command line over the bus", "new keys"]).await;
    }
    let shown = command(&bus, &["status"]).await;
    assert!(shown.out.contains("yes until ") && shown.out.contains("new keys"), "{}", shown.out);
    let done = command(&bus, &["resume", &used]).await;
    assert!(done.out.contains("resumed on 2 replicas"), "{done:?}");
    let done = command(&bus, &["weight", "/azure/", DUD, "0"]).await;
    assert!(done.out.contains("has weight 0 on 2 replicas"), "{done:?}");
    let done = command(&bus, &["mode", "observe"]).await;
    assert!(done.out.contains("mode is observe on 2 replicas"), "{done:?}");
}

/// A broker with calls in progress, of which one has come back; the log entries of the others.
async fn busy(bus: &Bus) -> (super::support::Broker, Vec<Log>) {
    let broker = admin(bus).set("BROKER_ROUTERS", GPT4).ready().await;
    let mut logs = Vec::new();
    for _ in 0..3 {
        let decision = bus.decide().await;
        logs.push(Log::of(GPT4, 200).with("/request/broker", decision["broker"].clone()));
    }
    bus.log(logs.remove(0)).await;
    super::support::soon("one has come back", async {
        while !broker.get("/metrics").await.text().contains(&format!(r#"pending_calls{{router="{GPT4}"}} 2"#)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    (broker, logs)
}

#[tokio::test]
async fn drain_with_wait_shows_the_calls_in_progress_as_they_end() {
    let bus = Bus::start().await;
    let (_broker, mut logs) = busy(&bus).await;
    let draining = admin(&bus).unset("BROKER_HTTP").arguments(&["drain", GPT4, "--wait"]).spawn();
    draining.until(&["drained on 1 replica"]).await;
    draining.until(&["2 calls are in progress to", GPT4]).await;
    bus.log(logs.remove(0)).await;
    draining.until(&["1 call is in progress to", GPT4]).await;
    bus.log(logs.remove(0)).await;
    let ended = draining.ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.out.ends_with("no call is in progress to /azure/gpt4/\n"), "{}", ended.out);
}

#[tokio::test]
async fn waiting_ends_with_what_it_waits_under() {
    let bus = Bus::start().await;
    let (broker, _logs) = busy(&bus).await;
    for (verb, undone, state) in [("drain", "resume", "drained"), ("disable", "enable", "disabled")] {
        let waiting = admin(&bus).unset("BROKER_HTTP").arguments(&[verb, GPT4, "--for", "1h", "--wait"]).spawn();
        waiting.until(&["2 calls are in progress to", GPT4]).await;
        assert_eq!(command(&bus, &[undone, GPT4]).await.code, Some(0));
        let ended = waiting.ended().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let words = format!("{GPT4} is no longer {state}, and 2 calls are in progress to {GPT4}");
        assert!(ended.err.contains(&words) && ended.out.contains("on 1 replica"), "{ended:?}");
    }
    let ended = command(&bus, &["drain", GPT4, "--for", "1s", "--wait"]).await;
    assert_eq!(ended.code, Some(1), "the time given with --for is over: {ended:?}");
    drop(broker);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_an_exit_code() {
    let bus = Bus::start().await;
    let unanswered = command(&bus, &["status"]).await;
    assert_eq!(unanswered.code, Some(1), "{unanswered:?}");
    assert!(unanswered.err.contains("no broker answers"), "{unanswered:?}");
    let unanswered = command(&bus, &["drain", DUD]).await;
    assert_eq!(unanswered.code, Some(1), "{unanswered:?}");
    assert!(unanswered.err.contains("no broker answers"), "{unanswered:?}");

    let closed = Setup::on(&bus).ready().await;
    let refused = command(&bus, &["drain", DUD]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("is read-only"), "{refused:?}");
    drop(closed);

    let _broker = admin(&bus).ready().await;
    let unset = Setup::on(&bus).arguments(&["drain", DUD]).ended().await;
    assert_eq!(unset.code, Some(2), "{unset:?}");
    assert!(unset.err.contains("BROKER_ADMIN_TOKEN"), "{unset:?}");
    // A wrong one is answered a second late, and the command is still there to hear it.
    let other = "another-token-altogether";
    let wrong = Setup::on(&bus).set("BROKER_ADMIN_TOKEN", other).secret(other).arguments(&["drain", DUD]).ended().await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(
        wrong.err.contains("another BROKER_ADMIN_TOKEN") || wrong.out.contains("another BROKER_ADMIN_TOKEN"),
        "{wrong:?}"
    );
    for (arguments, code, words) in [
        (&["drain", "/nobodys/"][..], 1, "/nobodys/ is in no pool"),
        (&["drain", "dud"], 2, "begin and end with"),
        (&["drain", DUD, "--for", "soon"], 2, "soon"),
        (&["disable", DUD], 2, "\"for\""),
        (&["mode", "fast"], 2, "observe"),
    ] {
        let ended = command(&bus, arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(words), "{arguments:?}: {ended:?}");
    }
    let away = Setup::at("127.0.0.1:1").unset("BROKER_HTTP").arguments(&["status"]).ended().await;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.err.contains("no connection to the bus at 127.0.0.1:1"), "{away:?}");
    assert!(away.err.contains("GECHOLOG_HOST or NATS_URL"), "what to do: {away:?}");
    assert!(!away.err.contains("command:"), "{away:?}");
}

/// Every command, with what it needs to get as far as its settings.
const COMMANDS: [&[&str]; 13] = [
    &["status"],
    &["watch"],
    &["drain", DUD],
    &["resume", DUD],
    &["disable", DUD, "--for", "1m"],
    &["enable", DUD],
    &["weight", "/azure/", DUD, "1"],
    &["mode", "observe"],
    &["health"],
    &["explain"],
    &["config"],
    &["check", "--gl-config", "gl_config.json"],
    &["init", "--gl-config", "gl_config.json"],
];

#[tokio::test]
async fn s3_the_help_of_a_command_is_about_that_command() {
    let whole = Setup::bare().arguments(&["help"]).ended().await;
    assert_eq!((whole.code, whole.err.as_str()), (Some(0), ""));
    assert!(whole.out.contains("--disabled-time") && whole.out.contains("drain"), "{}", whole.out);
    for command in COMMANDS.iter().map(|arguments| arguments[0]).filter(|command| *command != "config") {
        for arguments in [&[command, "-h"][..], &[command, "--help"], &["help", command]] {
            let ended = Setup::bare().arguments(arguments).ended().await;
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
            assert!(ended.out.contains(&format!("Usage: broker {command}")), "{arguments:?}:\n{}", ended.out);
            assert!(ended.out.lines().count() < 40, "{arguments:?}:\n{}", ended.out);
            for other in ["--nats-ca", "--disabled-time", "--broker-relay", "--broker-log"] {
                assert!(!ended.out.contains(other), "{arguments:?}: {other} in\n{}", ended.out);
            }
        }
    }
    let unknown = Setup::bare().arguments(&["help", "drian"]).ended().await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

#[tokio::test]
async fn s3_where_no_broker_starts_none_cannot_start() {
    for arguments in COMMANDS {
        let setup =
            Setup::bare().set("BROKER_ADMIN_TOKEN", "short").set("BROKER_HTTP", "nowhere").set("DISABLED_TIME", "x");
        let setup = setup.set("NATS_URL", "http://no.bus");
        let ended = setup.arguments(arguments).ended().await;
        if arguments[0] == "init" {
            assert_eq!(ended.code, Some(0), "it reads no settings: {ended:?}");
            continue;
        }
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains("wrong:\n  "), "{arguments:?}: {ended:?}");
        assert!(!ended.err.contains("cannot start"), "{arguments:?}: {ended:?}");
    }
}

/// A level that is none would otherwise be found only when the broker does not start.
#[tokio::test]
async fn s3_every_command_that_reads_settings_refuses_a_log_level_that_is_none() {
    for arguments in COMMANDS.into_iter().chain([&["why", "an-id"][..]]).filter(|command| command[0] != "init") {
        let ended = Setup::at("127.0.0.1:1").set("BROKER_LOG", "debg").arguments(arguments).ended().await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(r#"BROKER_LOG="debg""#), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn s3_arguments_that_cannot_be_used_have_one_exit_code() {
    for (arguments, words) in [
        (&["drian", DUD][..], "drain"),
        (&["status", "--wtach"], "--watch"),
        (&["watch", "--status", "foo"], "5xx"),
        (&["watch", "--status", "600"], "from 100 to 599"),
        (&["watch", "--router", "gpt4"], "begin and end with"),
        (&["watch", "--pool", "azure"], "begin and end with"),
        (&["drain", DUD, "--for", "0s"], "30m"),
        (&["drain", DUD, "--reason", "two\nlines"], "one line"),
        (&["disable", DUD], "\"for\""),
        (&["weight", "/azure/", DUD, "-1"], "not negative"),
        (&["drain", DUD, "--for", "-5m"], "more than 0"),
        (&["weight", "/azure/", DUD, "NaN"], "\"weight\""),
        (&["mode", "fast"], "observe"),
        (&["explain", "--payload", "/no/such/file"], "/no/such/file"),
        (&["explain", "--payload", "Cargo.toml"], "not JSON"),
        (&["explain", "--header", "X-User"], "NAME=VALUE"),
        (&["explain", "-n", "many"], "many"),
        (&["explain", "-n", "0"], "0 is not in 1.."),
        (&["check", "--gl-config", "/no/such/file"], "/no/such/file"),
        (&["init", "--gl-config", "/no/such/file"], "/no/such/file"),
        (&["config", "--format", "xml"], "xml"),
        (&["--broker-log", "debg"], "debg"),
        (&["run", "--broker-log", "warn,inof"], "inof"),
        (&["run", "--broker-log", "broker=debug"], "gecholog_broker"),
    ] {
        let ended = Setup::at("127.0.0.1:1").arguments(arguments).ended().await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(words), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn s3_a_path_that_is_no_ingress_is_not_explained() {
    for path in ["/nothing/", DUD, "azure", "/azure", "/"] {
        let ended = Setup::bare().arguments(&["explain", "--path", path]).ended().await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{path}: {ended:?}");
        assert!(ended.err.contains("Ingresses: /azure/"), "{path}: {ended:?}");
    }
    let ended = Setup::bare().arguments(&["explain", "--path", "/azure/"]).ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = Setup::bare().arguments(&["explain", "--path", "/azur/"]).ended().await;
    assert!(ended.err.contains("did you mean /azure/?"), "{ended:?}");
    let file = PoolsFile::of(r#"{"pools": [{"ingress": "/llm/", "targets": [{"name": "a", "url": "http://h/"}]}]}"#);
    for (path, code) in [("/llm/", 0), ("/llm/chat/completions", 0), ("/llmx/", 1), ("/llm", 1)] {
        let asked = Setup::bare().set("BROKER_CONFIG", file.path()).arguments(&["explain", "--path", path]);
        let ended = asked.ended().await;
        assert_eq!(ended.code, Some(code), "{path}: {ended:?}");
        assert_eq!(ended.out.contains("/llm/: only the relay serves it"), code == 0, "{path}: {ended:?}");
    }
    let ended = Setup::bare().set("BROKER_CONFIG", file.path()).arguments(&["explain"]).ended().await;
    assert!(ended.code == Some(0) && ended.out.contains("/llm/: only the relay serves it"), "the only one: {ended:?}");
    let asked = Setup::bare().set("BROKER_CONFIG", file.path()).arguments(&["explain", "--path", "/lln/"]);
    let alone = asked.clone().set("BROKER_BUS", "off").set("BROKER_RELAY", "127.0.0.1:0").ended().await;
    let beside = asked.ended().await;
    assert!(alone.err.contains("the relay answers 404 (did you mean /llm/?)"), "{alone:?}");
    assert!(beside.err.contains("the gateway serves it without the broker (did you mean /llm/?)"), "{beside:?}");
    // What is below the path of a target is below its pool, and a pool of the gateway may lie below one of the relay.
    let pools = r#"{"pools": [
        {"ingress": "/llm/", "targets": [{"name": "chat", "url": "http://h/"}]},
        {"ingress": "/llm/fast/", "targets": [{"router": "/azure/gpt4/"}]}
    ]}"#;
    let file = PoolsFile::of(pools);
    let ended = Setup::bare().set("BROKER_CONFIG", file.path()).arguments(&["explain"]).ended().await;
    assert!(
        ended.code == Some(2) && ended.err.contains("--path") && ended.err.contains("/llm/, /llm/fast/"),
        "{ended:?}"
    );
    for (path, words) in [
        ("/llm/chat/completions", "/llm/ -> /llm/chat/"),
        ("/llm/chat/", "/llm/ -> /llm/chat/"),
        ("/llm/fast/", "/llm/fast/ -> /azure/gpt4/"),
    ] {
        let asked = Setup::bare().set("BROKER_CONFIG", file.path()).arguments(&["explain", "--path", path]);
        let ended = asked.ended().await;
        assert!(ended.code == Some(0) && ended.out.contains(words), "{path}: {ended:?}");
    }
}

#[tokio::test]
async fn s3_what_changes_nothing_says_so_and_weights_of_operators_are_shown() {
    let bus = Bus::start().await;
    let _brokers = [admin(&bus).ready().await, admin(&bus).ready().await];
    let done = command(&bus, &["resume", GPT4]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("/azure/gpt4/ resumed (it was not drained) on 2 replicas"), "{done:?}");
    let done = command(&bus, &["enable", GPT4]).await;
    assert!(done.out.contains("/azure/gpt4/ enabled (it was enabled already) on 2 replicas"), "{done:?}");
    for (arguments, words) in [
        (&["drain", GPT4][..], "/azure/gpt4/ drained on 2"),
        (&["drain", GPT4], "/azure/gpt4/ drained (it was drained already) on 2"),
        (&["drain", GPT4, "--reason", "new keys"], "/azure/gpt4/ drained on 2"),
        (&["resume", GPT4], "/azure/gpt4/ resumed on 2"),
        (&["weight", "/azure/", GPT4], "/azure/gpt4/ has the weight of the file (it was that already) on 2"),
        (&["weight", "/azure/", GPT4, "0.5"], "/azure/gpt4/ has weight 0.5 on 2"),
        (&["weight", "/azure/", GPT4, "0.5"], "/azure/gpt4/ has weight 0.5 (it was 0.5 already) on 2"),
        (&["weight", "/azure/", GPT4, "0.5", "--for", "1h"], "/azure/gpt4/ has weight 0.5 on 2"),
        (&["weight", "/azure/", GPT4], "/azure/gpt4/ has the weight of the file on 2"),
        (&["mode", "balance"], "mode is balance (it was balance already) on 2"),
        (&["mode", "observe"], "mode is observe on 2"),
    ] {
        let done = command(&bus, arguments).await;
        assert!(done.out.contains(&format!("{words} replicas")), "{arguments:?}: {done:?}");
    }

    let shown = command(&bus, &["status"]).await;
    assert!(!shown.out.contains("has weight"), "{}", shown.out);
    command(&bus, &["weight", "/azure/", GPT4, "0.25", "--for", "1h", "--reason", "cold"]).await;
    let shown = command(&bus, &["status"]).await;
    let line = shown.out.lines().find(|line| line.contains("has weight")).unwrap_or_default();
    for words in ["/azure/gpt4/ has weight 0.25 instead of the file's until 2", "the command line", ": cold"] {
        assert!(line.contains(words), "{words:?} in\n{}", shown.out);
    }
    command(&bus, &["weight", "/azure/", GPT4]).await;
    let shown = command(&bus, &["status"]).await;
    assert!(!shown.out.contains("has weight"), "{}", shown.out);
}

#[tokio::test]
async fn s3_a_router_on_probation_has_no_share_and_the_others_have_all_of_it() {
    let bus = Bus::start().await;
    let broker = admin(&bus).set("DISABLED_TIME", "0.001").ready().await;
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["on probation", DUD]).await;
    let shown = command(&bus, &["status"]).await;
    for words in ["probes    /azure/dud/", "50.0 %    /azure/gpt4/", "<=5"] {
        assert!(shown.out.contains(words), "{words:?} in\n{}", shown.out);
    }
}

#[tokio::test]
async fn s3_a_reader_that_goes_away_ends_a_command_quietly() {
    let bus = Bus::start().await;
    let broker = admin(&bus).ready().await;
    let http = broker.http().await.to_string();
    let host = bus.host();
    for arguments in [
        &["schema"][..],
        &["help"],
        &["--help"],
        &["drain", "--help"],
        &["--version"],
        &["config"],
        &["completions", "bash"],
        &["explain"],
        &["init", "--gl-config", "gl_config.json"],
        &["check", "--gl-config", "gl_config.json"],
        &["health"],
        &["status"],
        &["status", "--json"],
        &["status", "--watch"],
        &["resume", DUD],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_broker"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .envs([("GECHOLOG_HOST", &*host), ("NATS_TOKEN", super::support::TOKEN), ("BROKER_HTTP", &*http)])
            .env("BROKER_ADMIN_TOKEN", ADMIN)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output();
        let ended = ended.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*said), (Some(0), ""), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_said_once_with_an_exit_code() {
    for arguments in [&["schema"][..], &["help"], &["--help"], &["drain", "--help"], &["--version"], &["config"]] {
        let ended = Command::new(env!("CARGO_BIN_EXE_broker"))
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(std::fs::File::create("/dev/full").unwrap())
            .stderr(Stdio::piped())
            .output();
        let ended = ended.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert_eq!(said.matches("No space left").count(), 1, "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_broker_whose_log_has_no_reader_keeps_serving_quietly() {
    let bus = Bus::start().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut broker = Command::new(env!("CARGO_BIN_EXE_broker"))
        .env_clear()
        .envs([("GECHOLOG_HOST", &*bus.host()), ("NATS_TOKEN", super::support::TOKEN), ("BROKER_HTTP", "off")])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    super::support::soon("a decision", async {
        while bus.client.request("coburn.gl.broker", super::support::REQUEST.into()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(Command::new("kill").arg(broker.id().to_string()).status().unwrap().success());
    let mut said = String::new();
    broker.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((broker.wait().unwrap().code(), &*said), (Some(0), ""));
}

#[tokio::test]
async fn s3_config_prints_what_is_in_force_and_no_secret() {
    let setup =
        Setup::bare().set("NATS_URL", "nats://me:pa55w0rd@one:4222,tls://s3cr3t-token@two:4222").secret("pa55w0rd");
    let setup =
        setup.set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN).secret("s3cr3t-token").set("BROKER_MODE", "observe");
    let ended = setup.clone().arguments(&["config", "--disabled-time", "0.5"]).ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    for line in [
        "NATS_URL=nats://***@one:4222,tls://***@two:4222  (environment)",
        "BROKER_ADMIN_TOKEN=***  (environment)",
        "NATS_TOKEN=  (not set)",
        "GECHOLOG_HOST=  (not used: NATS_URL is set)",
        "BROKER_MODE=observe  (environment)",
        "DISABLED_TIME=0.5  (--disabled-time)",
        "BROKER_HTTP=127.0.0.1:5381  (default)",
        "BROKER_GATEWAY=http://localhost:5380  (default)",
        "/azure/  loadbalance",
    ] {
        assert!(ended.out.lines().any(|one| one == line), "{line} in\n{}", ended.out);
    }
    let ended = setup.arguments(&["config", "--format", "json"]).ended().await;
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(document["in_force"]["mode"], "observe");
    assert_eq!(document["in_force"]["pools"][0]["ingress"], "/azure/");
    assert_eq!(document["settings"][0], json!({"name": "NATS_TOKEN", "value": null, "from": "default"}));
}

#[tokio::test]
async fn the_last_one_that_is_drained_is_said() {
    let bus = Bus::start().await;
    let _broker = admin(&bus).set("BROKER_ROUTERS", DUD).ready().await;
    let done = command(&bus, &["drain", DUD]).await;
    assert!(done.out.contains("all other targets of /azure/ are down or drained"), "{done:?}");
}

#[tokio::test]
async fn watch_shows_the_calls_of_one_session() {
    let bus = Bus::start().await;
    let watching = admin(&bus).unset("BROKER_HTTP").arguments(&["watch", "--session", "mine"]).spawn();
    let session = |id: &str, router: &str| {
        let mut log = Log::of(router, 200);
        log.0["session_id"] = json!(id);
        log.0["request"]["broker"] = json!({"router": router, "why": "random, 3 of 3 serve"});
        log
    };
    watching.until(&["watching coburn.gl.logger"]).await;
    bus.log(session("yours", GPT4)).await;
    bus.log(session("mine", DUD)).await;
    let line = watching.until(&["random, 3 of 3 serve"]).await;
    assert!(line.contains("  200  5 ms  "), "{line}");
    assert_eq!(watching.count(&["/azure/gpt4/"]), 0, "another session's");
}

/// `broker status --watch` on a pseudo-terminal: the process, its keyboard and its screen.
fn status_on_a_terminal(bus: &Bus, out: Option<Stdio>) -> (Child, File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_broker"))
        .args(["status", "--watch"])
        .env_clear()
        .envs([("GECHOLOG_HOST", bus.host().as_str()), ("NATS_TOKEN", super::support::TOKEN)])
        .stdin(terminal.try_clone().unwrap())
        .stdout(out.unwrap_or_else(|| terminal.try_clone().unwrap().into()))
        .stderr(terminal.try_clone().unwrap())
        .spawn()
        .unwrap();
    (status, File::from(person), terminal)
}

/// Reads what is written until these words are there.
async fn read_until(mut from: File, words: &'static str) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        let (mut text, mut part) = (String::new(), [0; 4096]);
        while !text.contains(words) {
            let length = from.read(&mut part).unwrap();
            text += &String::from_utf8_lossy(&part[..length]);
        }
        text
    });
    super::support::soon(words, reading).await.unwrap()
}

async fn code(mut status: Child) -> Option<i32> {
    let ended = tokio::task::spawn_blocking(move || status.wait().unwrap().code());
    super::support::soon("the end of status", ended).await.unwrap()
}

#[tokio::test]
async fn a_status_is_drawn_in_place_and_its_terminal_is_as_it_was() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let (status, person, terminal) = status_on_a_terminal(&bus, None);
    let shown = read_until(person.try_clone().unwrap(), "LAST FAILURE").await;
    assert!(shown.contains("1 replica answering") && shown.contains("\x1b[2J"), "{shown:?}");
    drop(broker);
    read_until(person.try_clone().unwrap(), "no broker answers").await;
    assert_eq!(code(status).await, Some(1));
    assert!(tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}

#[tokio::test]
async fn a_status_that_is_no_picture_is_plain_lines_and_leaves_the_terminal_alone() {
    let bus = Bus::start().await;
    let _broker = Setup::on(&bus).ready().await;
    let (mut status, _person, terminal) = status_on_a_terminal(&bus, Some(Stdio::piped()));
    let out = std::os::fd::OwnedFd::from(status.stdout.take().unwrap());
    let shown = read_until(File::from(out), "LAST FAILURE").await;
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert!(tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
    status.kill().unwrap();
    status.wait().unwrap();
}

#[tokio::test]
async fn completions_for_a_shell() {
    let done = Setup::bare().arguments(&["completions", "bash"]).ended().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("drain") && done.out.contains("--reason"), "{}", done.out);
}
