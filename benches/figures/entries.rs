//! Log entries as the gateway writes them: one that was captured, with a stamp, and larger ones made of it.
//!
//! The text that fills the large ones is drawn line by line, since a processor learns a short pattern by heart and would
//! then read it faster than it ever reads a log.

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

const CAPTURED: &str = include_str!("../../crates/gateway-sim/tests/fixtures/01_success_azure_balanced.jsonl");
/// The places of the same text in an entry: what came in, what went out, and both ways back.
const TEXTS: [&str; 4] = [
    "/request/ingress_payload/messages/0/content",
    "/request/outbound_payload/messages/0/content",
    "/response/inbound_payload/choices/0/message/content",
    "/response/egress_payload/choices/0/message/content",
];
/// The beginning of the field that differs from one entry to the next.
const START: &[u8] = br#""ingress_egress_timer":{"#;

/// What people write, and what models answer: now and then a quote or a new paragraph.
const PROSE: [&str; 8] = [
    "The ferry had already left when we came down to the harbour, so we sat on the wall and watched the gulls. ",
    "It takes about three hours by train, and a little longer if one changes at the border. ",
    "In short, the contract can be ended by either side with a notice of four weeks to the end of a month. ",
    "He said \"come in\" without looking up from the stove. ",
    "Let the dough rest for an hour in a warm place; it should double. ",
    "There are two reasons for this, and the second one matters more than the first.\n\n",
    "Most of them were built between the wars, of brick, with small windows and steep roofs. ",
    "Yes, that works, although I would rather wait until the new version has been out for a while. ",
];

/// What a model says when it writes programs and data: an escape every few bytes.
const DENSE: [&str; 8] = [
    "\tif (line == \"\\n\") {\n\t\treturn \"\";\n\t}\n",
    "{\"name\": \"a\\\\b\", \"tags\": [\"x\", \"y\"], \"ok\": true},\n",
    "\tprintf(\"%s\\t\\\"%d\\\"\\n\", name, n);\n",
    "re.sub(r\"\\s+\\\\\", \"\\\\\\\\\", s)\n",
    "\t\t\"path\": \"C:\\\\Temp\\\\x\",\n",
    "echo \"\\\"$HOME\\\"\" >> \"$f\"\n",
    "\t}\n\n\t\"\"\"\n",
    "[\"a\", \"b\", \"c\", \"\\u0000\"]\n",
];

/// Of what a large entry is full.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text {
    /// Prose.
    Prose,
    /// Programs and data.
    Dense,
}

/// The captured entry of a call that went well, with a stamp.
pub(crate) fn captured() -> Result<Value> {
    let line = CAPTURED.lines().nth(2).context("the fixture has no third line")?;
    let mut entry: Value = serde_json::from_str(line)?;
    let mut entry = entry.get_mut("data").context("the fixture has no data")?.take();
    let router = entry.pointer("/response/gl_path").cloned();
    *entry
        .pointer_mut("/request")
        .and_then(|request| request.as_object_mut())
        .context("no request")?
        .entry("broker")
        .or_insert(Value::Null) = json!({
        "id": "abcdefgh-12345",
        "replica": "abcdefgh",
        "pool": "/azure/",
        "router": router,
        "p": 0.333333,
        "config": "0011aabb",
        "why": "random, 3 of 3 serve",
    });
    Ok(entry)
}

/// An entry of about this many bytes.
pub(crate) fn large(text: Text, size: usize) -> Result<Vec<u8>> {
    let mut entry = captured()?;
    let empty = serde_json::to_vec(&entry)?.len();
    let filling = Value::from(fill(text, size.saturating_sub(empty) / TEXTS.len()));
    for place in TEXTS {
        *entry.pointer_mut(place).with_context(|| format!("the fixture has no {place}"))? = filling.clone();
    }
    Ok(serde_json::to_vec(&entry)?)
}

/// Lines drawn until they take this many bytes when written as JSON.
fn fill(text: Text, size: usize) -> String {
    let lines = match text {
        Text::Prose => &PROSE,
        Text::Dense => &DENSE,
    };
    let mut rng = SmallRng::seed_from_u64(7);
    let (mut filling, mut written) = (String::new(), 0);
    while written < size {
        let line = lines[rng.random_range(0..lines.len())];
        written += line.len() + line.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\t')).count();
        filling += line;
    }
    filling
}

/// An entry that can be sent many times, each time as the log of another call.
#[derive(Debug)]
pub(crate) struct Series {
    entry: Vec<u8>,
    digits: std::ops::Range<usize>,
    number: u32,
}

impl Series {
    /// A series of this entry.
    pub(crate) fn new(entry: Vec<u8>) -> Result<Self> {
        let timer = memchr::memmem::find(&entry, START).context("the entry has no timer")?;
        let second = memchr::memchr(b'.', entry.get(timer..).unwrap_or_default()).context("the timer has no second")?;
        let digits = timer + second + 1..timer + second + 10;
        let all = entry.get(digits.clone()).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit));
        anyhow::ensure!(all, "the timer has no nanoseconds");
        Ok(Self { entry, digits, number: 0 })
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.number += 1;
        let digits = format!("{:09}", self.number % 1_000_000_000);
        if let Some(place) = self.entry.get_mut(self.digits.clone()) {
            place.copy_from_slice(digits.as_bytes());
        }
        &self.entry
    }
}
