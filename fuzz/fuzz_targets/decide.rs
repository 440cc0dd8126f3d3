//! Any request of a host, a path, a query and two cookies, one a line: no Location leaves the allow-list.

#![no_main]

#[expect(dead_code, reason = "each target has a law of its own")]
#[path = "../laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|request: &[u8]| laws::no_location_leaves_the_list(request));
