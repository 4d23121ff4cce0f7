//! Conditions on a request: a small tree of tests over its fields, evaluated without side effects.
//!
//! A field that is missing matches only what is true of nothing (`$ne`, `$nin`, `$not`), and values of another type than the
//! test's never match: a condition that cannot be judged must not send anybody anywhere. For the same reason nothing is said
//! of a value that is too long to be looked at, and neither is of its opposite.

use std::fmt;

use regex::Regex;
use serde_json::Value;

use types::request::{FieldValue, MAX_FIELD_VALUE_BYTES, Request};

/// The header that carries the id of a session.
pub(super) const SESSION: &str = "Session-Id";

/// Something that a request may fulfil.
#[derive(Debug, Clone)]
pub enum Query {
    /// All of them.
    All(Vec<Query>),
    /// At least one of them.
    Any(Vec<Query>),
    /// Not this one.
    Not(Box<Query>),
    /// All of these tests of one field.
    Field(Field, Vec<Test>),
}

/// A field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// `params.a.b`: a field of the JSON body.
    Param(Vec<String>),
    /// `headers.Name`.
    Header(String),
    /// `path`: the router that the client called.
    Path,
    /// `session`: the client's `Session-Id` without its last part; missing on a session's first call.
    Session,
}

/// A test of one field.
#[derive(Debug, Clone)]
pub enum Test {
    /// `$eq`
    Eq(Value),
    /// `$ne`
    Ne(Value),
    /// `$gt`
    Gt(Value),
    /// `$gte`
    Gte(Value),
    /// `$lt`
    Lt(Value),
    /// `$lte`
    Lte(Value),
    /// `$in`
    In(Vec<Value>),
    /// `$nin`
    Nin(Vec<Value>),
    /// `$regex`
    Regex(Regex),
}

impl Query {
    /// Whether the request fulfils it; absent if that hangs on a value that is too long.
    pub fn evaluate(&self, request: &impl Request) -> Option<bool> {
        match self {
            Self::All(all) => decided_by(false, all, request),
            Self::Any(any) => decided_by(true, any, request),
            Self::Not(query) => query.evaluate(request).map(|holds| !holds),
            Self::Field(field, tests) => {
                let values = field.values(request)?;
                Some(tests.iter().all(|test| test.holds(&values)))
            }
        }
    }

    /// Whether the request is known to fulfil it.
    #[cfg(test)]
    fn holds(&self, request: &impl Request) -> bool {
        self.evaluate(request) == Some(true)
    }

    /// The fields it asks for, in the order in which they stand.
    pub fn fields(&self) -> Vec<&Field> {
        match self {
            Self::All(queries) | Self::Any(queries) => queries.iter().flat_map(Self::fields).collect(),
            Self::Not(query) => query.fields(),
            Self::Field(field, _) => vec![field],
        }
    }
}

/// What all queries together say where one that says `decisive` decides for all: that, if one does; the opposite, if all say
/// it; else nothing.
fn decided_by(decisive: bool, queries: &[Query], request: &impl Request) -> Option<bool> {
    let mut together = Some(!decisive);
    for query in queries {
        match query.evaluate(request) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => together = None,
        }
    }
    together
}

impl Field {
    /// Reads `params.a.b`, `headers.Name`, `path` or `session`.
    pub fn parse(text: &str) -> Option<Self> {
        let names = |rest: &str| rest.split('.').map(str::to_owned).collect::<Vec<_>>();
        match text.split_once('.') {
            None if text == "path" => Some(Self::Path),
            None if text == "session" => Some(Self::Session),
            Some(("params", rest)) if names(rest).iter().all(|name| !name.is_empty()) => Some(Self::Param(names(rest))),
            Some(("headers", name)) if !name.is_empty() => Some(Self::Header(name.to_owned())),
            _ => None,
        }
    }

    /// What the request has there; a header may have several values. Nothing at all if it is too long to be looked at.
    pub fn values(&self, request: &impl Request) -> Option<Vec<Value>> {
        match self {
            Self::Path => Some(vec![Value::from(request.path())]),
            Self::Param(names) => match request.param(names) {
                None => Some(Vec::new()),
                Some(FieldValue::Value(value)) => Some(vec![value]),
                Some(FieldValue::Text(text)) => Some(meanings(text)),
                Some(FieldValue::TooLong) => None,
            },
            Self::Header(name) => Some(short(request.header(name))?.into_iter().map(Value::from).collect()),
            Self::Session => {
                let ids = short(request.header(SESSION))?;
                let sessions = ids.iter().filter_map(|id| id.rsplit_once('_'));
                Some(sessions.map(|(session, _)| Value::from(session)).take(1).collect())
            }
        }
    }
}

