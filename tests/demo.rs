//! `make demo`: it judges itself rightly, says clearly what is in its way, and leaves no process behind.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use std::io::{BufRead, BufReader};

/// On any free ports.
const FREE: [&str; 4] = ["--port", "0", "--nats-port", "0"];

/// The demo, as cargo builds it beside this very program.
fn demo(arguments: &[&str]) -> Option<Command> {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples/demo");
    if !program.is_file() {
        println!(
            "skipped: {} is not built; `cargo test` builds it, `cargo test --test tests` does not",
            program.display()
        );
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| name != "PATH" && name != "NATS_SERVER") {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// The children of a process; none where `ps` cannot tell.
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
    let Some(mut demo) = demo(&FREE) else { return };
    let output = demo.args(["--requests", "60", "--rate", "20", "--disabled-time", "0.02"]).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in ["/azure/dud/ disabled", "/azure/dud/ may prove itself", "/azure/gpt4/", "/azure/gpt35turbo/", "502"] {
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
        let Some(mut demo) = demo(&FREE) else { return };
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
            _ => Vec::new(),
        };
        assert!(words.iter().all(|words| said.contains(words)), "{name}, {words:?}: {said}");
    }
}

#[test]
fn it_finds_a_behaviour_that_is_not_right() {
    // Nothing fails here, so what is expected to fail does not.
    let arguments = ["--requests", "30", "--rate", "100", "--failing", "/azure/gpt4/"];
    let Some(mut demo) = demo(&FREE) else { return };
    let output = demo.args(arguments).env("BROKER_ROUTERS", "/azure/gpt4/,/azure/gpt35turbo/").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

#[test]
fn a_port_in_use_and_a_missing_file_are_said() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, words) in [
        (vec!["--port", &port, "--nats-port", "0"], [port.as_str(), "in use"]),
        (vec!["--nats-port", &port, "--port", "0"], [port.as_str(), "in use"]),
        ([&FREE[..], &["--gl-config", "/no/such/file"]].concat(), ["/no/such/file", "No such file"]),
        ([&FREE[..], &["--config", "/no/such/pools"]].concat(), ["/no/such/pools", "No such file"]),
    ] {
        let Some(mut demo) = demo(&arguments) else { return };
        let output = demo.output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
    }
}

#[test]
fn interrupted_it_takes_everything_down() {
    let Some(mut demo) = demo(&FREE) else { return };
    let mut demo = Ended(demo.process_group(0).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let ready = lines.by_ref().map(Result::unwrap).find(|line| line.contains("client called"));
    assert!(ready.is_some(), "it ends before it is ready");
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
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
