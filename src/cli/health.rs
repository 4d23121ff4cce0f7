//! `broker health`: asks the running process over HTTP, as a container's health check does.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks at an address; the answer's first line.
///
/// # Errors
/// No answer, or not alive or ready.
pub fn ask(address: SocketAddr, ready: bool) -> anyhow::Result<String> {
    let path = if ready { "readyz" } else { "livez" };
    let url = format!("http://{address}/{path}");
    let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
    let mut response = ureq::Agent::new_with_config(agent).get(&url).call().with_context(|| {
        format!("no answer from {url}: does a broker run on this machine, and is BROKER_HTTP the same for both?")
    })?;
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let text = text.trim().to_owned();
    if response.status() == 200 { Ok(text) } else { bail!("{url} says {}: {text}", response.status()) }
}
