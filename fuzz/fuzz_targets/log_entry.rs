//! Fuzzes `targets::log_entry`; see there.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::log_entry(data));
