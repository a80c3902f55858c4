//! What several tasks of several workers do to one queue at the same time, each by a script: whatever their order, every item is in one
//! pair of hands, and of one who puts the items of a kind come to each who gets in their order.

use super::Dice;
use multitask::select::Select;
use multitask::sync::{PutError, Queue, TryPutError};
use multitask::{task::scope, yield_now, Scheduler};
use std::time::Duration;

/// Who has put it, how many he had before, and what the choosy choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    putter: usize,
    number: usize,
    kind: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait,
    /// With a limit, which may pass at any moment of a hand-over.
    Soon(Duration),
    Try,
    Select,
    Yield,
}

/// Has a script for each task made of `bytes`, and panics unless all items are accounted for.
pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let workers = [1, 4][dice.below(2)];
    let capacity = [0, 1, 3, 200][dice.below(4)];
    let putters = 1 + dice.below(4);
    let getters = 1 + dice.below(4);
    let mut scripts = vec![Vec::new(); putters + getters];
    while !dice.is_used_up() {
        let whose = dice.below(scripts.len());
        let kind = dice.below(3);
        let step = match dice.below(8) {
            0 | 1 => Step::Wait,
            2 => Step::Soon(Duration::from_micros(dice.below(100) as u64)),
            3 | 4 => Step::Try,
            5 => Step::Select,
            _ => Step::Yield,
        };
        scripts[whose].push((step, kind));
    }
    let getting = scripts.split_off(putters);
    let putting = scripts;

    let scheduler = Scheduler::builder().workers(workers).build().unwrap();
    let (put, back, got) = scheduler.block_on(move || {
        let queue = &match capacity {
            200 => Queue::unbounded(),
            _ => Queue::bounded(capacity),
        };
        scope(|scope| {
            let getters = Vec::from_iter(
                getting
                    .iter()
                    .map(|script| scope.spawn(|| get(queue, script))),
            );
            let putting = putting.iter().enumerate();
            let putters =
                putting.map(|(putter, script)| scope.spawn(move || put(queue, putter, script)));
            let putters = Vec::from_iter(putters);
            // One more takes what is left, so that nobody waits for ever to put; then nobody waits for ever to get.
            let rest = scope.spawn(|| queue.iter().collect::<Vec<_>>());
            let (mut put, mut back) = (Vec::new(), Vec::new());
            for putter in putters {
                let (mine, returned) = putter.join().unwrap();
                put.extend(mine);
                back.extend(returned);
            }
            queue.close();
            let mut got = Vec::from_iter(getters.into_iter().map(|getter| getter.join().unwrap()));
            got.push(rest.join().unwrap());
            (put, back, got)
        })
    });
    got.iter().for_each(|got| in_order(got));
    account(put, back, got.concat());
}

/// What was put, and what came back.
fn put(queue: &Queue<Item>, putter: usize, script: &[(Step, usize)]) -> (Vec<Item>, Vec<Item>) {
    let (mut all, mut back) = (Vec::new(), Vec::new());
    for (number, &(step, kind)) in script.iter().enumerate() {
        let item = Item {
            putter,
            number,
            kind,
        };
        let refused = match step {
            Step::Yield => {
                yield_now();
                continue;
            }
            Step::Wait => queue.put(item).err().map(PutError::into_inner),
            Step::Soon(limit) => queue
                .put_timeout(item, limit)
                .err()
                .map(PutError::into_inner),
            Step::Try => queue.try_put(item).err().map(TryPutError::into_inner),
            Step::Select => {
                let mut select = Select::new();
                select.send(queue);
                let sent = select.select().send(queue, item);
                sent.err().map(PutError::into_inner)
            }
        };
        all.push(item);
        back.extend(refused);
    }
    (all, back)
}

fn get(queue: &Queue<Item>, script: &[(Step, usize)]) -> Vec<Item> {
    let mut got = Vec::new();
    for &(step, kind) in script {
        let wanted = |item: &Item| item.kind == kind;
        got.extend(match step {
            Step::Yield => {
                yield_now();
                continue;
            }
            // Of the kind 0 one is not choosy.
            Step::Wait if kind == 0 => queue.get().ok(),
            Step::Wait => queue.get_matching(wanted).ok(),
            Step::Soon(limit) if kind == 0 => queue.get_timeout(limit).ok(),
            Step::Soon(limit) => queue.get_matching_timeout(wanted, limit).ok(),
            Step::Try if kind == 0 => queue.try_get().ok(),
            Step::Try => queue.try_get_matching(wanted).ok(),
            Step::Select => {
                let mut select = Select::new();
                select.recv(queue);
                select.select().recv(queue).ok()
            }
        });
    }
    got
}

/// Of each putter, and of each kind.
#[track_caller]
fn in_order(got: &[Item]) {
    let mut sorted = got.to_vec();
    // A stable sort: what is left in the order of coming is that of the numbers.
    sorted.sort_by_key(|item| (item.putter, item.kind));
    assert!(
        sorted.is_sorted_by_key(|item| (item.putter, item.kind, item.number)),
        "{got:?}"
    );
}

#[track_caller]
fn account(mut put: Vec<Item>, back: Vec<Item>, got: Vec<Item>) {
    let mut found = [back, got].concat();
    found.sort_unstable();
    put.sort_unstable();
    assert_eq!(found, put);
}
