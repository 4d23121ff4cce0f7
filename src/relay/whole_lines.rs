//! A stream of events on its way, line by line: the beginning of a line whose end has not come is kept back, so that a stream that
//! breaks off within a line does not leave its client half an event.

use std::collections::VecDeque;

use bytes::Bytes;
use llm::sse::MAX_EVENT_BYTES;
use memchr::memrchr2;

use super::buffered_parts::BufferedParts;

/// The lines of one stream.
#[derive(Debug, Default)]
pub(super) struct WholeLines {
    /// The beginning of the current line.
    kept: BufferedParts,
    kept_bytes: usize,
    /// The current line is too long to be kept, and goes on as it comes.
    is_passing: bool,
}

impl WholeLines {
    /// Takes a part. What may go on: the line that was kept and is whole now, and what ends with a line of the part.
    pub(super) fn push(&mut self, mut part: Bytes) -> [Bytes; 2] {
        if matches!(part.last(), Some(b'\n' | b'\r')) {
            self.is_passing = false;
            return [self.finish(), part];
        }
        let (before, rest) = match memrchr2(b'\n', b'\r', &part) {
            Some(end) => {
                self.is_passing = false;
                let rest = part.split_off(end + 1);
                ([self.finish(), part], rest)
            }
            None => ([Bytes::new(), Bytes::new()], part),
        };
        if self.is_passing {
            return [Bytes::new(), rest];
        }
        if self.kept_bytes + rest.len() > MAX_EVENT_BYTES {
            self.is_passing = true;
            let [line, lines] = before;
            // Where lines end in this part, nothing is kept any more.
            return if lines.is_empty() { [self.finish(), rest] } else { [line, [lines, rest].concat().into()] };
        }
        self.kept_bytes += rest.len();
        self.kept.push(rest);
        before
    }

    /// What is kept: the last line of a stream that ended well may have no end.
    pub(super) fn finish(&mut self) -> Bytes {
        if self.kept_bytes == 0 {
            return Bytes::new();
        }
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept).into_bytes().unwrap_or_default()
    }
}

/// What is held of a stream of events as far as its lines are whole, and what goes on with them; of anything else all.
pub(super) fn whole_lines(held: Vec<Bytes>, is_stream: bool) -> (VecDeque<Bytes>, Option<WholeLines>) {
    if !is_stream {
        return (held.into(), None);
    }
    let mut lines = WholeLines::default();
    let whole = held.into_iter().flat_map(|part| lines.push(part)).filter(|part| !part.is_empty()).collect();
    (whole, Some(lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_go_on_once_they_are_whole_and_nothing_is_lost(parts in prop::collection::vec("[a\r\n]{0,4}", 0..20)) {
            let (mut lines, mut came, mut shown) = (WholeLines::default(), String::new(), String::new());
            for part in parts {
                came += &part;
                for piece in lines.push(Bytes::from(part)) {
                    shown += std::str::from_utf8(&piece).unwrap();
                }
                let whole = came.rfind(['\r', '\n']).map_or(0, |end| end + 1);
                prop_assert_eq!(&shown, &came[..whole]);
            }
            shown += std::str::from_utf8(&lines.finish()).unwrap();
            prop_assert_eq!(shown, came);
        }
    }

    #[test]
    fn whole_lines_are_not_copied() {
        let (first, second) = (Bytes::from_static(b"data: a\n\ndata"), Bytes::from_static(b": b\n\n"));
        let mut lines = WholeLines::default();
        let [none, shown] = lines.push(first.clone());
        assert_eq!((none.len(), shown.as_ptr(), &*shown), (0, first.as_ptr(), &b"data: a\n\n"[..]));
        let [line, shown] = lines.push(second.clone());
        assert_eq!((&*line, line.as_ptr(), shown.as_ptr()), (&b"data"[..], first[9..].as_ptr(), second.as_ptr()));
    }

    #[test]
    fn a_line_that_is_too_long_goes_on_as_it_comes_until_its_end() {
        let mut lines = WholeLines::default();
        let long = Bytes::from(vec![b'x'; MAX_EVENT_BYTES]);
        assert_eq!(lines.push(long.clone()).concat().len(), 0);
        assert_eq!(lines.push(Bytes::from_static(b"y")).concat().len(), MAX_EVENT_BYTES + 1);
        assert_eq!(lines.push(Bytes::from_static(b"y")).concat(), b"y");
        assert_eq!(lines.push(Bytes::from_static(b"\nz")).concat(), b"\n");
        assert_eq!(lines.finish(), "z");
        let many = [&b"a\n"[..], &long, b"b"].concat();
        assert_eq!(lines.push(Bytes::from(many.clone())).concat(), many);
        assert_eq!(lines.push(Bytes::from_static(b"c")).concat(), b"c");
    }
}
