//! The `request` and `response` processors of the configuration.
//!
//! Rows are resolved into the order in which they run, sync members apart from async ones, so that no other
//! module has to know that the response side runs its last row first.

use std::time::Duration;

use gecholog_protocol::gl_config::{self, Filter, Names};

use super::owned;

/// Rows in running order; empty rows are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) sync: Vec<Vec<Processor>>,
    pub(crate) post: Vec<Vec<Processor>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Processor {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) timeout: Duration,
    /// Replaces fields that exist; otherwise adds fields that do not.
    pub(crate) modifier: bool,
    pub(crate) required: bool,
    pub(crate) input: Filter,
    pub(crate) writes: Names,
}

pub(super) fn build(read: &gl_config::Rows, last_row_first: bool) -> Rows {
    let members = |is_async: bool| {
        let row = |row: &Vec<gl_config::Processor>| {
            row.iter().filter(|one| (one.is_async == Some(true)) == is_async).map(processor).collect::<Vec<_>>()
        };
        let mut rows: Vec<_> = read.rows.iter().map(row).filter(|row| !row.is_empty()).collect();
        if last_row_first {
            rows.reverse();
        }
        rows
    };
    Rows { sync: members(false), post: members(true) }
}

fn processor(read: &gl_config::Processor) -> Processor {
    Processor {
        name: owned(&read.name),
        subject: owned(&read.subject),
        timeout: Duration::from_millis(read.timeout.unwrap_or_default().unsigned_abs()),
        modifier: read.modifier == Some(true),
        required: read.required == Some(true),
        input: read.input.clone(),
        writes: read.output.clone(),
    }
}
