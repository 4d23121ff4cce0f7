//! The values of `${NAME}` and `${file:/path}` in the pools file: variables of the environment, and files of secrets.
//!
//! Values are never shown. The files are read together with the operator's pools file, so that parsing its text needs no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Fault, secret};
use crate::system::files::{self, Unreadable};

/// The prefix of a name in `${}` that is the path of a file.
const FILE: &str = "file:";
/// What the names of AWS's variables begin with.
const AWS_PREFIX: &str = "AWS_";
/// The largest file of a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// The most files of secrets that one pools file may name.
const MAX_FILES: usize = 256;

/// The variables of the environment, and the content of the files that a text names; some of it is secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Variables {
    environment: Arc<Environment>,
    /// By path. Absent where files must not be read.
    files: Option<BTreeMap<String, Result<String, String>>>,
}

#[derive(PartialEq, Eq, Default)]
struct Environment {
    values: BTreeMap<String, String>,
    /// The variables whose value ended with a line break.
    trimmed: BTreeSet<String>,
}

impl Variables {
    /// These variables, and files. A line break at the end of a value is dropped: `echo` and editors add one, and keys have none.
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        let mut environment = Environment::default();
        for (name, value) in variables {
            let plain = without_line_end(&value);
            // One with nothing but blanks counts as unset: no key is one.
            if plain.trim().is_empty() {
                continue;
            }
            if plain.len() < value.len() {
                environment.trimmed.insert(name.clone());
            }
            environment.values.insert(name, plain.to_owned());
        }
        Self { environment: Arc::new(environment), files: Some(BTreeMap::new()) }
    }

    /// The value of a variable that is set.
    pub(in crate::config) fn get(&self, name: &str) -> Option<&str> {
        self.environment.values.get(name).map(String::as_str)
    }

    /// Reads the files that a pools file names. Blocks the thread for some seconds at most.
    pub(super) fn read_files(&mut self, text: &[u8]) {
        let Some(files) = &mut self.files else { return };
        *files = paths(text)
            .into_iter()
            .map(|path| {
                let read = files::read_text(Path::new(&path), MAX_SECRET_BYTES);
                (path, secret_in(read))
            })
            .collect();
    }

    /// The same without blocking other tasks. Returns whether a file has changed.
    pub(super) async fn read_files_beside(&mut self, text: &[u8]) -> bool {
        let Some(before) = &self.files else { return false };
        let mut files = BTreeMap::new();
        for path in paths(text) {
            let read = files::read_text_beside(Path::new(&path), MAX_SECRET_BYTES).await;
            files.insert(path, secret_in(read));
        }
        let changed = *before != files;
        self.files = Some(files);
        changed
    }

    /// The value of a name.
    ///
    /// # Errors
    /// Why it has no value, and what would be right.
    pub(super) fn value(&self, name: &str) -> Result<&str, String> {
        let Some(path) = name.strip_prefix(FILE) else {
            let value = self.environment.values.get(name).map(String::as_str);
            let name = secret::shown_name(name);
            return value
                .ok_or_else(|| format!("needs the variable {name} in the environment, and it is not set, or empty"));
        };
        let Some(files) = &self.files else {
            return Err("names a file of a secret, which only the operator's own pools file may do".to_owned());
        };
        let shown =
            if path.len() <= 200 && path.chars().all(|letter| letter.is_ascii_graphic()) { path } else { "…" };
        if !path.starts_with('/') {
            return Err(format!(
                "the path of a secret must be absolute, such as ${{file:/run/secrets/key}}, not {shown}"
            ));
        }
        match files.get(path) {
            Some(Ok(text)) => Ok(text),
            Some(Err(error)) => Err(format!("needs the secret in {shown}: {error}")),
            None => Err(format!(
                "the file {shown} was not read: write its path without escapes, and at most {MAX_FILES} of them"
            )),
        }
    }

    /// A notice for each variable that a pools file uses and whose line break was dropped: those that it names, and AWS's own,
    /// which targets at Bedrock read without naming them.
    pub(in crate::config) fn notices(&self, text: &[u8]) -> Vec<Fault> {
        let text = String::from_utf8_lossy(text);
        let has_bedrock = text.contains("\"bedrock\"");
        let is_used =
            |name: &str| text.contains(&format!("${{{name}}}")) || has_bedrock && name.starts_with(AWS_PREFIX);
        self.environment.trimmed.iter().filter(|name| is_used(name)).map(|name| line_end_notice(name)).collect()
    }
}

/// The notice that the value of a variable ended with a line break.
pub(in crate::config) fn line_end_notice(name: &str) -> Fault {
    Fault::new(
        name,
        "its value ended with a line end, which is dropped: write the value without one (printf, not echo)",
    )
}

