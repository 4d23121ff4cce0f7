//! A call as the core asks about it: the ingress, the fields of its body, its headers.
//!
//! The core asks under its lock, and a body can have 20 MB: so the body is walked once before, and what stands under the lock
//! is to find a name among its fields.
//!
//! A body with a `Content-Encoding` is never decoded: it has no fields, and no target changes anything in it.

use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use serde_json::Value;

use gecholog_protocol::processor::max_output_tokens;
use gecholog_protocol::scan::{Cursor, RawJson};
use types::request::{Found, Request, RequestSize};
use types::router::RouterPath;

/// So many fields of a body are looked at; no API has a tenth of it.
const MAX_FIELDS: usize = 1_024;

/// A call whose body is here.
#[derive(Debug)]
pub(super) struct RequestView<'a> {
    ingress: &'a RouterPath,
    headers: &'a HeaderMap,
    /// Names as they stand between their quotes.
    fields: Vec<(&'a [u8], RawJson<'a>)>,
    request_size: RequestSize,
}

impl<'a> RequestView<'a> {
    pub(super) fn new(ingress: &'a RouterPath, headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        let readable = if is_encoded(headers) { &[] } else { body };
        let walked = Cursor::new(readable).fields(|name, value| {
            if fields.len() < MAX_FIELDS {
                fields.push((name, value.raw()?));
            }
            Ok(())
        });
        if walked.is_err() {
            // What breaks off is no JSON, and says nothing.
            fields.clear();
        }
        let longest = fields.iter().filter_map(|(name, value)| max_output_tokens(name, *value)).max();
        Self { ingress, headers, fields, request_size: RequestSize { bytes: body.len(), max_output_tokens: longest } }
    }
}

/// The ends of paths by which some vendors ask for a stream.
const STREAM_METHODS: [&str; 4] =
    ["streamGenerateContent", "streamRawPredict", "converse-stream", "invoke-with-response-stream"];

impl RequestView<'_> {
    /// Whether the answer shall be a stream, by the body or by the path.
    pub(super) fn asks_for_stream(&self, path: &str) -> bool {
        let by_body = self.param(&["stream".to_owned()]) == Some(Found::Value(Value::Bool(true)));
        let method = path.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
        by_body || STREAM_METHODS.contains(&method)
    }
}

/// Whether a body is compressed or the like, so that its bytes are not those of its text.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| !matches!(coding.trim_ascii(), b"") && !coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
}

impl Request for RequestView<'_> {
    fn path(&self) -> &str {
        self.ingress.as_str()
    }

    fn param(&self, names: &[String]) -> Option<Found> {
        let (first, behind) = names.split_first()?;
        let quoted = serde_json::to_string(first).ok()?;
        let name = quoted.as_bytes().get(1..quoted.len() - 1)?;
        // Of a name that stands twice the last one counts, as in the gateway.
        let (_, found) = self.fields.iter().rfind(|(other, _)| *other == name)?;
        behind.iter().try_fold(*found, |found, name| found.field(name))?.found()
    }

    fn size(&self) -> RequestSize {
        self.request_size
    }

    fn header(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn how_large_it_is() {
        let (ingress, headers) = (RouterPath::parse("/llm/").unwrap(), HeaderMap::new());
        let request_size = |body: &str| RequestView::new(&ingress, &headers, body.as_bytes()).size();
        let body = r#"{"max_tokens": 7, "max_completion_tokens": 90, "max_output_tokens": "5", "messages": []}"#;
        assert_eq!(request_size(body), RequestSize { bytes: body.len(), max_output_tokens: Some(90) });
        assert_eq!(request_size("hello"), RequestSize { bytes: 5, max_output_tokens: None });
    }

    #[test]
    fn s1_5_which_requests_ask_for_a_stream() {
        let (ingress, headers) = (RouterPath::parse("/llm/").unwrap(), HeaderMap::new());
        for (path, body, stream) in [
            ("/llm/chat/completions", r#"{"stream": true}"#, true),
            ("/llm/chat/completions", r#"{"stream": false, "stream": true}"#, true),
            ("/llm/chat/completions", r#"{"stream": true, "stream": false}"#, false),
            ("/llm/chat/completions", r#"{"stream": "true"}"#, false),
            ("/llm/chat/completions", r#"{"messages": [{"stream": true}]}"#, false),
            ("/llm/chat/completions", "", false),
            ("/llm/models/gemini-2.0:streamGenerateContent", "{}", true),
            ("/llm/models/gemini-2.0:generateContent", "{}", false),
            ("/llm/model/claude/converse-stream/", "{}", true),
        ] {
            let view = RequestView::new(&ingress, &headers, body.as_bytes());
            assert_eq!(view.asks_for_stream(path), stream, "{path} {body}");
        }
    }

    #[test]
    fn an_encoded_body_has_no_fields() {
        let ingress = RouterPath::parse("/llm/").unwrap();
        let body = br#"{"model": "a", "max_tokens": 7}"#;
        for (codings, encoded) in [
            (&["gzip"][..], true),
            (&["identity, GZIP"], true),
            (&["identity", "br"], true),
            (&["aws-chunked"], true),
            (&["\u{e4}"], true),
            (&["Identity"], false),
            (&[""], false),
            (&[], false),
        ] {
            let values = codings.iter().map(|coding| (CONTENT_ENCODING, coding.as_bytes().try_into().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            let asked = RequestView::new(&ingress, &headers, body);
            assert_eq!(asked.param(&["model".to_owned()]).is_none(), encoded, "{codings:?}");
            let longest = (!encoded).then_some(7);
            assert_eq!(asked.size(), RequestSize { bytes: body.len(), max_output_tokens: longest }, "{codings:?}");
        }
    }

    #[test]
    fn fields_and_headers() {
        let ingress = RouterPath::parse("/llm/").unwrap();
        let headers = HeaderMap::from_iter([(hyper::header::USER_AGENT, "me".parse().unwrap())]);
        let names = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let body = br#"{"model": "a", "user": {"tier": 2}, "model": "b", "odd\"name": 1}"#;
        let asked = RequestView::new(&ingress, &headers, body);
        for (path, value) in [
            ("model", Some(Found::Value(json!("b")))),
            ("user.tier", Some(Found::Value(json!(2)))),
            ("user.name", None),
            ("odd\"name", Some(Found::Value(json!(1)))),
            ("nothing", None),
        ] {
            assert_eq!(asked.param(&names(path)), value, "{path}");
        }
        assert_eq!((asked.header("User-Agent"), asked.header("x")), (vec!["me".to_owned()], Vec::new()));
        for body in ["", "hello", "[1]", "{\"model\": \"a\""] {
            assert_eq!(RequestView::new(&ingress, &headers, body.as_bytes()).param(&names("model")), None, "{body}");
        }
    }
}
