//! The histories of `tests/histories`, guided by coverage: libFuzzer keeps the bytes that lead
//! to new code, and makes others of them. Started by `arch-tests/checked fuzz`, which says by `MULTITASK_FUZZ` which history.
#![no_main]

#[path = "../../../src/base/wheel.rs"]
#[allow(dead_code)] // the library uses more of it
mod wheel;
use wheel::{Key, Wheel};
#[path = "../../../tests/histories/wheel.rs"]
mod wheel_history;

#[path = "../../../tests/histories/mod.rs"]
mod histories;

use std::env;
use std::sync::LazyLock;

static HISTORY: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let history = env::var("MULTITASK_FUZZ").expect("MULTITASK_FUZZ names a history");
    match &*history {
        "wheel" => |bytes| wheel_history::run(bytes, |_, _, _| {}),
        "queues" => histories::queues::run,
        "crowd" => histories::crowd::run,
        "http" => histories::http::run,
        "lines" => histories::lines::run,
        other => panic!("there is no history {other:?}"),
    }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| HISTORY(bytes));