/// A text without line breaks at its end.
pub(in crate::config) fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// The secret in a file's text.
fn secret_in(text: Result<String, Unreadable>) -> Result<String, String> {
    let text = text.map_err(|error| error.to_string())?;
    let plain = without_line_end(&text);
    if plain.trim().is_empty() { Err("the file is empty".to_owned()) } else { Ok(plain.to_owned()) }
}

/// The paths of files that a text names.
fn paths(text: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(text);
    let named = text.split("${file:").skip(1).filter_map(|behind| behind.split_once('}').map(|(path, _)| path));
    // One may be named many times.
    let named: BTreeSet<_> = named.filter(|path| path.starts_with('/')).collect();
    named.into_iter().take(MAX_FILES).map(str::to_owned).collect()
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(variables)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn s2_line_ends_at_the_end_are_dropped_and_named_where_they_are_used() {
        let known =
            variables(&[("A", "sk-a\n"), ("B", "sk-b\r\n\n"), ("C", "a\nb"), ("D", "sk-d\n"), ("E", "\n"), ("F", " ")]);
        for (name, value) in [("A", "sk-a"), ("B", "sk-b"), ("C", "a\nb"), ("D", "sk-d")] {
            assert_eq!(known.value(name), Ok(value));
        }
        for name in ["E", "F", "G"] {
            assert!(known.value(name).unwrap_err().contains("it is not set"), "{name}");
        }
        let notices = known.notices(b"Bearer ${A}, ${B}, ${C}, ${E}");
        let places: Vec<_> = notices.iter().map(|notice| notice.place.as_str()).collect();
        assert_eq!(places, ["A", "B"], "D is not used");
        let aws = ["AWS_BEARER_TOKEN_BEDROCK", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
        let known = variables(&[(aws[0], "sk-a\n"), (aws[1], "sk-b\n"), (aws[2], "sk-c\r\n"), ("OTHER", "sk-d\n")]);
        for (file, expected) in [
            (r#"{"provider": "bedrock", "region": "eu-central-1"}"#, &aws[..]),
            (r#"{"provider": "openai", "api_key": "${OTHER}"}"#, &["OTHER"]),
        ] {
            let notices = known.notices(file.as_bytes());
            let places: Vec<_> = notices.iter().map(|notice| notice.place.as_str()).collect();
            assert_eq!(places, expected, "{file}");
        }
        assert!(!format!("{notices:?}{known:?}").contains("sk-"));
    }

    #[test]
    fn s2_secrets_from_files() {
        let folder = std::env::temp_dir().join(format!("broker-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [key, empty, absent] = ["key", "empty", "absent"].map(|name| folder.join(name).display().to_string());
        std::fs::write(&key, "\u{feff}sk-file\n").unwrap();
        std::fs::write(&empty, "\n").unwrap();
        let text = format!("${{file:{key}}} ${{file:{empty}}} ${{file:{absent}}} ${{file:relative}} ${{file:/broken");
        let mut known = variables(&[]);
        known.read_files(text.as_bytes());
        let value = |path: &str| known.value(&format!("file:{path}"));
        assert_eq!(value(&key), Ok("sk-file"));
        for (path, words) in [
            (empty.as_str(), "the file is empty"),
            (&absent, "cannot read the file: No such file"),
            ("relative", "must be absolute"),
            ("/broken", "was not read"),
        ] {
            let error = value(path).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let mut without = Variables::default();
        without.read_files(text.as_bytes());
        assert!(without.value(&format!("file:{key}")).unwrap_err().contains("only the operator's own pools file"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn s2_a_file_that_is_named_often_counts_once() {
        let text = "${file:/run/a} ".repeat(2 * MAX_FILES) + "${file:/run/b}";
        assert_eq!(paths(text.as_bytes()), ["/run/a", "/run/b"].map(str::to_owned).into());
        let many: String = (0..2 * MAX_FILES).map(|number| format!("${{file:/run/{number}}}")).collect();
        assert_eq!(paths(many.as_bytes()).len(), MAX_FILES);
    }

    #[tokio::test]
    async fn s2_a_file_that_changes_is_noticed() {
        let path = std::env::temp_dir().join(format!("broker-secret-{}", std::process::id())).display().to_string();
        let text = format!("${{file:{path}}}");
        std::fs::write(&path, "one").unwrap();
        let mut known = variables(&[]);
        known.read_files(text.as_bytes());
        assert!(!known.read_files_beside(text.as_bytes()).await, "nothing has changed");
        std::fs::write(&path, "two").unwrap();
        assert!(known.read_files_beside(text.as_bytes()).await);
        assert_eq!(known.value(&format!("file:{path}")), Ok("two"));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(known.read_files_beside(text.as_bytes()).await, "it is no text");
        known.read_files(text.as_bytes());
        assert!(!known.read_files_beside(text.as_bytes()).await, "it is still no text, however it is read");
        std::fs::remove_file(&path).unwrap();
        assert!(known.read_files_beside(text.as_bytes()).await, "it is gone");
    }
}
