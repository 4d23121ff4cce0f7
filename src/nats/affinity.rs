//! Exchanges between replicas which target made which response, thread, file or batch ([`crate::relay::Affinity`]): what is
//! learnt, in batches, and everything to a replica that starts. The messages are not signed: a forged one at worst prefers a
//! target that may serve the call anyway.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::{NatsSettings, peers};
use crate::relay::{Affinity, Relay};

/// How long a batch is collected after its first entry.
const BATCH_DELAY: Duration = Duration::from_millis(20);
/// The least interval between two messages with everything: requests for it must not cost more than they do the sender.
const REPLY_INTERVAL: Duration = Duration::from_secs(1);

/// Exchanges until the connection ends. What is published here does not come back to this replica.
///
/// # Errors
/// The connection is closed.
pub async fn share_affinity(
    client: Client,
    settings: &NatsSettings,
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
