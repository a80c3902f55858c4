//! [`Post`]: a future that waits for a descriptor where no worker polls for it, but the lookout does (see there).
//!
//! 1. While there is one the lookout's thread may wake somebody; without, it is among the idle helpers, by which a deadlock is found.
//!    Both counts change under one lock.

use super::home::idle;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the head of this file.
pub(super) struct Post(());

struct Posts {
    count: usize,
    /// The lookout's thread has begun.
    up: bool,
}

static POSTS: Mutex<Posts> = Mutex::new(Posts {
    count: 0,
    up: false,
});

impl Post {
    pub(super) fn new() -> Self {
        let mut posts = lock();
        if posts.up && posts.count == 0 {
            idle::end();
        }
        posts.count += 1;
        Post(())
    }

    /// For the lookout's thread, once.
    pub(super) fn look_out() {
        let mut posts = lock();
        posts.up = true;
        if posts.count == 0 {
            idle::begin();
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let mut posts = lock();
        posts.count -= 1;
        if posts.up && posts.count == 0 {
            idle::begin();
        }
    }
}

fn lock() -> MutexGuard<'static, Posts> {
    POSTS.lock().unwrap_or_else(PoisonError::into_inner)
}
