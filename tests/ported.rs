//! A program with threads, unchanged but for its `use` lines, does with tasks what it does with threads.
//!
//! The one file is a module twice; `system` is std in the first, and this library in the second.

mod common;

use common::{ends, scheduler};
use std::collections::BTreeMap;

#[path = "ported"]
#[allow(clippy::duplicate_mod)] // that is the point
mod with_threads {
    use std as system;

    #[path = "server.rs"]
    pub mod server;
}

#[path = "ported"]
#[allow(clippy::duplicate_mod)] // that is the point
mod with_tasks {
    use multitask as system;

    #[path = "server.rs"]
    pub mod server;
}

/// A macro, for the two are of different types.
macro_rules! told {
    ($summary:expr) => {
        format!("{:#?}", $summary.unwrap())
    };
}

#[test]
fn a_threaded_server_and_its_clients_do_with_tasks_what_they_do_with_threads() {
    ends(|| {
        let expected = told!(with_threads::server::run());
        let on_plain_thread = told!(with_tasks::server::run());
        assert_eq!(on_plain_thread, expected);
        let scheduler = scheduler();
        let in_task = scheduler.spawn(|| told!(with_tasks::server::run()));
        scheduler.run().unwrap();
        assert_eq!(in_task.join().unwrap(), expected);
    });
}

#[test]
fn the_threaded_server_has_served_what_its_clients_have_asked_for() {
    ends(|| {
        let summary = with_tasks::server::run().unwrap();
        assert_eq!(summary.requests, summary.checked_by_clients);
        assert_eq!((summary.connections, summary.requests), (8 * 5, 8 * 19));
        assert_eq!((summary.cache_hits, summary.cache_misses), (8 * 3 - 3, 3));
        let each = [
            (200, 9),
            (201, 3),
            (400, 2),
            (404, 1),
            (405, 1),
            (408, 1),
            (413, 1),
            (500, 1),
        ];
        let statuses: BTreeMap<u16, usize> = each.map(|(status, n)| (status, 8 * n)).into();
        assert_eq!(summary.statuses, statuses);
        assert_eq!(
            (summary.notes.len(), summary.crashes, summary.greeted),
            (24, 8, 1)
        );
        assert_eq!(summary.workers.len(), 4);
        assert!(summary.most_at_once_was_bounded);
    });
}
