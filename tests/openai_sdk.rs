//! The real OpenAI Python SDK: its default retries land on another router, and its user sees no failure.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::support::gateway::two_rows;
use super::support::{Bus, DUD, Gateway, Llms, Setup, tool};

/// The Python that has the SDK; `make test` sets it.
fn python() -> Option<PathBuf> {
    std::env::var_os("OPENAI_PYTHON").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A Python process that makes one call per line of input.
struct Sdk {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Sdk {
    fn start(python: PathBuf, kind: &str, gateway: SocketAddr) -> Self {
        let mut child = Command::new(python)
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openai_sdk.py"), kind, &format!("http://{gateway}")])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut sdk = Self { child, asks, answers };
        let first = sdk.line();
        assert!(first.starts_with("ready"), "{first}");
        sdk
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::task::block_in_place(|| self.answers.read_line(&mut line)).unwrap();
        line
    }

    fn call(&mut self) -> String {
        self.asks.write_all(b"\n").unwrap();
        self.line()
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn the_user_sees_no_failure(kind: &str) {
    let Some(python) = python() else {
        return tool::missing("OpenAI SDK", "OPENAI_PYTHON names no Python that has it; `make test` sets it");
    };
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    // 1.2 seconds: longer than the SDK waits before it tries again, short enough to meet the dud several times.
    let broker = Setup::on(&bus).set("DISABLED_TIME", "0.02").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let mut sdk = Sdk::start(python, kind, gateway.addr());
    let mut calls = 0;
    for round in 1..=4 {
        let enough = calls + 10;
        while calls < enough || broker.count(&["router disabled", DUD]) < round {
            let said = sdk.call();
            assert!(said.starts_with("answered Hello from gpt"), "call {calls}: {said}");
            calls += 1;
            assert!(calls < 400, "the dud is never met");
        }
        broker.until_nth(&["router on probation", DUD], round).await;
    }
    let failed = broker.count(&["router disabled", DUD]);
    println!("{kind}: {calls} calls, the dud met {failed} times, no failure seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_meets_the_dud_and_its_user_sees_no_failure() {
    the_user_sees_no_failure("OpenAI").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_openai_meets_the_dud_and_its_user_sees_no_failure() {
    the_user_sees_no_failure("AzureOpenAI").await;
}
