//! A producer that is faster than its two consumers: the queue holds two items, and putting a third one waits.

use multitask::sync::Queue;
use multitask::{spawn, yield_now};
use std::sync::Arc;

fn produce(queue: &Queue<u32>) {
    for item in 1..=6 {
        println!("put {item}");
        queue.put(item).expect("nobody else closes it");
    }
    println!("nothing more to put");
    queue.close(); // the consumers get what is left, and then their loops end
}

fn consume(name: &str, queue: &Queue<u32>) {
    for item in queue {
        println!("{name} got {item}");
        yield_now(); // the work, during which others run
    }
    println!("{name} is done");
}

fn main() -> Result<(), multitask::Deadlock> {
    let queue = Arc::new(Queue::bounded(2));
    for name in ["first", "second"] {
        let queue = queue.clone();
        spawn(move || consume(name, &queue));
    }
    spawn(move || produce(&queue));
    multitask::run()
}
