//! The stamp: the small object that a decision leaves in the gateway's log, with which log entries are matched to decisions.
//!
//! At most [`MAX_STAMP_BYTES`] bytes. `why` comes last, because only it is cut to fit. In observe mode the stamp has `would`
//! instead of `router`, so that row 2, which has only the stamp, does not change the request.

use std::fmt::{self, Write as _};
use std::ops::Range;

use llm::json::{Cursor, SyntaxError};
use types::mode::OperatingMode;
use types::router::RouterPath;

/// The longest stamp, in bytes.
pub const MAX_STAMP_BYTES: usize = 300;

/// The fields that are the same in every stamp of this process: the replica, its settings and its mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaIdentity {
    replica: String,
    config: String,
    mode: OperatingMode,
}

impl ReplicaIdentity {
    /// `replica` must be unique among those on the bus, and safe in JSON: letters and digits, at most 12. `config` is the
    /// fingerprint of the settings in force, safe in JSON too.
    pub fn new(replica: &str, config: String, mode: OperatingMode) -> Self {
        let replica = replica.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Self { replica, config, mode }
    }

    /// The same with other settings.
    #[must_use]
    pub fn with_config(&self, config: String) -> Self {
        Self { config, ..self.clone() }
    }

    /// The same in another mode.
    #[must_use]
    pub fn with_mode(&self, mode: OperatingMode) -> Self {
        Self { mode, ..self.clone() }
    }

    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// The fingerprint of the settings in force.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The number of the decision that wrote a stamp of this id, if it was one of ours.
    pub fn decision_number(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(self.replica.as_str())?.strip_prefix('-')?;
        u64::from_str_radix(number, 16).ok()
    }

    /// Whether decisions are applied.
    pub const fn mode(&self) -> OperatingMode {
        self.mode
    }
}

/// One decision, as its stamp describes it.
#[derive(Clone, Copy)]
pub struct Stamp<'a> {
    /// The number of the replica's decision, from 0.
    pub number: u64,
    /// The ingress of the pool.
    pub pool: &'a RouterPath,
    pub router: &'a RouterPath,
    /// The probability with which it was chosen, 0 to 1; absent if it was neither random nor certain.
    pub probability: Option<f64>,
    /// Whether the call is sent to find out if a disabled router works again.
    pub probe: bool,
    /// The reason; it is cut to fit into [`MAX_STAMP_BYTES`] bytes.
    pub reason: &'a dyn fmt::Display,
}

impl fmt::Debug for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamp").field("number", &self.number).field("router", &self.router).finish_non_exhaustive()
    }
}

/// The ranges of parts of a stamp in the text that it was appended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampPlaces {
    /// The id of the decision: the replica, and a number.
    pub id: Range<usize>,
    /// The reason, possibly cut.
    pub why: Range<usize>,
}

/// Appends the stamp of a decision.
///
/// Written without a serializer, because this is half of the cost of a reply: everything in it is plain ASCII without characters
/// that JSON escapes.
pub fn write(out: &mut Vec<u8>, identity: &ReplicaIdentity, stamp: &Stamp<'_>) -> StampPlaces {
    let start = out.len();
    out.extend_from_slice(b"{\"id\":\"");
    let id = out.len();
    let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
    push(&identity.replica);
    push("-");
    push(Hexadecimal::from_number(stamp.number).as_str());
    let id = id..out.len();
    let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
    push("\",\"replica\":\"");
    push(&identity.replica);
    push("\",\"pool\":\"");
    push(stamp.pool.as_str());
    push(if identity.mode == OperatingMode::Observe { "\",\"would\":\"" } else { "\",\"router\":\"" });
    push(stamp.router.as_str());
    push("\",\"config\":\"");
    push(&identity.config);
    push("\",");
    if let Some(p) = stamp.probability {
        push("\"p\":");
        out.extend_from_slice(&six_digits(p));
        out.push(b',');
    }
    if stamp.probe {
        out.extend_from_slice(b"\"probe\":true,");
    }
    out.extend_from_slice(b"\"why\":\"");
    let why = out.len();
    // An error only means that the text was cut.
    let mut room = BoundedWriter { out, end: start + MAX_STAMP_BYTES - 2 };
    let _ = write!(room, "{}", stamp.reason);
    let why = why..out.len();
    out.extend_from_slice(b"\"}");
    StampPlaces { id, why }
}

/// The rest of a stamp's [`MAX_STAMP_BYTES`] bytes.
struct BoundedWriter<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
}

impl fmt::Write for BoundedWriter<'_> {
    /// Appends as much as fits. Users choose the names in it, so quotes and the like become blanks.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        // As almost all of it is.
        if self.out.len() + text.len() <= self.end && text.bytes().all(is_plain) {
            self.out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for letter in text.chars() {
            let letter = if letter.is_control() || matches!(letter, '"' | '\\') { ' ' } else { letter };
            if self.out.len() + letter.len_utf8() > self.end {
                return Err(fmt::Error);
            }
            match u8::try_from(letter) {
                Ok(byte) if byte.is_ascii() => self.out.push(byte),
                _ => self.out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Ok(())
    }
}

/// A probability with six decimals: precise enough, and faster than the shortest exact text.
fn six_digits(p: f64) -> [u8; 8] {
    let mut rest = (p.clamp(0.0, 1.0) * 1e6).round() as u32;
    let mut text = *b"0.000000";
    for place in [7, 6, 5, 4, 3, 2, 0] {
        text[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

/// A number in lower-case hexadecimal digits; faster than `format!`.
struct Hexadecimal {
    digits: [u8; 16],
    start: usize,
}

impl Hexadecimal {
    fn from_number(mut number: u64) -> Self {
        let mut hex = Self { digits: [b'0'; 16], start: 16 };
        while hex.start == 16 || number > 0 {
            hex.start -= 1;
            hex.digits[hex.start] = b"0123456789abcdef"[(number % 16) as usize];
            number /= 16;
        }
        hex
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[self.start..]).unwrap_or_default()
    }
}

/// A stamp that was read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ParsedStamp<'a> {
    /// Its router; `None` in observe mode.
    pub(super) router: Option<&'a str>,
    /// The decision that wrote it.
    pub(super) id: Option<&'a str>,
    /// Whether the call was sent to find out if the router works again.
    pub(super) probe: bool,
}

pub(super) fn read<'a>(stamp: &mut Cursor<'a>) -> Result<ParsedStamp<'a>, SyntaxError> {
    let mut read = ParsedStamp::default();
    stamp.fields(|name, value| {
        match name {
            b"router" => read.router = value.plain()?,
            b"id" => read.id = value.plain()?,
            b"probe" => read.probe = value.raw()?.is_true(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(read)
}
