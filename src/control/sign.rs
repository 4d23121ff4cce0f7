//! Who may change anything: whoever holds the operators' token. It never crosses the bus, where every processor can listen:
//! what crosses is a keyed hash of the message with it (HMAC-SHA256), over subject, time, nonce and body, and each is taken
//! once and only within half a minute.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use ring::hmac::{self, HMAC_SHA256, Key};

use crate::time::Now;

/// How far the clock of whoever signs may be from ours.
pub const WINDOW: Duration = Duration::from_secs(30);
/// So many nonces are remembered; more orders than that within the window are refused.
const MOST: usize = 10_000;
/// The longest nonce, in bytes.
const LONGEST_NONCE: usize = 64;

/// The operators' token.
#[derive(Clone)]
pub struct Token(Key);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a signed message carries beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mac {
    /// When it was signed, in nanoseconds since the Unix epoch.
    pub at: u64,
    /// Never used before.
    pub nonce: String,
    /// The hash, in hexadecimal digits.
    pub mac: String,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// This replica has no token.
    #[error(
        "this broker only lets itself be read: set BROKER_ADMIN_TOKEN (or BROKER_ADMIN_TOKEN_FILE) and start it again"
    )]
    Closed,
    /// Nothing is signed.
    #[error("not signed: set BROKER_ADMIN_TOKEN to the broker's")]
    Missing,
    /// Signed with another token, or changed on its way.
    #[error("signed with another BROKER_ADMIN_TOKEN than the broker's, or changed on its way")]
    Wrong,
    /// Signed too long ago, or ahead of time.
    #[error("signed more than 30 s ago, or ahead of time: are the clocks right?")]
    Stale,
    /// Taken before.
    #[error("taken before")]
    Repeated,
    /// Signed before this replica started: it may have been taken then, and whether it was is forgotten.
    #[error("signed before this replica started: give the order again (if it is new, are the clocks right?)")]
    BeforeStart,
    /// More orders than anybody gives.
    #[error("too many orders within a minute")]
    TooMany,
}

impl Token {
    /// From the token as it was written.
    pub fn new(token: &str) -> Self {
        Self(Key::new(HMAC_SHA256, token.as_bytes()))
    }

    /// Signs a message.
    pub fn sign(&self, subject: &str, at: Now, nonce: String, body: &[u8]) -> Mac {
        let at = at.as_nanos();
        let mac = hmac::sign(&self.0, &text(subject, at, &nonce, body));
        Mac { at, nonce, mac: hex(mac.as_ref()) }
    }

    /// Whether a message was signed with this token, a short while ago. Takes as long whatever is wrong with the hash.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn check(&self, subject: &str, mac: &Mac, body: &[u8], now: Now) -> Result<(), Unsigned> {
        self.verify(subject, mac, body)?;
        let at = Now::from_nanos(mac.at);
        if at.since(now).max(now.since(at)) > WINDOW { Err(Unsigned::Stale) } else { Ok(()) }
    }

    /// The same, whenever it was signed: for an answer that proves by its nonce that it is none of before.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn verify(&self, subject: &str, mac: &Mac, body: &[u8]) -> Result<(), Unsigned> {
        if mac.nonce.is_empty() || mac.nonce.len() > LONGEST_NONCE {
            return Err(Unsigned::Wrong);
        }
        let given = unhex(&mac.mac).ok_or(Unsigned::Wrong)?;
        let signed = text(subject, mac.at, &mac.nonce, body);
        hmac::verify(&self.0, &signed, &given).map_err(|_| Unsigned::Wrong)
    }

    /// Whether this is the token itself, compared without telling by the time it takes where it differs.
    pub fn is(&self, presented: &str) -> bool {
        let own = hmac::sign(&self.0, b"is it");
        hmac::verify(&Key::new(HMAC_SHA256, presented.as_bytes()), b"is it", own.as_ref()).is_ok()
    }
}

/// What is signed: no two messages have the same.
fn text(subject: &str, at: u64, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{subject}\n{at}\n{}\n{nonce}\n", nonce.len()).into_bytes();
    text.extend_from_slice(body);
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).take(64);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The nonces that were used within the window, and since when they are complete.
///
/// A process that ends forgets them. So what was signed before this one started is refused, unless other replicas handed over
/// what they remember of that time.
#[derive(Debug, Clone)]
pub struct Nonces {
    taken: HashMap<String, Now>,
    complete_since: Now,
}

impl Nonces {
    /// None yet, of a process that started then.
    pub fn since(started: Now) -> Self {
        Self { taken: HashMap::new(), complete_since: started }
    }

    /// Takes the nonce of a message that was checked.
    ///
    /// # Errors
    /// It was taken before, or may have been, or there are too many.
    pub fn take(&mut self, mac: &Mac, now: Now) -> Result<(), Unsigned> {
        // What was signed ahead of time by the whole window is still good for twice as long.
        self.taken.retain(|_, taken| now.since(*taken) <= WINDOW * 2);
        if self.taken.contains_key(&mac.nonce) {
            Err(Unsigned::Repeated)
        } else if Now::from_nanos(mac.at) < self.complete_since {
            Err(Unsigned::BeforeStart)
        } else if self.taken.len() >= MOST {
            Err(Unsigned::TooMany)
        } else {
            self.taken.insert(mac.nonce.clone(), now);
            Ok(())
        }
    }

    /// Each with when it was taken.
    pub fn taken(&self) -> impl Iterator<Item = (&str, Now)> {
        self.taken.iter().map(|(nonce, at)| (nonce.as_str(), *at))
    }

    /// Since when none is missing.
    pub const fn complete_since(&self) -> Now {
        self.complete_since
    }

    /// Adds what other replicas remember. What does not fit leaves the memory incomplete.
    pub fn take_over(&mut self, taken: impl Iterator<Item = (String, Now)>, complete_since: Now) {
        for (nonce, at) in taken {
            if self.taken.len() >= MOST {
                return;
            }
            self.taken.entry(nonce).or_insert(at);
        }
        self.complete_since = self.complete_since.min(complete_since);
    }
}
