//! Applies a target's changes to a request's JSON body: fields are set or removed, a model is renamed. Everything else stays
//! byte for byte: the order of names, the spelling of numbers, unknown fields.
//!
//! The patch travels from row 1 to row 2 as `broker_patch`, so that row 2 needs no memory.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use llm::json::{RawJson, SyntaxError};
use types::request::Patch;

/// The JSON form of a patch, for row 2.
pub(super) fn write(patch: &Patch) -> Vec<u8> {
    json!({"merge": patch.merge, "model_map": patch.model_map}).to_string().into_bytes()
}

/// Parses the output of [`write()`]; anything else is an empty patch.
pub(super) fn read(raw: RawJson<'_>) -> Patch {
    let merge = raw.field("merge").and_then(RawJson::value);
    let names = raw.field("model_map").and_then(RawJson::value);
    let merge = match merge {
        Some(Value::Object(merge)) => merge,
        _ => Map::new(),
    };
    let names = names.as_ref().and_then(Value::as_object).into_iter().flatten();
    let model_map: BTreeMap<_, _> =
        names.filter_map(|(from, to)| Some((from.clone(), to.as_str()?.to_owned()))).collect();
    Patch { merge, model_map }
}

/// The body with the patch applied; the same bytes if the patch changes nothing. `None` if the body is not a complete JSON
/// object: then it must be sent unchanged.
pub fn apply(patch: &Patch, body: RawJson<'_>) -> Option<Vec<u8>> {
    if !body.is_object() {
        return None;
    }
    let mut out =
        PatchOutput { bytes: Vec::with_capacity(body.bytes().len() + growth(patch)), done: Vec::new(), differs: false };
    out.bytes.push(b'{');
    body.cursor().fields(|name, value| out.member(patch, name, value.raw()?)).ok()?;
    for (name, value) in patch.merge.iter().filter(|(_, value)| !value.is_null()) {
        if !out.done.contains(name) {
            out.push(json!(name).to_string().as_bytes(), value.to_string().as_bytes());
            out.differs = true;
        }
    }
    out.bytes.push(b'}');
    Some(if out.differs { out.bytes } else { body.bytes().to_vec() })
}

/// The most bytes by which a body grows, if it has no duplicate fields.
pub fn growth(patch: &Patch) -> usize {
    let set = patch.merge.iter().map(|(name, value)| json!(name).to_string().len() + value.to_string().len() + 2);
    let renamed = patch.model_map.values().map(|name| json!(name).to_string().len()).max().unwrap_or(0);
    set.sum::<usize>() + renamed + 2
}

struct PatchOutput {
    bytes: Vec<u8>,
    /// Fields that have been set: a second one of the same name goes.
    done: Vec<String>,
    /// Something is not as it was.
    differs: bool,
}

