//! Fuzzes `anthropic::stream`; see there.
#![no_main]

#[path = "../anthropic.rs"]
mod anthropic;

libfuzzer_sys::fuzz_target!(|data: &[u8]| anthropic::stream(data));
