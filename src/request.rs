//! Vocabulary: what the core may ask of a request. `wire` implements it over the bytes of a message.
//!
//! A trait and not a struct: a strategy that asks for nothing makes nobody read anything.

use serde_json::Value;

/// One request that waits for its router.
pub trait Request {
    /// The router that the client called: the message's `gl_path`.
    fn path(&self) -> &str;

    /// A field of the JSON body, found by the names on the way to it.
    fn param(&self, _names: &[String]) -> Option<Value> {
        None
    }

    /// All values of a header; names are compared without case.
    fn header(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }
}

impl Request for &str {
    fn path(&self) -> &str {
        self
    }
}

/// What changes in a request's JSON body on its way to one target; everything else stays byte for byte.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patch {
    /// Fields that are set; `null` removes a field.
    pub merge: serde_json::Map<String, Value>,
    /// New names for the field `model`, by the old ones; unknown names pass.
    pub model_map: std::collections::BTreeMap<String, String>,
}

impl Patch {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.merge.is_empty() && self.model_map.is_empty()
    }
}
