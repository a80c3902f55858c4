//! Where the memory of stacks goes.

use multitask::{sleep, task, yield_now, Scheduler};
use std::hint::black_box;
use std::time::Duration;

/// Resident bytes of this process.
#[cfg(all(target_os = "linux", not(multitask_portable)))]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("the kernel tells");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<usize>().expect("a number") * 1024
}

/// Touches 40 KiB of the stack, and keeps them until it returns.
fn deep() {
    let mut buffer = [0u8; 40 << 10];
    black_box(&mut buffer);
    yield_now();
    black_box(&buffer);
}

#[cfg(all(target_os = "linux", not(multitask_portable)))]
#[test]
fn the_stacks_of_a_burst_go_back_to_the_system_when_they_stay_unused() {
    let scheduler = Scheduler::new().expect("descriptors");
    for _ in 0..2_000 {
        scheduler.spawn(deep);
    }
    let before = resident();
    scheduler.run().expect("no deadlock");
    let peak = resident() - before;
    assert!(
        peak > 60 << 20,
        "2,000 stacks of 40 KiB were touched: {peak}"
    );

    let start = std::time::Instant::now();
    scheduler.block_on(|| {
        while resident().saturating_sub(before) > peak / 4 {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "still {} of {peak}",
                resident() - before
            );
            sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn stacks_that_were_given_back_are_used_again() {
    let scheduler = Scheduler::new().expect("descriptors");
    for round in 0..3 {
        for _ in 0..500 {
            scheduler.spawn(deep);
        }
        scheduler.run().expect("no deadlock");
        scheduler.block_on(|| sleep(Duration::from_millis(600)));
        assert_eq!(scheduler.stats().live, 0, "round {round}");
    }
}

#[test]
fn tasks_with_stacks_of_many_sizes_live_beside_each_other() {
    let scheduler = Scheduler::new().expect("descriptors");
    let handles: Vec<_> = (0..400usize)
        .map(|n| {
            let size = 16 << (10 + n % 8);
            task::Builder::new()
                .stack_size(size)
                .spawn_on(&scheduler, move || {
                    yield_now();
                    n
                })
                .expect("address space")
        })
        .collect();
    scheduler.run().expect("no deadlock");
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().expect("no panic"), n);
    }
}

#[test]
fn a_stack_that_nobody_could_map_is_refused_where_the_task_is_spawned() {
    let error = task::Builder::new()
        .stack_size(usize::MAX)
        .spawn(|| {})
        .expect_err("no such address space");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
