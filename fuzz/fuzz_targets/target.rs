//! Any text: the proof and the parser read the same URL.

#![no_main]

#[expect(dead_code, reason = "each target has a law of its own")]
#[path = "../laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|text: &str| laws::both_readings_agree(text));
