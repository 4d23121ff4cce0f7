//! `make demo`: it judges itself rightly, says clearly what is in its way, and leaves no process behind.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use std::io::{BufRead, BufReader, Lines, Read};

use super::support::PoolsFile;

/// On any free ports.
const FREE: [&str; 4] = ["--port", "0", "--nats-port", "0"];

/// The demo, as `make test` builds it beside this very program.
fn demo(arguments: &[&str]) -> Command {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples/demo");
    assert!(program.is_file(), "{} is not built: `cargo build --example demo`, or `make test`", program.display());
    let mut command = Command::new(program);
    command.args(arguments);
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| name != "PATH" && name != "NATS_SERVER") {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// The children of a process; none where `ps` cannot list them.
fn children(of: u32) -> Vec<String> {
    let listed = Command::new("ps").args(["-o", "pid=,args=", "--ppid", &of.to_string()]).output();
    let Ok(listed) = listed else { return Vec::new() };
    String::from_utf8_lossy(&listed.stdout).lines().map(|line| line.trim().to_owned()).collect()
}

fn is_alive(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn it_makes_its_calls_and_finds_the_behaviour_right() {
    let mut demo = demo(&FREE);
    let output = demo.args(["--requests", "60", "--rate", "20", "--disabled-time", "0.02"]).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in ["/azure/dud/ disabled", "/azure/dud/ is on probation", "/azure/gpt4/", "/azure/gpt35turbo/", "502"] {
        assert!(said.contains(words), "{words} in:\n{said}");
    }
}

#[test]
fn every_example_of_a_pools_file_is_shown_and_found_right() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pools");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let name = file.display().to_string();
        let mut demo = demo(&FREE);
        let output = demo.args(["--config", &name, "--requests", "60", "--rate", "50"]).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        assert!(said.contains("60 calls"), "{name}: {said}");
        // What each is for is to be seen.
        let calls = |router: &str, number: usize| format!("{router:<20} {number:>6} calls");
        let words = match name.rsplit('/').next().unwrap() {
            "05-first-active-only.json" => vec![calls("/azure/sweden/", 60)],
            "09-endpoint-list.json" => vec![calls("/azure/one/", 30), calls("/openai/one/", 30)],
            "10-conditional.json" => {
                ["outbound_payload, outbound_headers", "/sessions/", "condition 3 on params.model"]
                    .map(str::to_owned)
                    .to_vec()
            }
            "11-fastest.json" => {
                ["the faster of two, 3 of 3 serve", "the less busy of two"].map(str::to_owned).to_vec()
            }
            "12-budget.json" => vec![
                calls("/azure/reserved/", 20),
                calls("/azure/payasyougo/", 10),
                "instead of /azure/reserved/, no room: rpm".to_owned(),
            ],
            _ => Vec::new(),
        };
        assert!(words.iter().all(|words| said.contains(words)), "{name}, {words:?}: {said}");
    }
}

