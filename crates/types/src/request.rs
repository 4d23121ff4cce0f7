//! The balancer's view of a request. The crate of the gateway's protocol implements it over the bytes of a message.
//!
//! It is a trait and not a struct, so that fields that no policy reads are never parsed.

use std::fmt;

use serde_json::Value;

use crate::router::RouterPath;

/// The longest value of a field that a condition or a key reads, in bytes as written in the request. Names of models and users,
/// tenants and signed tokens fit. Longer values are not read, so that no request can make a choice expensive.
pub const MAX_FIELD_VALUE_BYTES: usize = 4 << 10;

/// The value of a field of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    Value(Value),
    /// A field of a form, which is always text: conditions compare it with texts as written, and with other values by its
    /// meaning in JSON (`0.5`, `true`).
    Text(String),
    /// A value longer than [`MAX_FIELD_VALUE_BYTES`].
    TooLong,
}

/// The result of a list of conditions that was evaluated in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConditionMatch {
    /// The index of the first condition that the request fulfils.
    pub first: Option<u16>,
    /// A condition before `first`, or any if that is `None`, could not be evaluated because it reads a value that is too long.
    pub too_long: bool,
}

/// One request that waits for its router.
pub trait Request {
    /// The router that the client called (`gl_path`).
    fn path(&self) -> &str;

    /// A field of the JSON body, by its path.
    fn param(&self, _names: &[String]) -> Option<FieldValue> {
        None
    }

    /// The result of the conditions at this address, if they were evaluated in advance.
    fn condition_match(&self, _conditions: usize) -> Option<ConditionMatch> {
        None
    }

    /// The size, as far as it is known without reading the whole body.
    fn size(&self) -> RequestSize {
        RequestSize::default()
    }

    /// Whether it requests something to be generated: an answer, an image, embeddings. The outcome of any other call, such as
    /// one for a list of models, tells nothing about generation.
    fn is_generation(&self) -> bool {
        true
    }

    /// The model that is called, as the client names it, where the relay makes the call: vendors limit each model apart.
    fn called_model(&self) -> Option<&str> {
        None
    }

    /// The target that made the object that the request names (a response, a thread, a file). It gets the request if it is
    /// available; otherwise the policies choose as usual.
    fn preferred(&self) -> Option<&RouterPath> {
        None
    }

    /// All values of a header; the name is compared without case.
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
pub struct RequestSize {
    /// Bytes of the body.
    pub bytes: usize,
    /// The most output tokens that the request allows (`max_tokens`, `max_completion_tokens`), if it says so.
    pub max_output_tokens: Option<u64>,
}

impl RequestSize {
    /// Estimated tokens of prompt and answer: a quarter of the body's bytes, which is about right for English text,
    /// plus `max_output_tokens`.
    pub fn estimated_tokens(self) -> u32 {
        let prompt = u64::try_from(self.bytes / 4).unwrap_or(u64::MAX);
        u32::try_from(prompt.saturating_add(self.max_output_tokens.unwrap_or(0))).unwrap_or(u32::MAX)
    }
}

/// Which parts of a request a pool's policies read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestNeeds {
    /// The JSON body.
    pub body: bool,
    /// Headers, the session id among them.
    pub headers: bool,
}

/// What changes in a request's JSON body on its way to one target; everything else stays byte for byte.
#[derive(Clone, PartialEq, Default)]
pub struct Patch {
    /// Fields that are set; a `null` removes the field.
    pub merge: serde_json::Map<String, Value>,
    /// Replacements for the field `model`; [`Patch::ANY`] on the left stands for every name that is not listed, on the right for
    /// the requested name. Without a match the model is not changed.
    pub model_map: std::collections::BTreeMap<String, String>,
}

/// Shows only the names of the fields: their values may be secret.
impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.merge.keys().collect();
        f.debug_struct("Patch").field("merge", &fields).field("model_map", &self.model_map).finish()
    }
}

impl Patch {
    /// In `model_map`: any other name on the left, the same name on the right.
    pub const ANY: &'static str = "*";

    /// The replacement for the requested model by `model_map`; `None` if it is not changed.
    pub fn renamed(&self, asked: &str) -> Option<&str> {
        let to = self.model_map.get(asked).or_else(|| self.model_map.get(Self::ANY))?;
        (to != Self::ANY).then_some(to)
    }

    /// The models on the right of `model_map`, each with the requested one: `None` for all that are not listed.
    pub fn mapped_models(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let sent = self.model_map.iter().map(|(asked, sent)| (asked, if sent == Self::ANY { asked } else { sent }));
        let named = sent.filter(|(_, sent)| *sent != Self::ANY);
        named.map(|(asked, sent)| ((asked != Self::ANY).then_some(asked.as_str()), sent.as_str()))
    }

    /// Whether the model that is sent is not the requested one, or is set to the same.
    pub fn sets_model(&self, asked: &str) -> bool {
        self.merge.contains_key("model") || self.renamed(asked).is_some()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.merge.is_empty() && self.model_map.is_empty()
    }
}
