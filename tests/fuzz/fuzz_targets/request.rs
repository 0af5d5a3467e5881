#![no_main]
#![doc = "See `highwater_tests::fuzz::request`."]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| highwater_tests::fuzz::request(data));
