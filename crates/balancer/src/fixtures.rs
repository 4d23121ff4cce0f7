//! What the unit tests of several modules are about: paths, and requests with a JSON body.

use serde_json::Value;
use types::request::{FieldValue, Request};
use types::router::RouterPath;

pub(crate) fn path(text: &str) -> RouterPath {
    RouterPath::parse(text).unwrap()
}

/// A request of `/azure/` with this JSON body and these headers.
pub(crate) struct Body(pub(crate) Value, pub(crate) Vec<(&'static str, &'static str)>);

impl Request for Body {
    fn path(&self) -> &str {
        "/azure/"
    }

    fn param(&self, names: &[String]) -> Option<FieldValue> {
        names.iter().try_fold(&self.0, |value, name| value.get(name)).cloned().map(FieldValue::Value)
    }

    fn header(&self, name: &str) -> Vec<String> {
        let same = self.1.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        same.map(|(_, value)| (*value).to_owned()).collect()
    }
}
