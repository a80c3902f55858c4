//! Whether memory is flat is judged rightly (`common/flat.rs`): of samples of which is known how they were made.

mod common;

use common::flat::{Fit, Point};
use common::Random;

const MIB: f64 = (1 << 20) as f64;
const EACH: f64 = 20.0 * 1024.0;

/// One sample a second for so long, in which memory grows by so much beside what the load takes, and is never quite that.
fn samples(seconds: u32, growth: f64, load: impl Fn(f64) -> f64) -> Vec<Point> {
    let mut random = Random::new(3);
    let noise = |random: &mut Random| (random.below(2001) as f64 / 1000.0 - 1.0) * MIB;
    let point = |second| {
        let past = f64::from(second) / f64::from(seconds - 1);
        let load = load(past).round();
        Point {
            seconds: f64::from(second),
            load,
            bytes: 100.0 * MIB + EACH * load + growth * past + noise(&mut random),
        }
    };
    (0..seconds).map(point).collect()
}

fn steady(_past: f64) -> f64 {
    5000.0
}

/// Four times up and down.
fn tides(past: f64) -> f64 {
    5000.0 + 2000.0 * (past * 8.0 * std::f64::consts::PI).cos()
}

/// As the tides, and more at the end than at the beginning.
fn flood(past: f64) -> f64 {
    tides(past) + 3000.0 * past
}

#[test]
fn what_follows_the_load_is_no_growth_and_what_grows_beside_it_is() {
    for load in [steady, tides, flood] {
        for growth in [-20.0, 0.0, 8.0, 20.0] {
            let fit = Fit::of(&samples(600, growth * MIB, load));
            let off = (fit.growth - growth * MIB).abs();
            assert!(off < 0.5 * MIB, "{growth} MiB are taken for {fit}");
            assert!(fit.scatter < MIB, "{fit}");
            assert_eq!(fit.growth > fit.noise(0.02), growth > 5.0, "{fit}");
        }
    }
}

#[test]
fn how_much_each_of_the_load_takes_is_found_whatever_grows() {
    for growth in [0.0, 50.0] {
        let fit = Fit::of(&samples(600, growth * MIB, flood));
        assert!((fit.each - EACH).abs() < 0.02 * EACH, "{fit:?}");
    }
}

#[test]
fn without_the_load_the_same_samples_would_hide_a_leak_or_be_taken_for_one() {
    let blind = |growth, load: fn(f64) -> f64| {
        let mut samples = samples(600, growth, load);
        samples.iter_mut().for_each(|point| point.load = 0.0);
        let fit = Fit::of(&samples);
        fit.growth > fit.noise(0.02)
    };
    assert!(!blind(20.0 * MIB, tides) && blind(0.0, flood));
}

#[test]
fn a_load_that_grows_as_evenly_as_time_excuses_nothing() {
    let evenly = |past| 5000.0 + 3000.0 * past + tides(past) / 100.0;
    let fit = Fit::of(&samples(600, 0.0, evenly));
    assert_eq!(fit.each, 0.0);
    assert!((fit.growth - 3000.0 * EACH).abs() < MIB, "{fit}");
}

#[test]
fn what_shrinks_as_the_load_grows_is_not_laid_at_its_door() {
    let mut samples = samples(600, 0.0, tides);
    for point in &mut samples {
        point.bytes -= 2.0 * EACH * point.load;
    }
    assert_eq!(Fit::of(&samples).each, 0.0);
}
