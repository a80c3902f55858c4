//! Has a mechanism become dearer? Told by counts of instructions, which are the same on a machine that is busy and on
//! one that is not.
//!
//! ```text
//! cargo run --profile bench -p gate              compares with baseline.txt; fails if they differ by more than 5 %
//! cargo run --profile bench -p gate -- --bless   writes baseline.txt, to be committed with what has changed the counts
//! ```
//!
//! 1. A mechanism is a process of its own, this program again under Valgrind's callgrind, for some number of operations and
//!    for twice as many. The difference is what the operations cost: what comes before and after cancels out.
//! 2. Counted is this program alone, the standard library in it, and not the C library, which chooses its functions by the
//!    processor that it finds, and is another one on another machine. Of that and the system, what is counted is how often
//!    they are called: an allocation more, or a system call, is seen.
//! 3. Nothing is counted whose number of turns is a matter of time. So no worker spins. What is left of the clock is a timer or
//!    two that lie elsewhere in the wheel.
//! 4. The profile has one unit of code and link-time optimisation: where functions are inlined does not depend on how
//!    the compiler happens to cut the crate in pieces.
//!
//! Cheaper fails as well. What nobody has written down is room in which the next change for the worse goes unnoticed; and a
//! mechanism that does half of what it did may just be broken. To write it down is one command.
//!
//! What it does not see, the benches beside it are for: misses of caches and of the predictors, waits for another processor, time
//! in the kernel, how much memory a call of the C library copies. A kernel without `membarrier(2)` has no biased locks, and
//! other counts.

mod baseline;
mod count;
mod mechanism;

use baseline::{Baseline, Change};
use multitask::Scheduler;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: cargo run --profile bench -p gate [-- --bless]";

/// The first argument of a child; a mechanism and a number of operations follow.
pub const CHILD: &str = "--child";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match arguments[..] {
        [] => compare(),
        ["--bless"] => bless().map(|()| true),
        [CHILD, mechanism, times] => child(mechanism, times).map(|()| true),
        _ => Err(USAGE.into()),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is as it was.
fn compare() -> Result<bool, Box<dyn Error>> {
    let was = Baseline::read()?;
    let now = measure()?;
    was.comparable(&now)?;
    let changes = was.changes(&now)?;
    baseline::print(&changes);
    let verdicts = changes.iter().filter_map(Change::verdict);
    let verdicts: Vec<_> = verdicts.collect();
    for verdict in &verdicts {
        println!("{verdict}");
    }
    if verdicts.is_empty() {
        return Ok(true);
    }
    println!(
        "\nIf it is meant: cargo run --profile bench -p gate -- --bless\n\
         Where they are: callgrind_annotate {}",
        count::profile("MECHANISM")?.display()
    );
    if was.compiler != now.compiler {
        println!(
            "The baseline is of another compiler ({}; this is {}).",
            was.compiler, now.compiler
        );
    }
    Ok(false)
}

/// What there is now is as it should be.
fn bless() -> Result<(), Box<dyn Error>> {
    let now = measure()?;
    // The old one may be missing, or of other mechanisms.
    if let Ok(was) = Baseline::read() {
        let _none = was.changes(&now).map(|changes| baseline::print(&changes));
    }
    Ok(now.write()?)
}

fn measure() -> Result<Baseline, Box<dyn Error>> {
    let cost = |mechanism| Ok((mechanism, count::each(mechanism)?));
    let costs = mechanism::ALL.iter().map(cost);
    let costs: Result<Vec<_>, Box<dyn Error>> = costs.collect();
    Ok(Baseline::here(costs?))
}

fn child(mechanism: &str, times: &str) -> Result<(), Box<dyn Error>> {
    let mechanism = mechanism::named(mechanism).ok_or("no such mechanism")?;
    let scheduler = Scheduler::builder().spin(Duration::ZERO).build()?;
    (mechanism.run)(&scheduler, times.parse()?);
    Ok(())
}