/// Runs an example of a faults file; what it said, if it found the behaviour right.
fn faults(file: &str, arguments: &[&str]) -> String {
    let file = format!("{}/examples/faults/{file}", env!("CARGO_MANIFEST_DIR"));
    let output = demo(&FREE).args(["--faults", &file]).args(arguments).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

#[track_caller]
fn has_all(said: &str, words: &[&str]) {
    let missing: Vec<_> = words.iter().filter(|words| !said.contains(**words)).collect();
    assert!(missing.is_empty(), "{missing:?} in:\n{said}");
}

#[test]
fn a_scripted_outage_is_found_out_and_survived() {
    let said = faults("01-outage.json", &["--disabled-time", "0.02"]);
    let outage = "/azure/gpt4/ (and /azure/, the same fake LLM)";
    let (down, works) = (format!("-- from 2 s: {outage} is down"), format!("-- from 6 s: {outage} works again"));
    has_all(&said, &[&down, &works, "/azure/gpt4/ is on probation", "/azure/gpt4/ enabled again", "the outage's end"]);
}

#[test]
fn a_scripted_rate_limit_is_respected_and_not_ten_minutes() {
    let said = faults("02-rate-limit.json", &["--disabled-time", "10"]);
    has_all(&said, &["429", "/azure/gpt35turbo/ enabled again", "Retry-After said", "DISABLED_TIME is 600 s"]);
    assert!(!said.contains("/azure/gpt35turbo/ disabled for 10 min"), "{said}");
    assert!(!said.contains("/azure/gpt35turbo/ is on probation"), "rate-limited is not failing: {said}");
}

#[test]
fn a_slow_router_stays_and_a_flaky_one_comes_and_goes() {
    let said = faults("03-slow-and-flaky.json", &["--disabled-time", "0.02"]);
    has_all(&said, &["answers 150 ms later", "/azure/gpt35turbo/ disabled for", "/azure/gpt35turbo/ enabled again"]);
    assert!(!said.contains("/azure/gpt4/ disabled for"), "{said}");
}

#[test]
fn a_script_goes_with_a_pools_file_and_its_faults_are_reported_at_once() {
    let pools = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pools/05-first-active-only.json");
    let run = |text: &str| {
        let file = PoolsFile::of(text);
        let path = file.path();
        let arguments = ["--config", pools, "--disabled-time", "0.02", "--faults", path.to_str().unwrap()];
        demo(&FREE).args(arguments).output().unwrap()
    };
    let good = r#"{"routers": {"/azure/sweden/": [{"fault": "outage", "from": 0.5, "to": 1.5}]}}"#;
    let output = run(good);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    has_all(&said(&output), &["/azure/sweden/ is down", "/azure/sweden/ enabled again", "/azure/france/"]);
    let bad = r#"{"sed": 1, "routers": {"/azure/gpt4/": [{"fault": "outage", "to": -1}]}}"#;
    let output = run(bad);
    assert_eq!(output.status.code(), Some(1));
    let words = [
        "broker.json:1:2 sed",
        "did you mean \"seed\"?",
        "broker.json:1:24",
        "there are /azure/sweden/",
        ":1:61",
        "-1",
    ];
    has_all(&said(&output), &words);
    assert!(!said(&output).contains("Everything runs"), "{}", said(&output));
}

#[test]
fn the_relay_is_shown_and_no_client_notices_what_fails() {
    let mut demo = demo(&[&FREE[..], &["--relay-port", "0"]].concat());
    let output =
        demo.args(["--relay", "--requests", "45", "--rate", "20", "--disabled-time", "0.02"]).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    has_all(
        &said,
        &[
            "/llm/east/ fails every call",
            "2 attempts: /llm/east/ 503, then this one",
            "/llm/west/ breaks now",
            "3 attempts: /llm/east/ 503, /llm/west/ 502, then this one",
            "router /llm/west/ disabled",
            "router /llm/west/ enabled again",
            "relay, stream",
            "the gateway",
            "45 calls in total",
            " ms in all  3 attempts\n    1  /llm/east/   503  ",
            "Right. Targets failed, and no client noticed",
            "/llm/chat/completions -H",
        ],
    );
}

#[test]
fn each_file_with_providers_is_shown_by_fake_vendors() {
    for (file, routers) in [
        ("cookbook-loadbalance-fallback.json", &["/llm/openai/", "/llm/anthropic/", "/llm/azure/"][..]),
        ("cookbook-canary.json", &["/llm/stable/"]),
        (
            "06-every-provider.json",
            &["/llm/openai/", "/llm/bedrock/", "/llm/vertex/", "/llm/anthropic/", "/llm/ollama/"],
        ),
    ] {
        let path = format!("{}/examples/relay/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut demo = demo(&["--relay", "--relay-port", "0", "--config", &path, "--rate", "200"]);
        let output = demo.output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{file}: {said}");
        for words in routers.iter().chain(&["tools, stream", "Right."]) {
            assert!(said.contains(words), "{file}, {words}: {said}");
        }
    }
}

#[test]
fn the_relay_is_there_for_a_person_afterwards() {
    let mut demo = demo(&[&FREE[..], &["--relay-port", "0", "--relay", "--stay"]].concat());
    demo.args(["--requests", "30", "--rate", "50", "--disabled-time", "0.02"]);
    let mut demo = KillOnDrop(demo.process_group(0).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let curl = lines.by_ref().find(|line| line.contains("curl -i http://localhost:")).unwrap();
    assert!(lines.by_ref().any(|line| line.contains("Ctrl-C ends everything")));
    let url = curl.split(' ').find(|word| word.starts_with("http://")).unwrap();
    let agent = ureq::Agent::new_with_defaults();
    let mut answer = agent.post(url).send(r#"{"messages":[],"stream":true}"#).unwrap();
    assert!(answer.body_mut().read_to_string().unwrap().ends_with("data: [DONE]\n\n"));
    assert!(lines.by_ref().any(|line| line.contains("/llm/west/") && line.contains(" 200 ")));
    let interrupted = Command::new("kill").args(["-INT", &demo.0.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(lines.any(|line| line.contains("Stopped")));
    assert_eq!(demo.0.wait().unwrap().code(), Some(0));
}

#[test]
fn it_finds_a_behaviour_that_is_not_right() {
    // Nothing fails here, so what is expected to fail does not.
    let arguments = ["--requests", "30", "--rate", "100", "--failing", "/azure/gpt4/"];
    let mut healthy = demo(&FREE);
    let output = healthy.args(arguments).env("BROKER_ROUTERS", "/azure/gpt4/,/azure/gpt35turbo/").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    // The calls end before the outage does.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/faults/01-outage.json");
    let mut short = demo(&FREE);
    let output = short.args(["--faults", script, "--requests", "60", "--rate", "50"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    has_all(&said(&output), &["WRONG", "too soon for", "/azure/gpt4/ is down (from 2 s to 6 s)"]);
}

#[test]
fn a_port_in_use_and_a_missing_file_are_said() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, words) in [
        (vec!["--port", &port, "--nats-port", "0"], [port.as_str(), "in use"]),
        (vec!["--nats-port", &port, "--port", "0"], [port.as_str(), "in use"]),
        ([&FREE[..], &["--relay", "--relay-port", &port]].concat(), [port.as_str(), "in use"]),
        ([&FREE[..], &["--gl-config", "/no/such/file"]].concat(), ["/no/such/file", "No such file"]),
        ([&FREE[..], &["--config", "/no/such/pools"]].concat(), ["/no/such/pools", "No such file"]),
    ] {
        let mut demo = demo(&arguments);
        let output = demo.output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
    }
}

/// A demo that waits for calls, and what it prints from then on.
fn waiting() -> (KillOnDrop, Lines<BufReader<ChildStdout>>) {
    let mut demo = KillOnDrop(demo(&FREE).process_group(0).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let ready = lines.by_ref().map(Result::unwrap).find(|line| line.contains("client called"));
    assert!(ready.is_some(), "it ends before it is ready");
    (demo, lines)
}

#[test]
fn a_demo_without_its_bus_ends_and_says_so() {
    let (mut demo, _lines) = waiting();
    let children = children(demo.0.id());
    let Some(bus) = children.iter().find(|child| child.contains("nats-server")) else {
        println!("no bus was killed: there is no `ps` that lists children");
        return;
    };
    assert!(Command::new("kill").args(["-KILL", bus.split(' ').next().unwrap()]).status().unwrap().success());
    let mut said = String::new();
    demo.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(demo.0.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("nats-server is gone"), "{said}");
}

#[test]
fn interrupted_it_takes_everything_down() {
    let (mut demo, lines) = waiting();
    let children = children(demo.0.id());
    if children.is_empty() {
        println!("not looked for processes left behind: there is no `ps` that lists children");
    } else {
        assert!(children.iter().any(|child| child.contains("nats-server")), "{children:?}");
        assert!(children.iter().any(|child| child.ends_with("broker")), "{children:?}");
    }
    let interrupted = Command::new("kill").args(["-INT", &demo.0.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(demo.0.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("Stopped")), "{rest:?}");
    for child in children {
        assert!(!is_alive(child.split(' ').next().unwrap()), "left behind: {child}");
    }
}

/// Ends on drop, whatever a test does.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
