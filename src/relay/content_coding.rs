//! Answers that are compressed although targets are asked for none that are. They are passed on as they came; to judge one that
//! is here to its end, and says gzip or deflate, its text is read. Everything else that is compressed is judged by its status.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use llm::headers::AnswerHeaders;

/// A text longer than this, in bytes, stays unread: what is held back is at most 64 KB, and a text is rarely twenty times that.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Whether the text of an answer with these headers can be read once all of it is here.
pub(super) fn is_readable(headers: &AnswerHeaders<'_>) -> bool {
    !headers.is_compressed() || Coding::from_headers(headers).is_some()
}

/// The headers and the body of an answer as if it were not compressed, where that can be read; else as they are.
pub(super) fn decoded<'a, 'b>(headers: AnswerHeaders<'a>, body: &'b [u8]) -> (AnswerHeaders<'a>, Cow<'b, [u8]>) {
    match Coding::from_headers(&headers).and_then(|coding| coding.decode(body)) {
        Some(text) => (headers.decoded(), Cow::Owned(text)),
        None => (headers, Cow::Borrowed(body)),
    }
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    fn from_headers(headers: &AnswerHeaders<'_>) -> Option<Self> {
        match headers.coding()?.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// `None` if it is cut, too long, or not of this coding.
    fn decode(self, body: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let read = match self {
            Self::Gzip => MultiGzDecoder::new(body).take(MAX_TEXT_BYTES).read_to_end(&mut text),
            Self::Deflate if has_zlib_header(body) => {
                ZlibDecoder::new(body).take(MAX_TEXT_BYTES).read_to_end(&mut text)
            }
            // Some servers leave the header out (RFC 9110, 8.4.1.2); curl and browsers read that too.
            Self::Deflate => DeflateDecoder::new(body).take(MAX_TEXT_BYTES).read_to_end(&mut text),
        };
        read.is_ok_and(|length| (length as u64) < MAX_TEXT_BYTES).then_some(text)
    }
}

/// Whether a body begins as RFC 1950 has it: the method is deflate, the window has at most 32 KB, and the check bits fit.
fn has_zlib_header(body: &[u8]) -> bool {
    let Some([method, flags]) = body.first_chunk() else { return false };
    method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([*method, *flags]) % 31 == 0
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn read(coding: &str, body: &[u8]) -> (bool, Vec<u8>) {
        let headers = AnswerHeaders::read([(&b"content-encoding"[..], coding)]);
        let (headers, text) = decoded(headers, body);
        (headers.is_compressed(), text.into_owned())
    }

    #[test]
    fn s1_11_what_can_be_read_of_compressed_bodies() {
        let text = br#"{"error": {"message": "x"}}"#;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(text).unwrap();
        let deflate = deflate.finish().unwrap();
        for level in [Compression::none(), Compression::fast(), Compression::best()] {
            let mut raw = DeflateEncoder::new(Vec::new(), level);
            raw.write_all(text).unwrap();
            assert_eq!(
                read("Deflate", &raw.finish().unwrap()),
                (false, text.to_vec()),
                "without zlib's header, {level:?}"
            );
        }
        for (coding, body) in [("gzip", &gzip), ("X-GZIP", &gzip), ("deflate", &deflate)] {
            assert_eq!(read(coding, body), (false, text.to_vec()), "{coding}");
        }
        assert_eq!(read("identity", text), (false, text.to_vec()));
        for (coding, body) in [
            ("br", &gzip[..]),
            ("gzip, br", &gzip),
            ("gzip", &gzip[..12]),
            ("gzip", text),
            ("gzip", b""),
            ("deflate", text),
            ("deflate", b""),
            ("deflate", &deflate[..9]),
        ] {
            assert_eq!(read(coding, body), (true, body.to_vec()), "{coding}");
        }
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 2 << 20]).unwrap();
        let bomb = bomb.finish().unwrap();
        assert_eq!(read("gzip", &bomb), (true, bomb.clone()), "too long");
    }
}
