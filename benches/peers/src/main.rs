//! Starts `measure`, the comparison of this library with its peers, built for speed.
//!
//! ```text
//! cargo run --release -p peers -- [BENCH...] [--quick] [--json FILE] [--svg DIR]
//! ```
//!
//! Everybody is measured at his best: link-time optimisation over the whole program, and one unit of code. Cargo takes such
//! settings from a profile of the workspace only, and in `release` they would slow every other build. So there is a profile
//! for this alone, and this program, which has nothing to build itself, asks cargo for it. (A program that rebuilds itself would build
//! all peers twice.)

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/measure/Cargo.toml");
    let error = Command::new(cargo)
        .args(["run", "--profile", "peers"])
        .args(["--manifest-path", manifest, "--"])
        .args(std::env::args_os().skip(1))
        .exec();
    eprintln!("cargo cannot be run: {error}");
    ExitCode::FAILURE
}
