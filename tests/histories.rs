//! Histories of queues, of selecting, of lines and of requests against plain models, drawn at random: see `tests/histories`.
//! `PROPTEST_CASES` says how many.

#[path = "histories/mod.rs"]
mod histories;

use proptest::collection::vec;
use proptest::prelude::{any, prop_oneof};
use proptest::test_runner::Config;

proptest::proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn what_tasks_do_to_queues_is_what_the_model_says(bytes in vec(any::<u8>(), 0..1_500)) {
        histories::queues::run(&bytes);
    }

    #[test]
    fn lines_arrive_as_they_were_sent_whatever_the_pieces(bytes in vec(any::<u8>(), 0..500)) {
        histories::lines::run(&bytes);
    }

    #[test]
    fn requests_are_found_as_they_were_sent_whatever_the_pieces(
        head in vec(any::<u8>(), 20),
        words in vec(prop_oneof![9 => 128..136_u8, 3 => 136..180_u8, 1 => any::<u8>()], 0..30),
    ) {
        histories::http::run(&[head, words].concat());
    }

    #[test]
    fn every_item_is_in_one_pair_of_hands_whoever_runs_when(bytes in vec(any::<u8>(), 0..800)) {
        histories::crowd::run(&bytes);
    }
}
