//! The headers of an upstream's answer as the gateway writes them.

use llm::headers::AnswerHeaders;
use llm::json::{Cursor, RawJson, SyntaxError};

/// The headers of an answer in a message or a log entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Headers<'a> {
    /// There are no headers: no upstream made this answer.
    pub(super) are_none: bool,
    /// The headers that are used.
    pub(super) fields: AnswerHeaders<'a>,
}

impl<'a> Headers<'a> {
    /// Parses an object of lists of values by name; the first value of each counts.
    pub(super) fn read(headers: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let mut fields = AnswerHeaders::default();
        let mut are_none = headers.peek() == Some(b'{');
        headers.fields(|name, values| {
            are_none = false;
            // A value without an end is found where it is passed over.
            fields.add(name, || values.raw().ok()?.first().and_then(RawJson::plain));
            Ok(())
        })?;
        Ok(Self { are_none, fields })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use llm::retry_after::of_answer;
    use types::outcome::RetryAfter;

    use super::*;

    #[test]
    fn headers_of_another_shape_say_nothing() {
        for text in ["{}", "null", "[1]", r#"{"Retry-After": 5}"#, r#"{"Retry-After": []}"#] {
            let read = Headers::read(&mut Cursor::new(text.as_bytes()));
            let wait = read.ok().and_then(|read| of_answer(429, &read.fields, b"", None));
            assert_eq!(wait, None, "{text}");
        }
    }

    #[test]
    fn headers_of_the_gateway_are_lists_of_which_the_first_counts() {
        let bytes = br#"{"Content-Type": ["text/html", "b"], "Retry-After": ["7"], "Server": ["x"], "Date": 7}"#;
        let read = Headers::read(&mut Cursor::new(bytes)).unwrap();
        assert!(read.fields.is_html() && !read.are_none);
        assert_eq!(of_answer(503, &read.fields, b"", None), Some(RetryAfter::Delay(Duration::from_secs(7))));
        assert!(Headers::read(&mut Cursor::new(b"{}")).unwrap().are_none);
    }
}
