//! The usage of a long answer that passed by: vendors write it behind what is long, so the last bytes have it.

use crate::headers::AnswerHeaders;
use crate::json::{Cursor, RawJson};
use crate::prices::ServiceTier;
use crate::protocol::Protocol;
use crate::stream::StreamState;
use crate::usage::{InvalidUsage, TokenCounts, Usage, of_object};

/// So many of the last bytes are enough: a usage has some hundred.
pub(crate) const TAIL_BYTES: usize = 4 << 10;

/// The names under which answers have their usage.
const NAMES: [&[u8]; 2] = [b"\"usage\"", b"\"usageMetadata\""];
/// The names of Ollama's numbers, which stand behind a context that can be long.
const BARE: [(&[u8], &[u8]); 2] =
    [(b"\"prompt_eval_count\"", b"prompt_eval_count"), (b"\"eval_count\"", b"eval_count")];
/// The name under which OpenAI's answers have their tier, behind the usage.
const TIER: &[u8] = b"\"service_tier\"";

/// What is kept of an answer that passes by: its last bytes, or, of a stream in AWS's frames or of lines of JSON, what those say.
#[derive(Debug, Default)]
pub struct Tail {
    last: Vec<u8>,
    objects: Option<Box<StreamState>>,
    /// What its headers say.
    stated: Option<Result<Usage, InvalidUsage>>,
}

impl Tail {
    /// Of an answer with these headers.
    pub fn new(headers: &AnswerHeaders<'_>) -> Self {
        let objects = (!headers.is_event_stream()).then(|| StreamState::of_answer(Protocol::Generic, headers, false));
        let objects = objects.flatten().map(Box::new);
        Self { last: Vec::new(), objects, stated: headers.usage().transpose() }
    }

    /// A part of it came.
    pub fn push(&mut self, part: &[u8]) {
        if let Some(objects) = &mut self.objects {
            objects.push(part);
            return;
        }
        let part = part.get(part.len().saturating_sub(TAIL_BYTES)..).unwrap_or(part);
        let kept = TAIL_BYTES.saturating_sub(part.len()).min(self.last.len());
        self.last.drain(..self.last.len() - kept);
        self.last.extend_from_slice(part);
    }

    /// The last usage in it, else that of its headers; of frames or lines that were not counted to their end, an estimate. A text that
    /// speaks of usages has no name of one: its quotes are escaped. `request_bytes` is the length of the request's body.
    ///
    /// # Errors
    /// It cannot be believed.
    pub fn usage(&mut self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        let counted = match &mut self.objects {
            Some(objects) => {
                objects.finish();
                objects.usage_or_estimate(request_bytes)
            }
            None => self.last_usage(),
        };
        counted?.map_or_else(|| self.stated.transpose(), |usage| Ok(Some(usage)))
    }

    fn last_usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        let [first, second] = NAMES.map(|name| self.last(name).map_or(Ok(None), |usage| of_object(usage.bytes())));
        // Arguments of a tool may have one of the names too.
        let used = if matches!(first, Ok(Some(_))) || second == Ok(None) { first } else { second };
        let used = if used == Ok(None) { self.bare_usage() } else { used };
        let tier = self.last(TIER).and_then(RawJson::text);
        Ok(used?.map(|usage| {
            let service_tier = tier.map_or(usage.service_tier, |name| ServiceTier::of_answer(&name));
            Usage { service_tier, ..usage }
        }))
    }

    fn bare_usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        let mut counts = TokenCounts::default();
        for (quoted, name) in BARE {
            if let Some(value) = self.last(quoted) {
                counts.bare_field(name, value);
            }
        }
        counts.usage()
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
        let context = vec!["12345"; 20_000].join(",");
        let ollama =
            format!("{{\"response\":\"hi\",\"context\":[{context}],\"prompt_eval_count\":26,\"eval_count\":17}}");
        assert_eq!(of(&[&ollama]), Some(26));
        assert_eq!(of(&[r#"{"response":"x","eval_count":17}"#]), None);
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

    #[test]
    fn what_the_headers_count_is_used_where_the_answer_says_nothing() {
        let headers = [(&b"x-amzn-bedrock-input-token-count"[..], "5"), (b"x-amzn-bedrock-output-token-count", "8")];
        let headers = AnswerHeaders::read(headers);
        for (body, total) in [
            (r#"{"outputs":[{"text":"hi","stop_reason":"stop"}]}"#, 13),
            (r#"{"usage":{"input_tokens":50,"output_tokens":80}}"#, 130),
        ] {
            let mut tail = Tail::new(&headers);
            tail.push(body.as_bytes());
            assert_eq!(tail.usage(0).unwrap().map(|usage| usage.total()), Some(total), "{body}");
        }
    }
}
