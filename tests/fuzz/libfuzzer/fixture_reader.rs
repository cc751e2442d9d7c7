//! [`events_fuzz::fixture_reader`] on what libFuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| events_fuzz::fixture_reader(data));
