//! Prompt and answer of a call, for a [`CallSink`](super::CallSink) that wants them (`BROKER_TRACE_CONTENT=full`). They are
//! passed to the sink beside the call's record, and are not part of the record, the memory of recent calls or any file.

/// Bytes of a body that are kept.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// The beginning of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptBody {
    start: Vec<u8>,
    /// The length of the whole body, in bytes.
    length: usize,
}

impl KeptBody {
    /// Appends a part of the body.
    pub fn add(&mut self, part: &[u8]) {
        self.length += part.len();
        let room = MAX_BODY_BYTES - self.start.len();
        self.start.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    /// The whole body; `None` if it was cut.
    pub fn whole(&self) -> Option<&[u8]> {
        (self.length == self.start.len()).then_some(&self.start)
    }

    /// The body as text, with a mark where it was cut, or a placeholder if it is not text; `None` if it is empty.
    pub fn text(&self) -> Option<String> {
        let cut = self.length > self.start.len();
        let text = match std::str::from_utf8(&self.start) {
            Ok(text) => text,
            // The cut may be within a character.
            Err(fault) if cut && fault.error_len().is_none() => {
                std::str::from_utf8(self.start.get(..fault.valid_up_to())?).ok()?
            }
            Err(_) => return Some(format!("({} bytes that are not text)", self.length)),
        };
        match cut {
            true => Some(format!("{text} (cut: {} bytes in all)", self.length)),
            false => Some(text.to_owned()).filter(|text| !text.is_empty()),
        }
    }
}

/// The bodies of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallContent {
    /// The body of the request, as received.
    pub request: KeptBody,
    /// The body of the answer, as sent to the client.
    pub answer: KeptBody,
}

impl CallContent {
    /// The size of both in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.request.start.capacity() + self.answer.start.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> Option<String> {
        let mut body = KeptBody::default();
        parts.iter().for_each(|part| body.add(part));
        assert!(body.start.len() <= MAX_BODY_BYTES);
        let whole = parts.concat();
        assert_eq!(body.whole(), Some(whole.as_slice()).filter(|whole| whole.len() <= MAX_BODY_BYTES));
        body.text()
    }

    #[test]
    fn a_body_is_kept_whole_or_marked_as_cut() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[b"{\"a\":", b"1}"]).as_deref(), Some("{\"a\":1}"));
        assert_eq!(of(&[&[0x1f, 0x8b, 8]]).as_deref(), Some("(3 bytes that are not text)"));
        let whole = "x".repeat(MAX_BODY_BYTES);
        assert_eq!(of(&[whole.as_bytes()]), Some(whole.clone()));
        assert_eq!(of(&[whole.as_bytes(), b"yz"]), Some(format!("{whole} (cut: 65538 bytes in all)")));
        // Within the last letter, of two bytes.
        let letters = format!("x{}", "ä".repeat(MAX_BODY_BYTES / 2));
        let cut = of(&letters.as_bytes().chunks(7).collect::<Vec<_>>()).unwrap();
        assert_eq!(cut, format!("{} (cut: 65537 bytes in all)", &letters[..MAX_BODY_BYTES - 1]));
        assert_eq!(of(&["ä".as_bytes().get(..1).unwrap()]).as_deref(), Some("(1 bytes that are not text)"));
    }
}
