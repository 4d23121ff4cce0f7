//! The broker as a child process, and its `watch` as another: the same binary that is shipped, known only by what it prints.
//!
//! Each is in a process group of its own, so that Ctrl-C reaches the demo alone and the end has an order.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout, timeout_at};

use crate::watch::Event;

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How many of its last lines an error shows when it has ended.
const LINES_KEPT: usize = 6;

/// The last lines of a child.
type Last = Arc<Mutex<VecDeque<String>>>;
/// A child, its lines as they come, and the last of them.
type Spawned = (Child, UnboundedReceiver<String>, Last);

/// A running broker; it is killed on drop.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    lines: UnboundedReceiver<String>,
    last: Last,
    /// Where its probes are, if it serves them.
    pub(crate) http: Option<String>,
    /// Where its relay is, if it has one.
    pub(crate) relay: Option<String>,
    /// What it printed before it was ready.
    pub(crate) remarks: Vec<Event>,
}

/// The binary: beside the folder of this very program, where cargo puts both.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let demo = std::env::current_exe().context("cannot find out where this program is")?;
    let folder = demo.parent().and_then(Path::parent).context("this program is in no folder")?;
    let binary = folder.join("broker");
    if !binary.is_file() {
        let release = if folder.ends_with("release") { " --release" } else { "" };
        bail!("the broker is not built: {} is missing; run cargo build{release} --bin broker", binary.display());
    }
    Ok(binary)
}

impl Broker {
    /// Starts it with exactly these variables, and waits until it is ready, and its relay too if there is one.
    pub(crate) async fn start(binary: &Path, variables: &[(OsString, OsString)], relay: bool) -> anyhow::Result<Self> {
        let (child, lines, last) = spawn(binary, &[], variables)?;
        let mut broker = Self { child, lines, last, http: None, relay: None, remarks: Vec::new() };
        broker.ready(if relay { 3 } else { 2 }).await?;
        Ok(broker)
    }

    /// The same without a bus: until its relay listens.
    pub(crate) async fn start_alone(binary: &Path, variables: &[(OsString, OsString)]) -> anyhow::Result<Self> {
        let (child, lines, last) = spawn(binary, &[], variables)?;
        let mut broker = Self { child, lines, last, http: None, relay: None, remarks: Vec::new() };
        broker.ready(1).await?;
        Ok(broker)
    }

    /// Until both of its connections are of use, and whatever else is missing.
    async fn ready(&mut self, mut missing: u32) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while missing > 0 {
            let Ok(line) = timeout_at(deadline, self.line()).await else {
                bail!("the broker was not ready within {} s. {}", START_TIMEOUT.as_secs(), self.last_lines());
            };
            let line = line?;
            match line["message"].as_str() {
                Some("connected to the bus and subscribed") => missing -= 1,
                Some("relay listens") => {
                    missing -= 1;
                    self.relay = line["address"].as_str().map(str::to_owned);
                }
                Some("HTTP listens") => self.http = line["address"].as_str().map(str::to_owned),
                _ => self.remarks.extend(Event::of_line(&line)),
            }
        }
        Ok(())
    }

    /// Its next line; it is an error if it has ended.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Value> {
        loop {
            let Some(line) = self.lines.recv().await else { break };
            if let Ok(line) = serde_json::from_str(&line) {
                return Ok(line);
            }
        }
        let how = match timeout(START_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => "its output is closed".to_owned(),
        };
        bail!("the broker has ended by itself ({how}). {}", self.last_lines());
    }

    fn last_lines(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: String = last.iter().map(|line| format!("\n  {}", plain(line))).collect();
        if lines.is_empty() { "It printed nothing.".to_owned() } else { format!("Its last lines:{lines}") }
    }

    /// Ends it.
    pub(crate) async fn kill(&mut self) {
        // If it has ended already, there is nothing left to do.
        drop(self.child.kill().await);
    }
}

/// `broker watch --grouped`, the same binary: what it prints is what anybody would see.
#[derive(Debug)]
pub(crate) struct Watch {
    child: Child,
    lines: UnboundedReceiver<String>,
    last: Last,
}

impl Watch {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start(binary: &Path, variables: &[(OsString, OsString)]) -> anyhow::Result<Self> {
        let (child, lines, last) = spawn(binary, &["watch", "--grouped"], variables)?;
        let mut watch = Self { child, lines, last };
        while let Ok(Some(line)) = timeout(START_TIMEOUT, watch.lines.recv()).await {
            if line.starts_with("watching ") {
                return Ok(watch);
            }
        }
        let lines: Vec<_> = watch.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        bail!("broker watch does not listen. {}", lines.join("\n"));
    }

    /// The lines about the attempts of this session, once they are there; none if they do not come within this time.
    pub(crate) async fn group(&mut self, session: &str, within: Duration) -> Option<String> {
        let by = Instant::now() + within;
        let mut group: Vec<String> = Vec::new();
        while let Ok(Some(line)) = timeout_at(by, self.lines.recv()).await {
            let below = line.starts_with("  ");
            if group.is_empty() {
                if line.contains(session) && !below {
                    group.push(line);
                }
            } else if below {
                group.push(line);
            } else {
                break;
            }
        }
        (group.len() > 1).then(|| group.join("\n"))
    }

    /// Ends it.
    pub(crate) async fn kill(&mut self) {
        drop(self.child.kill().await);
    }
}

/// Starts the binary; it, its lines as they come, and the last of them.
fn spawn(binary: &Path, arguments: &[&str], variables: &[(OsString, OsString)]) -> anyhow::Result<Spawned> {
    let spawned = Command::new(binary)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.with_context(|| format!("cannot start {}", binary.display()))?;
    let (sender, lines) = unbounded_channel();
    let last = Last::default();
    if let Some(out) = child.stdout.take() {
        tokio::spawn(read(out, Arc::clone(&last), sender.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(read(err, Arc::clone(&last), sender));
    }
    Ok((child, lines, last))
}

async fn read(pipe: impl AsyncRead + Unpin, last: Last, lines: UnboundedSender<String>) {
    let mut pipe = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = pipe.next_line().await {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push_back(line.clone());
        if last.len() > LINES_KEPT {
            last.pop_front();
        }
        drop(last);
        // The receiver is gone: read on, or the broker would stop at a full pipe.
        drop(lines.send(line));
    }
}

/// A JSON line in the order in which people read.
fn plain(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return line.to_owned() };
    let mut words: Vec<_> =
        ["timestamp", "level", "message"].into_iter().filter_map(|name| fields.remove(name)).collect();
    words.extend(fields.into_iter().map(|(name, value)| Value::String(format!("{name}={value}"))));
    let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
    words.join(" ")
}
