//! Whether what a process has grows: sampled, and judged by what the samples follow, time and load, by least squares.
//!
//! 1. Memory is taken for a sum: what is always there, so much for each of the load (the connections, say), and so much more with each
//!    second. It is flat if over the whole time it grows, beside the load, by no more than the samples scatter round
//!    that, plus a share of the mean: what is within is noise. A leak scatters little and grows for as long as one looks.
//! 2. Nothing takes less when there is more of it. What cannot be told apart, as the load has grown as evenly as time has,
//!    counts as growth.

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

/// Bytes, each with the time at which they were counted, and the load.
pub struct Samples {
    start: Instant,
    points: Vec<Point>,
}

#[derive(Clone, Copy)]
pub struct Point {
    pub seconds: f64,
    pub load: f64,
    pub bytes: f64,
}

impl Samples {
    pub fn new() -> Samples {
        Samples {
            start: Instant::now(),
            points: Vec::new(),
        }
    }

    /// Under a load that is always the same.
    pub fn add(&mut self, bytes: u64) {
        self.add_under(0, bytes);
    }

    pub fn add_under(&mut self, load: usize, bytes: u64) {
        self.points.push(Point {
            seconds: self.start.elapsed().as_secs_f64(),
            load: load as f64,
            bytes: bytes as f64,
        });
    }

    /// Fails if memory grows by more than it scatters and this share of the mean.
    pub fn assert_flat(&self, what: &str, share: f64) {
        // Of fewer points nothing can be said.
        if self.points.len() < 5 {
            return println!("{what}: too few samples");
        }
        let fit = Fit::of(&self.points);
        println!("{what}: {fit}");
        let noise = fit.noise(share);
        assert!(
            fit.growth <= noise,
            "{what} grows by more than {}: {fit}",
            MiB(noise)
        );
    }
}

/// By least squares.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    pub mean: f64,
    /// Beside what follows the load, from the first sample to the last.
    pub growth: f64,
    pub seconds: f64,
    /// Bytes for each of the load.
    pub each: f64,
    /// The standard deviation of the samples from what they follow.
    pub scatter: f64,
}

impl Fit {
    pub fn of(points: &[Point]) -> Fit {
        let count = points.len() as f64;
        let mean_of = |f: fn(&Point) -> f64| points.iter().map(f).sum::<f64>() / count;
        let mean = Point {
            seconds: mean_of(|point| point.seconds),
            load: mean_of(|point| point.load),
            bytes: mean_of(|point| point.bytes),
        };
        let off_mean = |point: &Point| {
            let Point {
                seconds,
                load,
                bytes,
            } = *point;
            (seconds - mean.seconds, load - mean.load, bytes - mean.bytes)
        };
        let off_mean: Vec<_> = points.iter().map(off_mean).collect();
        let sum = |f: fn(&(f64, f64, f64)) -> f64| off_mean.iter().map(f).sum::<f64>();
        let (tt, ll) = (sum(|(t, _, _)| t * t), sum(|(_, l, _)| l * l));
        let (tl, ty, ly) = (
            sum(|(t, l, _)| t * l),
            sum(|(t, _, y)| t * y),
            sum(|(_, l, y)| l * y),
        );
        let apart = tt * ll - tl * tl;
        // Rule 2.
        let each = match apart > tt * ll * ALIKE {
            true => ((tt * ly - tl * ty) / apart).max(0.0),
            false => 0.0,
        };
        let slope = (ty - each * tl) / tt;
        let scatter = |(t, l, y): &(f64, f64, f64)| (y - slope * t - each * l).powi(2);
        let seconds = points[points.len() - 1].seconds - points[0].seconds;
        Fit {
            mean: mean.bytes,
            growth: slope * seconds,
            seconds,
            each,
            scatter: (off_mean.iter().map(scatter).sum::<f64>() / (count - 3.0)).sqrt(),
        }
    }

    /// How much of growth may be none.
    pub fn noise(&self, share: f64) -> f64 {
        self.scatter + share * self.mean
    }
}

/// How much of its own course the load has to have, as a share of its variance.
const ALIKE: f64 = 0.01;

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fit {
            mean,
            growth,
            seconds,
            each,
            scatter,
        } = *self;
        let (mean, growth, scatter) = (MiB(mean), MiB(growth), MiB(scatter));
        write!(f, "{mean} in the mean, {growth} more in {seconds:.0} s")?;
        if each > 0.0 {
            write!(f, " beside {:.1} KiB for each of the load", each / 1024.0)?;
        }
        write!(f, ", off which they are by {scatter}")
    }
}

struct MiB(f64);

impl fmt::Display for MiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} MiB", self.0 / f64::from(1 << 20))
    }
}
