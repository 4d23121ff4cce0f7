//! Shared by all tests: a bus, brokers, a gateway, and their messages.
//!
//! All of it is real and ends on drop. Nothing here sleeps where something can be awaited.

pub(crate) mod broker;
pub(crate) mod bus;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod pools;
pub(crate) mod scripted;
pub(crate) mod tls;
pub(crate) mod tool;
pub(crate) mod upstream;

use std::future::Future;
use std::time::Duration;

pub(crate) use broker::{Broker, ProcessOutput, Setup};
pub(crate) use bus::{Bus, TOKEN};
pub(crate) use gateway::{Gateway, Llms};
pub(crate) use messages::{Log, chosen, outcome, sentinel};
pub(crate) use pools::PoolsFile;

/// Longer than anything takes, on a machine that is busy with other things too.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const DECIDE: &str = "coburn.gl.broker";
pub(crate) const APPLY: &str = "coburn.gl.broker.apply";
pub(crate) const OUTCOME: &str = "coburn.gl.broker.outcome";
pub(crate) const LOGGER: &str = "coburn.gl.logger";

pub(crate) const GPT35: &str = "/azure/gpt35turbo/";
pub(crate) const GPT4: &str = "/azure/gpt4/";
pub(crate) const DUD: &str = "/azure/dud/";

/// The request that the shipped configuration sends for a call of the ingress.
pub(crate) const REQUEST: &str = r#"{"gl_path":"/azure/"}"#;

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TEST_TIMEOUT, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
