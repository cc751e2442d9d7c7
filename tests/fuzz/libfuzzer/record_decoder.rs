//! [`events_fuzz::record_decoder`] on what libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| events_fuzz::record_decoder(data));
