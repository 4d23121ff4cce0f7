//! Pools files in a folder of their own, put in place as editors and deployments do: whole, by a rename.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a file `broker.json`; it goes when it is dropped.
pub(crate) struct PoolsFile {
    folder: PathBuf,
}

impl PoolsFile {
    pub(crate) fn of(text: &str) -> Self {
        let file = Self::none();
        file.put(text);
        file
    }

    /// The folder alone.
    pub(crate) fn none() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pools-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("broker.json")
    }

    /// Puts this text in the file's place.
    pub(crate) fn put(&self, text: &str) {
        let new = self.folder.join("broker.json.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }
}

impl Drop for PoolsFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A file of one pool behind the usual ingress.
pub(crate) fn pool(strategy: &str, targets: &str) -> String {
    format!(r#"{{"pools": [{{"ingress": "/azure/", "strategy": {strategy}, "targets": [{targets}]}}]}}"#)
}
