//! `broker drain`, `resume`, `disable`, `enable`, `weight`, `mode`: sends one command to all replicas, and shows what each did.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::super::{BadArgument, OutputError};
use super::status::{count, list};
use super::{clean, connect, run};
use crate::admin::{AdminAction, AdminRequest, AdminResult};
use crate::clock::Clock;
use crate::config::OperatorAccess;
use crate::nats::peers::{self, STATUS};
use balancer::broker::PublicState;
use types::router::{PathError, RouterPath};

/// Interval of the queries for calls in flight.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The arguments of `resume` and `enable`.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// The router, such as /azure/gpt4/
    #[arg(value_parser = path)]
    pub router: RouterPath,
    /// Reason, for the brokers' logs and status
    #[arg(long)]
    pub reason: Option<String>,
}

/// The arguments of `drain` and `disable`.
#[derive(Debug, Clone, Args)]
pub struct TimedArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// For how long: 30m, 1h, 90s
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true)]
    lasting: Option<String>,
    /// Wait until no call to it is in progress
    #[arg(long)]
    pub wait: bool,
}

/// The arguments of `weight`.
#[derive(Debug, Clone, Args)]
pub struct WeightArgs {
    /// The pool's ingress, such as /azure/
    #[arg(value_parser = path)]
    pool: RouterPath,
    #[command(flatten)]
    target: TargetArgs,
    /// Its weight among its siblings; without it, the file's
    #[arg(allow_negative_numbers = true)]
    weight: Option<f64>,
    /// For how long: 30m, 1h, 90s
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true)]
    lasting: Option<String>,
}

pub(super) fn path(text: &str) -> Result<RouterPath, PathError> {
    RouterPath::parse(text)
}

impl From<TargetArgs> for AdminRequest {
    fn from(TargetArgs { router, reason }: TargetArgs) -> Self {
        Self { router: Some(router), reason, ..Self::default() }
    }
}

impl From<TimedArgs> for AdminRequest {
    fn from(TimedArgs { target, lasting, .. }: TimedArgs) -> Self {
        Self { lasting, ..target.into() }
    }
}

impl From<WeightArgs> for AdminRequest {
    fn from(WeightArgs { pool, target, weight, lasting }: WeightArgs) -> Self {
        Self { pool: Some(pool), weight, lasting, ..target.into() }
    }
}

/// Sends a command and writes what was done; with `wait`, also the calls in progress until there are none.
///
/// # Errors
/// The command is invalid, no replica answers, none carried it out, or it ended before the calls did.
pub fn administer(
    operator: &OperatorAccess,
    action: AdminAction,
    asked: &AdminRequest,
    wait: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    // An invalid command is reported before a replica is asked.
    let fault = |fault: crate::admin::AdminRequestError| BadArgument(fault.to_string());
    asked.clone().command(action, String::new(), Clock::start().now()).map_err(fault)?;
    if operator.token.is_none() {
        let fault = "needs the operators' token: set BROKER_ADMIN_TOKEN or BROKER_ADMIN_TOKEN_FILE";
        bail!(BadArgument(fault.to_owned()));
    }
    run(async {
        let client = connect(operator).await?;
        let who = "the command line";
        let now = Clock::start().now();
        let token = operator.token.as_ref();
        let done = peers::send_command(&client, &operator.nats, token, who, action, asked, now).await?;
        print(out, &summary(&done)?)?;
        if let Some(router) = asked.router.as_ref().filter(|_| wait) {
            wait_until_idle(&client, operator, action, router, out).await?;
        }
        Ok(())
    })
}

fn print(out: &mut impl Write, text: &str) -> Result<(), OutputError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(OutputError)
}

/// What the replicas did.
fn summary(done: &[AdminResult]) -> anyhow::Result<String> {
    let mut text = String::new();
    let (good, bad): (Vec<_>, Vec<_>) = done.iter().partition(|done| done.error.is_none());
    let refusals: Vec<_> = bad.iter().filter_map(|done| done.error.as_deref()).map(clean).collect();
    let Some(first) = good.first() else {
        bail!("nothing changed: {}", refusals.first().map_or("no answer", String::as_str));
    };
    // Writing into a String cannot fail.
    let mut results: Vec<(String, usize)> = Vec::new();
    for result in good.iter().map(|done| clean(done.done.as_deref().unwrap_or("done"))) {
        match results.iter_mut().find(|(other, _)| *other == result) {
            Some((_, replicas)) => *replicas += 1,
            None => results.push((result, 1)),
        }
    }
    for (result, replicas) in results {
        let _ = writeln!(text, "{result} on {}", count(replicas, "replica"));
    }
    let empty = if first.pools_left_empty.is_empty() { &first.left_without } else { &first.pools_left_empty };
    for ingress in empty {
        let _ = writeln!(
            text,
            "all other targets of {ingress} are down or drained: the gateway's calls go to the ingress router's own endpoint now; the relay's wait for a target, or get 503"
        );
    }
    for (done, refusal) in bad.iter().zip(&refusals) {
        let _ = writeln!(text, "replica {} refused: {refusal}", clean(&done.replica));
    }
    Ok(text)
}

/// Waits until no call is in flight to a router, and writes the number of calls whenever it changes.
async fn wait_until_idle(
    client: &async_nats::Client,
    operator: &OperatorAccess,
    action: AdminAction,
    router: &RouterPath,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut written = None;
    loop {
        let documents: Vec<Value> = peers::ask(client, &operator.nats, STATUS, Vec::new()).await?;
        let routers = documents.iter().flat_map(|document| list(&document["routers"]));
        let reported: Vec<_> = routers.filter(|one| one["router"] == router.as_str()).collect();
        // A replica that never sent it a call has nothing in progress there.
        let unknown =
            reported.iter().any(|one| one["in_flight"].is_null() && one["requests"].as_u64().unwrap_or(1) > 0);
        if unknown {
            bail!("whether calls are in progress is not known: the log has shown no stamp of a broker yet");
        }
        let in_flight: u64 = reported.iter().filter_map(|one| one["in_flight"].as_u64()).sum();
        if in_flight == 0 {
            return Ok(print(out, &format!("no call is in progress to {router}\n"))?);
        }
        let in_progress = match in_flight {
            1 => format!("1 call is in progress to {router}"),
            calls => format!("{calls} calls are in progress to {router}"),
        };
        let (applies, state) = match action {
            AdminAction::Disable => {
                (reported.iter().any(|one| one["state"] == PublicState::Disabled.name()), "disabled")
            }
            _ => (reported.iter().any(|one| !one["drained"].is_null()), "drained"),
        };
        if !applies {
            bail!("{router} is no longer {state}, and {in_progress}");
        }
        if written != Some(in_flight) {
            print(out, &format!("{in_progress}\n"))?;
            written = Some(in_flight);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
