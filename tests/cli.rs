//! The command line against running brokers: what it shows, what it changes, and its exit codes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};

use super::support::{Bus, DUD, Ended, GPT4, Log, Setup};

const ADMIN: &str = "the-operators-own-token";

fn admin(bus: &Bus) -> Setup {
    Setup::on(bus).set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN)
}

async fn command(bus: &Bus, arguments: &[&str]) -> Ended {
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
    assert!(done.out.contains("no call is under way"), "{}", done.out);
    for broker in &brokers {
        broker.until(&["command of an operator", "the command line over the bus", "new keys"]).await;
    }
    let shown = command(&bus, &["status"]).await;
    assert!(shown.out.contains("yes until ") && shown.out.contains("new keys"), "{}", shown.out);
    let done = command(&bus, &["resume", &used]).await;
    assert!(done.out.contains("resumed on 2 replicas"), "{done:?}");
    let done = command(&bus, &["weight", "/azure/", DUD, "0"]).await;
    assert!(done.out.contains("weighs 0 on 2 replicas"), "{done:?}");
    let done = command(&bus, &["mode", "observe"]).await;
    assert!(done.out.contains("mode is observe on 2 replicas"), "{done:?}");
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
    assert!(refused.err.contains("only lets itself be read"), "{refused:?}");
    drop(closed);

    let _broker = admin(&bus).ready().await;
    let unset = Setup::on(&bus).arguments(&["drain", DUD]).ended().await;
    assert_eq!(unset.code, Some(1), "{unset:?}");
    assert!(unset.err.contains("BROKER_ADMIN_TOKEN"), "{unset:?}");
    for (arguments, code, words) in [
        (&["drain", "/nobodys/"][..], 1, "/nobodys/ is in no pool"),
        (&["drain", "dud"], 2, "begin and end with"),
        (&["drain", DUD, "--for", "soon"], 1, "soon"),
        (&["disable", DUD], 1, "\"for\""),
        (&["mode", "fast"], 2, "observe"),
    ] {
        let ended = command(&bus, arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(words), "{arguments:?}: {ended:?}");
    }
    let away = Setup::at("127.0.0.1:1").unset("BROKER_HTTP").arguments(&["status"]).ended().await;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.err.contains("127.0.0.1:1"), "{away:?}");
}

#[tokio::test]
async fn the_last_one_that_is_drained_is_said() {
    let bus = Bus::start().await;
    let _broker = admin(&bus).set("BROKER_ROUTERS", DUD).ready().await;
    let done = command(&bus, &["drain", DUD]).await;
    assert!(done.out.contains("nothing else in /azure/ may serve"), "{done:?}");
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
async fn q_and_signals_leave_a_status_and_its_terminal_is_as_it_was() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    for leave in ["q", "-INT", "-TERM", "-HUP"] {
        let (status, mut person, terminal) = status_on_a_terminal(&bus, None);
        let modes = || tcgetattr(&terminal).unwrap().local_modes;
        let shown = read_until(person.try_clone().unwrap(), "q leaves").await;
        assert!(shown.contains("1 replica answering") && shown.contains("\x1b[2J"), "{shown:?}");
        assert!(!modes().intersects(LocalModes::ICANON | LocalModes::ECHO), "keys come one by one");
        if leave == "q" {
            person.write_all(b"xq").unwrap();
        } else {
            assert!(Command::new("kill").args([leave, &status.id().to_string()]).status().unwrap().success());
        }
        assert_eq!(code(status).await, Some(0), "{leave}");
        assert!(modes().contains(LocalModes::ICANON | LocalModes::ECHO), "{leave}");
    }
    // An error is a way out too.
    let (status, person, terminal) = status_on_a_terminal(&bus, None);
    read_until(person.try_clone().unwrap(), "q leaves").await;
    drop(broker);
    read_until(person, "no broker answers").await;
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
    assert!(!shown.contains('\x1b') && !shown.contains("q leaves"), "{shown:?}");
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
