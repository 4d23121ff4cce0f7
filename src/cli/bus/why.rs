//! `broker why ID`: one call explained, from the memory of the replicas or from a file of calls.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::super::{BadArgument, health};
use super::{clean, connect, run};
use crate::calls::{CallQuery, CallRecord, CallsPage, VERSION, describe, file};
use crate::config::OperatorAccess;
use crate::nats::peers::{self, CALLS};

/// The longest line of a file that is read, in bytes; a record has a few hundred, at most some thousands.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// The most calls that are shown: a session of a client, or a trace, can have any number.
const MAX_SHOWN: usize = 100;

/// The arguments of `why`.
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// Id of the call (X-Broker-Session of its answer, or the gateway's transaction), of its session, of a decision, or of a
    /// trace
    #[arg(value_name = "ID")]
    pub id: String,
    /// Search this file, which BROKER_CALLS wrote, and its older files, instead of asking brokers
    #[arg(long, value_name = "FILE")]
    pub calls: Option<PathBuf>,
}

/// The brokers that are asked.
#[derive(Debug)]
pub enum Source<'a> {
    /// All of them, over the bus.
    Bus(&'a OperatorAccess),
    /// The one of this machine, over HTTP; with TLS or without.
    Http(SocketAddr, bool),
}

impl WhyArgs {
    /// The explanation of each call with this id, the newest first.
    ///
    /// # Errors
    /// No broker answers, the file cannot be read, or there is no such call.
    pub fn of_brokers(&self, source: &Source<'_>) -> anyhow::Result<String> {
        let query = CallQuery { id: Some(self.id.clone()), limit: Some(MAX_SHOWN.to_string()), ..CallQuery::default() };
        let pages = match source {
            Source::Bus(operator) => run(async {
                let client = connect(operator).await?;
                Ok(peers::ask(&client, &operator.nats, CALLS, serde_json::to_vec(&query)?).await?)
            })?,
            Source::Http(address, tls) => {
                let id = percent_encoding::utf8_percent_encode(&self.id, percent_encoding::NON_ALPHANUMERIC);
                let text = health::get(*address, *tls, &format!("/api/v1/calls?id={id}&limit={MAX_SHOWN}"))?;
                vec![
                    serde_json::from_str::<CallsPage>(&text)
                        .context("the broker's answer cannot be read: another version?")?,
                ]
            }
        };
        let calls = pages.into_iter().flat_map(|page| page.calls);
        self.report(calls.collect(), "in the memory of any broker that answers: BROKER_RECENT_CALLS sets how many are kept, and BROKER_CALLS writes all to a file")
    }

    /// The same from a file.
    ///
    /// # Errors
    /// It cannot be read, or holds no such call.
    pub fn of_file(&self, path: &Path) -> anyhow::Result<String> {
        let mut found = Vec::new();
        let files = file::files(path);
        if files.is_empty() {
            bail!(BadArgument(format!("--calls: {} does not exist", path.display())));
        }
        for path in &files {
            let unreadable = |error| BadArgument(format!("--calls: cannot read {}: {error}", path.display()));
            let opened = File::open(path).map_err(unreadable)?;
            let mut reader = BufReader::new(opened);
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
                if read.map_err(unreadable)? == 0 {
                    break;
                }
                // A full disk may have left an incomplete line.
                let Ok(record) = serde_json::from_slice::<CallRecord>(&line) else { continue };
                if record.v == VERSION && record.has_id(&self.id) {
                    found.push(record);
                }
            }
        }
        self.report(found, &format!("in {} and the older files beside it", path.display()))
    }

    fn report(&self, mut calls: Vec<CallRecord>, place: &str) -> anyhow::Result<String> {
        calls.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| one.id.cmp(&other.id)));
        // Every replica has the calls of the gateway.
        calls.dedup_by(|one, other| one.id == other.id);
        if calls.is_empty() {
            bail!("no call {} {place}", clean(&self.id));
        }
        let mut text = calls.iter().take(MAX_SHOWN).map(describe::describe).collect::<Vec<_>>().join("\n");
        // Texts of a file, or of another program on the bus, may contain anything.
        text.retain(|letter| letter == '\n' || !letter.is_control());
        if let Some(more) = calls.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "\nand {more} older calls");
        }
        Ok(text)
    }
}
