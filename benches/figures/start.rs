//! From the start of the process to its first answer, the bus being there.

use anyhow::Result;
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::Effort;
use crate::asker::Asker;
use crate::bare;
use crate::process::{Process, TOKEN};
use crate::round_trip::SUBJECT;
use crate::stats::{median, now};
use crate::table::{Figure, Row, Target};

/// The row of the start.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(effort))
}

async fn run(effort: Effort) -> Result<Vec<Row>> {
    let bus = NatsServer::start(0, TOKEN, "")?;
    let mut asker = Asker::new(&bus).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        ours.push(first_answer(&mut asker, SUBJECT, || Process::broker(&bus, &[])).await?);
        let start = || Process::role("the bare responder", &bus, &["bare", "--size", "200"]);
        theirs.push(first_answer(&mut asker, bare::SUBJECT, start).await?);
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs));
    let row = Row::new("start to first answer", Figure::Time(median(ours)));
    let row = row.against("bare", Figure::Time(median(theirs)), ratio);
    Ok(vec![row.target(Target::AtMost(Figure::Time(100e6)))])
}

async fn first_answer(asker: &mut Asker, subject: &str, start: impl FnOnce() -> Result<Process>) -> Result<f64> {
    let began = now();
    let mut process = start()?;
    asker.until_answered(subject, &mut process).await?;
    let took = began.elapsed();
    drop(process);
    asker.until_silent(subject).await?;
    Ok(took.as_nanos() as f64)
}
