//! One side of a transaction, request or response: its object, and what is noted about it for the log.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::clock::{Moment, timer};
use crate::config::Processor;
use crate::object::Object;
use crate::payload;

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
pub(crate) struct Call {
    pub(crate) completed: bool,
    /// `None`: there was nothing to ask with, so the processor was not called.
    pub(crate) between: Option<(Moment, Moment)>,
}

impl Side {
    pub(crate) fn error(&mut self, name: &str, details: &str) {
        self.errors.insert(name.to_owned(), payload::string(details));
    }

    /// A field that the gateway needs decoded: absent is the zero value, and so is a wrong shape, which is noted. Invalid
    /// UTF-8 is decoded to U+FFFD.
    pub(crate) fn read<T: Default>(&mut self, field: &str, decode: impl Fn(&str) -> Result<T, String>) -> T {
        let json = self.object.get(field).map(|json| String::from_utf8_lossy(json));
        let decoded = json.map_or_else(|| Ok(T::default()), |json| decode(&json));
        decoded.unwrap_or_else(|details| {
            self.error(field, &details);
            T::default()
        })
    }

    /// Notes a call. The same name in two rows leaves one entry.
    pub(crate) fn called(&mut self, phase: Phase, processor: &Processor, call: Call) {
        let (start, stop) = call.between.unzip();
        let details = format!(
            r#"{{"required":{},"completed":{},"timestamp":{}}}"#,
            processor.required,
            call.completed,
            timer(start, stop)
        );
        let noted = if phase == Phase::Sync { &mut self.sync } else { &mut self.post };
        noted.insert(processor.name.clone(), details.into());
    }

    /// Puts the notes into the object, over whatever processors wrote there; empty lists are left out.
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
