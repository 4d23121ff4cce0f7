//! A nats-server for one test, on a free port, with a token; ended on drop.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::within_limit;

pub(crate) const TOKEN: &str = "bus-secret";

pub(crate) struct NatsServer {
    child: Child,
    pub(crate) port: u16,
    /// Kept because the server reads it at start and again on a signal.
    _config: NamedTempFile,
}

impl NatsServer {
    pub(crate) async fn start() -> NatsServer {
        NatsServer::start_with("port: -1").await
    }

    /// With settings in the server's own language, such as `port: -1, max_payload: 4096`.
    pub(crate) async fn start_with(settings: &str) -> NatsServer {
        let config = NamedTempFile::new().unwrap();
        let text = format!("{}\nauthorization {{ token: \"{TOKEN}\" }}\n", settings.replace(", ", "\n"));
        std::fs::write(config.path(), text).unwrap();
        let mut child = Command::new(program())
            .args(["--addr", "127.0.0.1", "--config"])
            .arg(config.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("nats-server: set NATS_SERVER or run script/nats-server");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = within_limit("nats-server", ready(&mut log)).await;
        // Read on, or the server would block once the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        NatsServer { child, port, _config: config }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) async fn connect(&self) -> async_nats::Client {
        let options = async_nats::ConnectOptions::with_token(TOKEN.to_owned());
        within_limit("a connection", options.connect(format!("nats://{}", self.host()))).await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn ready(log: &mut Lines<BufReader<ChildStderr>>) -> u16 {
    let mut port = 0;
    while let Some(line) = log.next_line().await.unwrap() {
        if let Some((_, behind)) = line.split_once("Listening for client connections on 127.0.0.1:") {
            port = behind.trim().parse().unwrap();
        }
        if line.contains("Server is ready") {
            return port;
        }
    }
    panic!("nats-server ended before it was ready");
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("NATS_SERVER") {
        return program.into();
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file())
    });
    on_path.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/nats-server").into())
}