/// What a field of a form may mean: its text, and the number or truth value that it spells. A value of another type than a
/// test's never matches, so at most one of them counts, and what is refused (`$ne`, `$nin`) is refused in either form.
fn meanings(text: String) -> Vec<Value> {
    let meant = serde_json::from_str(text.trim()).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
    std::iter::once(Value::from(text)).chain(meant).collect()
}

fn short(values: Vec<String>) -> Option<Vec<String>> {
    are_short(&values).then_some(values)
}

/// Whether the values of a header are not too long, all of them together.
pub(super) fn are_short(values: &[String]) -> bool {
    values.iter().map(|value| value.len() + 1).sum::<usize>() <= MAX_FIELD_VALUE_BYTES + 1
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Param(names) => write!(f, "params.{}", names.join(".")),
            Self::Header(name) => write!(f, "headers.{name}"),
            Self::Path => f.write_str("path"),
            Self::Session => f.write_str("session"),
        }
    }
}

impl Test {
    /// Whether one of the values passes; of none, whether that is what is wanted.
    pub(super) fn holds(&self, values: &[Value]) -> bool {
        let any = |passes: &dyn Fn(&Value) -> bool| values.iter().any(passes);
        let compares =
            |wanted: &Value, is: fn(std::cmp::Ordering) -> bool| any(&|value| compare(value, wanted).is_some_and(is));
        match self {
            Self::Eq(wanted) => any(&|value| equal(value, wanted)),
            Self::Ne(wanted) => !any(&|value| equal(value, wanted)),
            Self::In(list) => any(&|value| list.iter().any(|wanted| equal(value, wanted))),
            Self::Nin(list) => !any(&|value| list.iter().any(|wanted| equal(value, wanted))),
            Self::Gt(wanted) => compares(wanted, std::cmp::Ordering::is_gt),
            Self::Gte(wanted) => compares(wanted, std::cmp::Ordering::is_ge),
            Self::Lt(wanted) => compares(wanted, std::cmp::Ordering::is_lt),
            Self::Lte(wanted) => compares(wanted, std::cmp::Ordering::is_le),
            Self::Regex(regex) => any(&|value| value.as_str().is_some_and(|text| regex.is_match(text))),
        }
    }
}

