//! Everything that is printed: what to type, one line per event, the verdict. Readable at a hundred columns.
//!
//! A closed pipe (`demo | head`) is an error that ends the demo, and no panic.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::calls::{Amount, BODY};
use crate::harness::{ADMIN, RunningDemo};
use crate::pools::Pool;
use crate::relay;
use crate::summary::{Run, Share, times};
use crate::watch::{Call, Change, Event, RouterState};

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// Says on the standard error why nothing more comes.
pub(crate) fn complain(text: &str) {
    // With the standard error closed too, the error is lost.
    drop(writeln!(io::stderr(), "demo: {text}"));
}

/// A client's call of the relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relayed<'a> {
    pub(crate) number: u32,
    /// What the client called, and how.
    pub(crate) called: &'a str,
    /// Who answered.
    pub(crate) router: &'a str,
    pub(crate) status: &'a str,
    pub(crate) took: Duration,
    /// What became of its attempts.
    pub(crate) what: &'a str,
    pub(crate) good: bool,
}

/// The standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
    calls: u64,
    /// The routers that are balanced.
    ingresses: Vec<String>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        Self { colours: wanted && io::stdout().is_terminal(), calls: 0, ingresses: Vec::new() }
    }

    /// Prints lines.
    pub(crate) fn say(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// What runs, what to type next, and the head of the table.
    pub(crate) fn welcome(&mut self, harness: &RunningDemo, amount: Option<Amount>) -> io::Result<()> {
        self.ingresses = harness.pools.iter().map(|pool| pool.ingress.clone()).collect();
        let behind = |pool: &Pool| format!("Behind {} are {}.", pool.ingress, pool.routers.join(", "));
        let behind: Vec<_> = harness.pools.iter().map(behind).collect();
        let out = seconds(harness.disabled_time());
        self.say(&format!("Everything runs. {}", behind.join("\n")))?;
        if !harness.gap.routers.is_empty() {
            self.say(&format!(
                "Routers added to the gateway, each with a fake LLM: {}.",
                harness.gap.routers.join(", ")
            ))?;
        }
        if !harness.gap.fields.is_empty() {
            self.say(&format!("Fields added to what the broker sees: {}.", harness.gap.fields.join(", ")))?;
        }
        let left_out =
            if harness.disabled_time().is_zero() { "never left out".to_owned() } else { format!("left out for {out}") };
        self.say(&format!("A router that fails is {left_out} (DISABLED_TIME, --disabled-time)."))?;
        if let Some(faults) = &harness.faults {
            let moments: Vec<_> = faults.moments().into_iter().map(|(_, text)| format!("  {text}")).collect();
            self.say(&format!("Scripted (seed {}):\n{}", faults.seed, moments.join("\n")))?;
        }
        match amount {
            None => self.say(&next_steps(harness))?,
            Some(Amount::Number(_)) => {}
            Some(Amount::Time(time)) => self.say(&format!("Calls for {}, then the verdict.", seconds(time)))?,
        }
        for remark in &harness.remarks {
            self.show(remark)?;
        }
        self.say("")?;
        self.say(&row("call", "client called", "served by", "status", "ms", "why this router"))
    }

    /// One line for one event.
    pub(crate) fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Call(call) => self.call(call),
            Event::Change(change) => self.change(change),
            Event::Remark(_, text) => self.say(&self.paint(YELLOW, &format!("        broker: {text}"))),
            Event::Scripted(_, text) => self.say(&self.paint(CYAN, &format!("     -- {text}"))),
        }
    }

    /// What runs with `--relay`, and the head of its table.
    pub(crate) fn welcome_to_the_relay(&mut self, harness: &RunningDemo, calls: u32) -> io::Result<()> {
        self.ingresses = vec![relay::INGRESS.to_owned()];
        let targets = harness.pools.iter().flat_map(|pool| &pool.routers).map(String::as_str);
        let targets: Vec<_> = targets.collect();
        self.say(&format!(
            "Everything runs. Behind the relay's {} are, in this order: {}.\n\
             Clients call the relay, some of them for a stream, and the gateway, whose {} leads to the relay.\n\
             A target that fails is left out for {} (DISABLED_TIME, --disabled-time).\n\
             {calls} calls one after the other, then the verdict.",
            relay::INGRESS,
            targets.join(", "),
            relay::ROUTER,
            seconds(harness.disabled_time()),
        ))?;
        harness.remarks.iter().try_for_each(|remark| self.show(remark))?;
        self.say("")?;
        self.relayed_head()
    }

    /// The head of the table of [`Screen::relayed`].
    pub(crate) fn relayed_head(&self) -> io::Result<()> {
        self.say(&row("call", "client called", "answered by", "status", "ms", "what it took"))
    }

    /// The beginning of a part of the show.
    pub(crate) fn title(&self, text: &str) -> io::Result<()> {
        self.say(&self.paint(CYAN, &format!("     -- {text}")))
    }

    /// One line for a client's call of the relay.
    pub(crate) fn relayed(&self, line: &Relayed<'_>) -> io::Result<()> {
        let ms = format!("{:.1}", line.took.as_secs_f64() * 1e3);
        let text = row(&line.number.to_string(), line.called, line.router, line.status, &ms, line.what);
        self.say(&if line.good { text } else { self.paint(RED, &text) })
    }

    /// Right or wrong.
    pub(crate) fn judged(&self, praise: &str, faults: &[String]) -> io::Result<()> {
        if faults.is_empty() {
            return self.say(&self.paint(GREEN, &format!("\nRight. {praise}")));
        }
        self.say(&self.paint(RED, "\nWRONG:"))?;
        faults.iter().try_for_each(|fault| self.say(&self.paint(RED, &format!("  - {fault}"))))
    }

    fn call(&mut self, call: &Call) -> io::Result<()> {
        self.calls += 1;
        let took = Duration::try_from(call.ended.duration_since(call.began)).unwrap_or_default();
        let status = call.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let ms = format!("{:.1}", took.as_secs_f64() * 1e3);
        let without =
            if self.ingresses.contains(&call.ingress) { "the broker named no router" } else { "called directly" };
        let why = call.why.as_deref().unwrap_or(without);
        let line = row(&self.calls.to_string(), &call.ingress, &call.router, &status, &ms, why);
        let failed = call.status.is_none_or(|status| status >= 400);
        self.say(&if failed { self.paint(RED, &line) } else { line })
    }

    fn change(&self, change: &Change) -> io::Result<()> {
        let router = &change.router;
        let line = match &change.to {
            RouterState::OnProbation => {
                self.paint(GREEN, &format!("        router {router} is on probation: only probes until one succeeds"))
            }
            RouterState::Enabled => self.paint(GREEN, &format!("        router {router} enabled again")),
            RouterState::Disabled { until, cause } => {
                let left_out = Duration::try_from(until.duration_since(change.at)).unwrap_or_default();
                let line = format!("        router {router} disabled for {}: {cause}", seconds(left_out));
                self.paint(YELLOW, &line)
            }
        };
        self.say(&line)
    }

    /// What the calls came to, and whether it is right.
    pub(crate) fn verdict(&self, run: &Run, faults: &[String]) -> io::Result<()> {
        self.say(&format!("\n{} calls in {:.1} s", run.calls().len(), run.lasted().as_secs_f64()))?;
        for share in run.shares() {
            self.say(&share_line(&share))?;
        }
        for line in run.scripted() {
            self.say(&line)?;
        }
        self.judged(&run.praise(), faults)
    }

    fn paint(&self, colour: &str, line: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{line}\x1b[0m") } else { line.to_owned() }
    }
}

