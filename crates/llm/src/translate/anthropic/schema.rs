//! JSON schemas as Anthropic takes them, their keys in the order in which they came.
//!
//! `$schema` and `$id` have been refused (LiteLLM PR 12959) and say nothing about the value. They go wherever they are
//! keywords; a property of that name stays.

use memchr::{memchr2, memmem};

use super::write;
use crate::json::{RawJson, unescaped_name};

/// Deeper schemas are copied as they are.
const DEEPEST: usize = 64;

/// What a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A tool's parameters: an object, and whether it has a field `type`.
    Tool { is_typed: bool },
    /// The answer's form. Every object in it must say `"additionalProperties": false` (platform.claude.com, structured outputs).
    Answer,
}

/// Writes a schema, which is an object.
pub(super) fn write(out: &mut Vec<u8>, schema: RawJson<'_>, purpose: Use) {
    let is_untyped = purpose == Use::Tool { is_typed: false };
    if purpose == (Use::Tool { is_typed: true }) && !has_dollar_names(schema) {
        return out.extend_from_slice(schema.bytes());
    }
    object(out, schema, purpose, is_untyped, 0);
}

/// Whether a name may begin with a dollar, written as such or as an escape.
fn has_dollar_names(schema: RawJson<'_>) -> bool {
    let bytes = schema.bytes();
    memchr2(b'$', b'\\', bytes).is_some()
        && (memmem::find(bytes, b"\"$").is_some() || memmem::find(bytes, b"\\u0024").is_some())
}

fn object(out: &mut Vec<u8>, schema: RawJson<'_>, purpose: Use, is_untyped: bool, depth: usize) {
    if depth > DEEPEST || !schema.is_object() {
        return out.extend_from_slice(schema.bytes());
    }
    out.push(b'{');
    if is_untyped {
        // The vendor demands it of parameters; OpenAI does not.
        write::text(out, "type", "object");
    }
    let (mut is_of_objects, mut says_more_fields) = (false, false);
    schema.for_each_field(|raw_name, value| {
        let name = unescaped_name(raw_name);
        match &*name {
            "$schema" | "$id" => return,
            "properties" => is_of_objects = true,
            "type" => is_of_objects |= value.is_text("object"),
            "additionalProperties" => says_more_fields = true,
            _ => {}
        }
        write::comma(out);
        out.push(b'"');
        out.extend_from_slice(raw_name);
        out.extend_from_slice(b"\":");
        keyword(out, &name, value, purpose, depth);
    });
    if purpose == Use::Answer && is_of_objects && !says_more_fields {
        write::name(out, "additionalProperties");
        out.extend_from_slice(b"false");
    }
    out.push(b'}');
}

/// The value of a keyword: schemas where it has schemas, anything else as it is.
fn keyword(out: &mut Vec<u8>, name: &str, value: RawJson<'_>, purpose: Use, depth: usize) {
    match name {
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" if value.is_object() => {
            out.push(b'{');
            value.for_each_field(|name, value| {
                write::comma(out);
                out.push(b'"');
                out.extend_from_slice(name);
                out.extend_from_slice(b"\":");
                object(out, value, purpose, false, depth + 1);
            });
            out.push(b'}');
        }
        "anyOf" | "oneOf" | "allOf" | "prefixItems" | "items" if value.is_array() => {
            out.push(b'[');
            value.for_each(|schema| {
                write::comma(out);
                object(out, schema, purpose, false, depth + 1);
            });
            out.push(b']');
        }
        "items"
        | "additionalProperties"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "additionalItems"
        | "unevaluatedItems"
        | "unevaluatedProperties" => {
            object(out, value, purpose, false, depth + 1);
        }
        _ => out.extend_from_slice(value.bytes()),
    }
}
