//! The settings of the relay: its address, the gateway's, and its limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::Resolver;
use super::{Fault, secret};
use crate::relay;
use balancer::broker;

/// Pools that are not served, because the relay is off.
pub(super) fn idle(relay: &relay::RelaySettings, broker: &broker::BrokerSettings) -> Option<Fault> {
    let pool = broker.pools.iter().find(|pool| broker.relayed.contains(&pool.ingress))?;
    let problem = "only the relay serves it, and the relay is off: set BROKER_RELAY, such as 0.0.0.0:5390";
    relay.listen.is_none().then(|| Fault::new(format!("pool {}", pool.ingress), problem))
}

/// Entries of `NO_PROXY` that match nothing. The variable is that of all programs, and so they are no faults.
pub(super) fn idle_no_proxy(proxy: &relay::Proxy) -> impl Iterator<Item = Fault> {
    let problem = "matches no host here: it must be a host, a domain, *.example.com, an address, a network such as 10.1.0.0/16, \
                   each with a port or without, or * alone";
    proxy.idle_entries().map(move |entry| Fault {
        place: "NO_PROXY".to_owned(),
        // There may be a password before an @.
        value: secret::shown(entry.to_owned()).filter(|_| !entry.contains('@')),
        problem: problem.to_owned(),
    })
}

impl Resolver {
    pub(super) fn relay(&mut self, rules: relay::RelayRules) -> relay::RelaySettings {
        let listen = self.get("BROKER_RELAY").and_then(|written| match written.value.trim() {
            "off" => None,
            address => {
                let address = address.parse().ok();
                if address.is_none() {
                    self.fault(&written, "must be an address with a port, such as 0.0.0.0:5390, or off");
                }
                address
            }
        });
        let gateway = self.gateway();
        relay::RelaySettings {
            listen,
            proxy: relay::Proxy::default(),
            gateway,
            authorities: self.file("BROKER_RELAY_CA"),
            rules,
            limits: self.limits(),
            cors: self.cors(),
        }
    }

    fn cors(&mut self) -> Option<relay::AllowedOrigins> {
        let written = self.get("BROKER_CORS")?;
        let origins = written.value.parse::<relay::AllowedOrigins>();
        origins.map_err(|fault| self.fault(&written, fault.to_string())).ok()
    }

    fn limits(&mut self) -> relay::RelayLimits {
        let mut limits = relay::RelayLimits::default();
        if let Some(calls) = self.whole("BROKER_RELAY_CALLS", "calls", 1..=100_000) {
            limits.calls = calls as usize;
            limits.connections = limits.calls * 2;
        }
        if let Some(mb) = self.whole("BROKER_RELAY_BODY", "MB", 1..=1_024) {
            limits.body = (mb as usize) << 20;
            // Otherwise the largest body would always get 503.
            limits.bodies = limits.bodies.max(relay::RelayLimits::for_one_body(limits.body));
        }
        if let Some(seconds) = self.whole("BROKER_RELAY_PATIENCE", "seconds", 1..=3_600) {
            limits.client_io_timeout = Duration::from_secs(seconds.into());
        }
        if let Some(seconds) = self.whole("BROKER_RELAY_GRACE", "seconds", 0..=3_600) {
            limits.grace = Duration::from_secs(seconds.into());
        }
        limits
    }

    /// A whole number of these in this range.
    pub(super) fn whole(&mut self, name: &str, unit: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let written = self.get(name)?;
        let number = written.value.trim().parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(
                &written,
                format!("must be a whole number of {unit}, from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    /// The proxy for targets and for the collector of traces, from the variables that other programs read too, in either case.
    pub(super) fn proxy(&mut self, gateway: &relay::Base) -> relay::Proxy {
        let [https, http] = [["HTTPS_PROXY", "https_proxy"], ["HTTP_PROXY", "http_proxy"]].map(|names| {
            let written = self.variable(names)?;
            // It may carry a password.
            let checked = relay::Proxy::check(&written.value);
            checked.map_err(|fault| self.secret_fault(&written.place, fault.to_string())).ok()?;
            Some(written.value)
        });
        let no_proxy = self.variable(["NO_PROXY", "no_proxy"]).map(|written| written.value);
        let [https, http, no_proxy] = [https, http, no_proxy].map(Option::unwrap_or_default);
        relay::Proxy::new(&https, &http, &no_proxy, gateway)
    }

    /// The gateway's URL: by default on the host of the bus.
    fn gateway(&mut self) -> relay::Base {
        if let Some(written) = self.get("BROKER_GATEWAY") {
            match written.value.parse() {
                Ok(base) => return base,
                // There may be a password before an @.
                Err(fault) => self.secret_fault(&written.place, fault.to_string()),
            }
        }
        let written = self.get("GECHOLOG_HOST");
        let bus = written.and_then(|written| format!("http://{}", written.value.trim()).parse::<relay::Base>().ok());
        bus.map_or_else(relay::Base::default, |bus| bus.on_port(relay::GATEWAY_PORT))
    }
}
