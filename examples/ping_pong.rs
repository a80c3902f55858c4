//! Two tasks play ping-pong over two queues: each waits for the ball and hits it back.

use multitask::spawn;
use multitask::sync::Queue;
use std::sync::Arc;

/// A queue of one place: a table has two ends, and there is one ball.
type Side = Arc<Queue<u32>>;

fn player(name: &'static str, mine: Side, other: Side) {
    for ball in mine.iter() {
        println!("{name} {ball}");
        if ball == 5 {
            return other.close(); // the other one's loop ends
        }
        if other.put(ball + 1).is_err() {
            return;
        }
    }
}

fn main() -> Result<(), multitask::Deadlock> {
    let (left, right) = (Side::new(Queue::bounded(1)), Side::new(Queue::bounded(1)));
    left.put(1).expect("nobody has closed it yet");
    spawn({
        let (left, right) = (left.clone(), right.clone());
        move || player("ping", left, right)
    });
    spawn(move || player("pong", right, left));
    multitask::run()
}
