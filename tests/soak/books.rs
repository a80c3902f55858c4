//! What may be neither lost nor doubled.

use multitask::sync::atomic::{AtomicU64, Ordering::SeqCst};
use multitask::sync::Arc;

/// How many, and the sum of their numbers.
#[derive(Debug, Default)]
struct Sum([AtomicU64; 2]);

impl Sum {
    fn count(&self, number: u64) {
        self.0[0].fetch_add(1, SeqCst);
        self.0[1].fetch_add(number, SeqCst);
    }

    fn read(&self) -> [u64; 2] {
        [0, 1].map(|n| self.0[n].load(SeqCst))
    }
}

/// Counts items: when they are made, and in which way they end.
#[derive(Debug, Default)]
pub struct Books {
    made: Sum,
    ended: [Sum; 3],
}

/// How an item ends.
#[derive(Clone, Copy)]
enum End {
    Got,
    Back,
    Dropped,
}

/// Something with a number.
pub struct Item {
    pub number: u64,
    end: End,
    books: Arc<Books>,
}

impl Books {
    pub fn item(self: &Arc<Books>) -> Item {
        let number = self.made.0[0].fetch_add(1, SeqCst) + 1;
        self.made.0[1].fetch_add(number, SeqCst);
        Item {
            number,
            end: End::Dropped,
            books: self.clone(),
        }
    }

    /// How many reached whom they were for.
    pub fn got(&self) -> u64 {
        self.ended[End::Got as usize].read()[0]
    }

    /// How many were dropped by anybody else.
    pub fn dropped(&self) -> u64 {
        self.ended[End::Dropped as usize].read()[0]
    }

    /// Whether each that was made has ended, once.
    pub fn balance(&self) -> bool {
        let ended = self.ended.iter().map(Sum::read);
        let sum = ended.fold([0, 0], |a, b| [a[0] + b[0], a[1].wrapping_add(b[1])]);
        sum == self.made.read()
    }
}

impl Item {
    /// It has reached whom it was for.
    pub fn got(mut self) {
        self.end = End::Got;
    }

    /// Whoever made it has it again.
    pub fn back(mut self) {
        self.end = End::Back;
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.books.ended[self.end as usize].count(self.number);
    }
}
