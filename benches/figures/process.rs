//! Programs beside this one, what they cost by the system's account, and their end.
//!
//! Costs are read from Linux' `/proc`; elsewhere they are absent, and so are their figures. The processor's time comes from
//! `schedstat`, in nanoseconds: the ticks of `stat` are as long as a thousand answers.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gateway_sim::nats_server::NatsServer;

/// What every program here needs to reach the bus.
pub(crate) const TOKEN: &str = "figures";

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    /// What it prints.
    log: PathBuf,
}

impl Process {
    /// The broker as it ships, at the bus given. Only what is given here is in its environment.
    pub(crate) fn broker(bus: &NatsServer, settings: &[(&str, &str)]) -> Result<Self> {
        Self::broker_by(Command::new(env!("CARGO_BIN_EXE_broker")), bus, settings)
    }

    /// The same, by a command that starts it.
    pub(crate) fn broker_by(mut command: Command, bus: &NatsServer, settings: &[(&str, &str)]) -> Result<Self> {
        command.env_clear().env("GECHOLOG_HOST", bus.host()).env("BROKER_HTTP", "127.0.0.1:0");
        command.envs(settings.iter().copied());
        Self::start("the broker", command)
    }

    /// This program in another role.
    pub(crate) fn role(name: &'static str, bus: &NatsServer, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.args(arguments).args(["--host", &bus.host()]);
        Self::start(name, command)
    }

    /// This program in a role that needs no bus.
    pub(crate) fn alone(name: &'static str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.args(arguments);
        Self::start(name, command)
    }

    /// Any other program.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("figures-{}-{count}.log", std::process::id()));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.env("NATS_TOKEN", TOKEN).stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Still there, or an error with what it printed.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); it printed:\n{}", self.name, self.output()),
        }
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} failed ({status}); it printed:\n{}", self.name, self.output());
        }
        Ok(())
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status().context("cannot run kill")?;
        self.finish()
    }

    /// All that it has printed.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The processor's time that all its threads have had, and those of its own processes.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let mut sum = 0;
        for process in self.family() {
            for thread in std::fs::read_dir(format!("/proc/{process}/task")).ok()? {
                let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
                sum += text.split(' ').next()?.parse::<u64>().ok()?;
            }
        }
        Some(Duration::from_nanos(sum))
    }

    /// The most memory that it ever held, in bytes; with its own processes, whose shared pages count for each.
    pub(crate) fn peak_memory(&self) -> Option<f64> {
        self.family().iter().map(|process| memory(process, "VmHWM:")).sum()
    }

    /// It, and the processes that its main thread has started.
    fn family(&self) -> Vec<String> {
        let own = self.child.id().to_string();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        std::iter::once(own).chain(children.split_whitespace().map(str::to_owned)).collect()
    }
}

/// The memory that this very program holds, in bytes.
pub(crate) fn resident() -> Option<f64> {
    memory("self", "VmRSS:")
}

fn memory(process: &str, which: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(which))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Workers would outlive their parent. What has ended already needs no more.
        for process in self.family().iter().skip(1) {
            let _ = Command::new("kill").arg(process).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
