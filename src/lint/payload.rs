//! Payloads on the bus: a message over its maximum never reaches the broker, and the call is not balanced.

use super::{Finding, Linter};

/// The default limit of a bus, in words.
const MAXIMUM: &str = "1 MiB unless max_payload of the bus is set";

impl Linter<'_> {
    pub(super) fn payload(&mut self) {
        let config = self.config;
        let need = self.needs.body();
        let request = config.request.all().map(|one| (one.1, ["outbound_payload", "ingress_payload"], need.as_deref()));
        let response = config.response.all().map(|one| (one.1, ["inbound_payload", "egress_payload"], None));
        let ours: Vec<_> = request.chain(response).filter(|(one, _, _)| self.is_ours(one)).collect();
        for (one, fields, need) in ours {
            let visible = fields.map(|field| one.input.passes(field) == Some(true));
            let lost = format!(
                "a call whose message is larger than the limit of the bus ({MAXIMUM}) bypasses the broker; images make it that large"
            );
            let [first, second] = fields;
            let finding = match (visible, need) {
                ([false, false], _) => continue,
                (_, None) => Finding::warning(
                    "payload-unneeded",
                    &one.place,
                    format!("sees a payload that the broker does not need: {lost}"),
                    format!(
                        "leave {first} and {second} out of its input_fields_include (an empty one means everything)"
                    ),
                ),
                ([true, true], Some(_)) => Finding::warning(
                    "payload-twice",
                    &one.place,
                    format!("sees the payload twice: {lost}"),
                    format!("leave {second} out of its input_fields_include (an empty one means everything)"),
                ),
                (_, Some(need)) => Finding::warning(
                    "payload-size",
                    &one.place,
                    format!("sees the payload, since {need}: {lost}, and goes to the ingress router as it is"),
                    "raise max_payload of the bus if calls are larger than that",
                ),
            };
            self.find([finding]);
        }
    }
}
