//! What the broker is compared with: answers every question with the same bytes and reads nothing.
//!
//! Built like the broker where it is not the thing measured: the same library, a thread with its own runtime for the
//! answers, and, where it listens to logs as well, another thread and connection for those.

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::{Builder, Runtime};

use crate::asker::connect;

/// Where it answers. As long as the broker's own subject, so that the bus has the same work.
pub(crate) const SUBJECT: &str = "coburn.gl.mirror";
/// Where it listens to logs; as long as the gateway's own.
pub(crate) const LOGS: &str = "coburn.gl.mirlog";
/// As many as the broker lets wait.
const WAITING: usize = 8_192;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bus
    #[arg(long)]
    host: String,
    /// Bytes of an answer
    #[arg(long)]
    size: usize,
    /// Listens to logs too, and throws them away
    #[arg(long)]
    logs: bool,
}

/// Answers until it is killed.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let Arguments { host, size, logs } = arguments;
    if logs {
        let host = host.clone();
        std::thread::spawn(move || runtime()?.block_on(listen(&host)));
    }
    runtime()?.block_on(async {
        let client = connect(&host, ConnectOptions::new()).await?;
        answer(client, Bytes::from(vec![b'x'; size])).await
    })
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start a runtime")
}

async fn answer(client: Client, answer: Bytes) -> Result<()> {
    let mut questions = client.queue_subscribe(SUBJECT, "mirror".to_owned()).await?;
    while let Some(question) = questions.next().await {
        if let Some(inbox) = question.reply {
            client.publish(inbox, answer.clone()).await?;
        }
    }
    Ok(())
}

async fn listen(host: &str) -> Result<()> {
    let client = connect(host, ConnectOptions::new().subscription_capacity(WAITING)).await?;
    let mut entries = client.subscribe(LOGS).await?;
    while entries.next().await.is_some() {}
    Ok(())
}
