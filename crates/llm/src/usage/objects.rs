//! The usage of a stream of plain JSON objects: Ollama's and Cohere's lines, and Bedrock's chunks of models other than Anthropic's.

use super::{InvalidUsage, TokenCounts, Usage};
use crate::json::RawJson;
use crate::sse::MAX_EVENT_BYTES;
use crate::stream_events::length;

/// The objects of one stream, as they pass by.
#[derive(Debug, Default)]
pub(crate) struct ObjectUsage {
    counts: TokenCounts,
    /// The length of the content, in bytes of its JSON.
    content_bytes: u64,
    /// The last object came.
    ended: bool,
}

impl ObjectUsage {
    /// The next object came.
    pub(crate) fn take(&mut self, object: RawJson<'_>) {
        self.counts.read_top(object);
        object.for_each_field(|name, value| match name {
            // Ollama, Cohere.
            b"done" | b"is_finished" => self.ended |= value.bytes() == b"true",
            // Any model at Bedrock: its last chunk.
            b"amazon-bedrock-invocationMetrics" => {
                self.counts.read_metrics(value);
                self.ended = true;
            }
            // Nova: {"metadata": {"usage": {…}}}
            b"metadata" => self.counts.read_holder(value),
            // Ollama's `generate`, Titan, Llama, Cohere.
            b"response" | b"thinking" | b"outputText" | b"generation" | b"text" => self.add(Some(value)),
            // Ollama's `chat`.
            b"message" => {
                self.add(value.field("content"));
                self.add(value.field("thinking"));
                if let Some(calls) = value.field("tool_calls") {
                    self.content_bytes += calls.bytes().len() as u64;
                }
            }
            // Models at Bedrock that answer as OpenAI's do.
            b"choices" => {
                value.elements().for_each(|choice| self.add(choice.field("delta").and_then(|it| it.field("content"))));
            }
            // Mistral.
            b"outputs" => value.elements().for_each(|output| self.add(output.field("text"))),
            // Nova.
            b"contentBlockDelta" => self.add(value.field("delta").and_then(|delta| delta.field("text"))),
            _ => {}
        });
    }

    fn add(&mut self, text: Option<RawJson<'_>>) {
        if let Some(text) = text.filter(|text| text.bytes().first() == Some(&b'"')) {
            self.content_bytes += length(text) as u64;
        }
    }

    /// Whether anything came that is known.
    pub(crate) const fn has_begun(&self) -> bool {
        self.content_bytes > 0 || self.counts.has_any()
    }

    /// See [`crate::stream::StreamState::usage_or_estimate`].
    pub(crate) fn usage_or_estimate(&self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        let counted = match self.counts.usage() {
            // The input may have been on its way.
            Err(InvalidUsage::Missing) => None,
            counted => counted?,
        };
        Ok(match counted {
            Some(usage) if self.ended => Some(usage),
            _ => self.has_begun().then(|| self.counts.estimate(request_bytes, self.content_bytes)),
        })
    }
}

/// A stream of JSON objects, one a line, as it passes by. At most one line is kept.
#[derive(Debug, Default)]
pub(crate) struct LineUsage {
    objects: ObjectUsage,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// The line is too long to be kept.
    skipping: bool,
    /// So was the last one that had anything.
    unread: bool,
}

