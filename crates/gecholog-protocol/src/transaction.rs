//! The gateway's transaction ids: `<GATEWAY>_<nanoseconds>_<count>_<n>` (docs/gateway-protocol.md 2.5).
//!
//! With `n` = 0 the gateway made the whole id when it received the request, so it contains that time. With any other `n` the
//! client sent the session, and the number tells nothing about this request.

use types::time::GatewayTime;

/// Whether a text has the form of a transaction id.
pub fn is_id(text: &str) -> bool {
    parts(text).is_some()
}

/// The session of an id, with which all its ids begin, and the number of this one; `None` if the text is not an id, or the
/// number is impossibly large.
pub fn in_session(id: &str) -> Option<(&str, u32)> {
    let (_, n) = parts(id)?;
    Some((id.strip_suffix(n)?, n.parse().ok()?))
}

/// When the gateway received the request, if its id contains it.
pub fn started(id: &str) -> Option<GatewayTime> {
    let (nanos, n) = parts(id)?;
    if n == "0" { nanos.parse().ok().map(GatewayTime::from_nanos) } else { None }
}

/// The nanoseconds and the last number of an id.
fn parts(text: &str) -> Option<(&str, &str)> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (rest, n) = text.rsplit_once('_')?;
    let (rest, count) = rest.rsplit_once('_')?;
    let (gateway, nanos) = rest.rsplit_once('_')?;
    let named = !gateway.is_empty() && gateway.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    (named && digits(n) && digits(count) && digits(nanos)).then_some((nanos, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_session_differ_in_their_number() {
        assert_eq!(in_session("LAB00002_1795324897644499599_2_0"), Some(("LAB00002_1795324897644499599_2_", 0)));
        assert_eq!(in_session("LAB00002_1795324897644499599_2_12"), Some(("LAB00002_1795324897644499599_2_", 12)));
        for none in ["", "mine", "LAB00002_1_2", "LAB00002_1_2_x", "LAB00002_1_2_99999999999"] {
            assert_eq!(in_session(none), None, "{none}");
        }
    }

    #[test]
    fn only_a_fresh_id_carries_its_start() {
        let nanos = GatewayTime::from_nanos(1_795_324_897_644_499_599);
        assert_eq!(started("LAB00002_1795324897644499599_2_0"), Some(nanos));
        assert_eq!(started("LAB00002_1795324897644499599_2_1"), None, "a continued session");
        assert_eq!(started("LAB00002_99999999999999999999999_2_0"), None, "no 64-bit number");
    }

    #[test]
    fn the_form_of_an_id() {
        for id in ["ZZ_1_1_0", "LAB00002_1700000000000000000_5_3"] {
            assert!(is_id(id), "{id}");
        }
        for text in ["", "not-a-session", "_1_1_0", "ab_1_1_0", "A_1_1", "A_1_x_0", "A__1_0", "A_B_1_1_0", "A_1_1_"] {
            assert!(!is_id(text), "{text}");
        }
    }
}
