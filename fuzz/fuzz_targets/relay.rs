#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xtreem_fuzz::targets::relay(bytes));