impl LineUsage {
    /// A part of it came; `visit` is called with each line that it completes.
    pub(crate) fn push(&mut self, part: &[u8], mut visit: impl FnMut(&[u8])) {
        let mut rest = part;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
            rest = behind;
            if self.line.is_empty() && !self.skipping {
                self.take(line, &mut visit);
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.line);
                self.take(&line, &mut visit);
                self.line = line;
                self.line.clear();
            }
            self.skipping = false;
        }
        self.keep(rest);
    }

    fn keep(&mut self, part: &[u8]) {
        self.skipping |= self.line.len() + part.len() > MAX_EVENT_BYTES;
        if self.skipping {
            self.unread = true;
            self.line.clear();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn take(&mut self, line: &[u8], visit: &mut impl FnMut(&[u8])) {
        self.unread &= line.trim_ascii().is_empty();
        visit(line);
        if let Ok(object) = RawJson::parse(line) {
            self.objects.take(object);
        }
    }

    /// The stream has ended: the last line may have no end.
    pub(crate) fn finish(&mut self, mut visit: impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        self.take(&line, &mut visit);
    }

    /// Whether the last line that had anything is too long to be read.
    pub(crate) const fn is_unread(&self) -> bool {
        self.unread
    }

    /// Whether what came ends with a line.
    pub(crate) const fn is_between_lines(&self) -> bool {
        self.line.is_empty() && !self.skipping
    }

    /// See [`crate::stream::StreamState::usage_or_estimate`].
    pub(crate) fn usage_or_estimate(&self, request_bytes: u64) -> Result<Option<Usage>, InvalidUsage> {
        self.objects.usage_or_estimate(request_bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn used(lines: &[Value], size: usize) -> Result<Option<Usage>, InvalidUsage> {
        let text = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        let mut usage = LineUsage::default();
        text.as_bytes().chunks(size).for_each(|part| usage.push(part, |_| {}));
        usage.finish(|_| {});
        usage.usage_or_estimate(80)
    }

    #[test]
    fn lines_are_read_however_they_are_cut() {
        let text = "x".repeat(40);
        let end = |mut line: Value, input: Value| {
            let counts = json!({"done": true, "done_reason": "stop", "total_duration": 5, "prompt_eval_count": input, "eval_count": 17});
            line.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
            line
        };
        let chat =
            |text: &str| json!({"model": "llama3.2", "message": {"role": "assistant", "content": text}, "done": false});
        let generate = |text: &str| json!({"model": "llama3.2", "response": text, "done": false});
        let context: Vec<u32> = (0..50_000).collect();
        let mut last = end(generate(""), json!(26));
        last["context"] = json!(context);
        let cohere = json!({"is_finished": true, "event_type": "stream-end", "response": {"text": text, "meta": {
            "billed_units": {"input_tokens": 20, "output_tokens": 16}, "tokens": {"input_tokens": 26, "output_tokens": 17}}}});
        let expected = Usage { input_uncached: 26, output: 17, ..Usage::default() };
        for (what, lines) in [
            ("chat", vec![chat(&text), end(chat(""), json!(26))]),
            ("generate, with a context", vec![generate(&text), last]),
            ("Cohere", vec![json!({"is_finished": false, "event_type": "text-generation", "text": text}), cohere]),
        ] {
            for size in [1, 13, 1_000_000] {
                assert_eq!(used(&lines, size), Ok(Some(expected)), "{what}");
            }
            let cut = Usage { input_uncached: 20, output: 10, estimated: true, ..Usage::default() };
            assert_eq!(used(&lines[..1], 13), Ok(Some(cut)), "{what}, cut");
        }
        let cached = Usage { input_uncached: 20, output: 17, estimated: true, ..Usage::default() };
        assert_eq!(
            used(&[chat(&text), end(chat(""), json!(null))], 9),
            Ok(Some(cached)),
            "the prompt was in the cache"
        );
        assert_eq!(used(&[chat(&text), end(chat(""), json!(-1))], 9), Err(InvalidUsage::Implausible));
        assert_eq!(used(&[json!({"status": "pulling manifest"}), json!({"status": "success"})], 9), Ok(None));
        assert_eq!(used(&[json!({"error": "model runner has unexpectedly stopped"})], 9), Ok(None));
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_not_kept() {
        let mut usage = LineUsage::default();
        let part = vec![b'x'; 100_000];
        for _ in 0..20 {
            usage.push(&part, |_| {});
            assert!(usage.line.capacity() <= 2 * MAX_EVENT_BYTES);
        }
        usage.push(b"\n{\"prompt_eval_count\":3,\"eval_count\":4,\"done\":true}\n", |_| {});
        assert_eq!(usage.usage_or_estimate(0).unwrap().map(|usage| usage.total()), Some(7));
    }
}
