//! Server-sent events by their standard (WHATWG HTML, "server-sent events"): a parser to which bytes are pushed.
//!
//! Its output does not depend on how the bytes were cut. A byte order mark at the beginning is skipped; lines end with CR, LF or
//! CRLF; one space behind the colon belongs to the syntax; lines that begin with a colon are comments; several `data` lines are
//! joined by LF; an event without data is none. An event that lies within one push is handed out without a copy.

use memchr::memchr2;

use crate::last_bytes::LastBytes;

/// An event larger than this, in bytes of its name, data and current line, is not kept.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its name; empty where it has none, which means `message`.
    pub name: &'a [u8],
    /// Its data, without the last line end.
    pub data: &'a [u8],
    /// The `id` in force, which later events inherit; empty where there was none.
    pub id: &'a [u8],
}

/// An event was larger than the parser keeps; it is skipped, and the next one is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// The parser's limit, in bytes.
    pub limit: usize,
}

/// What there is of an event that is too large.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unread<'a> {
    /// It has become so.
    Began(EventTooLarge),
    /// Its end came, and these are its last bytes.
    Ended(&'a LastBytes),
}

/// A parser of one stream. Its memory is bounded by the limit.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// How many bytes of a byte order mark came; `None` once the beginning is over.
    mark: Option<usize>,
    /// The last byte was a CR, so that a LF belongs to it.
    after_cr: bool,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    name: Vec<u8>,
    id: Vec<u8>,
    data: Vec<u8>,
    /// At least one `data` line of this event came.
    has_data: bool,
    /// Something of this event came.
    begun: bool,
    /// The event is too large: skip its rest.
    skipping: bool,
    /// What was skipped last of it.
    skipped: LastBytes,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(MAX_EVENT_BYTES)
    }
}

