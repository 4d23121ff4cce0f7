//! OpenAI's chat in Anthropic's Messages and back: the golden files of `tests/golden/anthropic`, the traps that other gateways
//! fell into, by the numbers of `docs/providers.md`, and what must hold for any input.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests read files, start Python and measure")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod golden;
mod properties;
mod schemas;
mod sdk;
mod timing;
mod traps;

use std::path::PathBuf;

use llm::json::RawJson;
use llm::translate::anthropic::{ApiVersion, Envelope, RequestOptions, Thinking};
use llm::translate::{StreamTranslator, TranslateError, Unsupported};
use serde_json::Value;

/// A model that takes all there is.
const fn options() -> RequestOptions<'static> {
    RequestOptions {
        api_version: ApiVersion::V2023_06_01,
        envelope: Envelope::Api,
        model: "claude-test",
        default_max_tokens: 4096,
        sampling: true,
        schemas: true,
        thinking: Thinking::Adaptive,
        unsupported: Unsupported::Drop,
    }
}

/// The options of a golden file; what it does not name is as above.
fn options_of(golden: RawJson<'_>) -> RequestOptions<'static> {
    let given = golden.field("options").and_then(RawJson::value).unwrap_or_default();
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let flag = |name: &str| given[name].as_bool().unwrap_or(true);
    RequestOptions {
        api_version: text("api_version")
            .map_or_else(Default::default, |text| ApiVersion::parse(&text).expect("a version")),
        envelope: match text("envelope").as_deref() {
            None => Envelope::Api,
            Some("bedrock") => Envelope::Bedrock,
            Some("vertex") => Envelope::Vertex,
            Some(other) => panic!("{other}"),
        },
        thinking: match text("thinking").as_deref() {
            None => Thinking::Adaptive,
            Some("budget") => Thinking::Budget,
            Some("none") => Thinking::None,
            Some(other) => panic!("{other}"),
        },
        unsupported: match text("unsupported").as_deref() {
            None => Unsupported::Drop,
            Some("refuse") => Unsupported::Refuse,
            Some("pass") => Unsupported::Pass,
            Some(other) => panic!("{other}"),
        },
        sampling: flag("sampling"),
        schemas: flag("schemas"),
        ..options()
    }
}

/// The golden files whose names begin and end so, by name.
fn goldens(start: &str, end: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/anthropic"));
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.retain(|path| name(path).starts_with(start) && name(path).ends_with(end));
    files.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

/// JSON without the white space between its values, keys in their order.
fn minified(json: &[u8]) -> String {
    let (mut out, mut in_string, mut escaped) = (Vec::new(), false, false);
    for byte in json {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = *byte == b'"';
        }
        out.push(*byte);
    }
    String::from_utf8(out).unwrap()
}

/// Translates, and returns the body as a tree and what was dropped.
fn translate(request: &Value, options: &RequestOptions<'_>) -> Result<(Value, Vec<String>), TranslateError> {
    let translated = llm::translate::anthropic::request(request.to_string().as_bytes(), options)?;
    let body = serde_json::from_slice(&translated.body).unwrap();
    Ok((body, translated.dropped.iter().map(ToString::to_string).collect()))
}

/// What a stream becomes, up to where it breaks, and what breaks.
fn translate_stream<'a>(
    mut stream: impl StreamTranslator,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (String, Result<(), llm::translate::BrokenAnswer>) {
    let mut out = Vec::new();
    for piece in pieces {
        if let Err(broken) = stream.push(piece, &mut out) {
            return (String::from_utf8(out).unwrap(), Err(broken));
        }
    }
    let result = stream.finish(&mut out);
    (String::from_utf8(out).unwrap(), result)
}

/// The JSON of the chunks in a translated stream; `[DONE]` and comments left out.
fn chunks(stream: &str) -> Vec<Value> {
    let data = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}