impl PatchOutput {
    /// Copies a field, or writes what the patch makes of it.
    fn member(&mut self, patch: &Patch, name: &[u8], value: RawJson<'_>) -> Result<(), SyntaxError> {
        let quoted = [b"\"", name, b"\""].concat();
        let plain = serde_json::from_slice::<String>(&quoted).unwrap_or_default();
        match patch.merge.get(&plain) {
            Some(Value::Null) => self.differs = true,
            Some(_) if self.done.contains(&plain) => self.differs = true,
            Some(set) => {
                self.differs |= value.value().as_ref() != Some(set);
                self.push(&quoted, set.to_string().as_bytes());
                self.done.push(plain);
            }
            None => match renamed(patch, &plain, value) {
                Some(model) => {
                    self.push(&quoted, json!(model).to_string().as_bytes());
                    self.differs = true;
                }
                None => self.push(&quoted, value.bytes()),
            },
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(b':');
        self.bytes.extend_from_slice(value);
    }
}

/// The target's own name for the model that was asked for.
fn renamed<'p>(patch: &'p Patch, name: &str, value: RawJson<'_>) -> Option<&'p str> {
    if name != "model" || patch.model_map.is_empty() {
        return None;
    }
    let model = value.value()?;
    patch.renamed(model.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm::json::Cursor;
    use proptest::prelude::*;

    #[test]
    fn a_row_for_every_other_name() {
        for (map, model, sent) in [
            (json!({"a": "b", "*": "c"}), "a", "b"),
            (json!({"a": "b", "*": "c"}), "x", "c"),
            (json!({"a": "b", "*": "*"}), "x", "x"),
            (json!({"a": "*", "*": "c"}), "a", "a"),
            (json!({"a": "b"}), "*", "*"),
        ] {
            let body = json!({"model": model}).to_string();
            let made = apply(&patch(json!({}), map), Cursor::new(body.as_bytes()).raw().unwrap()).unwrap();
            assert_eq!(made, json!({"model": sent}).to_string().into_bytes());
        }
    }

    #[test]
    fn a_body_that_says_it_already_keeps_its_bytes() {
        let patch = patch(json!({"model": "m", "n": 1}), json!({"a": "b"}));
        let of = |body: &str| apply(&patch, Cursor::new(body.as_bytes()).raw().unwrap()).unwrap();
        let body = "{ \"n\" : 1,\n\"model\":\"\\u006d\" , \"x\":1e0}";
        assert_eq!(of(body), body.as_bytes());
        for (body, made) in [
            ("{ \"n\":1, \"model\":\"m\", \"n\":1}", "{\"n\":1,\"model\":\"m\"}"),
            ("{ \"model\":\"m\"}", "{\"model\":\"m\",\"n\":1}"),
            ("{ \"n\":2, \"model\":\"m\"}", "{\"n\":1,\"model\":\"m\"}"),
        ] {
            assert_eq!(of(body), made.as_bytes());
        }
    }

    fn patch(merge: Value, model_map: Value) -> Patch {
        let bytes = json!({"merge": merge, "model_map": model_map}).to_string();
        read(Cursor::new(bytes.as_bytes()).raw().unwrap())
    }

    fn applied(patch: &Patch, body: &str) -> Option<String> {
        let raw = Cursor::new(body.as_bytes()).raw().unwrap();
        apply(patch, raw).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn only_what_is_named_changes() {
        let patch = patch(json!({"max_tokens": 200, "user": null, "top_p": 1.0}), json!({"gpt-4": "gpt4"}));
        for (before, after) in [
            (
                r#"{"b":1e3,"a":[1,2.50],"model":"gpt-4"}"#,
                r#"{"b":1e3,"a":[1,2.50],"model":"gpt4","max_tokens":200,"top_p":1.0}"#,
            ),
            (r#"{"max_tokens":5,"model":"other"}"#, r#"{"max_tokens":200,"model":"other","top_p":1.0}"#),
            (r#"{"user":"a","x":1,"user":"b"}"#, r#"{"x":1,"max_tokens":200,"top_p":1.0}"#),
            (r#"{"max_tokens":1,"max_tokens":2}"#, r#"{"max_tokens":200,"top_p":1.0}"#),
            (r#"{"max_t\u006fkens":1}"#, r#"{"max_t\u006fkens":200,"top_p":1.0}"#),
            (r#"{"model":7}"#, r#"{"model":7,"max_tokens":200,"top_p":1.0}"#),
            ("{}", r#"{"max_tokens":200,"top_p":1.0}"#),
        ] {
            assert_eq!(applied(&patch, before).as_deref(), Some(after), "{before}");
        }
        for body in ["[1]", "\"text\"", "null", "7"] {
            assert_eq!(applied(&patch, body), None, "{body} goes out as it is");
        }
    }

    #[test]
    fn a_patch_comes_back_as_it_was_written() {
        let patch = patch(json!({"a": {"b": [1]}, "c": null}), json!({"x": "y"}));
        let bytes = write(&patch);
        assert_eq!(read(Cursor::new(&bytes).raw().unwrap()), patch);
        for odd in ["{}", "[]", "null", r#"{"merge":3,"model_map":{"a":1}}"#] {
            assert!(read(Cursor::new(odd.as_bytes()).raw().unwrap()).is_empty(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn the_result_is_the_original_but_for_the_named_fields(
            body in prop::collection::hash_map("[a-e]", "[a-z\"\\\\]{0,5}", 0..6),
            merge in prop::collection::hash_map("[c-g]", prop::option::of(0_i32..9), 0..5),
        ) {
            let body = json!(body);
            let merge = json!(merge);
            let patch = patch(merge.clone(), json!({}));
            let after = applied(&patch, &body.to_string()).unwrap();
            prop_assert!(after.len() <= body.to_string().len() + growth(&patch));
            let mut expected = body.as_object().unwrap().clone();
            for (name, value) in merge.as_object().unwrap() {
                if value.is_null() { expected.remove(name); } else { expected.insert(name.clone(), value.clone()); }
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), Value::Object(expected));
        }
    }
}
