//! Golden files: what goes in and what must come out, byte by byte.
//!
//! A file has sections that begin with a line `=== name`. With `BLESS=1` the sections that a test makes are written instead of
//! compared; whoever does that reads the difference.

#![expect(clippy::disallowed_methods, reason = "golden files are files")]

use std::path::{Path, PathBuf};

pub(crate) mod converse;
mod converse_fields;
mod embeddings;
mod functions;
mod providers;

/// A golden file.
pub(crate) struct Golden {
    path: PathBuf,
    sections: Vec<(String, String)>,
}

impl Golden {
    /// All files of a folder below `tests/golden`.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{}", folder.display());
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let sections = text.split("=== ").skip(1).map(|section| {
            let (name, content) = section.split_once('\n').unwrap();
            (name.to_owned(), content.strip_suffix('\n').unwrap_or(content).to_owned())
        });
        Self { sections: sections.collect(), path }
    }

    pub(crate) fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    /// A section that must be there.
    pub(crate) fn section(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("{} has no section {name}", self.path.display()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.sections.iter().find(|(other, _)| other == name).map(|(_, content)| content.as_str())
    }

    /// Compares what was made with all sections behind the given ones.
    pub(crate) fn expect(&self, given: &[&str], made: &[(&str, String)]) {
        if std::env::var_os("BLESS").is_some() {
            let kept = self.sections.iter().filter(|(name, _)| given.contains(&name.as_str()));
            let kept = kept.map(|(name, content)| format!("=== {name}\n{content}\n"));
            let made = made.iter().map(|(name, content)| format!("=== {name}\n{content}\n"));
            return std::fs::write(&self.path, kept.chain(made).collect::<String>()).unwrap();
        }
        let expected: Vec<_> =
            self.sections.iter().filter(|(name, _)| !given.contains(&name.as_str())).cloned().collect();
        let made: Vec<_> = made.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect();
        assert_eq!(made, expected, "{}", self.path.display());
    }
}
