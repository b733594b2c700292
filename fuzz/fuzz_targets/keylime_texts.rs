#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| goldseal_fuzz::tpm::keylime_texts(data));
