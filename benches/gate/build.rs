//! Tells the program what it is built by and for: counts of other compilers and processors are other counts.

use std::env;
use std::process::Command;

fn main() {
    let compiler = env::var_os("RUSTC").expect("cargo says which compiler it uses");
    let output = Command::new(compiler).arg("--version").output();
    let version = String::from_utf8(output.expect("it runs").stdout).expect("it is text");
    println!("cargo::rustc-env=GATE_COMPILER={}", version.trim());
    let said = |name| env::var(name).unwrap_or_default();
    println!("cargo::rustc-env=GATE_TARGET={}", said("TARGET"));
    let features = said("CARGO_CFG_TARGET_FEATURE");
    println!("cargo::rustc-env=GATE_FEATURES={features}");
    println!("cargo::rerun-if-changed=build.rs");
}
