//! The settings of traces: the standard variables of OpenTelemetry, as far as they concern traces over HTTP.
//!
//! Without an endpoint, or with `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none`, there are no traces, and the other
//! variables are not validated: they may be meant for other programs.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::check::{Resolver, Sourced};
use crate::nats::Secret;
use crate::traces::{Sampling, TraceSettings};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const SERVICE_NAME: &str = "service.name";

impl Resolver {
    pub(super) fn traces(&mut self) -> Option<TraceSettings> {
        let disabled = self.get("OTEL_SDK_DISABLED");
        if disabled.is_some_and(|written| written.value.trim().eq_ignore_ascii_case("true")) {
            return None;
        }
        let exporter = self.get("OTEL_TRACES_EXPORTER");
        if exporter.as_ref().is_some_and(|written| written.value.trim() == "none") {
            return None;
        }
        let endpoint = self.endpoint()?;
        if let Some(exporter) = exporter.filter(|written| written.value.trim() != "otlp") {
            self.fault(&exporter, "must be otlp, or none for no traces");
        }
        let own = self.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
        let of_all = || self.get("OTEL_EXPORTER_OTLP_PROTOCOL");
        if let Some(protocol) = own.or_else(of_all).filter(|written| written.value.trim() != "http/protobuf") {
            self.fault(&protocol, "must be http/protobuf: traces are sent over HTTP only, usually to port 4318");
        }
        let timeout = self.whole("OTEL_EXPORTER_OTLP_TIMEOUT", "milliseconds", 1..=600_000);
        let trusts_clients = self.one_of("BROKER_TRACE_SAMPLED", &[("ignore", false), ("trust", true)]);
        let content = self.one_of("BROKER_TRACE_CONTENT", &[("off", false), ("full", true)]);
        Some(TraceSettings {
            endpoint: endpoint.unwrap_or_default(),
            authorities: self.file("OTEL_EXPORTER_OTLP_CERTIFICATE"),
            headers: self.trace_headers(),
            timeout: timeout.map_or(DEFAULT_TIMEOUT, |ms| Duration::from_millis(ms.into())),
            resource: self.resource(),
            sampling: self.sampling(),
            trusts_clients: trusts_clients.unwrap_or_default(),
            content: content.unwrap_or_default(),
        })
    }

    /// The endpoint of traces, if it is set; `Some(None)`: it is invalid.
    fn endpoint(&mut self) -> Option<Option<Uri>> {
        let own = self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let (written, address) = match own {
            Some(written) => (written.place.clone(), written.value.trim().to_owned()),
            None => {
                let base = self.get("OTEL_EXPORTER_OTLP_ENDPOINT")?;
                (base.place.clone(), format!("{}/v1/traces", base.value.trim().trim_end_matches('/')))
            }
        };
        let uri = address.parse::<Uri>().ok();
        let is_good = |uri: &Uri| {
            let host = uri.authority().is_some_and(|host| !host.as_str().contains('@') && !host.host().is_empty());
            host && matches!(uri.scheme_str(), Some("http" | "https"))
        };
        let uri = uri.filter(is_good);
        if uri.is_none() {
            // It may hold a password.
            self.secret_fault(
                &written,
                "must be a URL without user and password, such as http://collector:4318; keys go into OTEL_EXPORTER_OTLP_HEADERS",
            );
        }
        Some(uri)
    }

    fn trace_headers(&mut self) -> Vec<(String, Secret)> {
        let own = self.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS");
        let of_all = || self.get("OTEL_EXPORTER_OTLP_HEADERS");
        let Some(written) = own.or_else(of_all) else { return Vec::new() };
        let Some(pairs) = pairs(&written) else {
            self.secret_fault(&written.place, "must be name=value, separated by commas, values percent-encoded");
            return Vec::new();
        };
        let is_header = |(name, value): &(String, String)| {
            name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value).is_ok()
        };
        if !pairs.iter().all(is_header) {
            self.secret_fault(&written.place, "has a name or a value that no header can have");
        }
        pairs.into_iter().map(|(name, value)| (name, Secret(value))).collect()
    }

    /// The resource attributes. The name of the service wins over the attribute of that name, as OpenTelemetry specifies.
    fn resource(&mut self) -> Vec<(String, String)> {
        let mut resource = vec![("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        if let Some(written) = self.get("OTEL_RESOURCE_ATTRIBUTES") {
            match pairs(&written) {
                Some(pairs) => resource.extend(pairs),
                None => {
                    self.fault(&written, "must be name=value, separated by commas, such as deployment.environment=prod")
                }
            }
        }
        let name = self.get("OTEL_SERVICE_NAME").map(|written| written.value);
        let is_named = resource.iter().any(|(key, _)| key == SERVICE_NAME);
        if name.is_some() || !is_named {
            resource.retain(|(key, _)| key != SERVICE_NAME);
            resource.push((SERVICE_NAME.to_owned(), name.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())));
        }
        resource
    }

    fn sampling(&mut self) -> Sampling {
        let choices = [
            ("parentbased_always_on", (true, Some(1.0))),
            ("parentbased_always_off", (true, Some(0.0))),
            ("parentbased_traceidratio", (true, None)),
            ("always_on", (false, Some(1.0))),
            ("always_off", (false, Some(0.0))),
            ("traceidratio", (false, None)),
        ];
        let chosen = self.one_of("OTEL_TRACES_SAMPLER", &choices);
        let Some((by_parent, ratio)) = chosen else { return Sampling::default() };
        if let Some(ratio) = ratio {
            return Sampling { ratio, by_parent };
        }
        let Some(written) = self.get("OTEL_TRACES_SAMPLER_ARG") else {
            return Sampling { ratio: 1.0, by_parent };
        };
        let ratio = written.value.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        if ratio.is_none() {
            self.fault(&written, "must be a share from 0 to 1, such as 0.1");
        }
        Sampling { ratio: ratio.unwrap_or(1.0), by_parent }
    }
}

