//! A body as a target is sent it: with other fields where the target's settings change some. JSON and forms
//! (`multipart/form-data`) are changed, everything else goes on as it is.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Once;

use bytes::Bytes;
use hyper::HeaderMap;
use llm::multipart;
use llm::request_view::RequestView;
use serde_json::Value;

use super::body::{BodyMemory, NoMemory};
use super::relay_request::{content_type, is_encoded};
use gecholog_protocol::patch;
use llm::json::{Cursor, RawJson};
use types::request::Patch;

/// The first form that is changed is logged: so that the author of a model_map sees that it holds for forms too.
static FIRST_FORM: Once = Once::new();

/// The body with what a target changes in it; `None` where nothing can be changed: it is neither an object nor a form, or encoded.
///
/// # Errors
/// There is no memory for a second body.
pub(super) fn apply(
    memory: &BodyMemory,
    headers: &HeaderMap,
    body: &Bytes,
    patch: &Patch,
) -> Result<Option<Bytes>, NoMemory> {
    if let Some(form_type) = form_type(headers) {
        return apply_to_form(memory, form_type, body, patch);
    }
    let Some(raw) = json(headers, body) else { return Ok(None) };
    let reserved = memory.reserve(body.len() + patch::growth(patch))?;
    patch::apply(patch, raw).map(|bytes| reserved.keep(bytes)).transpose()
}

fn apply_to_form(memory: &BodyMemory, form_type: &str, body: &Bytes, patch: &Patch) -> Result<Option<Bytes>, NoMemory> {
    let changes = form_changes(form_type, body, patch);
    let changes: Vec<_> = changes.iter().map(|(name, value)| (*name, value.as_deref())).collect();
    if changes.is_empty() {
        return Ok(None);
    }
    let reserved = memory.reserve(body.len() + multipart::growth(&changes))?;
    match multipart::rewrite(form_type, body, &changes) {
        Ok(bytes) => {
            FIRST_FORM.call_once(|| {
                tracing::info!(
                    "a multipart form is changed by model_map or override_params; later ones are not logged"
                );
            });
            reserved.keep(bytes).map(Some)
        }
        Err(error) => {
            tracing::debug!("a form is forwarded unchanged: {error}");
            Ok(None)
        }
    }
}

/// A body as JSON, of which at least `model` can be read; of a form only that, which `form` keeps.
pub(super) fn for_names<'b>(headers: &HeaderMap, body: &'b Bytes, form: &'b OnceCell<Vec<u8>>) -> Option<RawJson<'b>> {
    match form_type(headers) {
        Some(form_type) => Cursor::new(form.get_or_init(|| model_of_form(form_type, body))).raw().ok(),
        None => json(headers, body),
    }
}

/// A body as JSON; `None` if it is encoded, or breaks off.
fn json<'b>(headers: &HeaderMap, body: &'b Bytes) -> Option<RawJson<'b>> {
    if is_encoded(headers) { None } else { Cursor::new(body).raw().ok() }
}

/// The content type of a body that is a form and can be read.
fn form_type(headers: &HeaderMap) -> Option<&str> {
    content_type(headers).filter(|kind| multipart::is_multipart(kind) && !is_encoded(headers))
}

/// The field `model` of a form, as a JSON body would have it.
fn model_of_form(form_type: &str, body: &[u8]) -> Vec<u8> {
    let view = RequestView::read("", Some(form_type), body);
    view.model.map(|model| serde_json::json!({ "model": model }).to_string().into_bytes()).unwrap_or_default()
}

/// What a target changes in the fields of a form: their new texts, and nothing for those that are removed. Texts stay as they
/// are, everything else is written as JSON.
fn form_changes<'p>(form_type: &str, body: &[u8], patch: &'p Patch) -> Vec<(&'p str, Option<Cow<'p, str>>)> {
    let text = |value: &'p Value| match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        other => Some(Cow::Owned(other.to_string())),
    };
    let mut changes: Vec<_> = patch.merge.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    if !patch.model_map.is_empty() && !patch.merge.contains_key("model") {
        let asked = RequestView::read("", Some(form_type), body).model;
        let renamed = asked.and_then(|model| patch.renamed(model.as_ref()));
        changes.extend(renamed.map(|model| ("model", Some(Cow::Borrowed(model)))));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{FORM, form};
    use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
    use serde_json::json;

    #[test]
    fn a_form_and_its_memory() {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, FORM.parse().unwrap())]);
        let body = Bytes::from(form(&[("model", "whisper-1"), ("prompt", "hi")]));
        let patch = Patch { model_map: [("whisper-1".to_owned(), "large".to_owned())].into(), ..Patch::default() };
        let changed = apply(&BodyMemory::new(1 << 20), &headers, &body, &patch).unwrap().unwrap();
        assert_eq!(changed, form(&[("model", "large"), ("prompt", "hi")]));
        assert_eq!(apply(&BodyMemory::new(0), &headers, &body, &patch), Err(NoMemory));
        let unchanged = |headers: &HeaderMap, body: &Bytes| apply(&BodyMemory::new(1 << 20), headers, body, &patch);
        assert_eq!(unchanged(&headers, &Bytes::from_static(b"--B breaks off")), Ok(None));
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!((unchanged(&headers, &body), form_type(&headers)), (Ok(None), None), "encoded");
    }

    #[test]
    fn the_model_of_a_form_is_seen_when_one_is_missing() {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, FORM.parse().unwrap())]);
        let (body, cell) = (Bytes::from(form(&[("model", "whisper-1")])), OnceCell::new());
        let raw = for_names(&headers, &body, &cell).unwrap();
        assert_eq!(raw.bytes(), br#"{"model":"whisper-1"}"#);
    }

    #[test]
    fn s1_10_what_a_target_changes_in_a_form() {
        let body = form(&[("model", "whisper-1")]);
        let patch = |merge: Value, map: &[(&str, &str)]| Patch {
            merge: merge.as_object().cloned().unwrap_or_default(),
            model_map: map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        };
        let map: &[_] = &[("whisper-1", "large"), ("a", "b")];
        for (patch, changes) in [
            (patch(json!({}), map), vec![("model", Some("large"))]),
            (patch(json!({}), &[("other", "large")]), vec![]),
            (patch(json!({"model": "mine"}), map), vec![("model", Some("mine"))]),
            (patch(json!({"model": null}), map), vec![("model", None)]),
            (
                patch(json!({"n": 2, "stream": true, "user": null, "extra": {"a": [1]}}), &[]),
                vec![("extra", Some("{\"a\":[1]}")), ("n", Some("2")), ("stream", Some("true")), ("user", None)],
            ),
        ] {
            let made = form_changes(FORM, &body, &patch);
            let made: Vec<_> = made.iter().map(|(name, text)| (*name, text.as_deref())).collect();
            assert_eq!(made, changes);
        }
        assert_eq!(model_of_form(FORM, &body), br#"{"model":"whisper-1"}"#);
        assert_eq!(model_of_form(FORM, b"no form"), b"");
    }
}