fn row(number: &str, ingress: &str, router: &str, status: &str, ms: &str, why: &str) -> String {
    format!("{number:>6}  {ingress:<14} {router:<20} {status:>6} {ms:>7}  {why}")
}

fn share_line(share: &Share) -> String {
    let Share { router, calls, failures, late, .. } = share;
    let mut line = format!("  {router:<20} {calls:>6} calls  {failures:>4} failed");
    if let Some(of) = share.of_working {
        line += &format!("  {of:>5.1} % of those that worked");
    }
    if *late > 0 {
        line += &format!("  {late} because the broker's answer came too late: a busy machine");
    }
    if share.disabled > 0 {
        line += &format!("  disabled {}, {:.1} s in all", times(share.disabled), share.out.as_secs_f64());
    }
    line
}

/// A length of time in the unit that people would use.
fn seconds(length: Duration) -> String {
    let seconds = (length.as_secs_f64() * 10.0).round() / 10.0;
    if seconds >= 120.0 { format!("{} min", (seconds / 6.0).round() / 10.0) } else { format!("{seconds} s") }
}

fn next_steps(harness: &RunningDemo) -> String {
    let url = harness.pools.first().map(|pool| harness.url("localhost", pool)).unwrap_or_default();
    let (bus, subject) = (harness.bus_address(), &harness.log_subject);
    let mut text = format!(
        "\nType in another shell, several times:\n\n  \
         curl {url} -H 'Content-Type: application/json' -H 'Api-Key: any-key' \\\n    -d '{BODY}'\n\n\
         Watch the gateway's log (needs jq, and nats from github.com/nats-io/natscli), then with the broker's stamp:\n\n"
    );
    if let Some(token) = harness.token_to_set() {
        text += &format!("  export NATS_TOKEN={token}\n");
    }
    for what in [".response.gl_path", ".request.broker"] {
        text += &format!("  nats sub --translate \"jq {what}\" -s \"$NATS_TOKEN@{bus}\" \"{subject}\"\n");
    }
    if let Some(address) = harness.probes() {
        text += &format!(
            "\nSee it in a browser; BROKER_ADMIN_TOKEN, here {ADMIN}, lets you drain a router:\n\n  http://{address}/\n"
        );
        text += &format!("\nAsk whether the broker is ready:\n\n  curl http://{address}/readyz\n");
    }
    text + "\nCtrl-C ends everything."
}

/// What to type to call the relay oneself.
pub(crate) fn call_the_relay(harness: &RunningDemo) -> String {
    let url = harness.relay_url("localhost");
    let body = BODY.replacen('{', "{\"stream\":true,", 1);
    format!("  curl -i {url} -H 'Content-Type: application/json' \\\n    -d '{body}'")
}
