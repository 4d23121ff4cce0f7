//! The usage of a long answer that passed by: vendors write it behind what is long, so the last bytes have it.

use crate::json::{Cursor, RawJson};
use crate::prices::ServiceTier;
use crate::usage::{Usage, of_object};

/// So many of the last bytes are enough: a usage has some hundred.
pub(crate) const TAIL_BYTES: usize = 4 << 10;

/// The names under which answers have their usage.
const NAMES: [&[u8]; 2] = [b"\"usage\"", b"\"usageMetadata\""];
/// The name under which OpenAI's answers have their tier, behind the usage.
const TIER: &[u8] = b"\"service_tier\"";

/// The last bytes of an answer, as it passes by.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// A part of it came.
    pub fn push(&mut self, part: &[u8]) {
        let part = part.get(part.len().saturating_sub(TAIL_BYTES)..).unwrap_or(part);
        let kept = TAIL_BYTES.saturating_sub(part.len()).min(self.0.len());
        self.0.drain(..self.0.len() - kept);
        self.0.extend_from_slice(part);
    }

    /// The last usage in it that can be believed. A text that speaks of usages has no such name: its quotes are escaped.
    pub fn usage(&self) -> Option<Usage> {
        let usage = NAMES.into_iter().find_map(|name| {
            let object = self.last(name).filter(|value| value.is_object())?;
            of_object(object.bytes()).ok()?
        })?;
        let tier = self.last(TIER).and_then(RawJson::text);
        let service_tier = tier.map_or(usage.service_tier, |name| ServiceTier::of_answer(&name));
        Some(Usage { service_tier, ..usage })
    }

    /// The value behind a name, where that comes last.
    fn last(&self, name: &[u8]) -> Option<RawJson<'_>> {
        let place = self.0.windows(name.len()).rposition(|bytes| bytes == name)?;
        let is_escaped = place.checked_sub(1).is_some_and(|before| self.0.get(before) == Some(&b'\\'));
        let value = self.0.get(place + name.len()..)?.trim_ascii_start().strip_prefix(b":")?;
        Cursor::new(value).raw().ok().filter(|_| !is_escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&str]) -> Option<u64> {
        let mut tail = Tail::default();
        parts.iter().for_each(|part| tail.push(part.as_bytes()));
        tail.usage().map(|usage| usage.input())
    }

    #[test]
    fn the_usage_at_the_end_is_found_however_the_answer_is_cut() {
        let long = format!(
            "{{\"data\":[{}0.5],\"usage\":{{\"prompt_tokens\":7,\"total_tokens\":7}}}}",
            "0.25,".repeat(20_000)
        );
        assert_eq!(of(&[&long]), Some(7));
        for cut in [1, 3, 90, 5_000, 60_000] {
            let parts: Vec<_> = long.as_bytes().chunks(cut).map(|part| std::str::from_utf8(part).unwrap()).collect();
            assert_eq!(of(&parts), Some(7), "parts of {cut}");
        }
        assert_eq!(of(&[r#"{"candidates":[],"usageMetadata" : {"promptTokenCount":3}}"#]), Some(3));
        let mut tail = Tail::default();
        tail.push(long.as_bytes());
        assert_eq!(tail.0.len(), TAIL_BYTES);
        tail.push(br#", "service_tier": "flex"}"#);
        assert_eq!(tail.usage().map(|usage| usage.service_tier), Some(ServiceTier::Flex));
    }

    #[test]
    fn what_a_text_says_is_no_usage() {
        for text in [
            r#"{"content":"say \"usage\":{\"prompt_tokens\":5}"}"#,
            r#"{"usage":"none"}"#,
            r#"{"usage":{"prompt_tokens":-5}}"#,
            r#"{"usage":{"prompt_tokens":5"#,
            "",
        ] {
            assert_eq!(of(&[text]), None, "{text}");
        }
    }
}
