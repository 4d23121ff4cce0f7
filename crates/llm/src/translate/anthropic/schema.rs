//! JSON schemas as Anthropic takes them, their keys in the order in which they came.
//!
//! `$schema` and `$id` have been refused (LiteLLM PR 12959) and say nothing about the value. They go wherever they are
//! keywords; a property of that name stays.
//!
//! A schema that the vendor enforces (`output_config.format`, and `input_schema` of a strict tool) may have a part of JSON Schema's
//! keywords; others are answered with 400. Sources: platform.claude.com, "Structured outputs", "JSON Schema limitations", for the
//! keywords, and the vendor's SDK, `lib/_parse/_transform.py` (`anthropic` 2.14.0), for what becomes of the others: they move into
//! the `description`, where the model reads them and nothing enforces them. `default` stays, as the page says; `pattern` moves, as
//! the SDK moves it, since only simple expressions are taken.

use std::borrow::Cow;

use memchr::{memchr2, memmem};

use crate::json::{RawJson, unescaped_name};
use crate::translate::Drops;
use crate::translate::write;

/// Deeper schemas are copied as they are.
const MAX_DEPTH: usize = 64;

/// The formats of strings that are enforced.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Writes the parameters of a tool, which are an object. `is_typed`: they have a field `type`.
pub(super) fn write(out: &mut Vec<u8>, schema: RawJson<'_>, is_typed: bool) {
    if is_typed && !has_dollar_names(schema) {
        return out.extend_from_slice(schema.bytes());
    }
    Writer { out, enforced: None }.object(schema, !is_typed, 0);
}

/// Writes a schema that the vendor enforces, which is an object. `is_typed`: it has a field `type`, or needs none. What moves into
/// a description or is lost is noted by its path, which begins with `path`.
pub(super) fn write_enforced(out: &mut Vec<u8>, schema: RawJson<'_>, is_typed: bool, path: &str, drops: &mut Drops) {
    let enforced = Some(Enforced { path: path.to_owned(), drops });
    Writer { out, enforced }.object(schema, !is_typed, 0);
}

/// Whether a name may begin with a dollar, written as such or as an escape.
fn has_dollar_names(schema: RawJson<'_>) -> bool {
    let bytes = schema.bytes();
    memchr2(b'$', b'\\', bytes).is_some()
        && (memmem::find(bytes, b"\"$").is_some() || memmem::find(bytes, b"\\u0024").is_some())
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    enforced: Option<Enforced<'o>>,
}

struct Enforced<'o> {
    /// Where the schema stands that is being written.
    path: String,
    drops: &'o mut Drops,
}

/// A field of a schema: its name as it is meant, and as it stands between the quotes.
type Field<'a> = (Cow<'a, str>, &'a [u8], RawJson<'a>);

/// What becomes of a keyword of a schema that is enforced.
enum Fate {
    Stays,
    /// Under another name.
    Becomes(&'static str),
    /// It says nothing about the value.
    Goes,
    /// There is no place for it.
    IsLost,
    IntoDescription,
}

impl Writer<'_> {
    fn object(&mut self, schema: RawJson<'_>, is_untyped: bool, depth: usize) {
        if depth > MAX_DEPTH || !schema.is_object() {
            return self.out.extend_from_slice(schema.bytes());
        }
        self.out.push(b'{');
        if is_untyped {
            // The vendor demands it of parameters; OpenAI does not.
            write::text(self.out, "type", "object");
        }
        if self.enforced.is_some() {
            self.enforced_fields(schema, depth);
        } else {
            schema.for_each_field(|raw_name, value| {
                let name = unescaped_name(raw_name);
                if !matches!(&*name, "$schema" | "$id") {
                    write::name(self.out, raw_name);
                    self.keyword(&name, value, depth);
                }
            });
        }
        self.out.push(b'}');
    }

    fn enforced_fields(&mut self, schema: RawJson<'_>, depth: usize) {
        let mut fields: Vec<Field<'_>> = Vec::new();
        schema.for_each_field(|raw, value| fields.push((unescaped_name(raw), raw, value)));
        let has = |wanted: &str| fields.iter().any(|(name, ..)| name == wanted);
        let beside = Neighbours { reference: has("$ref"), any_of: has("anyOf") };
        let fates: Vec<_> = fields.iter().map(|(name, _, value)| fate(name, *value, beside)).collect();
        let moved = self.moved(&fields, &fates);
        let mut is_said = moved.is_empty();
        for ((name, raw_name, value), fate) in fields.iter().zip(fates) {
            let name = match fate {
                Fate::Stays => &**name,
                Fate::Becomes(other) => other,
                Fate::Goes | Fate::IsLost | Fate::IntoDescription => continue,
            };
            write::name(self.out, if matches!(fate, Fate::Becomes(_)) { name.as_bytes() } else { raw_name });
            match name {
                "description" if !is_said => {
                    is_said = true;
                    self.description(*value, &moved);
                }
                // It must be closed.
                "additionalProperties" => self.out.extend_from_slice(b"false"),
                _ => self.keyword(name, *value, depth),
            }
        }
        if !is_said {
            write::text(self.out, "description", &moved);
        }
        let names_objects = fields.iter().any(|(name, _, value)| name == "type" && names_objects(*value));
        let is_open = (names_objects || has("properties")) && !has("additionalProperties");
        if is_open && !beside.reference {
            write::json(self.out, "additionalProperties", b"false");
        }
    }

