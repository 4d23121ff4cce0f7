//! Answers that are compressed although targets are asked for none that are. What says gzip or deflate is decoded as it comes and
//! passed on without its coding, so that errors, events and tokens can be read. What has another coding is passed on as it came,
//! and its answer is judged by its status.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use hyper::http::response::Parts;
use llm::translate::BrokenAnswer;

/// So many bytes are decoded at a time: their text is at most a thousand times as long.
const MAX_PIECE_BYTES: usize = 4 << 10;

/// How a gzip member begins (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Decodes a body part by part.
#[derive(Debug)]
pub(super) struct Decoder {
    /// What its headers name.
    named: Coding,
    state: State,
    /// What came and is not decoded yet.
    pending: Bytes,
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
}

#[derive(Debug)]
enum State {
    /// How it begins has not come.
    Unbegun,
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
    /// It is no gzip, whatever its headers say.
    Plain,
    Ended,
}

impl Decoder {
    /// For the body of an answer with this head, which then says nothing of the coding. `None` if it has none, or one that cannot be
    /// decoded here.
    pub(super) fn of_answer(head: &mut Parts) -> Option<Self> {
        if head.status == StatusCode::PARTIAL_CONTENT {
            // A range is one of the coded bytes.
            return None;
        }
        let named = Coding::named(head.headers.get_all(CONTENT_ENCODING).iter().map(|value| value.as_bytes()))?;
        head.headers.remove(CONTENT_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
        Some(Self { named, state: State::Unbegun, pending: Bytes::new() })
    }

    /// A part came.
    pub(super) fn push(&mut self, part: Bytes) {
        self.pending = if self.pending.is_empty() { part } else { [&*self.pending, &part].concat().into() };
        if let (State::Unbegun, Some(start)) = (&self.state, self.pending.first_chunk()) {
            self.state = self.named.decoder(*start);
        }
    }

    /// The next piece of the text, which may be empty: `None` once more has to come.
    ///
    /// # Errors
    /// What came is not of the coding that it begins with.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, BrokenAnswer> {
        if self.pending.is_empty() || matches!(self.state, State::Unbegun) {
            return Ok(None);
        }
        let piece = self.pending.split_to(self.pending.len().min(MAX_PIECE_BYTES));
        let text = match &mut self.state {
            State::Unbegun | State::Plain => return Ok(Some(piece)),
            State::Ended => return Ok(Some(Bytes::new())),
            State::Gzip(decoder) => write(decoder, &piece).map(|()| std::mem::take(decoder.get_mut())),
            State::Zlib(decoder) => write(decoder, &piece).map(|()| std::mem::take(decoder.get_mut())),
            State::Deflate(decoder) => write(decoder, &piece).map(|()| std::mem::take(decoder.get_mut())),
        };
        text.map(|text| Some(text.into())).map_err(broken)
    }

    /// All has come: what is left of the text.
    ///
    /// # Errors
    /// It is cut.
    pub(super) fn finish(&mut self) -> Result<Bytes, BrokenAnswer> {
        let text = match std::mem::replace(&mut self.state, State::Ended) {
            // One byte is of no coding.
            State::Unbegun | State::Plain | State::Ended => return Ok(std::mem::take(&mut self.pending)),
            State::Gzip(decoder) => decoder.finish(),
            State::Zlib(decoder) => decoder.finish(),
            State::Deflate(decoder) => decoder.finish(),
        };
        text.map(Bytes::from).map_err(broken)
    }

    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

impl Coding {
    /// The one coding that these values name beside `identity`, if it can be decoded.
    fn named<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<Self> {
        let names = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let coding = match names.next()?.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Self::Gzip,
            b"deflate" => Self::Deflate,
            _ => return None,
        };
        names.next().is_none().then_some(coding)
    }

    /// For a body that begins so. Some servers name gzip and pack nothing, name deflate for gzip, or leave out zlib's header (RFC 9110,
    /// 8.4.1.2).
    fn decoder(self, start: [u8; 2]) -> State {
        match self {
            _ if start == GZIP_MAGIC => State::Gzip(MultiGzDecoder::new(Vec::new())),
            Self::Gzip => State::Plain,
            Self::Deflate if is_zlib_header(start) => State::Zlib(ZlibDecoder::new(Vec::new())),
            Self::Deflate => State::Deflate(DeflateDecoder::new(Vec::new())),
        }
    }
}

/// All of it, as far as the body goes: what follows it is no part of the text.
fn write(decoder: &mut impl Write, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        match decoder.write(piece)? {
            0 => break,
            taken => piece = piece.get(taken..).unwrap_or_default(),
        }
    }
    decoder.flush()
}

fn broken(_: io::Error) -> BrokenAnswer {
    BrokenAnswer("it is compressed, and cannot be decoded")
}

