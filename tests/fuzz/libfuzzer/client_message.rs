//! [`events_fuzz::client_message`] on bytes that libFuzzer generates.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| events_fuzz::client_message(data));
