//! Keys and conditions that are the same for all clients (docs/gateway-protocol.md 2.4, 2.5).

use super::{Finding, Linter, not};
use balancer::strategy::Field;
use gecholog_protocol::gl_config::canonical;

/// The header in which the broker finds the session.
const SESSION: &str = "Session-Id";

impl Linter<'_> {
    pub(super) fn fields(&mut self) {
        let config = self.config;
        for (ingress, field) in self.asked() {
            let header = match &field {
                Field::Header(name) => canonical(name),
                Field::Session => SESSION.to_owned(),
                Field::Param(_) | Field::Path => continue,
            };
            let place = format!("pool {ingress}, {field}");
            let reason = format!(
                "{header} is in masked_headers: the broker sees the same stars for every client, and all go to one router"
            );
            let fix = format!("use a header that is not masked, or take {header} out of masked_headers");
            self.find(Finding::error("masked-field", &place, reason, fix).when(config.masked.has(&header)));
            if field == Field::Session {
                let reason = format!(
                    "the gateway carries sessions in {} and not in {SESSION}, where the broker reads them",
                    config.session_header
                );
                let finding = Finding::error(
                    "session-header",
                    &place,
                    reason,
                    format!("write \"session_id_header\": \"{SESSION}\""),
                );
                let same = config.session_header.value().map(|name| canonical(name) == SESSION);
                self.find(finding.when(not(same)));
            }
        }
    }

    fn asked(&self) -> Vec<(String, Field)> {
        let pools = self.needs.pools.iter();
        pools
            .flat_map(|(ingress, pool)| pool.fields.iter().map(|field| (ingress.to_string(), Field::clone(field))))
            .collect()
    }
}
