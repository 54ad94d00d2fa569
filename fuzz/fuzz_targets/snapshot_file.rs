#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hexcast::fuzzing::run("snapshot_file", bytes));
