//! Authentication of operators by their token. The token is never sent over the bus, where every processor can listen. Messages
//! are signed with it instead (HMAC-SHA256 over subject, time, nonce and body), and a signature is accepted once, within 30 s.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use llm::sigv4::hex;
use ring::hmac::{self, HMAC_SHA256, Key};
use types::time::BrokerTime;

/// How far the sender's clock may be from this one.
pub const SIGNATURE_WINDOW: Duration = Duration::from_secs(30);
/// The most nonces that are remembered: more commands within twice the window are refused.
const MAX_NONCES: usize = 10_000;
/// The longest nonce, in bytes.
const MAX_NONCE_CHARS: usize = 64;

#[derive(Clone)]
pub struct Token(Key);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The signature of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSignature {
    /// When it was signed, in nanoseconds since the Unix epoch.
    pub at: u64,
    /// Never used before, at most 64 bytes.
    pub nonce: String,
    /// The hash, in hexadecimal digits.
    pub mac: String,
}

/// Why a message is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// This replica has no token.
    #[error("this broker is read-only: set BROKER_ADMIN_TOKEN (or BROKER_ADMIN_TOKEN_FILE) and start it again")]
    Closed,
    #[error("not signed: set BROKER_ADMIN_TOKEN to the broker's")]
    Missing,
    /// Signed with another token, or changed on its way.
    #[error("signed with another BROKER_ADMIN_TOKEN than the broker's, or changed on its way")]
    Wrong,
    /// Signed too long ago, or ahead of time.
    #[error("signed more than 30 s ago, or ahead of time: are the clocks right?")]
    Stale,
    #[error("received before")]
    Repeated,
    /// Signed before this replica started, so whether it was accepted then is not known.
    #[error("signed before this replica started: give the command again (if it is new, are the clocks right?)")]
    BeforeStart,
    #[error("too many commands within a minute")]
    TooMany,
}

impl Token {
    pub fn new(token: &str) -> Self {
        Self(Key::new(HMAC_SHA256, token.as_bytes()))
    }

    pub fn sign(&self, subject: &str, at: BrokerTime, nonce: String, body: &[u8]) -> MessageSignature {
        let at = at.as_nanos();
        let mac = hmac::sign(&self.0, &text(subject, at, &nonce, body));
        MessageSignature { at, nonce, mac: hex(mac.as_ref()) }
    }

    /// Checks that a message was signed with this token within [`SIGNATURE_WINDOW`]. The time that it takes does not depend on
    /// what is wrong with the hash.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn check(&self, subject: &str, mac: &MessageSignature, body: &[u8], now: BrokerTime) -> Result<(), AuthError> {
        self.verify(subject, mac, body)?;
        let at = BrokerTime::from_nanos(mac.at);
        if at.since(now).max(now.since(at)) > SIGNATURE_WINDOW { Err(AuthError::Stale) } else { Ok(()) }
    }

    /// The same, whenever it was signed: for an answer, which proves by its nonce that it is new.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, subject: &str, mac: &MessageSignature, body: &[u8]) -> Result<(), AuthError> {
        if mac.nonce.is_empty() || mac.nonce.len() > MAX_NONCE_CHARS {
            return Err(AuthError::Wrong);
        }
        let given = unhex(&mac.mac).ok_or(AuthError::Wrong)?;
        let signed = text(subject, mac.at, &mac.nonce, body);
        hmac::verify(&self.0, &signed, &given).map_err(|_| AuthError::Wrong)
    }

    /// Whether `presented` is this token, compared in constant time.
    pub fn matches(&self, presented: &str) -> bool {
        let own = hmac::sign(&self.0, b"is it");
        hmac::verify(&Key::new(HMAC_SHA256, presented.as_bytes()), b"is it", own.as_ref()).is_ok()
    }
}

/// The text that is signed; it is different for every two messages.
fn text(subject: &str, at: u64, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{subject}\n{at}\n{}\n{nonce}\n", nonce.len()).into_bytes();
    text.extend_from_slice(body);
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).take(64);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The nonces that were accepted within twice the window, and since when the list is complete.
///
/// They are lost when the process ends. So what was signed before this process started is refused, unless other replicas hand
/// over the nonces that they accepted at that time.
#[derive(Debug, Clone)]
pub struct Nonces {
    taken: HashMap<String, BrokerTime>,
    complete_since: BrokerTime,
}

impl Nonces {
    /// An empty list, complete since the start of the process.
    pub fn since(started: BrokerTime) -> Self {
        Self { taken: HashMap::new(), complete_since: started }
    }

    /// Accepts the nonce of a message whose signature was checked.
    ///
    /// # Errors
    /// It was accepted before, or may have been, or there are too many.
    pub fn take(&mut self, mac: &MessageSignature, now: BrokerTime) -> Result<(), AuthError> {
        // A message that was signed by a clock that is ahead by the whole window is valid for twice as long.
        self.taken.retain(|_, taken| now.since(*taken) <= SIGNATURE_WINDOW * 2);
        if self.taken.contains_key(&mac.nonce) {
            Err(AuthError::Repeated)
        } else if BrokerTime::from_nanos(mac.at) < self.complete_since {
            Err(AuthError::BeforeStart)
        } else if self.taken.len() >= MAX_NONCES {
            Err(AuthError::TooMany)
        } else {
            self.taken.insert(mac.nonce.clone(), now);
            Ok(())
        }
    }

    /// Each nonce with when it was accepted.
    pub fn taken(&self) -> impl Iterator<Item = (&str, BrokerTime)> {
        self.taken.iter().map(|(nonce, at)| (nonce.as_str(), *at))
    }

    /// Since when no nonce is missing.
    pub const fn complete_since(&self) -> BrokerTime {
        self.complete_since
    }

    /// Adds the nonces of other replicas. If they do not all fit, the list is complete since no earlier time than before.
    pub fn take_over(&mut self, taken: impl Iterator<Item = (String, BrokerTime)>, complete_since: BrokerTime) {
        for (nonce, at) in taken {
            if self.taken.len() >= MAX_NONCES {
                return;
            }
            self.taken.entry(nonce).or_insert(at);
        }
        self.complete_since = self.complete_since.min(complete_since);
    }
}
