#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillion_protocol::fuzzed::admission(bytes));
