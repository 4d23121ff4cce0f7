//! Finds out who named the deployment or model that does not exist according to an upstream: the client, or the settings of the
//! target.
//!
//! A client that misspells a name must not eject every target; but a target whose own deployment is gone must not be called
//! again. The answer is the same in both cases, so the request is needed to distinguish them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use llm::json::{Cursor, RawJson};
use types::outcome::{ErrorClass, SetBy};
use types::request::Patch;

/// Path segments that are followed by the name of a deployment or model: Azure, OpenAI, Gemini, Vertex AI, Bedrock.
const BEFORE_NAMES: [&str; 5] = ["deployments", "deployment", "models", "model", "engines"];

/// The thing that does not exist according to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingName {
    /// `DeploymentNotFound`: named by the path, where one is named there, else by the field `model` of the body.
    Deployment,
    /// `model_not_found`: named by the field `model`, where there is one, else by the path.
    Model,
}

impl MissingName {
    /// The thing that does not exist according to an error with this status, class and body.
    pub fn of_error(status: u16, class: Option<ErrorClass>, body: &[u8]) -> Option<Self> {
        let code = || Cursor::new(body).raw().ok()?.field("error")?.field("code")?.plain();
        match status {
            400 | 401 | 403 | 404 | 410 | 422 | 429 if class != Some(ErrorClass::NotFound) => None,
            404 if code() == Some("DeploymentNotFound") => Some(Self::Deployment),
            // 401, 403 and 429: it is there, and not for us.
            400 | 401 | 403 | 404 | 410 | 422 | 429 => Some(Self::Model),
            _ => None,
        }
    }
}

/// The names in a request. Everything may be absent: filters of the gateway can remove it from a log entry.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestNames<'a> {
    /// The path that was called at the upstream; absent where only the gateway knows it.
    pub path: Option<&'a str>,
    /// The rest of the client's path, after the ingress. It is the end of `path` unless the target has an endpoint of its own.
    pub subpath: Option<&'a str>,
    /// The body from the client.
    pub received: Option<RawJson<'a>>,
    /// The body that was sent to the upstream.
    pub sent: Option<RawJson<'a>>,
    /// The changes of the target's settings to the body.
    pub patch: Option<&'a Patch>,
}

/// Whether a path names a deployment or model, and who wrote that part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InPath {
    SetBy(SetBy),
    NotNamed,
    Unknown,
}

