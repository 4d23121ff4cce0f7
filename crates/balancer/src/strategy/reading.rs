//! What the strategies of a pool ask of a request, read once and before a choice is made, so that what stands under a lock does
//! not grow with the request: fields of the body, headers, which conditions it fulfils, how large it is.

use std::sync::Arc;

use super::query::{SESSION, are_short};
use super::tree::{Condition, Policy};
use super::{Field, conditional};
use types::request::{ConditionMatch, FieldValue, MAX_FIELD_VALUE_BYTES, Request, RequestNeeds, RequestSize};
use types::router::RouterPath;

/// What the strategies of one pool ask of requests.
#[derive(Debug, Default)]
pub struct RequestInputs {
    /// Of the body, by the names on the way to each.
    params: Vec<Vec<String>>,
    headers: Vec<String>,
    conditions: Vec<Arc<[Condition]>>,
}

impl RequestInputs {
    /// The same in short.
    pub(super) const fn needs(&self) -> RequestNeeds {
        RequestNeeds { body: !self.params.is_empty(), headers: !self.headers.is_empty() }
    }

    /// Whether nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.params.is_empty() && self.headers.is_empty() && self.conditions.is_empty()
    }

    pub(super) fn add(&mut self, policy: &Policy) {
        policy.fields().into_iter().for_each(|field| self.look_at(field));
        if let Policy::Conditional { conditions, .. } = policy {
            self.conditions.push(Arc::clone(conditions));
        }
    }

    fn look_at(&mut self, field: &Field) {
        match field {
            Field::Param(names) if !self.params.contains(names) => self.params.push(names.clone()),
            Field::Header(name) => self.look_at_header(name),
            Field::Session => self.look_at_header(SESSION),
            Field::Param(_) | Field::Path => {}
        }
    }

    fn look_at_header(&mut self, name: &str) {
        if !self.headers.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            self.headers.push(name.to_owned());
        }
    }
}

/// A request that has been read.
#[derive(Debug)]
pub struct ReadRequest<'a> {
    path: &'a str,
    request_size: RequestSize,
    is_generation: bool,
    called_model: Option<&'a str>,
    preferred: Option<&'a RouterPath>,
    inputs: Option<&'a RequestInputs>,
    /// In the order of what is asked.
    params: Vec<Option<FieldValue>>,
    headers: Vec<Vec<String>>,
    condition_matches: Vec<ConditionMatch>,
}

impl<'a> ReadRequest<'a> {
    /// Reads what is asked of a request; how large it is only where that matters.
    pub fn new(request: &'a impl Request, inputs: Option<&'a RequestInputs>, how_large: bool) -> Self {
        let mut read = Self {
            path: request.path(),
            request_size: if how_large { request.size() } else { RequestSize::default() },
            is_generation: request.is_generation(),
            called_model: request.called_model(),
            preferred: request.preferred(),
            inputs,
            params: Vec::new(),
            headers: Vec::new(),
            condition_matches: Vec::new(),
        };
        if let Some(inputs) = inputs {
            read.params = inputs.params.iter().map(|names| request.param(names)).collect();
            read.headers = inputs.headers.iter().map(|name| cut(request.header(name))).collect();
            read.condition_matches =
                inputs.conditions.iter().map(|conditions| conditional::first_match(conditions, &read)).collect();
        }
        read
    }
}

impl Request for ReadRequest<'_> {
    fn path(&self) -> &str {
        self.path
    }

    fn param(&self, names: &[String]) -> Option<FieldValue> {
        let place = self.inputs?.params.iter().position(|other| other == names)?;
        self.params.get(place)?.clone()
    }

    fn condition_match(&self, conditions: usize) -> Option<ConditionMatch> {
        let place = self.inputs?.conditions.iter().position(|other| conditional::address(other) == conditions)?;
        self.condition_matches.get(place).copied()
    }

    fn size(&self) -> RequestSize {
        self.request_size
    }

    fn is_generation(&self) -> bool {
        self.is_generation
    }

    fn called_model(&self) -> Option<&str> {
        self.called_model
    }

    fn preferred(&self) -> Option<&RouterPath> {
        self.preferred
    }

    fn header(&self, name: &str) -> Vec<String> {
        let place =
            self.inputs.and_then(|inputs| inputs.headers.iter().position(|other| other.eq_ignore_ascii_case(name)));
        place.and_then(|place| self.headers.get(place)).cloned().unwrap_or_default()
    }
}

/// Of values that are too long only so much that this can be seen.
fn cut(values: Vec<String>) -> Vec<String> {
    if are_short(&values) { values } else { vec!["?".repeat(MAX_FIELD_VALUE_BYTES + 1)] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::strategy::{Query, Test};

    /// A request with a body and one header.
    struct Body(Value, &'static str);

    impl Request for Body {
        fn path(&self) -> &str {
            "/in/"
        }

        fn param(&self, names: &[String]) -> Option<FieldValue> {
            let value = names.iter().try_fold(&self.0, |value, name| value.get(name)).cloned()?;
            let long = value.to_string().len() > MAX_FIELD_VALUE_BYTES;
            Some(if long { FieldValue::TooLong } else { FieldValue::Value(value) })
        }

        fn size(&self) -> RequestSize {
            RequestSize { bytes: 7, max_output_tokens: None }
        }

        fn header(&self, name: &str) -> Vec<String> {
            if name.eq_ignore_ascii_case(self.1) { vec!["S_1_2".to_owned(), "two".to_owned()] } else { Vec::new() }
        }
    }

    fn field(text: &str) -> Field {
        Field::parse(text).unwrap()
    }

    fn inputs() -> (RequestInputs, Arc<[Condition]>) {
        let is = |text: &str, value: Value, then| {
            let query = Query::Field(field(text), vec![Test::Eq(value)]);
            Condition { query, then }
        };
        let conditions: Arc<[Condition]> =
            vec![is("params.a.b", json!(1), 0), is("headers.x-one", json!("two"), 1), is("path", json!("/in/"), 2)]
                .into();
        let mut inputs = RequestInputs::default();
        inputs.add(&Policy::Conditional { conditions: Arc::clone(&conditions), default: None });
        inputs.add(&Policy::Sticky(field("session")));
        inputs.add(&Policy::Sticky(field("params.long")));
        (inputs, conditions)
    }

    proptest! {
        #[test]
        fn what_was_read_answers_like_the_request_itself(one in any::<bool>(), number in 0..3, long in 0..2 * MAX_FIELD_VALUE_BYTES) {
            let (inputs, conditions) = inputs();
            let header = if one { "X-One" } else { "Session-Id" };
            let request = Body(json!({"a": {"b": number}, "long": "x".repeat(long)}), header);
            let read = ReadRequest::new(&request, Some(&inputs), true);
            for text in ["params.a.b", "params.long", "headers.X-ONE", "session", "path"] {
                prop_assert_eq!(field(text).values(&read), field(text).values(&request), "{}", text);
            }
            let condition_match = read.condition_match(conditional::address(&conditions));
            prop_assert_eq!(condition_match, Some(conditional::first_match(&conditions, &request)));
            prop_assert_eq!(read.size(), request.size());
        }
    }

    #[test]
    fn fields_without_a_condition_are_not_read() {
        let request = Body(json!({"a": 1}), "X-One");
        let read = ReadRequest::new(&request, None, false);
        assert_eq!(
            (read.param(&["a".to_owned()]), read.header("X-One"), read.size()),
            (None, Vec::new(), RequestSize::default())
        );
    }
}
