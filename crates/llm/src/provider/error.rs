//! Errors of vendors that do not have OpenAI's form though their answers do.

use memchr::memchr;

use crate::json::RawJson;
use crate::sse;
use crate::translate::{BrokenAnswer, StreamTranslator};

/// An event that may be such an error is kept up to this many bytes; a longer one passes as it is.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// The error without the array in which Gemini and Vertex wrap it (trap 9: `[{"error": {…}}]`), so that OpenAI's clients find
/// it; `None` where nothing is wrapped.
pub fn unwrap(body: &[u8]) -> Option<&[u8]> {
    let body = RawJson::parse(body).ok().filter(|body| body.is_array())?;
    let first = body.first().filter(|first| first.field("error").is_some())?;
    Some(first.bytes())
}

/// A stream in OpenAI's form that passes byte for byte, but for events whose data is an error in an array: of these the error
/// passes alone, since OpenAI's clients take the array for a chunk without choices.
#[derive(Debug, Default)]
pub(super) struct UnwrapErrors {
    state: State,
    /// What is not yet passed on: the beginning of a line, or an event.
    kept: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// A line begins, and may be the data of an error.
    #[default]
    Line,
    /// The rest of a line passes.
    Passing,
    /// An event is kept up to its end, because its data begins an array.
    Keeping,
}

impl StreamTranslator for UnwrapErrors {
    /// Almost all of a stream does: of its lines hardly more than the first bytes are read.
    fn passes(&mut self, bytes: &[u8]) -> bool {
        if !self.kept.is_empty() {
            return false;
        }
        let mut rest = if self.state == State::Passing { behind_line(bytes) } else { bytes };
        while !rest.is_empty() {
            if !rest.starts_with(b"data: {") && begins_array(rest) != Some(false) {
                return false;
            }
            rest = behind_line(rest);
        }
        if let Some(last) = bytes.last() {
            self.state = if *last == b'\n' { State::Line } else { State::Passing };
        }
        true
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            // Of the beginning of a line one byte at a time decides; of the rest its end.
            let end = if self.state == State::Line { 1 } else { memchr(b'\n', rest).map_or(rest.len(), |at| at + 1) };
            let (part, behind) = rest.split_at_checked(end).unwrap_or((rest, b""));
            let after = if part.ends_with(b"\n") { State::Line } else { State::Passing };
            match self.state {
                State::Passing => {
                    out.extend_from_slice(part);
                    self.state = after;
                }
                State::Line => {
                    self.kept.push(*first);
                    match begins_array(&self.kept) {
                        None => {}
                        Some(true) => self.state = State::Keeping,
                        Some(false) => {
                            out.append(&mut self.kept);
                            self.state = after;
                        }
                    }
                }
                State::Keeping => {
                    self.kept.extend_from_slice(part);
                    if self.kept.ends_with(b"\n\n") || self.kept.ends_with(b"\n\r\n") {
                        self.end_event(out);
                    } else if self.kept.len() > MAX_KEPT_BYTES {
                        out.append(&mut self.kept);
                        self.state = after;
                    }
                }
            }
            rest = behind;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        self.end_event(out);
        Ok(())
    }
}

impl UnwrapErrors {
    /// Passes on what is kept, or the error in it.
    fn end_event(&mut self, out: &mut Vec<u8>) {
        let (kept, mut data) = (std::mem::take(&mut self.kept), Vec::new());
        self.state = State::Line;
        let mut parser = sse::Parser::default();
        let mut take =
            |event: Result<sse::Event<'_>, _>| data = event.map_or_else(|_| Vec::new(), |it| it.data.to_vec());
        parser.push(&kept, &mut take);
        parser.finish(&mut take);
        let Some(error) = unwrap(&data) else { return out.extend_from_slice(&kept) };
        // A line end within JSON is white space.
        for line in error.split(|byte| matches!(byte, b'\n' | b'\r')) {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// What follows the end of the first line.
fn behind_line(bytes: &[u8]) -> &[u8] {
    memchr(b'\n', bytes).and_then(|end| bytes.get(end + 1..)).unwrap_or_default()
}

/// Whether a line, whatever follows it, is data that begins an array of objects, or an array whose first element is on the next
/// line; `None` as long as it may be.
fn begins_array(line: &[u8]) -> Option<bool> {
    /// White space before the array and in it.
    const MAX_BYTES: usize = 64;
    const NAME: &[u8] = b"data:";
    let Some(data) = line.strip_prefix(NAME) else { return if NAME.starts_with(line) { None } else { Some(false) } };
    let spaces = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    let mut data = data.iter().skip_while(spaces);
    match data.next() {
        None => {}
        Some(b'[') => match data.find(|byte| !spaces(byte)) {
            None => {}
            Some(byte) => return Some(matches!(byte, b'{' | b'\n' | b'\r')),
        },
        Some(_) => return Some(false),
    }
    if line.len() > MAX_BYTES { Some(false) } else { None }
}
