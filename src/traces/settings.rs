//! Where traces go and which: the standard variables of OpenTelemetry.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use opentelemetry::TraceId;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use crate::calls::context::ParentSpan;
use crate::nats::Secret;

/// Where traces go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The whole address, with its path. It carries no user and no password.
    pub endpoint: Uri,
    /// Certificate authorities besides the system's, a PEM file.
    pub authorities: Option<PathBuf>,
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// For one request, with its repetitions.
    pub timeout: Duration,
    /// What describes this process, `service.name` included.
    pub resource: Vec<(String, String)>,
    pub sampling: Sampling,
    /// Whether a client may say that its call is sampled: `BROKER_TRACE_SAMPLED=trust`.
    pub trusts_clients: bool,
    /// Whether prompts and answers are sent too: `BROKER_TRACE_CONTENT=full`.
    pub content: bool,
}

impl Settings {
    /// The address without its query, which may be a secret.
    pub(super) fn shown_endpoint(&self) -> String {
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}{}", self.endpoint.scheme_str().unwrap_or("http"), self.endpoint.path())
    }
}

/// Which calls are sent: `OTEL_TRACES_SAMPLER`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The share of the traces, 0 to 1. The same traces as of other programs with this share.
    pub ratio: f64,
    /// Where the client's word is trusted, it decides.
    pub by_parent: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { ratio: 1.0, by_parent: true }
    }
}

impl Sampling {
    /// Whether a call is sent. `parent`: the client's span, if its word is trusted.
    pub(super) fn takes(self, trace: TraceId, parent: Option<ParentSpan>) -> bool {
        if let Some(parent) = parent.filter(|_| self.by_parent) {
            return parent.sampled;
        }
        let sampler = Sampler::TraceIdRatioBased(self.ratio);
        let result = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_decides_only_where_it_is_trusted() {
        let trace = TraceId::from(1_u128 << 127 | u128::from(u64::MAX));
        let parent = |sampled| Some(ParentSpan { trace: 1, span: 1, sampled });
        let all = Sampling::default();
        assert!(all.takes(trace, None) && all.takes(trace, parent(true)) && !all.takes(trace, parent(false)));
        let none = Sampling { ratio: 0.0, by_parent: true };
        assert!(!none.takes(trace, None) && none.takes(trace, parent(true)));
        let ratio = Sampling { ratio: 0.0, by_parent: false };
        assert!(!ratio.takes(trace, parent(true)));
        let half = Sampling { ratio: 0.5, by_parent: true };
        let taken = (0..1_000_u64).filter(|number| half.takes(TraceId::from(u128::from(number << 54)), None)).count();
        assert!((400..600).contains(&taken), "{taken}");
    }
}