impl Parser {
    /// A parser that keeps events of at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            mark: Some(0),
            after_cr: false,
            line: Vec::new(),
            name: Vec::new(),
            id: Vec::new(),
            data: Vec::new(),
            has_data: false,
            begun: false,
            skipping: false,
            skipped: LastBytes::new(),
        }
    }

    /// Takes the next bytes, and calls `visit` with each event that they complete and each that is too large.
    pub fn push(&mut self, bytes: &[u8], mut visit: impl FnMut(Result<Event<'_>, EventTooLarge>)) {
        self.push_with_ends(bytes, |event| readable(event, &mut visit));
    }

    /// The same; `visit` is called with the ends of those that are too large too.
    pub(crate) fn push_with_ends(&mut self, bytes: &[u8], mut visit: impl FnMut(Result<Event<'_>, Unread<'_>>)) {
        let mut rest = self.skip_mark(bytes);
        // The data of the current event, as long as all of it is one line of these bytes.
        let mut borrowed = None;
        loop {
            if self.after_cr && !rest.is_empty() {
                self.after_cr = false;
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            let Some(end) = memchr2(b'\r', b'\n', rest) else { break };
            let (line, behind) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
            self.after_cr = rest.get(end) == Some(&b'\r');
            rest = behind;
            if self.line.is_empty() {
                self.end_line(line, &mut borrowed, &mut visit);
                if self.skipping {
                    self.skipped.push(line);
                }
            } else {
                self.keep_line(line, borrowed, &mut visit);
                let whole = std::mem::take(&mut self.line);
                // What this line adds lives in a buffer of ours.
                let mut none = None;
                self.own(&mut borrowed);
                self.end_line(&whole, &mut none, &mut visit);
                self.own(&mut none);
                self.line = whole;
                self.line.clear();
            }
        }
        self.keep_line(rest, borrowed, &mut visit);
        self.own(&mut borrowed);
    }

    /// The stream has ended. By the standard an event without its empty line is dropped; the vendors' clients take it, and
    /// so does this: `visit` is called with it.
    pub fn finish(self, mut visit: impl FnMut(Result<Event<'_>, EventTooLarge>)) {
        self.finish_with_ends(|event| readable(event, &mut visit));
    }

    /// The same; `visit` is called with the end of one that is too large too.
    pub(crate) fn finish_with_ends(mut self, mut visit: impl FnMut(Result<Event<'_>, Unread<'_>>)) {
        if let Some(length @ 1..3) = self.mark.take() {
            self.line.extend_from_slice(BYTE_ORDER_MARK.get(..length).unwrap_or_default());
        }
        self.push_with_ends(b"\n\n", &mut visit);
    }

    /// Whether everything that came belongs to whole events or comments.
    pub(crate) fn is_between_events(&self) -> bool {
        !self.begun && self.line.is_empty()
    }

    /// Skips a byte order mark, however it is cut.
    fn skip_mark<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let Some(length) = self.mark {
            if length == BYTE_ORDER_MARK.len() {
                self.mark = None;
                break;
            }
            let Some((first, behind)) = bytes.split_first() else { break };
            if BYTE_ORDER_MARK.get(length) == Some(first) {
                self.mark = Some(length + 1);
                bytes = behind;
            } else {
                // It was none: what was taken for it belongs to the first line.
                self.mark = None;
                self.line.extend_from_slice(BYTE_ORDER_MARK.get(..length).unwrap_or_default());
            }
        }
        bytes
    }

    /// Copies borrowed data before the bytes that it lies in are gone.
    fn own(&mut self, borrowed: &mut Option<&[u8]>) {
        if let Some(data) = borrowed.take() {
            self.data.extend_from_slice(data);
        }
    }

    /// Keeps a part of a line, unless the event becomes too large.
    fn keep_line(
        &mut self,
        part: &[u8],
        borrowed: Option<&[u8]>,
        visit: &mut impl FnMut(Result<Event<'_>, Unread<'_>>),
    ) {
        let line = self.line.len() + part.len();
        if self.fits(line, borrowed, visit) {
            self.line.extend_from_slice(part);
        } else {
            self.skipped.push(part);
            if self.line.is_empty() && !part.is_empty() {
                // Of a line that is not kept a letter says that it is not empty.
                self.line.push(b':');
            }
        }
    }

    /// Whether the event may have a line of this length; says once if not.
    fn fits(
        &mut self,
        line: usize,
        borrowed: Option<&[u8]>,
        visit: &mut impl FnMut(Result<Event<'_>, Unread<'_>>),
    ) -> bool {
        if self.skipping {
            return false;
        }
        let size = self.data.len() + borrowed.map_or(0, <[u8]>::len) + self.name.len() + self.id.len() + line;
        if size <= self.limit {
            return true;
        }
        self.skipping = true;
        self.skipped.push(&self.data);
        self.skipped.push(&self.line);
        self.data.clear();
        self.name.clear();
        self.has_data = false;
        visit(Err(Unread::Began(EventTooLarge { limit: self.limit })));
        false
    }

    /// A line is whole.
    fn end_line<'a>(
        &mut self,
        line: &'a [u8],
        borrowed: &mut Option<&'a [u8]>,
        visit: &mut impl FnMut(Result<Event<'_>, Unread<'_>>),
    ) {
        if line.is_empty() {
            return self.end_event(borrowed, visit);
        }
        self.begun |= line.first() != Some(&b':');
        if !self.fits(line.len(), *borrowed, visit) {
            *borrowed = None;
            return;
        }
        let colon = memchr::memchr(b':', line);
        let (field, value) = line.split_at_checked(colon.unwrap_or(line.len())).unwrap_or((line, &[]));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" if self.has_data => {
                self.own(borrowed);
                self.data.push(b'\n');
                self.data.extend_from_slice(value);
            }
            b"data" => {
                self.has_data = true;
                *borrowed = Some(value);
            }
            b"event" => value.clone_into(&mut self.name),
            b"id" if !value.contains(&0) => value.clone_into(&mut self.id),
            _ => {}
        }
    }

    /// An empty line ends the event.
    fn end_event(&mut self, borrowed: &mut Option<&[u8]>, visit: &mut impl FnMut(Result<Event<'_>, Unread<'_>>)) {
        if self.has_data && !self.skipping {
            let data = borrowed.unwrap_or(&self.data);
            visit(Ok(Event { name: &self.name, data, id: &self.id }));
        }
        *borrowed = None;
        if std::mem::take(&mut self.skipping) {
            visit(Err(Unread::Ended(&std::mem::take(&mut self.skipped))));
        }
        self.data.clear();
        self.name.clear();
        self.has_data = false;
        self.begun = false;
    }
}

