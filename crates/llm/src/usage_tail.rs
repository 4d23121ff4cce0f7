//! The usage of a long answer that passed by: vendors write it behind what is long, so the last bytes have it.

use crate::frame_usage::FrameUsage;
use crate::headers::AnswerHeaders;
use crate::json::{Cursor, RawJson};
use crate::prices::ServiceTier;
use crate::usage::{InvalidUsage, Usage, of_object};

/// So many of the last bytes are enough: a usage has some hundred.
pub(crate) const TAIL_BYTES: usize = 4 << 10;

/// The names under which answers have their usage.
const NAMES: [&[u8]; 2] = [b"\"usage\"", b"\"usageMetadata\""];
/// The name under which OpenAI's answers have their tier, behind the usage.
const TIER: &[u8] = b"\"service_tier\"";

/// What is kept of an answer that passes by: its last bytes, or, of a stream in AWS's frames, what those say.
#[derive(Debug, Default)]
pub struct Tail {
    last: Vec<u8>,
    frames: Option<Box<FrameUsage>>,
}

impl Tail {
    /// Of an answer with these headers.
    pub fn new(headers: &AnswerHeaders<'_>) -> Self {
        Self { last: Vec::new(), frames: headers.is_framed().then(Box::default) }
    }

    /// A part of it came.
    pub fn push(&mut self, part: &[u8]) {
        if let Some(frames) = &mut self.frames {
            return frames.push(part);
        }
        let part = part.get(part.len().saturating_sub(TAIL_BYTES)..).unwrap_or(part);
        let kept = TAIL_BYTES.saturating_sub(part.len()).min(self.last.len());
        self.last.drain(..self.last.len() - kept);
        self.last.extend_from_slice(part);
    }

    /// The last usage in it, or, of frames that were not counted to their end, an estimate. A text that speaks of usages has no
    /// name of one: its quotes are escaped. `request_bytes` is the length of the request's body.
    ///
    /// # Errors
    /// It cannot be believed.
    pub fn usage(&mut self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        if let Some(frames) = &mut self.frames {
            return frames.usage_or_estimate(request_bytes);
        }
        let mut used = NAMES.into_iter().map(|name| self.last(name).map_or(Ok(None), |usage| of_object(usage.bytes())));
        let (first, second) = (used.next().unwrap_or(Ok(None)), used.next().unwrap_or(Ok(None)));
        // Arguments of a tool may have one of the names too.
        let used = if matches!(first, Ok(Some(_))) || second == Ok(None) { first } else { second };
        let tier = self.last(TIER).and_then(RawJson::text);
        Ok(used?.map(|usage| {
            let service_tier = tier.map_or(usage.service_tier, |name| ServiceTier::of_answer(&name));
            Usage { service_tier, ..usage }
        }))
    }

    /// The value behind a name, where that comes last.
    fn last(&self, name: &[u8]) -> Option<RawJson<'_>> {
        let place = self.last.windows(name.len()).rposition(|bytes| bytes == name)?;
        let is_escaped = place.checked_sub(1).is_some_and(|before| self.last.get(before) == Some(&b'\\'));
        let value = self.last.get(place + name.len()..)?.trim_ascii_start().strip_prefix(b":")?;
        Cursor::new(value).raw().ok().filter(|_| !is_escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&str]) -> Option<u64> {
        let mut tail = Tail::default();
        parts.iter().for_each(|part| tail.push(part.as_bytes()));
        tail.usage(0).unwrap().map(|usage| usage.input())
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
        assert_eq!(tail.last.len(), TAIL_BYTES);
        tail.push(br#", "service_tier": "flex"}"#);
        assert_eq!(tail.usage(0).unwrap().map(|usage| usage.service_tier), Some(ServiceTier::Flex));
    }

    #[test]
    fn what_a_text_says_is_no_usage() {
        for text in [r#"{"content":"say \"usage\":{\"prompt_tokens\":5}"}"#, r#"{"usage":{"prompt_tokens":5"#, ""] {
            assert_eq!(of(&[text]), None, "{text}");
        }
    }

    #[test]
    fn a_usage_that_cannot_be_believed_is_an_error_unless_another_one_can() {
        let of = |text: &str| {
            let mut tail = Tail::default();
            tail.push(text.as_bytes());
            tail.usage(0).map(|usage| usage.map(|usage| usage.input()))
        };
        for text in [
            r#"{"usage":"none"}"#,
            r#"{"usage":{"prompt_tokens":-5}}"#,
            r#"{"usage":{}}"#,
            r#"{"usageMetadata":{"promptTokenCount":"3"}}"#,
            r#"{"usageMetadata":{"promptTokenCount":1e30}}"#,
        ] {
            assert!(of(text).is_err(), "{text}");
        }
        assert_eq!(of(r#"{"usage":null}"#), Ok(None));
        let tool = r#"{"args":{"usage":"monthly"}},"usageMetadata":{"promptTokenCount":3}}"#;
        assert_eq!(of(tool), Ok(Some(3)));
    }
}
