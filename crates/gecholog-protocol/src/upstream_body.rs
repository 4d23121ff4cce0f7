//! Recognises answers that the gateway itself made, by their body.

/// The gateway's answer when it cannot reach the upstream (docs/gateway-protocol.md 4.7).
pub(crate) const GATEWAY_ERROR: &[u8] = br#"{"error":"failure making request"}"#;

/// Whether the gateway made an answer because it could not reach the upstream.
pub fn gateway_generated(body: &[u8]) -> bool {
    body.trim_ascii() == GATEWAY_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_error_is_known_by_its_text() {
        assert!(gateway_generated(b"{\"error\":\"failure making request\"}\n"));
        assert!(!gateway_generated(b"{}") && !gateway_generated(b""));
    }
}
