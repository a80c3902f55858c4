//! What a person is shown: what errors say, and what `{:?}` makes of what need not know how to be shown.

use multitask::sync::{GetError, LockTimeoutError, PutError, Semaphore, TryGetError, TryPutError};
use multitask::task::{self, Builder, JoinTimeoutError};
use multitask::{spawn, JoinError};
use std::fmt::{Debug, Display};
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::time::Duration;

/// Its message, and what `{:?}` makes of it.
fn shown(error: impl Display + Debug) -> [String; 2] {
    [error.to_string(), format!("{error:?}")]
}

#[test]
fn an_error_of_a_queue_says_what_happened_and_is_shown_without_the_item() {
    struct Item;
    let closed = "the queue is closed";
    assert_eq!(shown(GetError::Timeout), ["timed out", "Timeout"]);
    assert_eq!(shown(GetError::Closed), [closed, "Closed"]);
    assert_eq!(shown(TryGetError::Empty), ["the queue is empty", "Empty"]);
    assert_eq!(shown(TryGetError::Closed), [closed, "Closed"]);
    assert_eq!(shown(PutError::Timeout(Item)), ["timed out", "Timeout(..)"]);
    assert_eq!(shown(PutError::Closed(Item)), [closed, "Closed(..)"]);
    assert_eq!(
        shown(TryPutError::Full(Item)),
        ["the queue is full", "Full(..)"]
    );
    assert_eq!(shown(TryPutError::Closed(Item)), [closed, "Closed(..)"]);
}

#[test]
fn an_error_of_a_join_tells_a_panic_from_a_cancel_and_from_a_limit() {
    let words = spawn(|| resume_unwind(Box::new("gone"))).join();
    assert_eq!(
        shown(words.unwrap_err()),
        ["the task panicked: gone", "Panic(\"gone\")"]
    );
    let number = spawn(|| resume_unwind(Box::new(7))).join();
    assert_eq!(
        shown(number.unwrap_err()),
        ["the task panicked", "Panic(\"..\")"]
    );
    assert_eq!(
        shown(JoinError::Cancelled),
        ["the task was cancelled", "Cancelled"]
    );

    let parked = Builder::new().name("parked".into()).spawn(task::park);
    let late = parked.unwrap().join_timeout(Duration::ZERO).unwrap_err();
    let [message, debug] = shown(&late);
    assert_eq!(message, "timed out before the task ended");
    let names_it = debug.contains("parked") && debug.contains("finished: false");
    assert!(
        debug.starts_with("Timeout(JoinHandle {") && names_it,
        "{debug}"
    );
    let JoinTimeoutError::Timeout(parked) = late else {
        panic!("{late:?}");
    };
    parked.cancel();
    let failed = parked.join_timeout(Duration::MAX).unwrap_err();
    assert_eq!(
        shown(failed),
        ["the task was cancelled", "Failed(Cancelled)"]
    );
}

#[test]
fn as_an_error_of_io_it_has_a_kind_and_its_words() {
    let panicked = spawn(|| resume_unwind(Box::new("gone"))).join();
    let panicked = io::Error::from(panicked.unwrap_err());
    assert_eq!(panicked.kind(), ErrorKind::Other);
    assert_eq!(panicked.to_string(), "the task panicked: gone");
    let late = LockTimeoutError::<()>::Timeout;
    assert_eq!(shown(&late), ["timed out", "Timeout"]);
    assert_eq!(io::Error::from(late).kind(), ErrorKind::TimedOut);
    let cancelled = LockTimeoutError::<()>::Cancelled;
    assert_eq!(shown(&cancelled), ["the task was cancelled", "Cancelled"]);
    assert_eq!(io::Error::from(cancelled).kind(), ErrorKind::Other);
}

#[test]
fn a_semaphore_shows_its_permits_and_that_it_is_closed() {
    let semaphore = Semaphore::new(3);
    let _two = semaphore.acquire_many(2);
    assert_eq!(
        format!("{semaphore:?}"),
        "Semaphore { available_permits: 1, closed: false }"
    );
    semaphore.close();
    assert!(format!("{semaphore:?}").contains("closed: true"));
}
