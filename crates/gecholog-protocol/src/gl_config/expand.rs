//! Environment variables in the configuration text, replaced as the gateway does it (docs/gateway-protocol.md 4.2), and the way
//! back.
//!
//! The expansion is textual: `$NAME` and `${NAME}` anywhere, each brace optional, no escape, no default. The replacements are
//! remembered, so that everything can be shown as written: a value may be secret. A variable that is unset here may be set
//! where the gateway runs, so its value is open: empty inside a string, `null` elsewhere.

use std::ops::Range;

/// A text after its expansion, with the places of the replacements.
#[derive(Clone)]
pub(super) struct Expanded {
    pub(super) text: String,
    written: String,
    holes: Vec<Substitution>,
}

/// A variable that was replaced.
#[derive(Clone)]
struct Substitution {
    /// Its place in the text as written.
    from: Range<usize>,
    /// The place of its value.
    to: Range<usize>,
    name: String,
    unset: bool,
}

impl Expanded {
    pub(super) fn new(written: &str, env: impl Fn(&str) -> Option<String>) -> Self {
        let mut expanded =
            Self { text: String::with_capacity(written.len()), written: written.to_owned(), holes: Vec::new() };
        let mut quotes = Quotes::default();
        let mut from = 0;
        while let Some((before, variable)) = next(written, from) {
            let plain = written.get(from..before).unwrap_or_default();
            quotes.pass(plain);
            expanded.text.push_str(plain);
            let value = env(variable.name);
            let start = expanded.text.len();
            expanded.text.push_str(value.as_deref().unwrap_or(if quotes.inside { "" } else { "null" }));
            quotes.pass(expanded.text.get(start..).unwrap_or_default());
            let (from_range, to) = (before..variable.end, start..expanded.text.len());
            expanded.holes.push(Substitution {
                from: from_range,
                to,
                name: variable.name.to_owned(),
                unset: value.is_none(),
            });
            from = variable.end;
        }
        expanded.text.push_str(written.get(from..).unwrap_or_default());
        expanded
    }

    /// The variables that are unset, each once, with the first place that uses it.
    pub(super) fn unset(&self) -> Vec<(String, usize)> {
        let mut unset: Vec<(String, usize)> = Vec::new();
        for hole in self.holes.iter().filter(|hole| hole.unset) {
            if !unset.iter().any(|(name, _)| *name == hole.name) {
                unset.push((hole.name.clone(), hole.from.start));
            }
        }
        unset
    }

    /// Each place of an unset variable in the text as written, with the variable.
    pub(super) fn unset_places(&self) -> impl Iterator<Item = (&str, usize)> {
        self.holes.iter().filter(|hole| hole.unset).map(|hole| (&*hole.name, hole.from.start))
    }

    /// Whether a part of the expanded text depends on an unset variable.
    pub(super) fn is_variable(&self, part: &Range<usize>) -> bool {
        let inside = |hole: &Substitution| hole.to.start >= part.start && hole.to.end <= part.end;
        self.holes.iter().any(|hole| hole.unset && inside(hole))
    }

    /// A part of the expanded text, as it was written.
    pub(super) fn written(&self, part: &Range<usize>) -> &str {
        self.written.get(self.start(part.start)..self.end(part.end)).unwrap_or_default()
    }

    /// Line and column of a place in the expanded text, in the text as written.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        position(&self.written, self.start(offset))
    }

    /// The same for a place in the text as written.
    pub(super) fn position_written(&self, offset: usize) -> (usize, usize) {
        position(&self.written, offset)
    }

    /// Where a part that begins here was written; inside a value, the variable itself.
    fn start(&self, offset: usize) -> usize {
        match self.holes.iter().rfind(|hole| hole.to.start < offset) {
            Some(hole) if offset < hole.to.end => hole.from.start,
            Some(hole) => hole.from.end + (offset - hole.to.end),
            None => offset,
        }
    }

    /// Where a part that ends here was written; inside a value, the variable itself.
    fn end(&self, offset: usize) -> usize {
        match self.holes.iter().rfind(|hole| hole.to.start < offset || hole.to.end == offset) {
            Some(hole) => hole.from.end + offset.saturating_sub(hole.to.end),
            None => offset,
        }
    }
}

struct Variable<'t> {
    name: &'t str,
    end: usize,
}

/// The next variable at or after a place, and where it begins.
fn next(text: &str, from: usize) -> Option<(usize, Variable<'_>)> {
    let dollars = text.get(from..)?.match_indices('$');
    for (at, _) in dollars {
        let begin = from + at;
        let after = text.get(begin + 1..)?;
        let named = after.strip_prefix('{').unwrap_or(after);
        let length = named.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        if length > 0 {
            let (name, behind) = named.split_at(length);
            let end = text.len() - behind.strip_prefix('}').unwrap_or(behind).len();
            return Some((begin, Variable { name, end }));
        }
    }
    None
}

/// Whether a place of a JSON text is inside a string.
#[derive(Default)]
struct Quotes {
    inside: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.inside => self.escaped = true,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
        }
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Expanded {
        Expanded::new(text, |name| (name == "G").then(|| "vvv".to_owned()))
    }

    #[test]
    fn expansion_is_textual() {
        for (text, expanded) in [
            ("${G} $G", "vvv vvv"),
            ("${G:-x}", "vvv:-x}"),
            ("$G} ${G", "vvv vvv"),
            ("\"a ${UNSET}b$5c\"", "\"a b\""),
            ("costs $ and $-1 ${}", "costs $ and $-1 ${}"),
            ("$$G", "$vvv"),
            (r#"{"gl_port": $G}"#, r#"{"gl_port": vvv"#),
            (r#"{"gl_port": ${UNSET} }"#, r#"{"gl_port": null }"#),
        ] {
            assert_eq!(expand(text).text, expanded, "{text}");
        }
    }

    #[test]
    fn every_part_has_its_way_back() {
        let expanded = expand(r#"a${G}b$U_${U2}c $G"#);
        assert_eq!(expanded.text, "avvvbnullnullc vvv");
        for (part, written) in [
            (0..1, "a"),
            (0..4, "a${G}"),
            (1..4, "${G}"),
            (2..3, "${G}"),
            (4..5, "b"),
            (4..14, "b$U_${U2}c"),
            (15..18, "$G"),
        ] {
            assert_eq!(expanded.written(&part), written, "{part:?}");
        }
        assert!(expanded.is_variable(&(4..14)) && !expanded.is_variable(&(0..5)));
        assert_eq!(expanded.unset(), [("U_".to_owned(), 6), ("U2".to_owned(), 9)]);
    }

    #[test]
    fn an_empty_value_is_a_part_too() {
        let expanded = expand(r#"["${U}", "x${U}"]"#);
        assert_eq!(expanded.text, r#"["", "x"]"#);
        assert_eq!((expanded.written(&(2..2)), expanded.written(&(6..7))), ("${U}", "x${U}"));
        assert!(expanded.is_variable(&(2..2)) && expanded.is_variable(&(6..7)));
        assert_eq!(expanded.position(6), (1, 11));
    }
}
