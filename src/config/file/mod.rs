//! Parses the pools file, JSON that may have comments, into [`balancer::broker::BrokerSettings`].
//!
//! It is read through a tree with positions, because serde stops at the first fault: all faults are reported at once, with
//! line, column, path, value, and what would be right. [`schema`] has the format as types, from which the JSON Schema for
//! editors is made, the known keys, and the suggestions for misspelt ones.

mod budget;
mod direct;
mod health;
mod limits;
mod patch;
mod pools;
mod price;
mod provider;
mod query;
mod reader;
pub mod schema;
mod strategy;
mod variables;

use std::path::{Path, PathBuf};

use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::Fault;
use crate::relay::RelayRules;
use crate::system::files::{self, Unreadable};
use balancer::broker::{BrokerSettings, RouterSettings};
use balancer::health::{HealthSettings, Preset};
pub(crate) use reader::nearest;
use reader::{Item, Reader};
pub use variables::Variables;
pub(super) use variables::{line_end_notice, without_line_end};

/// The largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most pools and targets of one file; the core counts them with 16 bits.
pub const MAX_TARGETS: usize = 65_000;
/// How deep lists of targets, and queries, may be nested.
pub const MAX_DEPTH: usize = 16;

/// JSON with comments and trailing commas, as people and editors write configuration files.
pub const FORM: ParseOptions =
    ParseOptions { allow_comments: true, allow_trailing_commas: true, ..gecholog_protocol::gl_config::STRICT };

/// The settings for what a file leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthDefaults {
    /// For routers of the gateway.
    pub routers: RouterSettings,
    /// For targets with a url.
    pub direct: RouterSettings,
}

impl HealthDefaults {
    /// These settings for routers of the gateway; for targets with a url the preset `resilient`, with the same `failure_status`.
    pub fn new(routers: RouterSettings) -> Self {
        let health = HealthSettings { keep_last: true, ..Preset::Resilient.settings() };
        let direct = RouterSettings { health, ..routers.clone() };
        Self { routers, direct }
    }
}

/// The pools file, with the environment that it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolsFile {
    pub path: PathBuf,
    /// The settings for what the file leaves out.
    pub defaults: HealthDefaults,
    /// The values of `${NAME}` and `${file:/path}`.
    pub variables: Variables,
    /// Its content when it was last read, with which it is compared to find changes.
    pub seen: Result<Vec<u8>, Fault>,
}

impl PoolsFile {
    /// Reads a file.
    pub fn open(path: PathBuf, defaults: HealthDefaults) -> Self {
        let seen = files::read(&path, MAX_FILE_BYTES).map_err(|fault| unreadable(&path, &fault));
        Self { path, defaults, variables: Variables::default(), seen }
    }

    /// The same, with these variables.
    #[must_use]
    pub fn with_env(self, mut variables: Variables) -> Self {
        variables.read_files(self.seen.as_deref().unwrap_or_default());
        Self { variables, ..self }
    }

    /// Notices about the variables that it uses.
    pub(super) fn notices(&self) -> Vec<Fault> {
        self.variables.notices(self.seen.as_deref().unwrap_or_default())
    }

    /// Reads it again, without blocking other tasks. Returns whether it, or a file of a secret that it names, has changed.
    pub async fn has_changed(&mut self) -> bool {
        let now = files::read_beside(&self.path, MAX_FILE_BYTES).await.map_err(|fault| unreadable(&self.path, &fault));
        let changed = now != self.seen;
        self.seen = now;
        let secrets_changed = self.variables.read_files_beside(self.seen.as_deref().unwrap_or_default()).await;
        changed || secrets_changed
    }

    /// Parses the content that was last read.
    ///
    /// # Errors
    /// All faults.
    pub fn load(&self) -> Result<(BrokerSettings, RelayRules), Vec<Fault>> {
        self.load_with(&self.defaults)
    }

    /// The same, with other settings for what the file leaves out.
    pub(super) fn load_with(&self, defaults: &HealthDefaults) -> Result<(BrokerSettings, RelayRules), Vec<Fault>> {
        let bytes = self.seen.as_ref().map_err(|fault| vec![fault.clone()])?;
        read(&self.path, bytes, defaults, &self.variables)
    }
}

fn unreadable(path: &Path, fault: &Unreadable) -> Fault {
    let problem = match fault {
        Unreadable::TooLarge(_) => {
            format!("is larger than {} MB, the most that a pools file may have", MAX_FILE_BYTES >> 20)
        }
        fault => fault.to_string(),
    };
    whole(path, problem)
}

/// Parses the bytes of a file; `path` is only for the place of faults.
///
/// # Errors
/// All faults.
pub fn read(
    path: &Path,
    bytes: &[u8],
    defaults: &HealthDefaults,
    variables: &Variables,
) -> Result<(BrokerSettings, RelayRules), Vec<Fault>> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => return Err(vec![whole(path, format!("is not UTF-8 text from byte {}", error.valid_up_to()))]),
    };
    let name = path.display().to_string();
    let mut reader = Reader::new(&name, text);
    let settings = match parse_to_ast(text, &CollectOptions::default(), &FORM) {
        Ok(parsed) => parsed.value.map(|value| {
            let file = Item::root(&value);
            reader.duplicates(&file);
            pools::read(&mut reader, &file, defaults, variables.clone())
        }),
        Err(error) => {
            reader.syntax(error.range().start, format!("is not JSON: {}", lower(&error.kind().to_string())));
            None
        }
    };
    let faults = reader.faults();
    match settings {
        Some(settings) if faults.is_empty() => Ok(settings),
        None if faults.is_empty() => Err(vec![whole(path, "is empty; it must contain {\"pools\": [...]}")]),
        _ => Err(faults),
    }
}

fn whole(path: &Path, problem: impl Into<String>) -> Fault {
    Fault::new(path.display().to_string(), problem)
}

/// A sentence of the parser's as the end of one of ours.
fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
