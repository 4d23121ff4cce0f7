//! What replicas send each other about where things were made (see [`crate::relay::Affinity`]): what is learnt, in batches; and all
//! that is known, to one that starts. Unsigned: a forged message at worst prefers a target that may serve anyway.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{Settings, peers};
use crate::relay::{Affinity, Relay};

/// So long after something was learnt, more is gathered.
const BATCH_DELAY: Duration = Duration::from_millis(20);
/// All that is known is sent at most once in this time: asking must not cost more than answering.
const REPLY_INTERVAL: Duration = Duration::from_secs(1);

/// Shares until the connection ends. What is published here does not come back.
///
/// # Errors
/// The connection is closed.
pub async fn share_affinity(
    client: Client,
    settings: &Settings,
    relay: Option<&Relay>,
) -> Result<Infallible, async_nats::Error> {
    let Some(relay) = relay else { return std::future::pending().await };
    let subject = peers::subject(settings, "affinity");
    let inbox = client.new_inbox();
    let shared = client.subscribe(subject.clone()).await?;
    let subscribed = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(subject.clone(), inbox, Bytes::new()).await?;
    let affinity = relay.affinity();
    let publishing = async {
        loop {
            let message = affinity.next_message().await;
            client.publish(subject.clone(), message.into()).await?;
            sleep(BATCH_DELAY).await;
        }
    };
    let reading = async {
        let mut messages = pin!(stream::select(shared, subscribed));
        let mut may_reply = Instant::now();
        while let Some(message) = messages.next().await {
            affinity.take(&message.payload, |target| relay.known_target(target));
            let Some(asker) = message.reply.filter(|_| message.payload.is_empty() && may_reply <= Instant::now())
            else {
                continue;
            };
            may_reply = Instant::now() + REPLY_INTERVAL;
            send_targets(&client, asker, affinity).await?;
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = publishing => ended,
        ended = reading => ended,
    }
}

async fn send_targets(
    client: &Client,
    asker: async_nats::Subject,
    affinity: &Affinity,
) -> Result<(), async_nats::Error> {
    for message in affinity.messages() {
        client.publish(asker.clone(), message.into()).await?;
    }
    Ok(())
}
