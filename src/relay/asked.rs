//! A call as the core asks about it: the ingress, the fields of its body, its headers.

use hyper::HeaderMap;
use serde_json::Value;

use crate::request::Request;
use crate::router::RouterPath;
use crate::wire::scan::{Cursor, Raw};

/// A call whose body is here.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    ingress: &'a RouterPath,
    headers: &'a HeaderMap,
    body: Option<Raw<'a>>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(ingress: &'a RouterPath, headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self { ingress, headers, body: Cursor::new(body).raw().ok() }
    }
}

impl Request for Asked<'_> {
    fn path(&self) -> &str {
        self.ingress.as_str()
    }

    fn param(&self, names: &[String]) -> Option<Value> {
        names.iter().try_fold(self.body?, |found, name| found.field(name))?.value()
    }

    fn header(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }
}
