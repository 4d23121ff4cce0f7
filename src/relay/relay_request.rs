//! A call as the core asks about it: the ingress, the fields of its body, its headers.
//!
//! The core asks under its lock, and a body can have many megabytes: so the body is walked once before, and what stands under
//! the lock is to find a name among its fields.
//!
//! A body is JSON or a form (`multipart/form-data`), whose fields are texts. One with a `Content-Encoding` is never decoded: it
//! has no fields, and no target changes anything in it.

use std::borrow::Cow;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method};
use llm::Protocol;
use llm::affinity;
use llm::capability::Needs;
use llm::request_view::{Field, RequestView as LlmRequest, is_generation};

use types::request::{FieldValue, MAX_FIELD_VALUE_BYTES, Request, RequestSize};
use types::router::RouterPath;

/// A call whose body is here.
#[derive(Debug)]
pub(super) struct RelayRequest<'a> {
    ingress: &'a RouterPath,
    headers: &'a HeaderMap,
    content: LlmRequest<'a>,
    bytes: usize,
    is_generation: bool,
    preferred: Option<&'a RouterPath>,
}

impl<'a> RelayRequest<'a> {
    /// `path` is that of the request, which can name a model too.
    pub(super) fn new(
        ingress: &'a RouterPath,
        method: &Method,
        path: &'a str,
        headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> Self {
        let readable = if is_encoded(headers) { &[] } else { body };
        let content = LlmRequest::read(path, content_type(headers), readable);
        let below = path.strip_prefix(ingress.as_str().trim_end_matches('/')).unwrap_or(path);
        let is_generation = is_generation(method.as_str(), below, &content);
        Self { ingress, headers, content, bytes: body.len(), is_generation, preferred: None }
    }

    /// The same, which goes to this target if it may serve.
    pub(super) fn preferring(self, preferred: Option<&'a RouterPath>) -> Self {
        Self { preferred, ..self }
    }
}

impl<'a> RelayRequest<'a> {
    /// The model that the body or the path names.
    pub(super) fn model(&self) -> Option<&str> {
        self.content.model.as_deref()
    }

    /// Whether the body is an object or a form with fields.
    pub(super) fn has_fields(&self) -> bool {
        self.content.has_fields()
    }

    /// The end user that the body names: `user`.
    pub(super) fn user(&self) -> Option<String> {
        match self.content.field("user")? {
            Field::Json(value) if value.bytes().len() <= MAX_FIELD_VALUE_BYTES => {
                value.value()?.as_str().map(str::to_owned)
            }
            Field::Json(_) => None,
            Field::Text(text) => Some(text.to_owned()),
        }
    }

    /// Whether the answer shall be a stream, by the body or by the path.
    pub(super) const fn asks_for_stream(&self) -> bool {
        self.content.stream
    }

    /// The protocol in which an answer to it is judged, whose path is of this one. `changed` is its body as a target is sent it, where
    /// that is another one: settings may ask for what the client does not.
    pub(super) fn judged_as(&self, protocol: Protocol, changed: Option<&[u8]>) -> Protocol {
        match changed.filter(|_| protocol.is_chosen_by_request() && !is_encoded(self.headers)) {
            Some(body) => LlmRequest::read("", content_type(self.headers), body).judged_as(protocol),
            None => self.content.judged_as(protocol),
        }
    }

    /// What it needs of a model.
    pub(super) fn needs(&self) -> Needs {
        Needs::for_request(&self.content)
    }

    /// The ids of what targets keep that the request names. `path` is what follows the ingress.
    pub(super) fn ids(&self, path: &'a str, body: &'a [u8]) -> Vec<Cow<'a, str>> {
        affinity::ids_of_request(path, &self.content, body)
    }

    /// Whether its answer is to be looked at for ids of what its target keeps. `path` is what follows the ingress.
    pub(super) fn shows_ids(&self, path: &str) -> bool {
        affinity::shows_ids(path, &self.content)
    }

    /// Whether the answer is kept by its target. `path` is what follows the ingress.
    pub(super) fn is_stored(&self, path: &str) -> bool {
        affinity::is_stored(path, &self.content)
    }
}

/// Whether a body is compressed or the like, so that its bytes are not those of its text.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| !matches!(coding.trim_ascii(), b"") && !coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
}

pub(super) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