/// Calls `visit` with what it has to know that does not look at the ends.
fn readable(event: Result<Event<'_>, Unread<'_>>, visit: &mut impl FnMut(Result<Event<'_>, EventTooLarge>)) {
    match event {
        Ok(event) => visit(Ok(event)),
        Err(Unread::Began(error)) => visit(Err(error)),
        Err(Unread::Ended(_)) => {}
    }
}

/// The values of the `data` lines in bytes that are at hand as a whole.
pub(crate) fn data_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter_map(|line| line.strip_prefix(b"data:")).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a parser hands out: name, data, id; `None` is an event that is too large.
    type ParsedEvents = Vec<Option<(String, String, String)>>;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn parse<'a>(limit: usize, parts: impl IntoIterator<Item = &'a [u8]>) -> ParsedEvents {
        let mut seen = Vec::new();
        let mut parser = Parser::new(limit);
        let mut note = |event: Result<Event<'_>, EventTooLarge>| {
            seen.push(event.ok().map(|event| (text(event.name), text(event.data), text(event.id))));
        };
        for part in parts {
            parser.push(part, &mut note);
        }
        parser.finish(&mut note);
        seen
    }

    fn data(stream: &str) -> Vec<String> {
        parse(1000, [stream.as_bytes()]).into_iter().map(|event| event.expect("small").1).collect()
    }

    #[test]
    fn the_standards_syntax() {
        for (stream, expected) in [
            ("", vec![]),
            ("data: a\n\n", vec!["a"]),
            ("data:a\n\ndata:  b\n\n", vec!["a", " b"]),
            ("\u{feff}data: a\n\n", vec!["a"]),
            ("data: a\r\rdata: b\r\n\r\ndata: c\n\n", vec!["a", "b", "c"]),
            ("data: a\r\n\ndata: b\n\r\n", vec!["a", "b"]),
            ("data: a\ndata: b\ndata\n\n", vec!["a\nb\n"]),
            (": ping\n\n:\n\ndata: a\n\n", vec!["a"]),
            ("event: ping\n\ndata: a\n\n", vec!["a"]),
            ("data\n\n", vec![""]),
            ("dataset: a\n\n Data: b\n\n", vec![]),
            ("data: a: b\nretry: 5\nfoo: bar\n\n", vec!["a: b"]),
            ("data: a", vec!["a"]),
            ("data: a\n", vec!["a"]),
            ("data: \u{feff}\n\n", vec!["\u{feff}"]),
        ] {
            assert_eq!(data(stream), expected, "{stream:?}");
        }
    }

    #[test]
    fn names_end_with_their_event_and_ids_stay() {
        let stream = b"event: a\nid: 1\ndata: x\n\ndata: y\n\nid: 2\0\nevent: b\n\ndata: z\nid\n\n";
        let event = |name: &str, data: &str, id: &str| Some((name.to_owned(), data.to_owned(), id.to_owned()));
        assert_eq!(parse(99, [&stream[..]]), [event("a", "x", "1"), event("", "y", "1"), event("", "z", "")]);
    }

    #[test]
    fn an_event_that_is_too_large_is_reported_once_and_skipped() {
        let stream = b"data: a\n\ndata: 0123456789\ndata: 0123456789\ndata: 0123456789\nevent: x\n\ndata: b\n\n";
        let seen = parse(20, [&stream[..]]);
        let data: Vec<_> = seen.iter().map(|event| event.as_ref().map(|(name, data, _)| name.clone() + data)).collect();
        assert_eq!(data, [Some("a".to_owned()), None, Some("b".to_owned())]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut parser = Parser::new(1000);
        for _ in 0..10_000 {
            parser.push(&[b'x'; 100], |_| {});
            parser.push(b"\ndata: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\ndata:", |_| {});
        }
        assert!(parser.line.capacity() + parser.data.capacity() + parser.name.capacity() < 10_000);
    }

    #[test]
    fn whether_an_event_is_half_here() {
        let mut parser = Parser::default();
        for (part, between) in [
            ("", true),
            (": ping\n", true),
            ("data: a", false),
            ("\n", false),
            ("\n", true),
            ("event: a\n", false),
            ("\r", true),
            ("\n", true),
        ] {
            parser.push(part.as_bytes(), |_| {});
            assert_eq!(parser.is_between_events(), between, "{part:?}");
        }
    }

    /// Pieces from which streams are made that reach every branch.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "data:",
            "data: ",
            "data",
            "event: error",
            "event:",
            "id: 7",
            ":",
            " ",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "a",
            "error",
            "{\"error\":1}",
            "\u{feff}",
            "[DONE]",
            "0123456789012345678901234567890123456789",
            "\0",
        ]);
        let pieces = prop::collection::vec(piece.prop_map(|piece| piece.as_bytes().to_vec()), 0..60);
        prop_oneof![
            pieces.prop_map(|pieces| pieces.concat()),
            prop::collection::vec(prop::sample::select(b"data: \r\n\xEF\xBB\xBF".to_vec()), 0..40),
        ]
    }

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_the_cutting(stream in stream(), cuts in prop::collection::vec(0_usize..400, 0..30), limit in 5_usize..120) {
            let whole = parse(limit, [&stream[..]]);
            prop_assert_eq!(&whole, &parse(limit, stream.chunks(1)));
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            prop_assert_eq!(&whole, &parse(limit, cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]])));
        }

        #[test]
        fn events_that_were_written_are_read(events in prop::collection::vec(("[a-z_.]{0,9}", "[ -~\n]{0,40}"), 0..9), end in 0_usize..3) {
            let end = ["\n", "\r", "\r\n"][end];
            let mut stream = String::new();
            for (name, data) in &events {
                if !name.is_empty() {
                    stream += &format!("event: {name}{end}");
                }
                for line in data.split('\n') {
                    stream += &format!("data: {line}{end}");
                }
                stream += end;
            }
            let expected: Vec<_> = events.into_iter().map(|(name, data)| Some((name, data, String::new()))).collect();
            prop_assert_eq!(parse(1000, [stream.as_bytes()]), expected);
        }
    }
}