    /// The keywords that go into the description, as the vendor's SDK writes them; empty if there are none. Notes them, and what
    /// is lost.
    fn moved(&mut self, fields: &[Field<'_>], fates: &[Fate]) -> String {
        let mut moved = String::new();
        let Some(Enforced { path, drops }) = &mut self.enforced else { return moved };
        for ((name, _, value), fate) in fields.iter().zip(fates) {
            match fate {
                Fate::IntoDescription => {
                    moved.push_str(if moved.is_empty() { "{" } else { ", " });
                    moved.push_str(name);
                    moved.push_str(": ");
                    moved.push_str(&String::from_utf8_lossy(value.bytes()));
                }
                Fate::IsLost => {}
                Fate::Stays if name == "additionalProperties" && value.bytes() != b"false" => {}
                Fate::Stays | Fate::Becomes(_) | Fate::Goes => continue,
            }
            drops.push(format!("{path}.{name}"));
        }
        if !moved.is_empty() {
            moved.push('}');
        }
        moved
    }

    /// A description with what has moved into it.
    fn description(&mut self, text: RawJson<'_>, moved: &str) {
        if text.is_blank() {
            return write::string(self.out, moved);
        }
        self.out.extend_from_slice(text.bytes());
        self.out.pop();
        let start = self.out.len();
        write::string(self.out, moved);
        self.out.splice(start..=start, *b"\\n\\n");
    }

    /// The value of a keyword: schemas where it has schemas, anything else as it is.
    fn keyword(&mut self, name: &str, value: RawJson<'_>, depth: usize) {
        match name {
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" if value.is_object() => {
                self.out.push(b'{');
                value.for_each_field(|raw_name, schema| {
                    write::name(self.out, raw_name);
                    let at = self.enter(name, &unescaped_name(raw_name));
                    self.object(schema, false, depth + 1);
                    self.leave(at);
                });
                self.out.push(b'}');
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" | "items" if value.is_array() => {
                self.out.push(b'[');
                for (number, schema) in value.elements().enumerate() {
                    write::comma(self.out);
                    let at = self.enter(name, &number.to_string());
                    self.object(schema, false, depth + 1);
                    self.leave(at);
                }
                self.out.push(b']');
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
                let at = self.enter(name, "");
                self.object(value, false, depth + 1);
                self.leave(at);
            }
            _ => self.out.extend_from_slice(value.bytes()),
        }
    }

    /// Goes to a schema within this one, and returns where this one's path ends.
    fn enter(&mut self, keyword: &str, name: &str) -> usize {
        /// Of a longer path nothing more is said.
        const MAX_PATH_CHARS: usize = 128;
        let Some(Enforced { path, .. }) = &mut self.enforced else { return 0 };
        let end = path.len();
        for part in [keyword, name].into_iter().filter(|part| !part.is_empty() && end < MAX_PATH_CHARS) {
            path.push('.');
            path.extend(part.chars().take(MAX_PATH_CHARS));
        }
        end
    }

    fn leave(&mut self, end: usize) {
        if let Some(enforced) = &mut self.enforced {
            enforced.path.truncate(end);
        }
    }
}

/// What stands in a schema and decides on its other keywords.
#[derive(Debug, Clone, Copy)]
struct Neighbours {
    reference: bool,
    any_of: bool,
}

/// What becomes of a keyword.
fn fate(name: &str, value: RawJson<'_>, beside: Neighbours) -> Fate {
    match name {
        "$schema" | "$id" | "$comment" => Fate::Goes,
        "$ref" | "$defs" | "definitions" => Fate::Stays,
        // The SDK sends a reference alone.
        _ if beside.reference => Fate::IsLost,
        "type" | "title" | "default" | "required" | "properties" | "anyOf" | "allOf" | "additionalProperties" => {
            Fate::Stays
        }
        "oneOf" if value.is_array() && !beside.any_of => Fate::Becomes("anyOf"),
        "description" if value.quoted().is_some() => Fate::Stays,
        "items" if !value.is_array() => Fate::Stays,
        "enum" if value.is_array() && value.elements().all(is_plain) => Fate::Stays,
        "const" if is_plain(value) => Fate::Stays,
        "format" if FORMATS.iter().any(|format| value.is_text(format)) => Fate::Stays,
        "minItems" if matches!(value.bytes(), b"0" | b"1") => Fate::Stays,
        _ if value.is_null() => Fate::Goes,
        _ => Fate::IntoDescription,
    }
}

/// Whether a `type` is that of objects, or one of several that are.
fn names_objects(kind: RawJson<'_>) -> bool {
    kind.is_text("object") || kind.elements().any(|one| one.is_text("object"))
}

fn is_plain(value: RawJson<'_>) -> bool {
    !value.is_object() && !value.is_array()
}
