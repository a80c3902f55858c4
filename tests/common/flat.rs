//! Whether what a process has grows: sampled, and judged by the straight line through the samples.
//!
//! A line is flat if along all of it memory grows by no more than the samples scatter round it, plus a share of the mean: what is
//! within that is noise. A leak scatters little and grows for as long as one looks.

use std::fmt;
use std::fs::{read_dir, read_to_string};
use std::time::Instant;

/// What a process has.
#[derive(Clone, Copy, Debug)]
pub struct Belongings {
    /// Bytes of memory that are there.
    pub resident: u64,
    /// Bytes of address space.
    pub mapped: u64,
    pub descriptors: usize,
}

impl Belongings {
    /// Of this process.
    pub fn now() -> Belongings {
        let status = read_to_string("/proc/self/status").unwrap();
        let bytes = |name| kibibytes(&status, name).unwrap() << 10;
        Belongings {
            resident: bytes("VmRSS:"),
            mapped: bytes("VmSize:"),
            descriptors: read_dir("/proc/self/fd").unwrap().count(),
        }
    }
}

/// A line of `/proc/PID/status`.
pub fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Bytes, each with the time at which they were counted.
pub struct Samples {
    start: Instant,
    points: Vec<(f64, f64)>,
}

impl Samples {
    pub fn new() -> Samples {
        Samples {
            start: Instant::now(),
            points: Vec::new(),
        }
    }

    pub fn add(&mut self, bytes: u64) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.points.push((seconds, bytes as f64));
    }

    /// Fails if memory grows along the line by more than it scatters and this share of the mean.
    pub fn assert_flat(&self, what: &str, share: f64) {
        // Of fewer points nothing can be said.
        if self.points.len() < 5 {
            return println!("{what}: too few samples");
        }
        let line = Line::through(&self.points);
        println!("{what}: {line}");
        let noise = line.scatter + share * line.mean;
        assert!(
            line.growth <= noise,
            "{what} grows by more than {}: {line}",
            MiB(noise)
        );
    }
}

/// By least squares.
struct Line {
    mean: f64,
    /// From the first sample to the last.
    growth: f64,
    seconds: f64,
    /// The standard deviation of the samples from the line.
    scatter: f64,
}

impl Line {
    fn through(points: &[(f64, f64)]) -> Line {
        let count = points.len() as f64;
        let mean_of = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / count;
        let (middle, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let (mut squares, mut products) = (0.0, 0.0);
        for (x, y) in points {
            squares += (x - middle).powi(2);
            products += (x - middle) * (y - mean);
        }
        let slope = products / squares;
        let off = |&(x, y): &(f64, f64)| (y - mean - slope * (x - middle)).powi(2);
        let seconds = points[points.len() - 1].0 - points[0].0;
        Line {
            mean,
            growth: slope * seconds,
            seconds,
            scatter: (points.iter().map(off).sum::<f64>() / (count - 2.0)).sqrt(),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line {
            mean,
            growth,
            seconds,
            scatter,
        } = *self;
        let (mean, growth, scatter) = (MiB(mean), MiB(growth), MiB(scatter));
        write!(
            f,
            "{mean} in the mean, {growth} more in {seconds:.0} s along the line, off which they are by {scatter}"
        )
    }
}

struct MiB(f64);

impl fmt::Display for MiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} MiB", self.0 / f64::from(1 << 20))
    }
}
