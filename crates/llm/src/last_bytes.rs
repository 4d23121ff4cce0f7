//! The last bytes of something long that passes by, and the usage in them: vendors write it behind what is long.

use crate::json::{Cursor, RawJson};
use crate::prices::ServiceTier;
use crate::usage::{InvalidUsage, TokenCounts, Usage, of_object};

/// So many of the last bytes are enough: a usage has some hundred.
const TAIL_BYTES: usize = 4 << 10;

/// The names under which answers have their usage.
const NAMES: [&[u8]; 2] = [b"\"usage\"", b"\"usageMetadata\""];
/// The names of Ollama's numbers, which stand behind a context that can be long.
const BARE: [(&[u8], &[u8]); 2] =
    [(b"\"prompt_eval_count\"", b"prompt_eval_count"), (b"\"eval_count\"", b"eval_count")];
/// The name under which OpenAI's answers have their tier, behind the usage.
const TIER: &[u8] = b"\"service_tier\"";

/// The last bytes of what was pushed, at most 4 KB.
#[derive(Debug, Default)]
pub(crate) struct LastBytes(Vec<u8>);

impl LastBytes {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A part came.
    pub(crate) fn push(&mut self, part: &[u8]) {
        let part = part.get(part.len().saturating_sub(TAIL_BYTES)..).unwrap_or(part);
        // Twice as many are kept, so that small parts are not moved each time.
        if self.0.len() + part.len() > 2 * TAIL_BYTES {
            let kept = TAIL_BYTES.saturating_sub(part.len()).min(self.0.len());
            self.0.drain(..self.0.len() - kept);
        }
        self.0.extend_from_slice(part);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.get(self.0.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default()
    }

    /// The last usage in them. A text that speaks of usages has no name of one: its quotes are escaped.
    ///
    /// # Errors
    /// It cannot be believed.
    pub(crate) fn usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        let [first, second] = NAMES.map(|name| self.last(name).map_or(Ok(None), |usage| of_object(usage.bytes())));
        // Arguments of a tool may have one of the names too.
        let used = if matches!(first, Ok(Some(_))) || second == Ok(None) { first } else { second };
        let used = if used == Ok(None) { self.bare_usage() } else { used };
        let tier = self.last(TIER).and_then(RawJson::text);
        Ok(used?.map(|usage| {
            let service_tier = tier.map_or(usage.service_tier, |name| ServiceTier::of_answer(&name));
            Usage { service_tier, ..usage }
        }))
    }

    /// Reads it, with the tier, into the counts of a stream, and returns whether there is one.
    pub(crate) fn read_into(&self, counts: &mut TokenCounts) -> bool {
        let found = NAMES.map(|name| self.last(name).filter(|usage| usage.is_object()));
        found.into_iter().flatten().for_each(|usage| counts.read(usage));
        let is_found = found.iter().any(Option::is_some);
        if let Some(tier) = self.last(TIER).filter(|_| is_found) {
            counts.read_tier(tier);
        }
        is_found
    }

    fn bare_usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        let mut counts = TokenCounts::default();
        for (quoted, name) in BARE {
            if let Some(value) = self.last(quoted) {
                counts.bare_field(name, value);
            }
        }
        counts.usage()
    }

    /// The value behind a name, where that comes last.
    fn last(&self, name: &[u8]) -> Option<RawJson<'_>> {
        let bytes = self.bytes();
        let place = bytes.windows(name.len()).rposition(|bytes| bytes == name)?;
        let is_escaped = place.checked_sub(1).is_some_and(|before| bytes.get(before) == Some(&b'\\'));
        let value = bytes.get(place + name.len()..)?.trim_ascii_start().strip_prefix(b":")?;
        Cursor::new(value).raw().ok().filter(|_| !is_escaped)
    }
}
