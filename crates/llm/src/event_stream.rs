//! AWS's event streams (`application/vnd.amazon.eventstream`): a parser to which bytes are pushed.
//!
//! A frame is a prelude of 12 bytes (its length, the length of its headers, a CRC-32 of these two), headers, a payload, and a
//! CRC-32 of all before. Numbers are big-endian. The output does not depend on how the bytes were cut; a frame that lies within
//! one push is handed out without a copy. After an error nothing more is read: the place where the next frame begins is lost.
//!
//! Source: "Event stream encoding" in the Amazon Transcribe developer guide, and `botocore.eventstream`.

/// A longer frame is refused as soon as its prelude is there, before its bytes are kept. AWS's own limit is 16 MB of payload
/// beside its headers.
pub(crate) const MAX_FRAME_BYTES: usize = 16 << 20;
/// Longer headers are refused; AWS's own limit.
pub(crate) const MAX_HEADER_BYTES: usize = 128 << 10;

const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// The type of headers whose value is a text.
const TEXT: u8 = 7;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the event stream {0}")]
pub struct FrameError(&'static str);

const TOO_LARGE: FrameError = FrameError("is longer than 16 MB, or its headers than 128 KB");
const LENGTHS: FrameError = FrameError("has lengths that contradict each other");
const CHECKSUM: FrameError = FrameError("has a wrong checksum");
const HEADERS: FrameError = FrameError("has malformed headers");
const TRUNCATED: FrameError = FrameError("has no end");

/// One frame whose checksums are right and whose headers can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    headers: &'a [u8],
    /// What the frame carries.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that these bytes are; they have the length that their prelude says.
    fn read(bytes: &'a [u8], headers: usize) -> Result<Self, FrameError> {
        let (checked, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(LENGTHS)?;
        if crc32fast::hash(checked) != u32::from_be_bytes(*checksum) {
            return Err(CHECKSUM);
        }
        let (headers, payload) =
            checked.get(PRELUDE_BYTES..).and_then(|rest| rest.split_at_checked(headers)).ok_or(LENGTHS)?;
        let mut rest = headers;
        while !rest.is_empty() {
            take_header(&mut rest).ok_or(HEADERS)?;
        }
        Ok(Self { headers, payload })
    }

    /// The headers in their order, with the values of those that are texts.
    fn headers(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let mut rest = self.headers;
        std::iter::from_fn(move || take_header(&mut rest))
    }

    /// The text of a header; `None` where there is none, or one of another type.
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.headers().find_map(|(other, text)| text.filter(|_| other == name))
    }
}

/// Takes the header at the beginning, with its value if that is a text; `None` where there is none or it is malformed.
fn take_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Option<&'a str>)> {
    let [length] = take_array(rest)?;
    let name = std::str::from_utf8(take(rest, usize::from(length))?).ok()?;
    let [kind] = take_array(rest)?;
    let length = match kind {
        // Yes and no.
        0 | 1 => 0,
        // Numbers; 8 is a time.
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        // Bytes and texts, behind their length.
        6 | TEXT => usize::from(u16::from_be_bytes(take_array(rest)?)),
        // A UUID.
        9 => 16,
        _ => return None,
    };
    let value = take(rest, length)?;
    let text = if kind == TEXT { Some(std::str::from_utf8(value).ok()?) } else { None };
    Some((name, text))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

/// What a prelude says, its checksum right.
#[derive(Debug, Clone, Copy)]
struct Prelude {
    frame: usize,
    headers: usize,
}

impl Prelude {
    /// `None` as long as the bytes of a prelude are not all there.
    fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(prelude) = bytes.first_chunk::<PRELUDE_BYTES>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, checksum @ ..] = *prelude;
        // A length is only believed when the checksum says that it was sent.
        if crc32fast::hash(&[a, b, c, d, e, f, g, h]) != u32::from_be_bytes(checksum) {
            return Err(CHECKSUM);
        }
        let size = |bytes| usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
        let (frame, headers) = (size([a, b, c, d]), size([e, f, g, h]));
        if frame > MAX_FRAME_BYTES || headers > MAX_HEADER_BYTES {
            return Err(TOO_LARGE);
        }
        if frame < PRELUDE_BYTES + headers + CHECKSUM_BYTES {
            return Err(LENGTHS);
        }
        Ok(Some(Self { frame, headers }))
    }
}

