//! What the system knows about the threads of this process, and makes them do.

pub(crate) use super::beyond::{barrier, pin, prepare_barrier, processors, thread_count, unpin};

#[cfg(all(test, target_os = "linux", not(multitask_portable)))]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "SYS_THREAD_CHILD";

    /// In a process of its own, where no other test starts or ends threads.
    #[test]
    fn a_blocked_thread_is_counted_until_it_is_joined() {
        if std::env::var_os(CHILD).is_none() {
            let name = "a_blocked_thread_is_counted_until_it_is_joined";
            let module = module_path!()
                .split_once("::")
                .expect("a module of a crate")
                .1;
            let child = Command::new(std::env::current_exe().expect("this test's own path"))
                .args([&format!("{module}::{name}"), "--exact", "--test-threads=1"])
                .env(CHILD, "1")
                .output()
                .expect("the test binary runs again");
            assert!(
                child.status.success(),
                "{}",
                String::from_utf8_lossy(&child.stdout)
            );
            return;
        }
        let before = thread_count().expect("/proc is mounted");
        assert!(
            matches!(before, 1 | 2),
            "the main thread, and the test's: {before}"
        );
        let (release, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv());
        assert_eq!(thread_count(), Some(before + 1));
        drop(release);
        let _ = thread.join().expect("the thread does not panic");
        // `join` waits for the kernel to clear the thread's id, a moment before its directory goes.
        while thread_count() != Some(before) {
            std::thread::yield_now();
        }
    }
}
