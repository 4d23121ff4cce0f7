//! The usage of a long answer that passed by: most vendors write it behind what is long, some at the beginning.

use crate::headers::AnswerHeaders;
use crate::last_bytes::LastBytes;
use crate::protocol::Protocol;
use crate::stream::StreamState;
use crate::usage::{InvalidUsage, TokenCounts, Usage};

/// So many of the first bytes are kept: a usage that stands before what is long stands at the beginning.
const HEAD_BYTES: usize = 4 << 10;

/// What is kept of an answer that passes by: its first and its last bytes, or, of a stream in AWS's frames or of lines of JSON, what those say.
#[derive(Debug, Default)]
pub struct Tail {
    first: Vec<u8>,
    last: LastBytes,
    objects: Option<Box<StreamState>>,
    /// What its headers say.
    stated: Option<Result<Usage, InvalidUsage>>,
}

impl Tail {
    /// Of an answer with these headers.
    pub fn new(headers: &AnswerHeaders<'_>) -> Self {
        let objects = (!headers.is_event_stream()).then(|| StreamState::of_answer(Protocol::Generic, headers, false));
        let objects = objects.flatten().map(Box::new);
        Self { objects, stated: headers.usage().transpose(), ..Self::default() }
    }

    /// A part of it came.
    pub fn push(&mut self, part: &[u8]) {
        if let Some(objects) = &mut self.objects {
            objects.push(part);
            return;
        }
        let begin = HEAD_BYTES.saturating_sub(self.first.len()).min(part.len());
        self.first.extend_from_slice(part.get(..begin).unwrap_or_default());
        self.last.push(part);
    }

    /// The last usage in it, else one at its beginning, also where the last cannot be believed, else that of its headers; of frames or
    /// lines that were not counted to their end, an estimate. `request_bytes` is the length of the request's body.
    ///
    /// # Errors
    /// It cannot be believed.
    pub fn usage(&mut self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        let counted = match &mut self.objects {
            Some(objects) => {
                objects.finish();
                objects.usage_or_estimate(request_bytes)
            }
            None => match self.last.usage() {
                Ok(Some(last)) => Ok(Some(last)),
                // What breaks off is read as far as it goes.
                last => match TokenCounts::of_answer(&self.first).usage() {
                    Ok(None) => last,
                    first => first,
                },
            },
        };
        counted?.map_or_else(|| self.stated.transpose(), |usage| Ok(Some(usage)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::ServiceTier;

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
        assert_eq!(tail.last.bytes().len(), 4 << 10);
        tail.push(br#", "service_tier": "flex"}"#);
        assert_eq!(tail.usage(0).unwrap().map(|usage| usage.service_tier), Some(ServiceTier::Flex));
    }

    #[test]
    fn a_usage_before_what_is_long_is_found_and_the_one_behind_it_wins() {
        let long = "0.25,".repeat(20_000);
        let first = r#"{"object":"list","usage":{"prompt_tokens":7,"total_tokens":7},"data":["#;
        let behind = |rest: &str| of(&[first, &long, rest]);
        assert_eq!(behind("0.5]}"), Some(7));
        assert_eq!(behind(r#"0.5],"usage":{"prompt_tokens":9,"total_tokens":9}}"#), Some(9));
        let nested = r#"{"data":[{"usage":{"prompt_tokens":5}},"#;
        assert_eq!(of(&[nested, &long, "0.5]}"]), None, "of something else");
        assert_eq!(of(&[r#"{"usage":{"prompt_"#, r#"tokens":7}, "data":["#, &long, "1]}"]), Some(7));
    }

    #[test]
    fn a_usage_at_the_beginning_counts_where_what_stands_behind_is_none() {
        let long = "word ".repeat(20_000);
        let first = r#"{"usage":{"prompt_tokens":7,"completion_tokens":2},"choices":[{"message":{"content":""#;
        for call in [r#""usage":"monthly""#, r#""usage":{"period":"month"}"#, r#""usageMetadata":-1"#] {
            let rest = format!(r#"","tool_calls":[{{"function":{{"arguments":{{{call}}}}}}}]}}}}]}}"#);
            assert_eq!(of(&[first, &long, &rest]), Some(7), "{call}");
        }
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
