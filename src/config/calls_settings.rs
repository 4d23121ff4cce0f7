//! The settings of finished calls: their memory, their file, the header of trace ids; and where the broker of this machine
//! listens.

use std::net::SocketAddr;
use std::path::Path;

use hyper::header::HeaderName;

use super::Fault;
use super::check::Resolver;
use super::raw::Sources;
use crate::calls::{self, file};

/// The HTTP address of the broker of this machine and whether it uses TLS, if there is no bus over which it can be reached.
///
/// # Errors
/// The faults of the settings of bus and HTTP.
pub fn http_without_bus(sources: Sources) -> Result<Option<(SocketAddr, bool)>, Vec<Fault>> {
    let mut check = Resolver { sources, faults: Vec::new() };
    check.telemetry();
    let bus = check.bus();
    let address = if bus { None } else { check.http().probe_address() };
    if !bus && address.is_none() && check.faults.is_empty() {
        check.secret_fault("BROKER_HTTP", "is off and so is the bus (BROKER_BUS): no broker can be reached");
    }
    let found = address.map(|address| (address, check.has_tls()));
    if check.faults.is_empty() { Ok(found) } else { Err(check.faults) }
}

impl Resolver {
    pub(super) fn calls(&mut self) -> calls::CallSettings {
        let mut settings = calls::CallSettings { trace_header: self.trace_header(), ..calls::CallSettings::default() };
        let recent = self.whole("BROKER_RECENT_CALLS", "MB", 1..=4_096);
        if let Some(mb) = recent {
            settings.recent_bytes = (mb as usize) << 20;
        }
        let size = self.whole("BROKER_CALLS_SIZE", "MB", 1..=1_048_576);
        let bytes = size.map_or(file::DEFAULT_BYTES, |mb| u64::from(mb) << 20);
        let written = self.get("BROKER_CALLS");
        if let Some(written) = &written
            && (written.value.trim().is_empty() || written.value.ends_with('/'))
        {
            self.fault(written, "must be a file, such as /var/log/broker/calls.jsonl");
        } else if let Some(written) = &written
            && file::is_symbolic_link(Path::new(&written.value))
        {
            self.fault(written, file::SYMBOLIC_LINK);
        }
        settings.file = written.map(|written| file::CallFileSettings { path: written.value.into(), bytes });
        settings
    }

    /// The configured header of trace ids, in lower case.
    pub(super) fn trace_header(&mut self) -> String {
        let Some(written) = self.get("BROKER_TRACE_HEADER") else {
            return calls::DEFAULT_HEADER.to_owned();
        };
        let name = written.value.trim().parse::<HeaderName>().ok().map(|name| name.as_str().to_owned());
        if name.as_deref().is_none_or(is_secret) {
            self.fault(&written, "must be the name of a header whose value is not secret, such as X-Request-Id");
        }
        name.unwrap_or_default()
    }
}

/// Whether the values of a header are secret, and so must not be in records.
fn is_secret(name: &str) -> bool {
    let words = ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "key"];
    words.iter().any(|word| name.contains(word))
}
