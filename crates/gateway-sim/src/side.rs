//! One side of a transaction, request or response: its object, and what the log lists
//! about it: errors and calls of processors.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::clock::{Moment, timer};
use crate::config::Processor;
use crate::object::Object;
use crate::payload::{self, BodyAsJson};

#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) object: Object,
    /// One per name; a later one replaces an earlier one.
    errors: BTreeMap<String, Bytes>,
    sync: BTreeMap<String, Bytes>,
    post: BTreeMap<String, Bytes>,
}

/// When processors run: before the client is answered, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Sync,
    Post,
}

/// How the call of one processor went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallRecord {
    pub(crate) completed: bool,
    /// Start and end; `None` if the filtered input was empty, so that the processor was not called.
    pub(crate) interval: Option<(Moment, Moment)>,
}

impl Side {
    pub(crate) fn error(&mut self, name: &str, details: &str) {
        self.errors.insert(name.to_owned(), payload::string(details));
    }

    /// Stores a body as it came, and as it goes on unless a processor changes it. `quoted`: the error of one that is no JSON.
    pub(crate) fn store_payload(&mut self, [came, goes_on]: [&'static str; 2], quoted: &str, body: Bytes) {
        let json = match payload::from_body(body) {
            BodyAsJson::Json(json) => json,
            BodyAsJson::Quoted(json) => {
                self.error(came, quoted);
                json
            }
            BodyAsJson::Unquotable => {
                self.error(came, "Not a valid json");
                self.error(goes_on, "Not a valid json");
                return;
            }
        };
        self.object.set(came, json.clone());
        self.object.set(goes_on, json);
    }

    /// A field that the gateway needs decoded: absent is the zero value, and so is a wrong shape, which is recorded as an
    /// error. Invalid UTF-8 is decoded to U+FFFD.
    pub(crate) fn read<T: Default>(&mut self, field: &str, decode: impl Fn(&str) -> Result<T, String>) -> T {
        let json = self.object.get(field).map(|json| String::from_utf8_lossy(json));
        let decoded = json.map_or_else(|| Ok(T::default()), |json| decode(&json));
        decoded.unwrap_or_else(|details| {
            self.error(field, &details);
            T::default()
        })
    }

    /// Records a call. The same name in two rows leaves one entry.
    pub(crate) fn record_call(&mut self, phase: Phase, processor: &Processor, call: CallRecord) {
        let (start, stop) = call.interval.unzip();
        let details = format!(
            r#"{{"required":{},"completed":{},"timestamp":{}}}"#,
            processor.required,
            call.completed,
            timer(start, stop)
        );
        let entries = if phase == Phase::Sync { &mut self.sync } else { &mut self.post };
        entries.insert(processor.name.clone(), details.into());
    }

    /// Writes the lists into the object, over what processors wrote there; empty lists are left out.
    pub(crate) fn finish(&mut self) {
        for (field, entries) in [("error", &self.errors), ("processors", &self.sync), ("processors_async", &self.post)]
        {
            if !entries.is_empty() {
                self.object.set(field, list(entries));
            }
        }
    }
}

/// `[{"name":...,"details":...}]`
fn list(entries: &BTreeMap<String, Bytes>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (name, details) in entries {
        let separator: &[u8] = if out.len() > 1 { b"," } else { b"" };
        let name = payload::string(name);
        out.extend_from_slice(&[separator, b"{\"name\":", &name, b",\"details\":", details, b"}"].concat());
    }
    out.push(b']');
    out
}
