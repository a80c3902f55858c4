//! The table that benches print: interleaved rounds, because machines are shared and their speed drifts.
//!
//! The frames that there are for benches measure one function after another, each for seconds. What is to be compared here
//! are ratios of a few per cent, on machines whose speed changes by more than that from one second to the next: so the
//! rows take turns, and a ratio is one of figures of the same round.

use multitask::Scheduler;
use std::time::Instant;

const ROUNDS: usize = 9;

/// A row: its name, and what measures nanoseconds.
pub type Bench = (&'static str, fn(&Scheduler) -> f64);

/// Prints for each row the median of the rounds, the minimum, and the median ratio to the figure, of the same round, of the
/// first row of its group, which the last column is named after.
pub fn table(scheduler: &Scheduler, groups: &[&[Bench]], ratio: &str) {
    // `cargo test --benches` only wants to know that it runs.
    let testing = !std::env::args().any(|arg| arg == "--bench");
    let rounds = if testing { 1 } else { ROUNDS };
    let benches = groups.concat();
    let mut figures = vec![Vec::new(); benches.len()];
    for round in 0..=rounds {
        for ((_, bench), figures) in benches.iter().zip(&mut figures) {
            let nanoseconds = bench(scheduler);
            if round > 0 {
                figures.push(nanoseconds);
            }
        }
    }
    println!(
        "{:36} {:>10} {:>10} {ratio:>10}",
        "ns each", "median", "minimum"
    );
    let mut figures = figures.into_iter();
    for group in groups {
        let figures: Vec<_> = figures.by_ref().take(group.len()).collect();
        for ((name, _), row) in group.iter().zip(&figures) {
            print(name, row, &figures[0]);
        }
    }
}

fn print(name: &str, figures: &[f64], beside: &[f64]) {
    let ratios = figures.iter().zip(beside);
    let mut ratios: Vec<f64> = ratios.map(|(figure, beside)| figure / beside).collect();
    let mut sorted = figures.to_vec();
    let (ratio, middle, least) = (median(&mut ratios), median(&mut sorted), sorted[0]);
    println!("{name:36} {middle:>10.2} {least:>10.2} {ratio:>10.2}");
}

/// Sorts, and returns the one in the middle.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub fn per_item(start: Instant, items: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / items as f64
}