/// Numbers are equal by value, however they are spelled.
fn equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Numbers with numbers, texts with texts; nothing else has an order.
fn compare(one: &Value, other: &Value) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Body;
    use serde_json::json;

    #[test]
    fn every_test_and_what_it_says_of_the_missing_and_the_mistyped() {
        // test, holds for 5, for "5", for a missing field
        let five = json!(5);
        for (test, number, text, missing) in [
            (Test::Eq(five.clone()), true, false, false),
            (Test::Eq(json!(5.0)), true, false, false),
            (Test::Eq(json!("5")), false, true, false),
            (Test::Ne(five.clone()), false, true, true),
            (Test::Gt(json!(4)), true, false, false),
            (Test::Gt(five.clone()), false, false, false),
            (Test::Gte(five.clone()), true, false, false),
            (Test::Lt(json!(6)), true, false, false),
            (Test::Lte(json!("6")), false, true, false),
            (Test::In(vec![json!(1), five.clone()]), true, false, false),
            (Test::Nin(vec![json!(1), five]), false, true, true),
            (Test::Regex(Regex::new("^[0-9]$").unwrap()), false, true, false),
        ] {
            let query = Query::Field(Field::Param(vec!["n".to_owned()]), vec![test.clone()]);
            let holds = |body: Value| query.holds(&Body(body, Vec::new()));
            assert_eq!(
                (holds(json!({"n": 5})), holds(json!({"n": "5"})), holds(json!({}))),
                (number, text, missing),
                "{test:?}"
            );
        }
    }

    #[test]
    fn s1_10_fields_of_forms_match_by_their_text_and_by_its_meaning() {
        struct Form(&'static str);
        impl Request for Form {
            fn path(&self) -> &str {
                "/azure/"
            }

            fn param(&self, _names: &[String]) -> Option<FieldValue> {
                Some(FieldValue::Text(self.0.to_owned()))
            }
        }
        for (text, test, holds) in [
            ("0.5", Test::Eq(json!(0.5)), true),
            (" 0.50\r\n", Test::Eq(json!(0.5)), true),
            ("0.5", Test::Eq(json!("0.5")), true),
            ("0.5", Test::Ne(json!(0.5)), false),
            ("0.5", Test::Ne(json!("0.5")), false),
            ("0.5", Test::Lt(json!(1)), true),
            ("10", Test::Gt(json!(9)), true),
            ("10", Test::Gt(json!("9")), false),
            ("10", Test::In(vec![json!(1), json!(10)]), true),
            ("10", Test::Nin(vec![json!(10)]), false),
            ("true", Test::Eq(json!(true)), true),
            ("true", Test::Eq(json!("true")), true),
            ("false", Test::Eq(json!(true)), false),
            ("True", Test::Eq(json!(true)), false),
            ("null", Test::Eq(json!(null)), false),
            ("[1]", Test::Eq(json!([1])), false),
            ("007", Test::Eq(json!(7)), false),
            ("10", Test::Regex(Regex::new("^1.$").unwrap()), true),
        ] {
            let query = Query::Field(Field::Param(vec!["n".to_owned()]), vec![test.clone()]);
            assert_eq!(query.holds(&Form(text)), holds, "{text} {test:?}");
        }
    }

    #[test]
    fn headers_match_without_case_and_by_any_value() {
        let request = Body(json!(null), vec![("X-Tier", "free"), ("x-tier", "gold")]);
        let field = || Field::parse("headers.X-TIER").unwrap();
        assert!(Query::Field(field(), vec![Test::Eq(json!("gold"))]).holds(&request));
        assert!(!Query::Field(field(), vec![Test::Ne(json!("gold"))]).holds(&request));
        assert!(!Query::Field(field(), vec![Test::Eq(json!("Gold"))]).holds(&request));
    }

    #[test]
    fn several_tests_must_all_hold_and_queries_combine() {
        let field = || Field::parse("params.a.b").unwrap();
        let between = Query::Field(field(), vec![Test::Gt(json!(1)), Test::Lt(json!(3))]);
        let with = |n: i32| Body(json!({"a": {"b": n}}), Vec::new());
        assert!(between.holds(&with(2)) && !between.holds(&with(3)) && !between.holds(&with(1)));
        let not = Query::Not(Box::new(between.clone()));
        assert!(not.holds(&with(3)) && not.holds(&Body(json!({}), Vec::new())));
        assert!(Query::Any(vec![between.clone(), not.clone()]).holds(&with(9)));
        assert!(!Query::All(vec![between, not]).holds(&with(2)));
        assert!(Query::All(Vec::new()).holds(&with(0)) && !Query::Any(Vec::new()).holds(&with(0)));
    }

    #[test]
    fn nothing_is_said_of_a_value_that_is_too_long_nor_of_its_opposite() {
        let header = |length: usize| {
            let value: &'static str = Box::leak("a".repeat(length).into_boxed_str());
            Body(json!({"n": 1}), vec![("X-Long", value)])
        };
        let long =
            || Query::Field(Field::parse("headers.x-long").unwrap(), vec![Test::Regex(Regex::new("^a").unwrap())]);
        let n = |is: i32| Query::Field(Field::parse("params.n").unwrap(), vec![Test::Eq(json!(is))]);
        let not = |query| Query::Not(Box::new(query));
        assert_eq!(long().evaluate(&header(MAX_FIELD_VALUE_BYTES)), Some(true));
        let request = header(MAX_FIELD_VALUE_BYTES + 1);
        for (query, says) in [
            (long(), None),
            (not(long()), None),
            (Query::All(vec![long(), n(1)]), None),
            (Query::All(vec![long(), n(2)]), Some(false)),
            (Query::Any(vec![long(), n(1)]), Some(true)),
            (Query::Any(vec![long(), n(2)]), None),
            (not(Query::Any(vec![long(), n(1)])), Some(false)),
        ] {
            assert_eq!(query.evaluate(&request), says, "{query:?}");
        }
    }

    #[test]
    fn a_session_is_the_id_without_its_last_part() {
        let of = |id| Field::Session.values(&Body(json!(null), vec![("Session-Id", id)]));
        assert_eq!(of("A_1_1_7"), Some(vec![json!("A_1_1")]));
        assert_eq!(Field::Session.values(&Body(json!(null), Vec::new())), Some(Vec::new()));
    }

    #[test]
    fn fields_by_name() {
        for good in ["params.model", "params.a.b", "headers.X-User", "path", "session"] {
            assert_eq!(Field::parse(good).map(|field| field.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "param.x", "params", "params.", "params.a..b", "headers", "headers.", "metadata.x", "paths"] {
            assert_eq!(Field::parse(bad), None, "{bad}");
        }
    }
}
