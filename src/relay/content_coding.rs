//! Answers that are compressed although targets are asked for none that are. What says gzip or deflate is decoded as it comes and
//! passed on without its coding, so that errors, events and tokens can be read. What has another coding is passed on as it came,
//! and its answer is judged by its status.

use std::io::{self, Write};

use bytes::Buf;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};
use hyper::StatusCode;
use hyper::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderName};
use hyper::http::response::Parts;
use llm::translate::BrokenAnswer;

/// Headers that are about the coded bytes, and so untrue of their text.
const OF_CODED_BYTES: [HeaderName; 8] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    ETAG,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

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
    Gzip(GzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
    /// It is no gzip, whatever its headers say.
    Plain,
    /// A member of gzip has ended; another one may follow.
    AfterMember,
    /// What follows is no part of the text, such as zeros that fill a block.
    AfterText,
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
        for name in OF_CODED_BYTES {
            head.headers.remove(name);
        }
        Some(Self { named, state: State::Unbegun, pending: Bytes::new() })
    }

    /// A part came.
    pub(super) fn push(&mut self, part: Bytes) {
        self.pending = if self.pending.is_empty() { part } else { [&*self.pending, &part].concat().into() };
    }

    /// The next piece of the text, some 100 KB at most, however much a few bytes decode to: `None` once more has to come.
    ///
    /// # Errors
    /// What came is not of the coding that it begins with.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, BrokenAnswer> {
        while !self.pending.is_empty() {
            let step = match &mut self.state {
                State::Unbegun | State::AfterMember => {
                    let Some(start) = self.pending.first_chunk() else { return Ok(None) };
                    self.state = match self.state {
                        State::AfterMember if *start != GZIP_MAGIC => State::AfterText,
                        _ => self.named.decoder(*start),
                    };
                    continue;
                }
                State::Plain => return Ok(Some(std::mem::take(&mut self.pending))),
                State::AfterText | State::Ended => {
                    self.pending.clear();
                    continue;
                }
                State::Gzip(decoder) => step(decoder, &self.pending, GzDecoder::get_mut, GzDecoder::try_finish),
                State::Zlib(decoder) => step(decoder, &self.pending, ZlibDecoder::get_mut, ZlibDecoder::try_finish),
                State::Deflate(decoder) => {
                    step(decoder, &self.pending, DeflateDecoder::get_mut, DeflateDecoder::try_finish)
                }
            };
            let (taken, text) = step.map_err(broken)?;
            self.pending.advance(taken);
            if taken == 0 {
                self.state = if matches!(self.state, State::Gzip(_)) { State::AfterMember } else { State::AfterText };
            }
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
        }
        Ok(None)
    }

    /// All has come: what is left of the text.
    ///
    /// # Errors
    /// It is cut.
    pub(super) fn finish(&mut self) -> Result<Bytes, BrokenAnswer> {
        let text = match std::mem::replace(&mut self.state, State::Ended) {
            // One byte is of no coding.
            State::Unbegun | State::Plain => return Ok(std::mem::take(&mut self.pending)),
            State::AfterMember | State::AfterText | State::Ended => return Ok(Bytes::new()),
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
            _ if start == GZIP_MAGIC => State::Gzip(GzDecoder::new(Vec::new())),
            Self::Gzip => State::Plain,
            Self::Deflate if is_zlib_header(start) => State::Zlib(ZlibDecoder::new(Vec::new())),
            Self::Deflate => State::Deflate(DeflateDecoder::new(Vec::new())),
        }
    }
}

/// Decodes of these bytes what gives a piece of text: how many it took, none at the end of what is coded, and their text.
fn step<D: Write>(
    decoder: &mut D,
    coded: &[u8],
    text: impl Fn(&mut D) -> &mut Vec<u8>,
    finish: impl Fn(&mut D) -> io::Result<()>,
) -> io::Result<(usize, Vec<u8>)> {
    let taken = decoder.write(coded)?;
    if taken == 0 {
        finish(decoder)?
    } else {
        decoder.flush()?
    }
    Ok((taken, std::mem::take(text(decoder))))
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
        let mut answer = Response::builder().header(CONTENT_LENGTH, 7).header(ETAG, "\"7\"").header("content-md5", "7");
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
        let followed = |body: &[u8], by: &[u8]| [body, by].concat();
        let behind = [&b"\0"[..], b"\n", &[0; 40], b"\x1f", b"no more"];
        let behind = behind.map(|by| [("deflate", followed(&zlib(TEXT), by)), ("gzip", followed(&gzip(TEXT), by))]);
        let gzipped = ["gzip", "GZIP", "x-gzip", "identity, gzip", "gzip,", "deflate"].map(|name| (name, gzip(TEXT)));
        let deflated = raw.into_iter().chain([zlib(TEXT)]).map(|body| ("deflate", body));
        let plain = [("gzip", TEXT.to_vec()), ("gzip", members)];
        for (coding, body) in gzipped.into_iter().chain(deflated).chain(plain).chain(behind.into_iter().flatten()) {
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
        assert!(most <= 128 << 10, "{most}");
    }
}
