#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pillion::fuzzed::answer(bytes));
