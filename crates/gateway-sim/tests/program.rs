//! The program: flags, exit codes, signals.

use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::harness::captured_config;
use crate::support::http::Call;
use crate::support::nats::NatsServer;
use crate::support::within_limit;

fn gateway_sim(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway-sim"));
    command.args(args).kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The first line on standard error that contains `text`.
async fn line(child: &mut Child, text: &str) -> String {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    within_limit(text, async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.contains(text) {
                return line;
            }
        }
    })
    .await
}

async fn terminated(mut child: Child) -> ExitStatus {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    within_limit("the end", child.wait()).await.unwrap()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn it_serves_a_file_with_the_environment_until_a_signal() {
    let nats = NatsServer::start().await;
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut tree = captured_config("http://127.0.0.1:9/", &nats.host());
    tree["gl_port"] = port.into();
    let text = tree.to_string().replace("bus-secret", "${THE_TOKEN}");
    let file = file(&text);
    let path = file.path().to_str().unwrap();
    let mut child = gateway_sim(&["-o", path, "-a", "gl"]).env("THE_TOKEN", "bus-secret").spawn().unwrap();
    line(&mut child, "listening").await;
    let answer = Call::post("/echo/").send(([127, 0, 0, 1], port).into()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(terminated(child).await.success());
}

#[tokio::test]
async fn every_fault_of_a_file_is_reported_and_the_exit_code_is_a_failure() {
    let file = file(r#"{"gl_port": 0}"#);
    let output = gateway_sim(&["-o", file.path().to_str().unwrap()]).output().await.unwrap();
    assert!(!output.status.success());
    let output = String::from_utf8(output.stderr).unwrap();
    for place in ["gateway_id", "gl_port", "service_bus.token", "routers"] {
        assert!(output.contains(place), "{place} in {output}");
    }
    for args in [&["-o", "/no/such/file"][..], &["-a", "gl"], &[]] {
        assert!(!gateway_sim(args).output().await.unwrap().status.success(), "{args:?}");
    }
}

#[tokio::test]
async fn it_serves_a_fake_llm() {
    let mut child = gateway_sim(&["llm", "--addr", "127.0.0.1:0"]).spawn().unwrap();
    let line = line(&mut child, "listening").await;
    let addr = line.rsplit_once("127.0.0.1:").unwrap().1;
    let port: String = addr.chars().take_while(char::is_ascii_digit).collect();
    let answer = Call::post("/openai/deployments/gpt4/chat/completions");
    let answer = answer.send(([127, 0, 0, 1], port.parse().unwrap()).into()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(terminated(child).await.success());
}
