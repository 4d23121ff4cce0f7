//! Names of tools and ids of calls in the letters that Anthropic takes: `^[a-zA-Z0-9_-]{1,64}$` for names, the same letters
//! for ids (400 otherwise). Whatever is changed stays distinct.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

const MAX_NAME_LETTERS: usize = 64;

/// The names of one request.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The vendor's name of each of the client's.
    known: BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl Names {
    /// Keeps a name that needs no change, so that none that is changed becomes the same.
    pub(super) fn reserve(&mut self, name: &str) {
        if is_valid(name) {
            self.taken.insert(name.to_owned());
            self.known.insert(name.to_owned(), name.to_owned());
        }
    }

    /// The vendor's name.
    pub(super) fn vendor<'a>(&'a mut self, name: &str) -> &'a str {
        if !self.known.contains_key(name) {
            let free = free_name(name, &self.taken);
            self.taken.insert(free.clone());
            self.known.insert(name.to_owned(), free);
        }
        self.known.get(name).map_or("", String::as_str)
    }

    /// The names that were changed: the vendor's, then the client's.
    pub(super) fn renamed(self) -> BTreeMap<String, String> {
        self.known.into_iter().filter(|(original, vendor)| original != vendor).map(|(a, b)| (b, a)).collect()
    }
}

/// The ids of the tool calls of one conversation. The vendor wants each once in all of it; clients that count from 0 in each
/// turn repeat them.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeSet<String>);

impl Ids {
    /// A new id for a call.
    pub(super) fn issue(&mut self, id: &str) -> String {
        let free = free_name(id, &self.0);
        self.0.insert(free.clone());
        free
    }
}

fn is_valid_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

fn is_valid(name: &str) -> bool {
    (1..=MAX_NAME_LETTERS).contains(&name.len()) && name.chars().all(is_valid_letter)
}

/// A name made of valid letters that is not taken: the given one where possible.
fn free_name(name: &str, taken: &BTreeSet<String>) -> String {
    let valid: Cow<'_, str> = if is_valid(name) {
        Cow::Borrowed(name)
    } else {
        let letters = name.chars().map(|letter| if is_valid_letter(letter) { letter } else { '_' });
        let valid: String = letters.take(MAX_NAME_LETTERS).collect();
        Cow::Owned(if valid.is_empty() { "_".to_owned() } else { valid })
    };
    if !taken.contains(&*valid) {
        return valid.into_owned();
    }
    // Ends: at most as many are taken as there were names before. Starting at their number keeps it short.
    let mut number = taken.len() + 1;
    loop {
        let end = format!("_{number}");
        let start = valid.get(..valid.len().min(MAX_NAME_LETTERS - end.len())).unwrap_or_default();
        let candidate = format!("{start}{end}");
        if !taken.contains(&candidate) {
            return candidate;
        }
        number += 1;
    }
}
