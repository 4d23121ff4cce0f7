//! Exchanges between replicas which target made which response, thread, file or batch ([`crate::relay::Affinity`]): what is
//! learnt, in batches, and everything to a replica that connects, at its start or after an outage of the bus. The messages are not
//! signed: a forged one at worst prefers a target that may serve the call anyway.

use std::convert::Infallible;
use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::{ConnectionStatus, NatsSettings, peers};
use crate::relay::Relay;

/// How long a batch is collected after its first entry.
const BATCH_DELAY: Duration = Duration::from_millis(20);
/// The least interval between two times of telling everything: requests for it must not cost more than they do the sender.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Exchanges over the connection that `link` is about, until it ends. What is published here does not come back to this replica.
///
/// # Errors
/// The connection is closed.
pub async fn share_affinity(
    client: Client,
    settings: &NatsSettings,
    link: &ConnectionStatus,
    relay: Option<&Relay>,
) -> Result<Infallible, async_nats::Error> {
    let Some(relay) = relay else { return std::future::pending().await };
    let subject = Subject::from(peers::subject(settings, "affinity"));
    let mut messages = client.subscribe(subject.clone()).await?;
    let affinity = relay.affinity();
    let asking = async {
        let mut connects = 0;
        loop {
            connects = link.connected_again(connects).await;
            client.publish(subject.clone(), Bytes::new()).await?;
        }
    };
    let publishing = async {
        loop {
            let message = affinity.next_message().await;
            // What is learnt in an outage: a replica that is not connected again by then asks for it when it is.
            link.connected_again(0).await;
            client.publish(subject.clone(), message.into()).await?;
            sleep(BATCH_DELAY).await;
        }
    };
    let reading = async {
        let (mut may_tell, mut is_asked) = (Instant::now(), false);
        loop {
            tokio::select! {
                // The end of the connection is for the others to notice.
                Some(message) = messages.next() => {
                    is_asked |= message.payload.is_empty();
                    affinity.take(&message.payload, |target| relay.known_target(target));
                }
                () = sleep_until(may_tell), if is_asked => {
                    for message in affinity.messages() {
                        client.publish(subject.clone(), message.into()).await?;
                    }
                    (may_tell, is_asked) = (Instant::now() + TELL_INTERVAL, false);
                }
                else => return std::future::pending().await,
            }
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = publishing => ended,
        ended = reading => ended,
    }
}