/// A parser of one stream. It keeps at most one frame.
#[derive(Debug, Default)]
pub struct Parser {
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    error: Option<FrameError>,
}

impl Parser {
    /// Takes the next bytes, and calls `visit` with each frame that they complete.
    ///
    /// # Errors
    /// The bytes are no event stream; frames before have been visited. Each later push fails as well.
    pub fn push(&mut self, bytes: &[u8], mut visit: impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let pushed = self.take(bytes, &mut visit);
        if let Err(error) = pushed {
            self.error = Some(error);
            self.partial = Vec::new();
        }
        pushed
    }

    fn take(&mut self, mut bytes: &[u8], visit: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                match Prelude::read(bytes)? {
                    Some(prelude) if prelude.frame <= bytes.len() => {
                        let (frame, rest) = bytes.split_at(prelude.frame);
                        visit(Frame::read(frame, prelude.headers)?);
                        bytes = rest;
                        continue;
                    }
                    _ => {}
                }
            }
            // First what the prelude lacks, then what the frame lacks: never a byte of the next one.
            let wanted = Prelude::read(&self.partial)?.map_or(PRELUDE_BYTES, |prelude| prelude.frame);
            let (more, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(more);
            bytes = rest;
            if let Some(prelude) = Prelude::read(&self.partial)?
                && prelude.frame == self.partial.len()
            {
                visit(Frame::read(&self.partial, prelude.headers)?);
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// It ended within a frame, or had failed before.
    pub fn finish(self) -> Result<(), FrameError> {
        match self.error {
            Some(error) => Err(error),
            None if self.partial.is_empty() => Ok(()),
            None => Err(TRUNCATED),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    type OwnedFrame = (Vec<(String, Option<String>)>, Vec<u8>);

    /// A header as AWS writes it, of this type.
    fn header(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
        [&[name.len() as u8][..], name.as_bytes(), &[kind], value].concat()
    }

    /// The value of a header that is a text, or bytes.
    fn behind_length(value: &[u8]) -> Vec<u8> {
        [&(value.len() as u16).to_be_bytes(), value].concat()
    }

    /// A frame as AWS writes it, whose headers are texts.
    pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let text = |(name, text): &(&str, &str)| header(name, TEXT, &behind_length(text.as_bytes()));
        frame_of(&headers.iter().flat_map(text).collect::<Vec<_>>(), payload)
    }

    fn frame_of(written: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = (PRELUDE_BYTES + written.len() + payload.len() + CHECKSUM_BYTES) as u32;
        let mut frame = [length.to_be_bytes(), (written.len() as u32).to_be_bytes()].concat();
        frame.extend(crc32fast::hash(&frame).to_be_bytes());
        frame.extend(written);
        frame.extend(payload);
        frame.extend(crc32fast::hash(&frame).to_be_bytes());
        frame
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<OwnedFrame>, Result<(), FrameError>) {
        let (mut parser, mut frames) = (Parser::default(), Vec::new());
        let mut result = Ok(());
        for piece in pieces {
            result = parser.push(piece, |frame| {
                let headers =
                    frame.headers().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect();
                frames.push((headers, frame.payload.to_vec()));
            });
        }
        (frames, result.and(parser.finish()))
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let sized =
            |kind: u8, length: usize| prop::collection::vec(any::<u8>(), length).prop_map(move |value| (kind, value));
        let value = prop_oneof![
            sized(0, 0),
            sized(1, 0),
            sized(2, 1),
            sized(3, 2),
            sized(4, 4),
            sized(5, 8),
            Just((6, behind_length(b"\0\xff"))),
            Just((TEXT, behind_length("größer".as_bytes()))),
            sized(8, 8),
            sized(9, 16),
        ];
        let name = prop_oneof![Just(""), Just(":event-type"), Just("x")];
        let header = (name, value).prop_map(|(name, (kind, value))| header(name, kind, &value));
        let one = (prop::collection::vec(header, 0..5), prop::collection::vec(any::<u8>(), 0..60));
        prop::collection::vec(one.prop_map(|(headers, payload)| frame_of(&headers.concat(), &payload)), 0..5)
            .prop_map(|all| all.concat())
    }

    /// `payload_one_str_header` of the vectors that AWS's SDKs are tested with.
    #[test]
    fn the_frame_of_awss_test_vectors_is_read() {
        let bytes = b"\x00\x00\x00\x3d\x00\x00\x00\x20\x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json{'foo':'bar'}\x8d\x9c\x08\xb1";
        let (frames, result) = read([&bytes[..]]);
        assert_eq!(result, Ok(()));
        let headers = vec![("content-type".to_owned(), Some("application/json".to_owned()))];
        assert_eq!(frames, [(headers, b"{'foo':'bar'}".to_vec())]);
    }

    #[test]
    fn a_length_over_16_mb_is_refused_before_anything_is_kept() {
        for (frame, headers) in [(MAX_FRAME_BYTES as u32 + 1, 0), (u32::MAX, 0), (1 << 20, MAX_HEADER_BYTES as u32 + 1)]
        {
            let mut prelude = [frame.to_be_bytes(), headers.to_be_bytes()].concat();
            prelude.extend(crc32fast::hash(&prelude).to_be_bytes());
            let mut parser = Parser::default();
            for (at, byte) in prelude.iter().enumerate() {
                let expected = if at + 1 == prelude.len() { Err(TOO_LARGE) } else { Ok(()) };
                assert_eq!(parser.push(&[*byte], |_| panic!("no frame")), expected);
            }
            assert_eq!(parser.partial.capacity(), 0);
            assert_eq!(parser.push(&[0; 100], |_| panic!("no frame")), Err(TOO_LARGE));
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_and_unknown_headers_are_refused() {
        let mut prelude = [20_u32.to_be_bytes(), 5_u32.to_be_bytes()].concat();
        prelude.extend(crc32fast::hash(&prelude).to_be_bytes());
        assert_eq!(read([&prelude[..]]).1, Err(LENGTHS));
        let mut unknown = frame_of(&header("a", 0, b""), b"");
        unknown[PRELUDE_BYTES + 2] = 10;
        let end = unknown.len() - CHECKSUM_BYTES;
        let checksum = crc32fast::hash(&unknown[..end]);
        unknown[end..].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(read([&unknown[..]]).1, Err(HEADERS));
    }

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_the_cutting(stream in stream(), cuts in prop::collection::vec(0_usize..400, 0..30)) {
            let whole = read([&stream[..]]);
            prop_assert_eq!(whole.1, Ok(()));
            prop_assert_eq!(&whole, &read(stream.chunks(1)));
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            prop_assert_eq!(&whole, &read(cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]])));
        }

        #[test]
        fn a_stream_that_is_cut_or_changed_is_an_error(stream in stream(), at: prop::sample::Index, change in 1_u8..) {
            prop_assume!(!stream.is_empty());
            let at = at.index(stream.len());
            let (whole, _) = read([&stream[..]]);
            let (frames, result) = read([&stream[..at]]);
            prop_assert!(whole.starts_with(&frames));
            prop_assert!(result == Err(TRUNCATED) || frames.len() < whole.len() || at == stream.len());
            let mut changed = stream.clone();
            changed[at] ^= change;
            let (frames, result) = read([&changed[..]]);
            prop_assert!(result.is_err(), "a changed byte is seen");
            prop_assert!(whole.starts_with(&frames));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, size in 1_usize..9) {
            prop_assert_eq!(read([&bytes[..]]), read(bytes.chunks(size)));
        }
    }
}
