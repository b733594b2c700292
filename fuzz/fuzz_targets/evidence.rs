#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| goldseal_fuzz::evidence(data));
