//! A real `nats-server` as a child process: started on this machine with a token, ended on drop.
//!
//! For demos, tests and benches, of this project or of any processor. The real server is used because a fake bus
//! would differ from it where processors break.

use std::io::{self, BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running server.
#[derive(Debug)]
pub struct NatsServer {
    child: Child,
    port: u16,
    token: String,
    settings: String,
    config: PathBuf,
}

impl NatsServer {
    /// Starts a server on 127.0.0.1 and waits until it is ready. Port 0: any free one. `settings` are further lines in the
    /// server's own language, such as `max_payload: 4096`.
    ///
    /// # Errors
    /// There is no such program (see [`program`]), or it ends before it is ready, such as for a port in use; the error has the last
    /// line of its log.
    pub fn start(port: u16, token: &str, settings: &str) -> io::Result<Self> {
        let config = config_file();
        let listen = if port == 0 { -1 } else { i32::from(port) };
        let text = format!("listen: \"127.0.0.1:{listen}\"\nauthorization {{ token: {token:?} }}\n{settings}\n");
        std::fs::write(&config, text)?;
        let program = program();
        let spawned = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|error| {
            let text =
                format!("cannot start {}: {error}; set NATS_SERVER, or run script/nats-server", program.display());
            io::Error::new(error.kind(), text)
        })?;
        let mut log = BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
        let ready = until_ready(&mut log);
        // Without a reader the server would block when the pipe is full.
        std::thread::spawn(move || log.for_each(drop));
        let mut server = Self { child, port, token: token.to_owned(), settings: settings.to_owned(), config };
        server.port = ready?;
        Ok(server)
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// Has the server announce to its clients that it will end (lame-duck mode): it takes no more connections, and closes those
    /// it has after `lame_duck_grace_period`.
    ///
    /// # Errors
    /// There is no such process.
    pub fn announce_end(&self) -> io::Result<()> {
        let sent = Command::new(program()).arg("--signal").arg(format!("ldm={}", self.child.id())).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other(format!("nats-server --signal: {sent}"))) }
    }

    /// Whether the process is gone.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the server at once, as a power cut would.
    pub fn kill(&mut self) {
        // It has ended already, or the system ends it; either way there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        *self = Self::start(self.port, &self.token, &self.settings)?;
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// The program: `NATS_SERVER` if set, else the first on `PATH`, else the one that `script/nats-server` fetched.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("NATS_SERVER").filter(|program| !program.is_empty()) {
        return program.into();
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file())
    });
    on_path.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/nats-server").into())
}

fn config_file() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("nats-server-{}-{count}.conf", std::process::id()))
}

fn until_ready(log: &mut Lines<BufReader<ChildStderr>>) -> io::Result<u16> {
    let mut port = None;
    let mut last = String::new();
    for line in log {
        let line = line?;
        if let Some((_, behind)) = line.split_once("Listening for client connections on 127.0.0.1:") {
            port = behind.trim().parse().ok();
        }
        if let (Some(port), true) = (port, line.contains("Server is ready")) {
            return Ok(port);
        }
        last = line;
    }
    Err(io::Error::other(format!("nats-server ended before it was ready: {last}")))
}
