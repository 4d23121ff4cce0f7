//! The settings of traces: the standard variables of OpenTelemetry.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use opentelemetry::TraceId;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use crate::calls::context::ParentSpan;
use crate::nats::Secret;

#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// The whole URL, with its path, but without user and password.
    pub endpoint: Uri,
    /// Certificate authorities besides the system's, a PEM file.
    pub authorities: Option<PathBuf>,
    /// Headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// Timeout of one request, with its retries.
    pub timeout: Duration,
    /// The resource attributes, `service.name` included.
    pub resource: Vec<(String, String)>,
    pub sampling: Sampling,
    /// Whether the sampled flag of a client decides: `BROKER_TRACE_SAMPLED=trust`.
    pub trusts_clients: bool,
    /// Whether prompts and answers are sent too: `BROKER_TRACE_CONTENT=full`.
    pub content: bool,
}

impl TraceSettings {
    /// The URL without its query, which may be secret.
    pub(super) fn shown_endpoint(&self) -> String {
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}{}", self.endpoint.scheme_str().unwrap_or("http"), self.endpoint.path())
    }
}

/// Which calls are sent: `OTEL_TRACES_SAMPLER`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The share of the traces, 0 to 1; the same traces as other programs with this share choose.
    pub ratio: f64,
    /// The client's flag decides where it is trusted.
    pub by_parent: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { ratio: 1.0, by_parent: true }
    }
}

impl Sampling {
    /// Whether a call is sent. `parent`: the client's span, if its sampled flag is trusted.
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
