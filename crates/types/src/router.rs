//! A router's path as the gateway spells it, and the short ids of routers and pools inside one broker.
//!
//! A [`RouterPath`] is valid by construction: the gateway accepts it, it fits into a stamp, and it needs no escaping
//! inside a JSON string.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest accepted path, in bytes. The gateway has no limit; two such paths must fit into one stamp of 300
/// bytes.
pub const MAX_PATH_BYTES: usize = 80;
/// The gateway itself answers below this path (docs/gateway-protocol.md 4.9).
pub const ECHO_PATH: &str = "/echo/";

/// A router's index in the broker's table; one router has one id, however many pools list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u16);

/// A pool's index in the broker's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u16);

/// The path of one router of the gateway, such as `/azure/gpt4/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct RouterPath(Arc<str>);

/// Why a text is not a router's path; the message follows the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not begin and end with a slash.
    #[error("must begin and end with '/', such as /azure/gpt4/")]
    Slashes,
    /// A character that the gateway does not accept in a router's path.
    #[error("has the character {0:?}; the gateway takes only letters, digits and '/'")]
    Character(char),
    /// The gateway does not start with a router `/`, and never matches `//`.
    #[error("needs a name between its slashes, such as /azure/gpt4/")]
    EmptySegment,
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("is longer than 80 characters, which the stamp in the gateway's log has no room for")]
    TooLong,
}

impl RouterPath {
    /// Parses a path by the gateway's rule, `^[a-zA-Z0-9/]+$` between slashes (docs/gateway-protocol.md 4.3).
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

    /// The same path, which shares nothing with this one: a copy of it does not count references of a path that other
    /// threads copy too.
    #[must_use]
    pub fn unshared(&self) -> Self {
        Self(Arc::from(self.as_str()))
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
