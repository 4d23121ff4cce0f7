//! Vocabulary: what the core may ask of a request. `wire` implements it over the bytes of a message.
//!
//! A trait and not a struct: a strategy that asks for nothing makes nobody read anything.

use std::fmt;

use serde_json::Value;

/// The longest value of a request that a condition or a key looks at, in bytes as it stands in the request. Names of models and
/// users, tenants and signed tokens fit; what is longer is not read, so that no request can make a choice expensive.
pub const LONGEST_VALUE: usize = 4 << 10;

/// What a request has in a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// This.
    Value(Value),
    /// Something longer than [`LONGEST_VALUE`].
    TooLong,
}

/// What was found out beforehand about a list of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The place of the first condition that the request fulfils.
    pub first: Option<u16>,
    /// A condition before it, or any if there is none, could not be judged: it looks at a value that is too long.
    pub too_long: bool,
}

/// One request that waits for its router.
pub trait Request {
    /// The router that the client called: the message's `gl_path`.
    fn path(&self) -> &str;

    /// A field of the JSON body, found by the names on the way to it.
    fn param(&self, _names: &[String]) -> Option<Found> {
        None
    }

    /// What was found out beforehand about the conditions at this address; nothing if nobody did.
    fn verdict(&self, _conditions: usize) -> Option<Verdict> {
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
#[derive(Clone, PartialEq, Default)]
pub struct Patch {
    /// Fields that are set; `null` removes a field.
    pub merge: serde_json::Map<String, Value>,
    /// New names for the field `model`, by the old ones; unknown names pass.
    pub model_map: std::collections::BTreeMap<String, String>,
}

/// The names of the fields only: their values are the user's.
impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.merge.keys().collect();
        f.debug_struct("Patch").field("merge", &fields).field("model_map", &self.model_map).finish()
    }
}

impl Patch {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.merge.is_empty() && self.model_map.is_empty()
    }
}
