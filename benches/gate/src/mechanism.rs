//! What is counted: each function does so many operations of one kind, and nothing else that grows with their number.
//!
//! 1. One worker, and no other thread: who runs when is the scheduler's to say, not the machine's.
//! 2. What an operation comes to is checked: one that does nothing would count least.

use multitask::net::{TcpListener, TcpStream};
use multitask::sync::mpsc;
use multitask::{spawn, task, yield_now, Scheduler};
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Duration;

pub struct Mechanism {
    /// On the command line and in the baseline.
    pub name: &'static str,
    /// What one operation is.
    pub operation: &'static str,
    /// Operations enough for what happens once in hundreds of them to count as it should.
    pub times: u64,
    /// Does so many of them, which is a multiple of four.
    pub run: fn(&Scheduler, u64),
}

pub const ALL: &[Mechanism] = &[
    Mechanism {
        name: "yield",
        operation: "yield_now of one of two tasks that take turns",
        times: 1 << 17,
        run: |scheduler, times| yields::<2>(scheduler, times),
    },
    Mechanism {
        name: "yield_of_four",
        operation: "yield_now of one of four tasks that take turns",
        times: 1 << 17,
        run: |scheduler, times| yields::<4>(scheduler, times),
    },
    Mechanism {
        name: "spawn_join",
        operation: "a task that is spawned, runs, and is joined",
        times: 1 << 15,
        run: spawn_join,
    },
    Mechanism {
        name: "channel_hop",
        operation: "a message from one task to another, which waits for it",
        times: 1 << 16,
        run: channel_hops,
    },
    Mechanism {
        name: "timer",
        operation: "a wait whose time limit is armed, and cancelled when the other task ends the wait",
        times: 1 << 16,
        run: timers,
    },
    Mechanism {
        name: "echo",
        operation: "64 bytes to a server over the loopback device and back, both of them tasks of one worker",
        times: 1 << 13,
        run: echo,
    },
];

pub fn named(name: &str) -> Option<&'static Mechanism> {
    ALL.iter().find(|mechanism| mechanism.name == name)
}

fn yields<const TASKS: usize>(scheduler: &Scheduler, times: u64) {
    let one = move || (0..times / TASKS as u64).for_each(|_| yield_now());
    let tasks = [(); TASKS].map(|()| scheduler.spawn(one));
    scheduler.run().expect("no deadlock");
    for task in tasks {
        task.join().expect("no panic");
    }
}

fn spawn_join(scheduler: &Scheduler, times: u64) {
    scheduler.block_on(|| {
        for i in 0..times {
            assert_eq!(spawn(move || black_box(i)).join().expect("no panic"), i);
        }
    });
}

/// There and back is two of them.
fn channel_hops(scheduler: &Scheduler, times: u64) {
    let (ping, balls) = mpsc::sync_channel(1);
    let (pong, back) = mpsc::sync_channel(1);
    scheduler.spawn(move || {
        for ball in balls {
            pong.send(ball).expect("somebody listens");
        }
    });
    scheduler.block_on(move || {
        for i in 0..times / 2 {
            ping.send(i).expect("somebody listens");
            assert_eq!(back.recv().expect("it comes back"), i);
        }
    });
    scheduler.run().expect("no deadlock");
}

fn timers(scheduler: &Scheduler, times: u64) {
    /// Far enough that the time that passes meanwhile does not change its place in the wheel.
    const LONG: Duration = Duration::from_secs(3600);
    scheduler.block_on(|| {
        let waiter = spawn(move || (0..times).for_each(|_| task::park_timeout(LONG)));
        let mut wakes = 0;
        while !waiter.is_finished() {
            waiter.task().unpark();
            yield_now();
            wakes += 1;
        }
        // The first finds that it has not begun, and the last that it has ended.
        assert!((times..=times + 2).contains(&wakes), "{wakes} wakes");
    });
}

fn echo(scheduler: &Scheduler, times: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let server = scheduler.spawn(move || {
        let (mut stream, _client) = listener.accept().expect("a client");
        let mut request = [0; 64];
        let mut requests = 0;
        while stream.read_exact(&mut request).is_ok() {
            stream.write_all(&request).expect("it is open");
            requests += 1;
        }
        requests
    });
    scheduler.block_on(move || {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_nodelay(true).expect("it is open");
        for i in 0..times {
            let request = [i as u8; 64];
            let mut answer = [0; 64];
            stream.write_all(&request).expect("it is open");
            stream.read_exact(&mut answer).expect("it answers");
            assert_eq!(answer, request);
        }
    });
    scheduler.run().expect("no deadlock");
    assert_eq!(server.join().expect("no panic"), times);
}