impl Request for RelayRequest<'_> {
    fn path(&self) -> &str {
        self.ingress.as_str()
    }

    fn param(&self, names: &[String]) -> Option<FieldValue> {
        let (first, behind) = names.split_first()?;
        match self.content.field(first)? {
            Field::Json(value) => {
                let value = behind.iter().try_fold(value, |value, name| value.field(name))?;
                let is_too_long = value.bytes().len() > MAX_FIELD_VALUE_BYTES;
                if is_too_long { Some(FieldValue::TooLong) } else { value.value().map(FieldValue::Value) }
            }
            Field::Text(_) if !behind.is_empty() => None,
            Field::Text(text) if text.len() > MAX_FIELD_VALUE_BYTES => Some(FieldValue::TooLong),
            Field::Text(text) => Some(FieldValue::Text(text.to_owned())),
        }
    }

    fn size(&self) -> RequestSize {
        RequestSize { bytes: self.bytes, max_output_tokens: self.content.max_output_tokens }
    }

    fn is_generation(&self) -> bool {
        self.is_generation
    }

    fn called_model(&self) -> Option<&str> {
        self.content.called_model()
    }

    fn preferred(&self) -> Option<&RouterPath> {
        self.preferred
    }

    fn header(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{FORM, form, path};
    use serde_json::json;

    #[test]
    fn how_large_it_is() {
        let (ingress, headers) = (path("/llm/"), HeaderMap::new());
        let request_size =
            |body: &str| RelayRequest::new(&ingress, &Method::POST, "/llm/", &headers, body.as_bytes()).size();
        let body = r#"{"max_tokens": 7, "max_completion_tokens": 90, "max_output_tokens": "5", "messages": []}"#;
        assert_eq!(request_size(body), RequestSize { bytes: body.len(), max_output_tokens: Some(90) });
        assert_eq!(request_size("hello"), RequestSize { bytes: 5, max_output_tokens: None });
    }

    #[test]
    fn s1_5_which_requests_ask_for_a_stream() {
        let (ingress, headers) = (path("/llm/"), HeaderMap::new());
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
            let view = RelayRequest::new(&ingress, &Method::POST, path, &headers, body.as_bytes());
            assert_eq!(view.asks_for_stream(), stream, "{path} {body}");
        }
    }

    #[test]
    fn s1_1_which_requests_ask_for_something_to_be_made() {
        let (model, team) = (path("/llm/"), path("/team/"));
        for (ingress, path, makes) in [
            (&model, "/llm/chat/completions", true),
            (&model, "/llm/", true),
            (&model, "/llm/rerank", true),
            (&model, "/llm/models", false),
            (&model, "/llm/v1/responses/resp_1/cancel", false),
            (&model, "/llm/key/generate", false),
            (&model, "/llm/login?next=/", false),
            (&model, "/llm/v1/organization/invites", false),
            (&team, "/team/chat/completions", true),
            (&team, "/team", true),
            (&team, "/team/team/new", false),
        ] {
            let made = RelayRequest::new(ingress, &Method::POST, path, &HeaderMap::new(), b"").is_generation();
            assert_eq!(made, makes, "{path}");
        }
    }

    #[test]
    fn an_encoded_body_has_no_fields() {
        let ingress = path("/llm/");
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
            let asked = RelayRequest::new(&ingress, &Method::POST, "/llm/", &headers, body);
            assert_eq!(asked.param(&["model".to_owned()]).is_none(), encoded, "{codings:?}");
            let longest = (!encoded).then_some(7);
            assert_eq!(asked.size(), RequestSize { bytes: body.len(), max_output_tokens: longest }, "{codings:?}");
        }
    }

    #[test]
    fn fields_and_headers() {
        let ingress = path("/llm/");
        let headers = HeaderMap::from_iter([(hyper::header::USER_AGENT, "me".parse().unwrap())]);
        let names = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let body = br#"{"model": "a", "user": {"tier": 2}, "model": "b", "odd\"name": 1}"#;
        let asked = RelayRequest::new(&ingress, &Method::POST, "/llm/", &headers, body);
        for (path, value) in [
            ("model", Some(FieldValue::Value(json!("b")))),
            ("user.tier", Some(FieldValue::Value(json!(2)))),
            ("user.name", None),
            ("odd\"name", Some(FieldValue::Value(json!(1)))),
            ("nothing", None),
        ] {
            assert_eq!(asked.param(&names(path)), value, "{path}");
        }
        assert_eq!((asked.header("User-Agent"), asked.header("x")), (vec!["me".to_owned()], Vec::new()));
        for body in ["", "hello", "[1]", "{\"model\": \"a\""] {
            assert_eq!(
                RelayRequest::new(&ingress, &Method::POST, "/llm/", &headers, body.as_bytes()).param(&names("model")),
                None,
                "{body}"
            );
        }
    }

    #[test]
    fn what_a_name_means_and_not_how_it_is_spelt() {
        let (ingress, headers) = (path("/llm/"), HeaderMap::new());
        let body = br#"{"mod\u0065l": "a", "user": {"ti\u0065r": 1, "a\"b": 2}}"#;
        let asked = RelayRequest::new(&ingress, &Method::POST, "/llm/", &headers, body);
        let param = |names: [&str; 2], count: usize| {
            asked.param(&names[..count].iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(param(["model", ""], 1), Some(FieldValue::Value(json!("a"))));
        assert_eq!(param(["user", "tier"], 2), Some(FieldValue::Value(json!(1))));
        assert_eq!(param(["user", "a\"b"], 2), Some(FieldValue::Value(json!(2))));
    }

    #[test]
    fn s1_10_the_fields_of_a_form() {
        let ingress = path("/llm/");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, FORM.parse().unwrap())]);
        let long = "x".repeat(MAX_FIELD_VALUE_BYTES + 1);
        let body = form(&[("model", "first"), ("model", "whisper-1"), ("prompt", &long), ("max_tokens", "7")]);
        let name = |name: &str| vec![name.to_owned()];
        let asked = RelayRequest::new(&ingress, &Method::POST, "/llm/audio/transcriptions", &headers, &body);
        assert_eq!(asked.param(&name("model")), Some(FieldValue::Text("whisper-1".to_owned())), "the last one");
        assert_eq!(asked.param(&["model".to_owned(), "x".to_owned()]), None, "a text has no fields");
        assert_eq!(asked.param(&name("prompt")), Some(FieldValue::TooLong));
        assert_eq!(asked.size(), RequestSize { bytes: body.len(), max_output_tokens: Some(7) });
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        let asked = RelayRequest::new(&ingress, &Method::POST, "/llm/audio/transcriptions", &headers, &body);
        assert_eq!(asked.param(&name("model")), None, "encoded");
    }
}
