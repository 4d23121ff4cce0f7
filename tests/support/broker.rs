//! The real broker as a child process: what it prints can be awaited, and it ends on drop.
//!
//! Its environment is only what a test sets. On drop all it ever printed is searched for the secrets it was given.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::http::{self, Answer};
use super::{Bus, TEST_TIMEOUT, TOKEN};

/// A broker that does not run yet.
#[derive(Clone)]
pub(crate) struct Setup {
    environment: Vec<(OsString, OsString)>,
    arguments: Vec<String>,
    secrets: Vec<String>,
    ignored_signal: Option<&'static str>,
}

impl Setup {
    /// Nothing set at all.
    pub(crate) fn bare() -> Self {
        Self { environment: Vec::new(), arguments: Vec::new(), secrets: vec![TOKEN.to_owned()], ignored_signal: None }
    }

    /// All that is needed on this bus; HTTP on any free port.
    pub(crate) fn on(bus: &Bus) -> Self {
        Self::at(&bus.host())
    }

    pub(crate) fn at(host: &str) -> Self {
        Self::bare().set("GECHOLOG_HOST", host).set("NATS_TOKEN", TOKEN).set("BROKER_HTTP", "127.0.0.1:0")
    }

    pub(crate) fn set(self, name: &str, value: impl Into<OsString>) -> Self {
        let mut setup = self.unset(name);
        setup.environment.push((name.into(), value.into()));
        setup
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.environment.retain(|(one, _)| one != name);
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&one| one.to_owned()));
        self
    }

    /// Something else that must never be printed.
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// A signal, such as `XFSZ`, that does not end it.
    pub(crate) fn ignoring(mut self, signal: &'static str) -> Self {
        self.ignored_signal = Some(signal);
        self
    }

    /// Starts it and waits for nothing.
    pub(crate) fn spawn(self) -> Broker {
        let program = env!("CARGO_BIN_EXE_broker");
        let mut command = match self.ignored_signal {
            None => Command::new(program),
            Some(signal) => {
                // What a shell ignores, the program that takes its place ignores too.
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("trap '' {signal}; exec \"$0\" \"$@\""), program]);
                shell
            }
        };
        let mut child = command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Output::default());
        let readers = vec![
            output.read(child.stdout.take().unwrap(), Stream::Out),
            output.read(child.stderr.take().unwrap(), Stream::Err),
        ];
        Broker { child, output, readers, secrets: self.secrets }
    }

    /// Starts it and waits until both connections are subscribed.
    pub(crate) async fn ready(self) -> Broker {
        let broker = self.spawn();
        broker.until_nth(&["connected to the bus and subscribed"], 2).await;
        broker
    }

    /// Runs it to its end.
    pub(crate) async fn ended(self) -> ProcessOutput {
        self.spawn().ended().await
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// What it has printed so far, line by line.
#[derive(Default)]
struct Output {
    lines: Mutex<Vec<(Stream, String)>>,
    /// Streams that are closed; touched at each line.
    closed: watch::Sender<usize>,
}

impl Output {
    fn read(self: &Arc<Self>, stream: impl Read + Send + 'static, which: Stream) -> JoinHandle<()> {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream).split(b'\n');
            while let Some(Ok(line)) = lines.next() {
                output.lines().push((which, String::from_utf8_lossy(&line).into_owned()));
                output.closed.send_modify(|_| {});
            }
            output.closed.send_modify(|closed| *closed += 1);
        })
    }

    fn lines(&self) -> MutexGuard<'_, Vec<(Stream, String)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.lines().iter().map(|(_, line)| format!("{line}\n")).collect()
    }
}

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    secrets: Vec<String>,
}

/// How a broker ended.
#[derive(Debug)]
pub(crate) struct ProcessOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Broker {
    /// The first line that holds all these words.
    pub(crate) async fn until(&self, words: &[&str]) -> String {
        self.until_nth(words, 1).await
    }

