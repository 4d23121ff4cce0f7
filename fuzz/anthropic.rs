//! What must hold for any bytes that are translated to Anthropic's Messages and back, one function for each parser.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use llm::translate::anthropic::{self, ApiVersion, Envelope, RequestOptions, Stream, Thinking};
use llm::translate::{BrokenAnswer, ChatContext, StreamTranslator, Unsupported};
use serde::de::IgnoredAny;

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// A request that is made is JSON.
pub fn request(data: &[u8]) {
    for unsupported in [Unsupported::Drop, Unsupported::Refuse, Unsupported::Pass] {
        let options = RequestOptions {
            api_version: ApiVersion::V2026_10_21,
            envelope: Envelope::Api,
            model: "claude",
            default_max_tokens: 4096,
            sampling: true,
            schemas: true,
            thinking: Thinking::Budget,
            unsupported,
        };
        if let Ok(translated) = anthropic::request(data, &options) {
            assert!(is_json(&translated.body));
        }
    }
}

/// An answer that is made is JSON, and so is every error.
pub fn answer(data: &[u8]) {
    if let Ok(answer) = anthropic::answer(data, &ChatContext::default(), 1) {
        assert!(is_json(&answer));
    }
    assert!(is_json(&anthropic::error(400, data)));
}

/// A stream is the same however it is cut, and each of its events is JSON.
pub fn stream(data: &[u8]) {
    let whole = translate([data]);
    assert_eq!(whole, translate(data.chunks(1)));
    let events = whole.0.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    assert!(events.filter(|data| *data != "[DONE]").all(|data| is_json(data.as_bytes())));
}

fn translate<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Result<(), BrokenAnswer>) {
    let context = ChatContext { include_usage: true, ..ChatContext::default() };
    let (mut stream, mut out) = (Stream::new(context, 1), Vec::new());
    let mut result = pieces.into_iter().try_for_each(|piece| stream.push(piece, &mut out));
    if result.is_ok() {
        result = stream.finish(&mut out);
    }
    (String::from_utf8(out).expect("text"), result)
}