/// Pairs in the form of W3C's baggage: `name=value`, separated by commas, values percent-encoded.
fn pairs(written: &Sourced) -> Option<Vec<(String, String)>> {
    let parts = written.value.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let name = name.trim();
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{RawSettings, Sources, resolve};
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let resolved = resolve(Sources::new(variables, RawSettings::default())).config;
        resolved.map(|config| config.traces).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://cloud.langfuse.com/api/public/otel/");

    #[test]
    fn without_an_endpoint_there_are_no_traces() {
        let rest = [("OTEL_EXPORTER_OTLP_HEADERS", "nonsense"), ("OTEL_TRACES_SAMPLER", "nonsense")];
        assert_eq!(with(&rest), Ok(None));
        assert_eq!(with(&[ON, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert!(with(&[ON, ("OTEL_SDK_DISABLED", "false")]).unwrap().is_some());
        assert_eq!(with(&[ON, ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_SAMPLER", "nonsense")]), Ok(None));
        assert!(with(&[ON, ("OTEL_TRACES_EXPORTER", "otlp")]).unwrap().is_some());
    }

    #[test]
    fn the_variables_of_traces_alone_replace_those_of_all_signals() {
        let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "a=1"), ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=2")];
        let settings = with(&[ON, headers[0], headers[1]]).unwrap().unwrap();
        assert_eq!(settings.headers, [("b".to_owned(), Secret("2".to_owned()))]);
        let protocol =
            |own| with(&[ON, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", own)]);
        assert!(protocol("http/protobuf").unwrap().is_some());
        let faults = protocol("grpc").unwrap_err();
        assert!(
            faults[0].starts_with("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=\"grpc\": must be http/protobuf"),
            "{faults:?}"
        );
        let faults = with(&[ON, ("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err();
        assert!(faults[0].starts_with("OTEL_TRACES_EXPORTER=\"zipkin\": must be otlp"), "{faults:?}");
    }

    #[test]
    fn the_standard_variables() {
        let settings = with(&[
            ON,
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20cGs6c2s=, x-langfuse-ingestion-version=4"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod,service.name=other"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("BROKER_TRACE_SAMPLED", "trust"),
            ("BROKER_TRACE_CONTENT", "full"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint.to_string(), "https://cloud.langfuse.com/api/public/otel/v1/traces");
        let headers: Vec<_> = settings.headers.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
        assert_eq!(headers, [("Authorization", "Basic cGs6c2s="), ("x-langfuse-ingestion-version", "4")]);
        assert!(!format!("{settings:?}").contains("cGs6"), "{settings:?}");
        assert_eq!(settings.timeout, Duration::from_millis(2_500));
        let named = |key: &str| {
            settings.resource.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(named(SERVICE_NAME), ["mine"]);
        assert_eq!(named("deployment.environment"), ["prod"]);
        assert_eq!((settings.sampling, settings.trusts_clients), (Sampling { ratio: 0.25, by_parent: false }, true));
        assert!(settings.content && !with(&[ON]).unwrap().unwrap().content, "off by default");
        let own = with(&[ON, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://jaeger:4318/own")]).unwrap().unwrap();
        assert_eq!(own.endpoint.to_string(), "http://jaeger:4318/own", "as it is");
        assert_eq!(own.sampling, Sampling::default());
    }

    #[test]
    fn every_fault_is_said_and_no_secret() {
        let faults = with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@collector:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization s3cret"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_RESOURCE_ATTRIBUTES", "prod"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("BROKER_TRACE_SAMPLED", "yes"),
            ("BROKER_TRACE_CONTENT", "yes"),
        ]);
        let faults = faults.unwrap_err();
        assert_eq!(faults.len(), 9, "{faults:?}");
        assert!(!faults.concat().contains("s3cret"), "{faults:?}");
        for address in ["collector:4318", "grpc://collector", "http://", "/v1/traces"] {
            assert!(with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", address)]).is_err(), "{address}");
        }
        let sampler = [ON, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert_eq!(with(&sampler).unwrap_err().len(), 1);
    }
}
