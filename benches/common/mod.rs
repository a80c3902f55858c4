//! The table that benches print: interleaved rounds, because machines are shared and their speed drifts.

use multitask::Scheduler;
use std::time::Instant;

const ROUNDS: usize = 9;

/// A row: its name, and what measures nanoseconds.
pub type Bench = (&'static str, fn(&Scheduler) -> f64);

/// Prints for each row the median of the rounds, the minimum, and the median ratio to the first row's figure of the same
/// round, which the last column is named after.
pub fn table(scheduler: &Scheduler, benches: &[Bench], ratio: &str) {
    // `cargo test --benches` only wants to know that it runs.
    let testing = !std::env::args().any(|arg| arg == "--bench");
    let rounds = if testing { 1 } else { ROUNDS };
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
        "{:32} {:>10} {:>10} {ratio:>10}",
        "ns each", "median", "minimum"
    );
    let first = figures[0].clone();
    for ((name, _), mut figures) in benches.iter().zip(figures) {
        let ratios = figures.iter().zip(&first);
        let mut ratios: Vec<f64> = ratios.map(|(figure, first)| figure / first).collect();
        let (ratio, middle) = (median(&mut ratios), median(&mut figures));
        let least = figures[0];
        println!("{name:32} {middle:>10.2} {least:>10.2} {ratio:>10.2}");
    }
}

/// Sorts, and returns the one in the middle.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub fn per_item(start: Instant, items: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / items as f64
}
