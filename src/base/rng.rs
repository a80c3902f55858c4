//! A generator of numbers that a seed determines: SplitMix64, by Steele, Lea and Flood ("Fast splittable pseudorandom number
//! generators", 2014), with the constants of Vigna. Seeds that differ in one bit give sequences that have nothing in common.

use std::cell::Cell;

/// See the head of this file.
pub(crate) struct Rng(Cell<u64>);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(Cell::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or zero. As good as evenly drawn: `end` is far from 2⁶⁴.
    pub(crate) fn below(&self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_were_published_for_the_seed() {
        let rng = Rng::new(1_234_567);
        let numbers = [(); 5].map(|()| rng.next());
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(numbers, published);
    }

    #[test]
    fn every_number_below_the_end_is_drawn_and_no_other() {
        let rng = Rng::new(7);
        let mut drawn = [0_u32; 10];
        for _ in 0..10_000 {
            drawn[rng.below(10)] += 1;
        }
        assert!(
            drawn.iter().all(|&times| (800..1200).contains(&times)),
            "{drawn:?}"
        );
        assert_eq!((rng.below(1), rng.below(0)), (0, 0));
    }
}
