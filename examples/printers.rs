//! Two tasks that take turns: prints `hello` and `goodbye` alternately, three times.
//!
//! The first program of the Python package `multitask`.

use multitask::{spawn, yield_now};

fn printer(message: &'static str) {
    for _ in 0..3 {
        println!("{message}");
        yield_now(); // the other task goes on
    }
}

fn main() -> Result<(), multitask::Deadlock> {
    spawn(|| printer("hello"));
    spawn(|| printer("goodbye"));
    multitask::run()
}
