//! What one operation costs: runs of this program under callgrind, and what is read from its profiles.
//!
//! Of a profile's format (the manual of Valgrind, "Callgrind Format Specification") this takes what callgrind writes if it
//! is told to abbreviate nothing.

use crate::mechanism::Mechanism;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Of one operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Instructions of this program.
    pub instructions: f64,
    /// Its calls of functions of other objects: the C library, and by it the system.
    pub calls: f64,
}

/// Of a whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    instructions: u64,
    calls: u64,
}

/// What each operation of `mechanism` costs.
pub fn each(mechanism: &Mechanism) -> Result<Cost, Box<dyn Error>> {
    let once = run(mechanism, mechanism.times)?;
    let twice = run(mechanism, 2 * mechanism.times)?;
    let each = |once: u64, twice: u64| {
        let more = twice.checked_sub(once).ok_or("twice as much is less");
        more.map(|more| more as f64 / mechanism.times as f64)
    };
    Ok(Cost {
        instructions: each(once.instructions, twice.instructions)?,
        calls: each(once.calls, twice.calls)?,
    })
}

/// Where the last profile of the mechanism of this name is.
pub fn profile(name: &str) -> io::Result<PathBuf> {
    Ok(program()?.with_file_name(format!("gate-{name}.callgrind")))
}

/// As callgrind names it too.
fn program() -> io::Result<PathBuf> {
    fs::canonicalize(env::current_exe()?)
}

fn run(mechanism: &Mechanism, times: u64) -> Result<Counts, Box<dyn Error>> {
    let (program, profile) = (program()?, profile(mechanism.name)?);
    // Not to read that of another run.
    let _missing = fs::remove_file(&profile);
    let output = valgrind(&profile)
        .arg(&program)
        .args([crate::CHILD, mechanism.name, &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind cannot be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}\n{said}", mechanism.name, output.status).into());
    }
    let own = program.to_str().ok_or("a path that is no text")?;
    Ok(read(&fs::read_to_string(profile)?, own)?)
}

fn valgrind(profile: &Path) -> Command {
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(profile);
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(out);
    command
}

/// Counts what the object `own` does, in a profile.
fn read(profile: &str, own: &str) -> Result<Counts, String> {
    let mut counts = Counts {
        instructions: 0,
        calls: 0,
    };
    let mut all: u64 = 0;
    let mut total: Option<u64> = None;
    let mut object = "";
    // Of the next call; that of the caller if nothing else is said.
    let mut callee = None;
    // The next line is what a call costs, which the callee has been charged with.
    let mut called = false;
    for line in profile.lines() {
        let unreadable = || format!("callgrind has written what cannot be read: {line}");
        if let Some((key, value)) = line.split_once(": ") {
            match key {
                "positions" if value != "line" => return Err(unreadable()),
                "events" if value != "Ir" => return Err(unreadable()),
                "totals" => total = Some(value.trim().parse().map_err(|_| unreadable())?),
                _ => {}
            }
        } else if let Some(name) = line.strip_prefix("ob=") {
            object = name;
        } else if let Some(name) = line.strip_prefix("cob=") {
            callee = Some(name);
        } else if let Some(call) = line.strip_prefix("calls=") {
            let number = call.split(' ').next().and_then(|times| times.parse().ok());
            let number: u64 = number.ok_or_else(unreadable)?;
            if object == own && callee.take().is_some_and(|callee| callee != own) {
                counts.calls += number;
            }
            callee = None;
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok());
            let cost: u64 = cost.ok_or_else(unreadable)?;
            if !std::mem::take(&mut called) {
                all += cost;
                if object == own {
                    counts.instructions += cost;
                }
            }
        }
    }
    match total {
        Some(total) if total == all && counts.instructions > 0 => Ok(counts),
        _ => Err(format!(
            "{all} instructions are accounted for, of {total:?}; {} are those of {own}",
            counts.instructions
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
version: 1
positions: line
events: Ir
summary: 1137

ob=/lib/libc.so.6
fl=???
fn=malloc
0 100

ob=/bin/own
fl=a.rs
fn=main
3 7
fi=b.rs
4 20
cob=/lib/libc.so.6
cfi=???
cfn=malloc
calls=2 0
5 100
cfn=helper
calls=9 0
5 10
fn=helper
8 10

ob=/lib/libc.so.6
fl=???
fn=start
0 1000
cob=/bin/own
cfi=a.rs
cfn=main
calls=1 0
0 137

totals: 1137
";

    #[test]
    fn what_others_do_is_not_counted_but_that_they_are_called_is() {
        let counts = read(PROFILE, "/bin/own");
        let (instructions, calls) = (37, 2);
        assert_eq!(
            counts,
            Ok(Counts {
                instructions,
                calls
            })
        );
    }

    #[test]
    fn a_profile_that_does_not_add_up_is_refused() {
        let more = PROFILE.replace("totals: 1137", "totals: 1138");
        assert!(read(&more, "/bin/own").is_err());
        let cut = &PROFILE[..PROFILE.len() / 2];
        assert!(read(cut, "/bin/own").is_err());
    }

    #[test]
    fn a_program_that_is_not_in_the_profile_has_no_counts() {
        assert!(read(PROFILE, "/bin/other").is_err());
    }

    #[test]
    fn positions_of_another_kind_are_refused() {
        let instructions = PROFILE.replace("positions: line", "positions: instr line");
        assert!(read(&instructions, "/bin/own").is_err());
    }
}
