//! The trace ids of a call: the ids that its client gives it, by which it can be found.
//!
//! The trace id of `traceparent` (W3C Trace Context, level 1), `X-Trace-Id`, `x-portkey-trace-id`, and the header of
//! `BROKER_TRACE_HEADER`. A value that is not printable ASCII is ignored; one longer than [`MAX_ID_BYTES`] is cut.

use super::context::ParentSpan;

/// The header of trace ids in requests and answers.
pub const DEFAULT_HEADER: &str = "x-trace-id";
const TRACEPARENT: &str = "traceparent";
const PORTKEY: &str = "x-portkey-trace-id";
/// The longest id, in bytes.
pub(super) const MAX_ID_BYTES: usize = 128;

/// The ids of one call. The first one is returned to the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceIds {
    ids: Vec<String>,
    parent: Option<ParentSpan>,
}

impl TraceIds {
    /// The ids in the headers of a request. `value` finds a header by its name in lower case; `configured` is one more.
    pub fn from_headers<'a>(configured: &str, value: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let mut found = Self::default();
        let mut names = vec![DEFAULT_HEADER, PORTKEY];
        if !names.contains(&configured) && configured != TRACEPARENT {
            names.push(configured);
        }
        names.into_iter().filter_map(&value).filter_map(id).for_each(|id| found.add(id));
        found.parent = value(TRACEPARENT).and_then(parent);
        if let Some(parent) = found.parent {
            found.add(format!("{:032x}", parent.trace));
        }
        found
    }

    /// The name of a header that [`Self::from_headers`] looks for, in lower case; `None` of any other.
    pub fn header<'a>(configured: &'a str, name: &str) -> Option<&'a str> {
        [DEFAULT_HEADER, PORTKEY, TRACEPARENT, configured].into_iter().find(|known| known.eq_ignore_ascii_case(name))
    }

    /// The same ids, or one derived from the call's own id if there are none.
    #[must_use]
    pub fn or_made(mut self, call: &str) -> Self {
        if self.ids.is_empty() {
            self.ids.push(made(call));
        }
        self
    }

    fn add(&mut self, id: String) {
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    /// The id that is returned to the client.
    pub fn first(&self) -> Option<&str> {
        self.ids.first().map(String::as_str)
    }

    /// The client's span.
    pub const fn parent(&self) -> Option<ParentSpan> {
        self.parent
    }

    pub fn all(&self) -> &[String] {
        &self.ids
    }

    pub fn into_vec(self) -> Vec<String> {
        self.ids
    }
}

/// As the value of a filter is compared with ids: cut as they are.
pub(super) fn searched(text: &str) -> Option<String> {
    id(text.as_bytes())
}

fn id(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let plain = !value.is_empty() && value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let kept = value.get(..MAX_ID_BYTES).unwrap_or(value);
    plain.then(|| String::from_utf8_lossy(kept).into_owned())
}

/// Parses a `traceparent`: `00-<32 digits>-<16 digits>-<2 digits>`; those of later versions may be longer.
fn parent(value: &[u8]) -> Option<ParentSpan> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && (version != "00" || parts.next().is_none());
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| is_valid && *trace != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    Some(ParentSpan { trace, span, sampled })
}

/// A trace id in W3C's form, derived from the session of a call, so that its log entries and its trace can be matched.
fn made(session: &str) -> String {
    format!("{:032x}", made_trace(session))
}

/// The trace under which a call without a `traceparent` is exported.
pub fn made_trace(session: &str) -> u128 {
    u128::from(hashed(0, session)) << 64 | u128::from(hashed(1, session))
}

/// Parses a trace id in W3C's form.
pub(super) fn trace_number(text: &str) -> Option<u128> {
    let is_one = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(text, 16).ok().filter(|_| is_one)
}

/// A hash of a text, never 0. Files keep it and are searched for it, so it must stay the same in every version.
pub fn hashed(salt: u8, text: &str) -> u64 {
    balancer::strategy::hash(&format!("{salt}{text}")).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(headers: &[(&str, &str)]) -> Vec<String> {
        let value = |name: &str| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes());
        TraceIds::from_headers("x-request-id", value).into_vec()
    }

    #[test]
    fn every_header_gives_a_search_key_once() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of(&[]), Vec::<String>::new());
        assert_eq!(of(&[("traceparent", PARENT)]), [trace]);
        let all = [("traceparent", PARENT), ("x-portkey-trace-id", "b"), ("x-trace-id", " a "), ("x-request-id", "c")];
        assert_eq!(of(&all), ["a", "b", "c", trace]);
        assert_eq!(of(&[("x-trace-id", "a"), ("x-request-id", "a")]), ["a"]);
    }

    #[test]
    fn what_is_no_id_is_none_and_long_ones_are_cut() {
        for value in ["", "  ", "ä", "a\tb", "a\u{7f}"] {
            assert_eq!(of(&[("x-trace-id", value)]), Vec::<String>::new(), "{value:?}");
        }
        let long = "x".repeat(500);
        assert_eq!(of(&[("x-trace-id", &long)])[0].len(), MAX_ID_BYTES);
        assert_eq!(searched(&long).unwrap(), of(&[("x-trace-id", &long)])[0], "and found all the same");
    }

    #[test]
    fn only_a_valid_traceparent_has_a_trace() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let valid = [PARENT.to_owned(), format!("cc-{trace}-00f067aa0ba902b7-01-what-comes")];
        valid.iter().for_each(|parent| assert_eq!(of(&[("traceparent", parent)]), [trace], "{parent}"));
        for parent in [
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7"),
            "00-1-2-01".to_owned(),
        ] {
            assert_eq!(of(&[("traceparent", &parent)]), Vec::<String>::new(), "{parent}");
        }
    }

    #[test]
    fn the_clients_span_and_whether_it_records() {
        let parent =
            |text: &str| super::parent(text.as_bytes()).map(|parent| (parent.trace, parent.span, parent.sampled));
        assert_eq!(parent(PARENT), Some((0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, true)));
        assert_eq!(parent(&PARENT.replace("-01", "-02")).map(|(.., sampled)| sampled), Some(false));
    }

    #[test]
    fn an_id_is_made_where_none_came() {
        let made = TraceIds::default().or_made("X_1_0_0");
        assert_eq!((made.first().unwrap().len(), made.clone()), (32, TraceIds::default().or_made("X_1_0_0")));
        assert_eq!(made.first(), Some("fbecc41460692187067c78931fcc5bfb"), "files have it");
        assert_ne!(made, TraceIds::default().or_made("X_1_1_0"));
        let own = TraceIds { ids: vec!["a".to_owned()], parent: None };
        assert_eq!(own.clone().or_made("X_1_0_0"), own);
    }
}
