//! `broker health`: asks the running process over HTTP, as a container's health check does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ureq::tls::TlsConfig;

const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

/// Asks at an address; the answer's first line.
///
/// Over TLS the certificate is not verified: this machine asks itself, by an address that is in few certificates, and sends
/// no secret.
///
/// # Errors
/// No answer, or not alive or ready.
pub fn ask(address: SocketAddr, tls: bool, ready: bool) -> anyhow::Result<String> {
    get(address, tls, if ready { "readyz" } else { "livez" })
}

/// What the broker of this machine answers at a path with 200. `path` may have a query.
///
/// # Errors
/// No answer, or another one.
pub(super) fn get(address: SocketAddr, tls: bool, path: &str) -> anyhow::Result<String> {
    let url = format!("{}://{address}/{path}", if tls { "https" } else { "http" });
    let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder().disable_verification(true).unversioned_rustls_crypto_provider(provider);
    // A proxy of the environment is for targets.
    let agent = agent.tls_config(tls.build()).proxy(None).build();
    let mut response = ureq::Agent::new_with_config(agent).get(&url).call().with_context(|| {
        format!("no answer from {url}: does a broker run on this machine, and is BROKER_HTTP the same for both?")
    })?;
    let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().unwrap_or_default();
    let text = text.trim().to_owned();
    if response.status() == 200 { Ok(text) } else { bail!("{url} says {}: {text}", response.status()) }
}
