//! A million tasks at once, each suspended on a guarded stack of its own: what that costs in memory and time.
//!
//! ```text
//! cargo run --release --example million [-- TASKS]
//! ```
//!
//! A stack is address space, of which a 64-bit process has plenty; memory is taken for the pages that a task touches. A
//! task that waits near the root of its stack has touched one page of 4 KiB, and some hundred bytes are kept elsewhere.

use multitask::{task, JoinHandle, Scheduler};
use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    let count = env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |arg| arg.parse())?;
    warn_of_memory(count);
    let scheduler = Scheduler::new()?;
    let before = Memory::now();

    let start = Instant::now();
    let tasks = spawn_parking(&scheduler, count)?;
    scheduler.turn(Some(Duration::ZERO))?; // runs each task once: up to `park`
    let parking = start.elapsed();
    assert_eq!(
        scheduler.stats().tasks,
        count,
        "every task waits to be unparked"
    );

    println!("{count} tasks parked, each on a stack of its own");
    println!("spawn and park     {:.2} s", parking.as_secs_f64());
    report_memory(count, before, Memory::now());

    let start = Instant::now();
    tasks.iter().for_each(|task| task.task().unpark());
    scheduler.run()?;
    for task in tasks {
        task.join()?;
    }
    println!("wake all and join  {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn spawn_parking(scheduler: &Scheduler, count: usize) -> Result<Vec<JoinHandle<()>>, String> {
    let spawned = |number| {
        let spawned = task::Builder::new().spawn_on(scheduler, task::park);
        spawned.map_err(|error| format!("no room for more than {number} of {count} tasks: {error}"))
    };
    (0..count).map(spawned).collect()
}

// ---- what Linux says about this process ----

/// In bytes.
#[derive(Clone, Copy)]
struct Memory {
    resident: u64,
    page_tables: u64,
}

impl Memory {
    /// `None` where there is no `/proc`.
    fn now() -> Option<Memory> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        Some(Memory {
            resident: kibibytes(&status, "VmRSS:")? << 10,
            page_tables: kibibytes(&status, "VmPTE:")? << 10,
        })
    }
}

fn report_memory(count: usize, before: Option<Memory>, now: Option<Memory>) {
    let (Some(before), Some(now)) = (before, now) else {
        return println!("memory             not known: there is no /proc here");
    };
    let resident = now.resident.saturating_sub(before.resident);
    let page_tables = now.page_tables.saturating_sub(before.page_tables);
    let each = |bytes: u64| bytes / count.max(1) as u64;
    println!(
        "bytes per task     {} (resident {} + page tables {})",
        each(resident + page_tables),
        each(resident),
        each(page_tables)
    );
    println!(
        "mappings           {}",
        mappings().map_or("not known".into(), |lines| lines.to_string())
    );
}

/// The parts of this process's address space; Linux allows 65,530.
fn mappings() -> io::Result<usize> {
    Ok(fs::read_to_string("/proc/self/maps")?.lines().count())
}

/// Linux hands out memory it does not have, and kills the process when it comes to the last of it: so say it before.
fn warn_of_memory(count: usize) {
    let needed = (count as u64).saturating_mul(4_700);
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = kibibytes(&info, "MemAvailable:").map_or(u64::MAX, |available| available << 10);
    if available < needed {
        let (needed, available) = (needed >> 20, available >> 20);
        eprintln!("{count} tasks take {needed} MiB, and {available} MiB are available: the system may kill this program");
    }
}

/// The number behind `key`, as in `VmRSS:   1234 kB`.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}