/// Whether a body begins as RFC 1950 has it: the method is deflate, the window has at most 32 KB, and the check bits fit.
const fn is_zlib_header([method, flags]: [u8; 2]) -> bool {
    method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use hyper::Response;

    use super::*;

    const TEXT: &[u8] = br#"{"error": {"message": "x"}}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text).unwrap();
        zlib.finish().unwrap()
    }

    fn decoder(codings: &[&str]) -> Option<Decoder> {
        let mut answer = Response::builder().header(CONTENT_LENGTH, 7);
        for coding in codings {
            answer = answer.header(CONTENT_ENCODING, *coding);
        }
        let (mut head, ()) = answer.body(()).unwrap().into_parts();
        let decoder = Decoder::of_answer(&mut head);
        assert_eq!(head.headers.is_empty(), decoder.is_some(), "a decoded one has another length");
        decoder
    }

    /// The text of a body that comes in parts of this length, or how far it came.
    fn decode(coding: &str, body: &[u8], length: usize) -> Result<Vec<u8>, Vec<u8>> {
        let mut decoder = decoder(&[coding]).unwrap();
        let mut text = Vec::new();
        for part in body.chunks(length) {
            decoder.push(Bytes::copy_from_slice(part));
            loop {
                match decoder.next() {
                    Ok(Some(piece)) => text.extend(piece),
                    Ok(None) => break,
                    Err(_) => return Err(text),
                }
            }
        }
        assert!(!decoder.has_ended());
        let rest = decoder.finish();
        assert!(decoder.has_ended() && decoder.finish().unwrap().is_empty());
        match rest {
            Ok(rest) => Ok([text, rest.into()].concat()),
            Err(_) => Err(text),
        }
    }

    #[test]
    fn s1_11_what_says_gzip_or_deflate_is_decoded_however_it_is_cut() {
        let members = [gzip(&TEXT[..9]), gzip(&TEXT[9..])].concat();
        let raw = [Compression::none(), Compression::fast(), Compression::best()].map(|level| {
            let mut raw = DeflateEncoder::new(Vec::new(), level);
            raw.write_all(TEXT).unwrap();
            raw.finish().unwrap()
        });
        let behind = [&zlib(TEXT)[..], b"\0\0"].concat();
        let gzipped = ["gzip", "GZIP", "x-gzip", "identity, gzip", "gzip,", "deflate"].map(|name| (name, gzip(TEXT)));
        let deflated = raw.into_iter().chain([zlib(TEXT), behind]).map(|body| ("deflate", body));
        let plain = [("gzip", TEXT.to_vec()), ("gzip", members)];
        for (coding, body) in gzipped.into_iter().chain(deflated).chain(plain) {
            for length in 1..=body.len() {
                assert_eq!(decode(coding, &body, length), Ok(TEXT.to_vec()), "{coding} in parts of {length}");
            }
        }
        for (coding, body) in [("gzip", &b""[..]), ("deflate", b""), ("gzip", b"{"), ("gzip", &gzip(b""))] {
            let text = if body.len() == 1 { body } else { b"" };
            assert_eq!(decode(coding, body, 1), Ok(text.to_vec()));
        }
        for codings in [&["br"][..], &["gzip, br"], &["gzip", "gzip"], &["identity"], &[""], &["utf-8"], &[]] {
            assert!(decoder(codings).is_none(), "{codings:?}");
        }
    }

    #[test]
    fn s1_11_what_is_cut_or_garbled_is_no_text() {
        let (gzip, zlib) = (gzip(TEXT), zlib(TEXT));
        for (coding, body) in [("gzip", &gzip), ("deflate", &zlib)] {
            for length in 2..body.len() {
                assert!(decode(coding, &body[..length], 5).is_err(), "{coding}, {length} bytes of it");
            }
        }
        let other_sum = [&gzip[..gzip.len() - 8], &[0; 8]].concat();
        for garbled in [&other_sum[..], b"\x1f\x8b\x08\x00garbage that is long enough for a head", b"\x1f\x8b no gzip"]
        {
            assert!(decode("gzip", garbled, 64).is_err(), "{garbled:?}");
        }
    }

    #[test]
    fn s1_11_a_piece_of_a_text_is_given_when_its_part_comes() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        let mut decoder = decoder(&["gzip"]).unwrap();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            packed.write_all(event.as_bytes()).unwrap();
            packed.flush().unwrap();
            decoder.push(std::mem::take(packed.get_mut()).into());
            assert_eq!(decoder.next().unwrap().unwrap(), event);
            assert_eq!(decoder.next().unwrap(), None);
        }
    }

    #[test]
    fn s1_11_a_bomb_bursts_in_pieces() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        let mut decoder = decoder(&["gzip"]).unwrap();
        decoder.push(bomb.into());
        let (mut most, mut all) = (0, 0);
        while let Some(piece) = decoder.next().unwrap() {
            (most, all) = (most.max(piece.len()), all + piece.len());
        }
        assert_eq!(all, 64 << 20);
        assert!(most <= MAX_PIECE_BYTES * 1_100, "{most}");
    }
}
