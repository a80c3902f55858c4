//! A task's stack is aligned as the calling convention asks, whatever its size and wherever it was cut from.

use crate::{arch, in_task};
use multitask::{task, yield_now};
use std::hint::black_box;

/// Odd ones too: the crate rounds them.
const SIZES: [usize; 5] = [16 << 10, 20_000, 64 << 10, (64 << 10) + 1, 1 << 20];

/// More than there are colours of stack tops.
const TASKS_OF_EACH_SIZE: usize = 40;

#[test]
fn the_stack_pointer_is_a_multiple_of_16_at_every_call_a_task_makes() {
    on_many_stacks(|| {
        assert_eq!(arch::stack_pointer() % 16, 0, "where the task starts");
        yield_now();
        assert_eq!(arch::stack_pointer() % 16, 0, "after a switch");
        assert_eq!(one_frame_down(1, 2) % 16, 0, "in a call");
    });

    #[inline(never)]
    fn one_frame_down(a: u8, b: u64) -> usize {
        black_box((a, b));
        arch::stack_pointer()
    }
}

#[test]
fn a_value_is_aligned_on_a_tasks_stack_as_its_type_asks() {
    #[repr(align(16))]
    struct Vector([u8; 16]);
    #[repr(align(64))]
    struct Line([u8; 64]);
    #[repr(align(1024))]
    struct Block([u8; 1024]);

    on_many_stacks(|| {
        let (mut vector, line, block) = (Vector([1; 16]), Line([2; 64]), Block([3; 1024]));
        arch::store_aligned(&mut vector.0);
        yield_now();
        assert_eq!(black_box(vector.0.as_mut_ptr()).addr() % 16, 0);
        assert_eq!(black_box(line.0.as_ptr()).addr() % 64, 0);
        assert_eq!(black_box(block.0.as_ptr()).addr() % 1024, 0);
    });
}

/// Runs `body` in tasks of all sizes, all of them alive at once.
fn on_many_stacks(body: fn()) {
    in_task(move || {
        let tasks: Vec<_> = SIZES
            .into_iter()
            .flat_map(|size| std::iter::repeat_n(size, TASKS_OF_EACH_SIZE))
            .map(|size| task::Builder::new().stack_size(size).spawn(body).unwrap())
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
    });
}
