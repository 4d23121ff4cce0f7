//! A bus of several servers: servers that join later are discovered, and a server that announces its shutdown (lame-duck mode)
//! is left before it stops.
//!
//! The library learns of other servers only when it connects. So every [`REFRESH_INTERVAL`] a short connection reads the
//! addresses of the cluster, which are added to those of the settings.

use std::time::Duration;

use async_nats::{Client, ServerAddr, SubscribeError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::requests::{Learns, Requests, subscribe};
use super::{ConnectionState, ConnectionStatus, NatsSettings, basic_options, options, retry_delay};
use crate::shared_broker::SharedBroker;

/// Interval at which the servers of the cluster are read.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// Answers requests until `stop` changes, then answers those that have arrived, and returns. When the server of the connection
/// announces its shutdown, a connection with the same subscriptions to another server is made first; the old one then ends as on
/// `stop`.
///
/// # Errors
/// The connection is closed.
pub async fn serve_requests(
    client: Client,
    settings: &NatsSettings,
    connection: &ConnectionStatus,
    name: &str,
    capacity: usize,
    broker: SharedBroker,
    mut stop: watch::Receiver<bool>,
) -> Result<(), SubscribeError> {
    let mut ending = JoinSet::new();
    let mut client = client;
    let mut requests = subscribe(client.clone(), settings).await?;
    connection.set(ConnectionState::Subscribed);
    loop {
        let (leave, leaving) = watch::channel(false);
        let learns = requests.learns();
        let mut serving = Box::pin(requests.serve(broker.clone(), leaving));
        let moved = tokio::select! {
            () = &mut serving => return Ok(()),
            _ = stop.changed() => None,
            moved = connect_elsewhere(&client, &learns, settings, connection, name, capacity) => Some(moved),
            never = refresh(&client, settings, connection) => match never {},
            never = connection.confirm_subscriptions(&client) => match never {},
        };
        let _ = leave.send(true);
        ending.spawn(serving);
        match moved {
            Some(next) => (client, requests) = next,
            None => break,
        }
        while ending.try_join_next().is_some() {}
    }
    drop(client);
    while ending.join_next().await.is_some() {}
    Ok(())
}

/// Waits until the server of this connection announces its shutdown, then subscribes at another one.
async fn connect_elsewhere(
    client: &Client,
    learns: &Learns,
    settings: &NatsSettings,
    connection: &ConnectionStatus,
    name: &str,
    capacity: usize,
) -> (Client, Requests) {
    connection.lame_duck().await;
    loop {
        if let Ok((number, options)) = options(settings, connection, name, capacity).await
            && let Ok(client) = options.connect(known(client, settings).await).await
        {
            // From now on every outcome arrives over both connections.
            learns.set(false);
            // Before it subscribes, so that a denial counts.
            connection.make_current(number);
            if let Ok(requests) = subscribe(client.clone(), settings).await {
                connection.sync(&client).await;
                tracing::info!(connection = connection.name(), "moved to another server of the bus");
                return (client, requests);
            }
            learns.set(true);
        }
        sleep(retry_delay()).await;
    }
}

/// Keeps a connection in a cluster: reports when it is back, updates its servers, and moves it when the server announces its
/// shutdown. Messages that arrive in the milliseconds of the move are lost: nothing is learnt from those log entries.
pub async fn follow_cluster(
    client: &Client,
    settings: &NatsSettings,
    connection: &ConnectionStatus,
) -> std::convert::Infallible {
    let moving = async {
        loop {
            connection.lame_duck().await;
            // Only if another server can be reached: otherwise the connection is kept until it ends.
            while connection.reason().is_none() {
                if let Some(servers) = discover(client, settings).await {
                    use_servers(client, &servers).await;
                    let _ = client.force_reconnect().await;
                    break;
                }
                sleep(retry_delay()).await;
            }
        }
    };
    tokio::select! {
        never = refresh(client, settings, connection) => never,
        never = connection.confirm_subscriptions(client) => never,
        never = moving => never,
    }
}

/// Updates the library's list of servers at an interval, and logs it when it changes.
async fn refresh(client: &Client, settings: &NatsSettings, connection: &ConnectionStatus) -> std::convert::Infallible {
    let mut last = settings.servers.clone();
    loop {
        sleep(REFRESH_INTERVAL).await;
        let Some(servers) = discover(client, settings).await else { continue };
        use_servers(client, &servers).await;
        // Compared with the last list that was logged, not with the library's: that may have learnt of a server by itself.
        if !is_same_set(&last, &servers) {
            let shown: Vec<_> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
            tracing::info!(connection = connection.name(), "servers of the bus: {}", shown.join(", "));
            last = servers;
        }
    }
}

async fn use_servers(client: &Client, servers: &[ServerAddr]) {
    let Ok(pool) = client.server_pool().await else { return };
    let pool: Vec<_> = pool.into_iter().map(|server| server.addr).collect();
    if !is_same_set(&pool, servers)
        && let Err(error) = client.set_server_pool(servers).await
    {
        tracing::debug!(%error, "the servers of the bus could not be changed");
    }
}

fn is_same_set(some: &[ServerAddr], others: &[ServerAddr]) -> bool {
    some.len() == others.len() && some.iter().all(|server| others.contains(server))
}

/// The servers of the settings and those that a reachable server lists; `None` if no server can be reached.
async fn discover(client: &Client, settings: &NatsSettings) -> Option<Vec<ServerAddr>> {
    let options = basic_options(settings, "gecholog-broker servers").await.ok()?;
    let asked = options.connect(known(client, settings).await).await.ok()?;
    let listed = asked.server_info().connect_urls;
    let mut servers = settings.servers.clone();
    for server in listed.iter().filter_map(|url| url.parse().ok()) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    Some(servers)
}

/// All known servers, without user and password.
async fn known(client: &Client, settings: &NatsSettings) -> Vec<ServerAddr> {
    let pool = client.server_pool().await.unwrap_or_default();
    let pool = pool.into_iter().map(|server| server.addr);
    let others = pool.filter(|server| !settings.servers.contains(server));
    settings.servers.iter().cloned().chain(others).collect()
}
