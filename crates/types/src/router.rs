//! Vocabulary: a router's path, as the gateway spells it, and its short identity inside one broker.
//!
//! A [`RouterPath`] that exists is one the gateway accepts, short enough for a stamp, and safe to write between the quotes
//! of a JSON string as it is. Whoever holds one need not check again.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest path we take, in bytes. The gateway sets no limit; two such paths must fit into one 300-byte stamp.
pub const MAX_PATH_BYTES: usize = 80;

/// A router's place in the broker's table: the same for one router wherever it stands in the pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u16);

/// A pool's place in the broker's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u16);

/// The path of one router of the gateway, such as `/azure/gpt4/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterPath(Arc<str>);

/// Why a text is not the path of a router; reads after the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No slash at one of the ends.
    #[error("must begin and end with '/', such as /azure/gpt4/")]
    Slashes,
    /// A character that the gateway refuses in a router's path.
    #[error("has the character {0:?}; the gateway takes only letters, digits and '/'")]
    Character(char),
    /// `/` alone ends the gateway at its start; `//` can never be reached.
    #[error("needs a name between its slashes, such as /azure/gpt4/")]
    EmptySegment,
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("is longer than 80 characters, which the stamp in the gateway's log has no room for")]
    TooLong,
}

impl RouterPath {
    /// Reads a path by the gateway's own rule, `^[a-zA-Z0-9/]+$` between slashes (GATEWAY.md 4.3).
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '/') {
            return Err(PathError::Character(odd));
        }
        if !text.starts_with('/') || !text.ends_with('/') {
            return Err(PathError::Slashes);
        }
        if text.len() < 2 || text.contains("//") {
            return Err(PathError::EmptySegment);
        }
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RouterPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouterPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RouterPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for RouterPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|fault| serde::de::Error::custom(format!("the path {text:?} {fault}")))
    }
}

impl fmt::Debug for RouterPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_gateways_rule() {
        for good in ["/azure/", "/azure/gpt4/", "/A/1/b2/"] {
            assert_eq!(RouterPath::parse(good).map(|p| p.to_string()), Ok(good.to_owned()));
        }
        let long = format!("/{}/", "a".repeat(MAX_PATH_BYTES));
        for (bad, fault) in [
            ("", PathError::Slashes),
            ("azure/", PathError::Slashes),
            ("/azure", PathError::Slashes),
            ("/", PathError::EmptySegment),
            ("//", PathError::EmptySegment),
            ("/a//b/", PathError::EmptySegment),
            ("/gpt-4/", PathError::Character('-')),
            ("/a b/", PathError::Character(' ')),
            ("/ä/", PathError::Character('ä')),
            (long.as_str(), PathError::TooLong),
        ] {
            assert_eq!(RouterPath::parse(bad), Err(fault), "{bad}");
        }
    }
}