impl RequestNames<'_> {
    /// The origin of the missing name. If the request does not show it, a deployment is the target's own and a model is the
    /// client's.
    pub fn named_by(&self, missing: MissingName) -> SetBy {
        match (missing, self.in_path()) {
            (MissingName::Deployment, InPath::SetBy(by)) => by,
            (MissingName::Deployment, InPath::Unknown) => SetBy::Target,
            (MissingName::Deployment, InPath::NotNamed) => {
                self.by_body().or_else(|| self.by_rest_of_path()).unwrap_or(SetBy::Target)
            }
            (MissingName::Model, InPath::SetBy(by)) => self.by_body().unwrap_or(by),
            (MissingName::Model, InPath::Unknown | InPath::NotNamed) => {
                self.by_body().or_else(|| self.by_rest_of_path()).unwrap_or(SetBy::Client)
            }
        }
    }

    /// Whether the client chose the model that is called, and no setting of the target. What cannot be known is the target's.
    pub fn is_clients_model(&self) -> bool {
        self.named_by(MissingName::Deployment) == SetBy::Client
    }

    /// By the field `model`; `None` where none was sent, or the client's body is not known.
    fn by_body(&self) -> Option<SetBy> {
        let sent = model(self.sent?)?;
        let received = model(self.received?);
        let set = self.patch.is_some_and(|patch| {
            let mapped = received.as_ref().and_then(Value::as_str).is_some_and(|name| patch.renamed(name).is_some());
            mapped || patch.merge.get("model").is_some_and(|value| !value.is_null())
        });
        Some(if set || received != Some(sent) { SetBy::Target } else { SetBy::Client })
    }

    fn in_path(&self) -> InPath {
        let Some(path) = self.path else {
            // Whatever precedes it, the client wrote a name.
            let named = self.subpath.is_some_and(|subpath| name_in(&segments(&decoded(subpath))).is_some());
            return if named { InPath::SetBy(SetBy::Client) } else { InPath::Unknown };
        };
        let path = decoded(path);
        let path = segments(&path);
        let Some(name) = name_in(&path) else { return InPath::NotNamed };
        let Some(client) = self.segments_of_client(&path) else { return InPath::Unknown };
        InPath::SetBy(if name < path.len() - client { SetBy::Target } else { SetBy::Client })
    }

    /// A path without a name in a known place: its end decides who wrote it.
    fn by_rest_of_path(&self) -> Option<SetBy> {
        let path = decoded(self.path?);
        Some(if self.segments_of_client(&segments(&path))? == 0 { SetBy::Target } else { SetBy::Client })
    }

    /// How many segments at the end of the upstream's path are the client's; `None` if the client's path is not known.
    fn segments_of_client(&self, path: &[&str]) -> Option<usize> {
        let subpath = decoded(self.subpath?);
        let client = segments(&subpath);
        Some(if path.ends_with(&client) { client.len() } else { 0 })
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// Which segment is the name of a deployment or model, the last one if there are several.
fn name_in(segments: &[&str]) -> Option<usize> {
    let is_before = |segment: &&str| BEFORE_NAMES.iter().any(|before| segment.eq_ignore_ascii_case(before));
    let before = segments.split_last()?.1.iter().rposition(is_before)?;
    Some(before + 1)
}

fn model(body: RawJson<'_>) -> Option<Value> {
    body.field("model")?.value().filter(|model| !model.is_null())
}

/// The gateway decodes paths before it logs them, and the relay does not.
fn decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm::json::Cursor;
    use serde_json::json;

    const AZURE: &str = "openai/deployments/typo/chat/completions";

    fn named(missing: MissingName, path: &str, subpath: &str, received: &str, sent: &str, patch: &Patch) -> SetBy {
        let raw = |body: &'static str| Cursor::new(body.as_bytes()).raw().ok();
        let leak = |body: &str| -> &'static str { Box::leak(body.to_owned().into_boxed_str()) };
        let (received, sent) = (raw(leak(received)), raw(leak(sent)));
        RequestNames { path: Some(path), subpath: Some(subpath), received, sent, patch: Some(patch) }.named_by(missing)
    }

    #[test]
    fn a_name_in_the_path_belongs_to_the_part_of_the_path_that_it_stands_in() {
        let none = Patch::default();
        for (path, subpath, by) in [
            (&format!("/{AZURE}")[..], AZURE, SetBy::Client),
            (&format!("/a/b/{AZURE}"), AZURE, SetBy::Client),
            ("/openai/deployments/gpt4/chat/completions", "chat/completions", SetBy::Target),
            ("/openai/deployments/gpt4/chat/completions/", "chat/completions/", SetBy::Target),
            // The client's path goes nowhere: the target has an endpoint of its own.
            ("/openai/deployments/gpt4/chat/completions", AZURE, SetBy::Target),
            ("/openai/deployments/gpt4/chat/completions", "", SetBy::Target),
            // The settings end before the name.
            ("/openai/deployments/typo/chat", "typo/chat", SetBy::Client),
            ("/openai/deployments/typo", "typo", SetBy::Client),
            ("/v1beta/models/typo:generateContent", "models/typo:generateContent", SetBy::Client),
            ("/v1beta/models/typo:generateContent", "models/typo%3AgenerateContent", SetBy::Client),
            ("/openai/deployments/gp%20t/chat", "deployments/gp t/chat", SetBy::Client),
            ("/model/typo/invoke", "model/typo/invoke", SetBy::Client),
            ("/OpenAI/Deployments/typo/chat", "Deployments/typo/chat", SetBy::Client),
            // Beside a fixed name, a second one that the client wrote.
            ("/deployments/gpt4/deployments/typo/chat", "deployments/typo/chat", SetBy::Client),
            // No known place for a name: the client's path decides what is there.
            ("/serving-endpoints/typo/invocations", "typo/invocations", SetBy::Client),
            ("/serving-endpoints/mine/invocations", "", SetBy::Target),
            // A segment that only ends like the client's path.
            ("/deployments/my-typo", "typo", SetBy::Target),
        ] {
            for missing in [MissingName::Deployment, MissingName::Model] {
                assert_eq!(named(missing, path, subpath, "{}", "{}", &none), by, "{missing:?} {path} {subpath}");
            }
        }
    }

    #[test]
    fn a_model_in_the_body_is_the_clients_unless_the_settings_set_it() {
        let none = Patch::default();
        let set = Patch { merge: json!({"model": "a"}).as_object().unwrap().clone(), ..Patch::default() };
        let removed = Patch { merge: json!({"model": null}).as_object().unwrap().clone(), ..Patch::default() };
        let mapped = Patch { model_map: [("a".to_owned(), "b".to_owned())].into(), ..Patch::default() };
        let same = Patch { model_map: [("a".to_owned(), "a".to_owned())].into(), ..Patch::default() };
        let (a, b) = (r#"{"model": "a"}"#, r#"{"model":"b"}"#);
        for (received, sent, patch, by) in [
            (a, a, &none, SetBy::Client),
            (a, a, &set, SetBy::Target),
            ("{}", a, &set, SetBy::Target),
            (a, b, &mapped, SetBy::Target),
            (b, b, &mapped, SetBy::Client),
            (a, a, &same, SetBy::Target),
            (a, b, &none, SetBy::Target),
            (r#"{"model": "\u0061"}"#, a, &none, SetBy::Client),
            (a, "{}", &removed, SetBy::Client),
            ("no json", "no json", &none, SetBy::Client),
        ] {
            for missing in [MissingName::Deployment, MissingName::Model] {
                let by_body = named(missing, "/v1/chat/completions", "chat/completions", received, sent, patch);
                assert_eq!(by_body, by, "{missing:?} {received} {sent} {patch:?}");
            }
        }
        // Both are named: a deployment in the path, a model in the body.
        let path = "/openai/deployments/gpt4/chat";
        assert_eq!(named(MissingName::Deployment, path, "chat", a, a, &none), SetBy::Target);
        assert_eq!(named(MissingName::Model, path, "chat", a, a, &none), SetBy::Client);
    }

    #[test]
    fn whose_model_is_called() {
        let (mine, typo) = ("/openai/deployments/mine/chat", "/openai/deployments/typo/chat");
        for (path, subpath, body, is_clients) in [
            ("/v1/chat/completions", "chat/completions", r#"{"model": "a"}"#, true),
            ("/v1beta/models/a:generateContent", "models/a:generateContent", "{}", true),
            (typo, "deployments/typo/chat", r#"{"model": "a"}"#, true),
            // The address names it, whatever else the client does.
            (mine, "chat", r#"{"model": "a"}"#, false),
            (mine, "chat", "{}", false),
            // A provider's address shows nothing.
            ("", "", r#"{"model": "a"}"#, true),
            ("", "", "{}", false),
        ] {
            let body = Cursor::new(body.as_bytes()).raw().ok();
            let (path, subpath) = (Some(path), Some(subpath).filter(|subpath| !subpath.is_empty()));
            let names = RequestNames { path, subpath, received: body, sent: body, patch: None };
            assert_eq!(names.is_clients_model(), is_clients, "{path:?} {subpath:?}");
        }
        let set = Cursor::new(br#"{"model":"mine"}"#).raw().ok();
        let body = Cursor::new(br#"{"model":"a"}"#).raw().ok();
        let chat = Some("/v1/chat/completions");
        let names = RequestNames { path: chat, subpath: chat, received: body, sent: set, patch: None };
        assert!(!names.is_clients_model(), "the settings set it");
        assert!(!RequestNames::default().is_clients_model(), "nothing is known");
    }

    #[test]
    fn what_a_request_does_not_show() {
        assert_eq!(RequestNames::default().named_by(MissingName::Deployment), SetBy::Target);
        assert_eq!(RequestNames::default().named_by(MissingName::Model), SetBy::Client);
        // Through the gateway the upstream's path is not known, but what the client wrote is.
        for (subpath, by) in [(AZURE, SetBy::Client), ("chat/completions", SetBy::Target), ("", SetBy::Target)] {
            let body = Cursor::new(br#"{"model": "a"}"#).raw().ok();
            let names = RequestNames { subpath: Some(subpath), received: body, sent: body, ..RequestNames::default() };
            assert_eq!(names.named_by(MissingName::Deployment), by, "{subpath}");
            assert_eq!(names.named_by(MissingName::Model), SetBy::Client, "{subpath}");
        }
        // A filter of the gateway has removed the client's path.
        let path = Some("/openai/deployments/gpt4/chat");
        assert_eq!(RequestNames { path, ..RequestNames::default() }.named_by(MissingName::Deployment), SetBy::Target);
    }

    #[test]
    fn which_errors_say_that_something_is_missing() {
        for (status, code, missing) in [
            (404, "DeploymentNotFound", Some(MissingName::Deployment)),
            // Azure answers a missing deployment with 404; with another status it is taken for a model.
            (400, "DeploymentNotFound", Some(MissingName::Model)),
            (404, "model_not_found", Some(MissingName::Model)),
            (400, "model_not_found", Some(MissingName::Model)),
            (403, "model_not_found", Some(MissingName::Model)),
            (403, "invalid_api_key", None),
            (410, "model_not_found", Some(MissingName::Model)),
            (422, "model_not_found", Some(MissingName::Model)),
            (422, "invalid_value", None),
            (404, "404", None),
        ] {
            let body = format!(r#"{{"error": {{"code": "{code}"}}}}"#);
            let class = llm::error_class::classify(status, &llm::headers::AnswerHeaders::default(), body.as_bytes());
            assert_eq!(MissingName::of_error(status, class, body.as_bytes()), missing, "{status} {code}");
        }
    }
}
