//! Counts the lines of standard input while a second task ticks every 10 ms, both on one thread.
//!
//! ```text
//! yes | cargo run --example stdin_count -- --seconds 2
//! ```
//!
//! It ends with the input, or after the given time. A tick counts if it comes before the next one is due.

use multitask::{io, sleep_until, spawn_local, timeout};
use std::cell::Cell;
use std::error::Error;
use std::io::BufRead;
use std::rc::Rc;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let limit = limit()?;
    let (lines, ticks, due) = (Counter::default(), Counter::default(), Counter::default());

    let (ticked, were_due) = (ticks.clone(), due.clone());
    let ticker = spawn_local(move || tick(&ticked, &were_due));
    let counted = lines.clone();
    let counter = spawn_local(move || count(&counted));

    // Not waited for any longer than that: the rest of the input is not ours.
    if let Ok(ended) = timeout(limit, || counter.join()) {
        ended??;
    }
    ticker.cancel();
    println!("{} lines", lines.get());
    println!("{} ticks of {}", ticks.get(), due.get());
    Ok(())
}

type Counter = Rc<Cell<u64>>;

fn count(lines: &Cell<u64>) -> std::io::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut line = String::new();
    while stdin.read_line(&mut line)? > 0 {
        lines.set(lines.get() + 1);
        line.clear();
    }
    Ok(())
}

fn tick(ticks: &Cell<u64>, due: &Cell<u64>) {
    let mut next = Instant::now();
    loop {
        next += TICK;
        sleep_until(next);
        due.set(due.get() + 1);
        if next.elapsed() < TICK {
            ticks.set(ticks.get() + 1);
        }
    }
}

fn limit() -> Result<Duration, lexopt::Error> {
    use lexopt::prelude::*;

    let mut seconds = u64::MAX;
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("seconds") => seconds = args.value()?.parse()?,
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Duration::from_secs(seconds))
}