    /// The n-th line that holds all these words.
    pub(crate) async fn until_nth(&self, words: &[&str], n: usize) -> String {
        let mut changes = self.output.closed.subscribe();
        let found = tokio::time::timeout(TEST_TIMEOUT, async {
            loop {
                let closed = *changes.borrow_and_update() == 2;
                if let Some(line) = self.lines(words).into_iter().nth(n - 1) {
                    return Some(line);
                }
                if closed || changes.changed().await.is_err() {
                    return None;
                }
            }
        });
        let found = found.await.unwrap_or_default();
        found.unwrap_or_else(|| panic!("line {n} with {words:?} never came"))
    }

    /// The lines so far that hold all these words.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<String> {
        let lines = self.output.lines();
        let all = lines.iter().filter(|(_, line)| words.iter().all(|word| line.contains(word)));
        all.map(|(_, line)| line.clone()).collect()
    }

    /// Waits for so many lines that hold all these words, as the log comes a moment after what it tells of; there are no more.
    pub(crate) async fn exactly(&self, words: &[&str], lines: usize) {
        if lines > 0 {
            self.until_nth(words, lines).await;
        }
        assert_eq!(self.count(words), lines, "lines with {words:?}:\n{}", self.text());
    }

    pub(crate) fn count(&self, words: &[&str]) -> usize {
        self.lines(words).len()
    }

    /// All that it has printed.
    pub(crate) fn text(&self) -> String {
        self.output.text()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.unwrap().success(), "kill -{name}");
    }

    /// Waits until it has ended by itself, or by a signal.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let mut changes = self.output.closed.subscribe();
        let closed = changes.wait_for(|closed| *closed == 2);
        let closed = tokio::time::timeout(TEST_TIMEOUT, closed).await.is_ok();
        assert!(closed, "it does not end");
        self.child.wait().unwrap()
    }

    /// Waits for its end; all that it printed.
    pub(crate) async fn ended(mut self) -> ProcessOutput {
        let code = self.exit().await.code();
        let lines = self.output.lines();
        let of = |which| lines.iter().filter(|(one, _)| *one == which).map(|(_, line)| format!("{line}\n")).collect();
        ProcessOutput { code, out: of(Stream::Out), err: of(Stream::Err) }
    }

    /// Where HTTP listens.
    pub(crate) async fn http(&self) -> SocketAddr {
        let line = self.until(&["HTTP listens"]).await;
        field(&line, "address").unwrap().parse().unwrap()
    }

    /// Where the relay listens.
    pub(crate) async fn relay(&self) -> SocketAddr {
        let line = self.until(&["relay listens"]).await;
        field(&line, "address").unwrap().parse().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        http::send(self.http().await, "GET", path, &[], b"").await.unwrap()
    }

    /// The id by which its stamps are signed.
    pub(crate) async fn replica(&self) -> String {
        field(&self.until(&["broker starts"]).await, "replica").unwrap()
    }

    /// Its resident memory in kB without the pages of its program file, of which a debug build has tens of megabytes; `None` on
    /// systems without `/proc`.
    pub(crate) fn resident(&self) -> Option<u64> {
        self.memory("RssAnon:")
    }

    /// The peak of its resident memory in kB, with those pages.
    pub(crate) fn most_resident(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- the broker printed:\n{}---", self.output.text());
            return;
        }
        let text = self.output.text();
        for secret in &self.secrets {
            assert!(!text.contains(secret), "a secret was printed:\n{text}");
        }
        assert!(!text.contains("panicked"), "something panicked:\n{text}");
    }
}

/// The value of a field of a log line.
pub(crate) fn field(line: &str, name: &str) -> Option<String> {
    let (_, behind) = line.split_once(&format!(" {name}="))?;
    Some(behind.split(' ').next()?.trim_matches('"').to_owned())
}

/// The moment of a log line, by the broker's own clock, since the epoch.
pub(crate) fn moment(line: &str) -> Duration {
    let stamp: jiff::Timestamp = line.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(u64::try_from(stamp.as_nanosecond()).unwrap())
}
