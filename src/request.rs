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

    /// How large it is, as far as can be seen.
    fn extent(&self) -> Extent {
        Extent::default()
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

/// How large a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Of its body.
    pub bytes: usize,
    /// The longest answer it allows, in tokens, where it says.
    pub longest: Option<u64>,
}

impl Extent {
    /// How many tokens it may use: a quarter of its bytes, which is what English text comes to, and the longest answer.
    pub fn tokens(self) -> u32 {
        let prompt = u64::try_from(self.bytes / 4).unwrap_or(u64::MAX);
        u32::try_from(prompt.saturating_add(self.longest.unwrap_or(0))).unwrap_or(u32::MAX)
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
