//! Schemas that the vendor enforces: what it does not take moves into the description.

use llm::translate::Unsupported;
use llm::translate::anthropic::{self, RequestOptions};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::options;

const ANSWER: &str = "response_format.json_schema.schema";
const STRICT: &str = "tools[0].function.parameters";

/// A request with this schema for its answer.
fn answering(schema: &str) -> String {
    format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],"response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}}}"#
    )
}

/// One with a tool that has it.
fn calling(schema: &str, strict: bool) -> String {
    format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema},"strict":{strict}}}}}]}}"#
    )
}

/// The body that goes out, and what is named as left out.
fn sent(request: &str) -> (String, Vec<String>) {
    let made = anthropic::request(request.as_bytes(), &options()).unwrap();
    (String::from_utf8(made.body).unwrap(), made.dropped.iter().map(ToString::to_string).collect())
}

/// Each: the schema, what is sent, and the paths of what moved or is lost.
const CASES: [(&str, &str, &[&str]); 22] = [
    (
        r#"{"type":"integer","minimum":1,"maximum":1.0e1,"description":"A number"}"#,
        r#"{"type":"integer","description":"A number\n\n{minimum: 1, maximum: 1.0e1}"}"#,
        &["minimum", "maximum"],
    ),
    (
        r#"{"type":"number","exclusiveMinimum":0,"multipleOf":0.5}"#,
        r#"{"type":"number","description":"{exclusiveMinimum: 0, multipleOf: 0.5}"}"#,
        &["exclusiveMinimum", "multipleOf"],
    ),
    (
        r#"{"minLength":1,"type":"string","maxLength":9,"title":"T"}"#,
        r#"{"type":"string","title":"T","description":"{minLength: 1, maxLength: 9}"}"#,
        &["minLength", "maxLength"],
    ),
    (
        r#"{"type":"string","pattern":"^\\d+\"$","description":""}"#,
        r#"{"type":"string","description":"{pattern: \"^\\\\d+\\\"$\"}"}"#,
        &["pattern"],
    ),
    (
        r#"{"type":"string","description":"é \u00e9 \"","pattern":"a"}"#,
        r#"{"type":"string","description":"é \u00e9 \"\n\n{pattern: \"a\"}"}"#,
        &["pattern"],
    ),
    (r#"{"type":"string","format":"uuid"}"#, r#"{"type":"string","format":"uuid"}"#, &[]),
    (
        r#"{"type":"string","format":"binary"}"#,
        r#"{"type":"string","description":"{format: \"binary\"}"}"#,
        &["format"],
    ),
    (
        r#"{"type":"array","items":{"type":"integer","minimum":1},"minItems":1,"maxItems":3}"#,
        r#"{"type":"array","items":{"type":"integer","description":"{minimum: 1}"},"minItems":1,"description":"{maxItems: 3}"}"#,
        &["maxItems", "items.minimum"],
    ),
    (
        r#"{"type":"array","minItems":2,"uniqueItems":true}"#,
        r#"{"type":"array","description":"{minItems: 2, uniqueItems: true}"}"#,
        &["minItems", "uniqueItems"],
    ),
    (
        r#"{"type":"array","prefixItems":[{"type":"string"}]}"#,
        r#"{"type":"array","description":"{prefixItems: [{\"type\":\"string\"}]}"}"#,
        &["prefixItems"],
    ),
    (
        r#"{"type":"object","properties":{"minimum":{"type":"integer","minimum":0}},"required":["minimum"]}"#,
        r#"{"type":"object","properties":{"minimum":{"type":"integer","description":"{minimum: 0}"}},"required":["minimum"],"additionalProperties":false}"#,
        &["properties.minimum.minimum"],
    ),
    (
        r#"{"type":"object","properties":{},"minProperties":1,"additionalProperties":false}"#,
        r#"{"type":"object","properties":{},"additionalProperties":false,"description":"{minProperties: 1}"}"#,
        &["minProperties"],
    ),
    (
        r#"{"type":"object","additionalProperties":{"type":"string"},"title":"Map"}"#,
        r#"{"type":"object","additionalProperties":false,"title":"Map"}"#,
        &["additionalProperties"],
    ),
    (
        r#"{"type":["object","null"],"properties":{"a":true}}"#,
        r#"{"type":["object","null"],"properties":{"a":true},"additionalProperties":false}"#,
        &[],
    ),
    (
        r#"{"oneOf":[{"type":"string","maxLength":2},{"type":"null"}]}"#,
        r#"{"anyOf":[{"type":"string","description":"{maxLength: 2}"},{"type":"null"}]}"#,
        &["anyOf.0.maxLength"],
    ),
    (
        r#"{"anyOf":[{"type":"null"}],"oneOf":[{"type":"null"}],"allOf":[{"type":"null"}]}"#,
        r#"{"anyOf":[{"type":"null"}],"allOf":[{"type":"null"}],"description":"{oneOf: [{\"type\":\"null\"}]}"}"#,
        &["oneOf"],
    ),
    (
        r##"{"$defs":{"P":{"type":"integer","minimum":1}},"$ref":"#/$defs/P","description":"d"}"##,
        r##"{"$defs":{"P":{"type":"integer","description":"{minimum: 1}"}},"$ref":"#/$defs/P"}"##,
        &["description", "$defs.P.minimum"],
    ),
    (
        r#"{"enum":["a",1,null,true],"type":"string","default":{"minimum":1}}"#,
        r#"{"enum":["a",1,null,true],"type":"string","default":{"minimum":1}}"#,
        &[],
    ),
    (r#"{"enum":[{"a":1}]}"#, r#"{"description":"{enum: [{\"a\":1}]}"}"#, &["enum"]),
    (
        r#"{"const":1.50,"examples":[1],"$comment":"c","minimum":null}"#,
        r#"{"const":1.50,"description":"{examples: [1]}"}"#,
        &["examples"],
    ),
    (
        r#"{"type":"string","p\u0061ttern":"a","not":{"type":"null"}}"#,
        r#"{"type":"string","description":"{pattern: \"a\", not: {\"type\":\"null\"}}"}"#,
        &["pattern", "not"],
    ),
    (r#"{"type":"string","x-own":"ä\n"}"#, r#"{"type":"string","description":"{x-own: \"ä\\n\"}"}"#, &["x-own"]),
];

#[test]
fn keywords_that_are_refused_move_into_the_description_in_their_order() {
    for (schema, expected, moved) in CASES {
        let paths = |base: &str| moved.iter().map(|path| format!("{base}.{path}")).collect::<Vec<_>>();
        let (body, dropped) = sent(&answering(schema));
        assert!(
            body.contains(&format!(r#""format":{{"type":"json_schema","schema":{expected}}}"#)),
            "{schema}\n{body}"
        );
        assert_eq!(dropped, paths(ANSWER), "{schema}");
        // A strict tool is held to the same, but that its parameters are an object.
        let (body, dropped) = sent(&calling(&format!(r#"{{"type":"object","properties":{{"x":{schema}}}}}"#), true));
        assert!(
            body.contains(&format!(r#""properties":{{"x":{expected}}},"additionalProperties":false}}"#)),
            "{schema}\n{body}"
        );
        assert_eq!(dropped, paths(&format!("{STRICT}.properties.x")), "{schema}");
        // Without that, the vendor reads a schema and enforces nothing.
        let (body, dropped) = sent(&calling(&format!(r#"{{"type":"object","properties":{{"x":{schema}}}}}"#), false));
        let is_copied = !schema.contains("$");
        assert!(!is_copied || body.contains(schema), "{schema}\n{body}");
        assert!(dropped.is_empty(), "{schema}: {dropped:?}");
    }
}

#[test]
fn what_is_no_longer_enforced_is_refused_where_the_settings_say_so() {
    let refusing = RequestOptions { unsupported: Unsupported::Refuse, ..options() };
    let request = answering(r#"{"type":"integer","minimum":1}"#);
    let error = anthropic::request(request.as_bytes(), &refusing).unwrap_err().to_string();
    assert_eq!(error, "the model cannot take `response_format.json_schema.schema.minimum`");
    let request = answering(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#);
    assert!(anthropic::request(request.as_bytes(), &refusing).is_ok());
}

/// A path is bounded by nothing but the request.
#[test]
fn long_names_around_many_keywords_cost_no_more_than_their_length() {
    let many: String = (0..20_000).map(|at| format!(",\"x{at}\":1")).collect();
    let schema =
        format!(r#"{{"type":"object","properties":{{"{}":{{"type":"string"{many}}}}}}}"#, "n".repeat(4_000_000));
    let start = std::time::Instant::now();
    let made = anthropic::request(answering(&schema).as_bytes(), &options()).unwrap();
    assert_eq!(made.dropped.total(), 20_000);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (0..100_i64).prop_map(|least| json!({"type": "integer", "minimum": least, "description": "d"})),
        Just(json!({"type": "string", "pattern": "^\"\\\\$", "minLength": 2, "format": "date"})),
        Just(json!({"type": "string", "enum": ["a", "b"]})),
        Just(json!({"const": {"a": 1}})),
        Just(json!(true)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), any::<bool>()).prop_map(|list| {
                let (list, is_open) = list;
                let fields: serde_json::Map<_, _> =
                    list.into_iter().enumerate().map(|(at, schema)| (format!("p{at}"), schema)).collect();
                json!({"type": "object", "properties": fields, "additionalProperties": is_open, "maxProperties": 9})
            }),
            (inner.clone(), 0..4_u8).prop_map(
                |(items, least)| json!({"type": "array", "items": items, "minItems": least, "description": "é"})
            ),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"oneOf": list})),
            inner.prop_map(|schema| json!({"$defs": {"D": schema}, "$ref": "#/$defs/D", "title": "t"})),
        ]
    })
}

/// Every keyword of a schema that is sent is one that the vendor takes.
fn check(schema: &Value) {
    let Some(fields) = schema.as_object() else { return };
    for (name, value) in fields {
        match name.as_str() {
            "properties" | "$defs" => value.as_object().unwrap().values().for_each(check),
            "anyOf" | "allOf" => value.as_array().unwrap().iter().for_each(check),
            "items" => check(value),
            "minItems" => assert!(value == 0 || value == 1, "{schema}"),
            "additionalProperties" => assert_eq!(*value, json!(false), "{schema}"),
            "enum" => assert!(value.as_array().unwrap().iter().all(|one| !one.is_object() && !one.is_array())),
            "const" => assert!(!value.is_object() && !value.is_array()),
            other => assert!(
                ["type", "title", "description", "required", "format", "default", "$ref"].contains(&other),
                "{other}"
            ),
        }
    }
    assert!(schema["type"] != "object" || fields.contains_key("additionalProperties"), "{schema}");
}

proptest! {
    #[test]
    fn what_is_sent_is_taken_and_stays_as_it_is_when_it_is_sent_again(schema in schema()) {
        prop_assume!(schema.is_object());
        let body: Value = serde_json::from_str(&sent(&answering(&schema.to_string())).0).unwrap();
        let first = body["output_config"]["format"]["schema"].clone();
        check(&first);
        let (body, dropped) = sent(&answering(&first.to_string()));
        let body: Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(&body["output_config"]["format"]["schema"], &first);
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
    }
}
