//! Asks one thread of this process what it is doing, by a signal. For Linux on x86_64 and aarch64.
//!
//! Everything a handler calls from here is async-signal-safe: no lock, no allocation.

use super::signal::{c_int, Action, Info, Informed};
use std::ffi::c_void;
use std::io;
use std::mem::size_of;

/// The signal that asks. By default it is ignored: one that comes late, or goes astray, harms nobody.
pub(crate) const SIGNAL: c_int = libc::SIGURG;

/// The calling thread, as the kernel numbers it.
pub(crate) fn this_thread() -> i32 {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// `siginfo_t` of a signal that a process sends with a value, as far as it is written; the rest of it is zero.
#[repr(C)]
struct Sent {
    signal: c_int,
    errno: c_int,
    code: c_int,
    _padding: c_int,
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: usize,
}

/// Sends [`SIGNAL`] to a thread, with a value by which its handler knows who sent it.
///
/// # Errors
///
/// Those of `rt_tgsigqueueinfo(2)`: there is no such thread in this process, or a sandbox forbids the call.
pub(crate) fn ask(thread: i32, value: usize) -> io::Result<()> {
    const { assert!(size_of::<Sent>() <= size_of::<libc::siginfo_t>()) };
    // SAFETY: integers and pointers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: they take nothing, and cannot fail.
    let (pid, uid) = unsafe { (libc::getpid(), libc::getuid()) };
    let sent = Sent {
        signal: SIGNAL,
        errno: 0,
        code: libc::SI_QUEUE,
        _padding: 0,
        pid,
        uid,
        value,
    };
    // SAFETY: it fits, as is asserted above, and is less strictly aligned or as strictly: both have a pointer in them.
    unsafe { (&raw mut info).cast::<Sent>().write(sent) };
    // SAFETY: `info` outlives the call.
    match unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, thread, SIGNAL, &info) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Action {
    /// Runs `handler` on the thread's alternate signal stack, with the signal blocked meanwhile. System calls go on after it, those that
    /// can: see `signal(7)`.
    pub(crate) fn restarting(handler: Informed) -> Action {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        Action::new(handler as libc::sighandler_t, flags)
    }
}

impl Info {
    /// The value that was sent with the signal, if one was.
    pub(crate) fn value(&self) -> Option<usize> {
        let was_sent_with_one = self.0.si_code == libc::SI_QUEUE;
        // SAFETY: a signal with that code has this member.
        was_sent_with_one.then(|| unsafe { self.0.si_value() }.sival_ptr as usize)
    }
}

/// Keeps `errno` for the code in whose middle a handler runs.
pub(crate) struct Errno(c_int);

impl Errno {
    pub(crate) fn keep() -> Errno {
        // SAFETY: it is this thread's, for as long as the thread lives.
        Errno(unsafe { *libc::__errno_location() })
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

/// The registers of a thread, as unwind tables number them.
#[derive(Clone, Copy)]
pub(crate) struct Registers(pub(crate) [u64; Registers::COUNT]);

#[cfg(target_arch = "x86_64")]
impl Registers {
    pub(crate) const COUNT: usize = 17;
    pub(crate) const STACK_POINTER: usize = 7;
    pub(crate) const INSTRUCTION: usize = 16;
    /// What a function may use below its stack pointer.
    pub(crate) const RED_ZONE: usize = 128;

    /// Those of the code in whose middle a handler runs.
    ///
    /// # Safety
    ///
    /// `context` is what the kernel gave to the handler.
    pub(crate) unsafe fn of(context: *mut c_void) -> Registers {
        use libc::*;
        const ORDER: [c_int; Registers::COUNT] = [
            REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8, REG_R9,
            REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP,
        ];
        // SAFETY: the caller says that it is one.
        let machine = unsafe { &(*context.cast::<ucontext_t>()).uc_mcontext };
        Registers(ORDER.map(|register| machine.gregs[register as usize] as u64))
    }
}

#[cfg(target_arch = "aarch64")]
impl Registers {
    pub(crate) const COUNT: usize = 33;
    pub(crate) const STACK_POINTER: usize = 31;
    pub(crate) const INSTRUCTION: usize = 32;
    /// What a function may use below its stack pointer.
    pub(crate) const RED_ZONE: usize = 0;

    /// Those of the code in whose middle a handler runs.
    ///
    /// # Safety
    ///
    /// `context` is what the kernel gave to the handler.
    pub(crate) unsafe fn of(context: *mut c_void) -> Registers {
        // SAFETY: the caller says that it is one.
        let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        let mut registers = [0; Registers::COUNT];
        registers[..31].copy_from_slice(&machine.regs);
        registers[Registers::STACK_POINTER] = machine.sp;
        registers[Registers::INSTRUCTION] = machine.pc;
        Registers(registers)
    }
}

/// Copies so many words, whatever is in them: of a stack there are those that nobody has written, and, in a build with AddressSanitizer, those
/// that the compiler has forbidden to touch. It looks at loads of Rust code, and not at these.
///
/// # Safety
///
/// As for `ptr::copy_nonoverlapping`, but that the source may have any contents.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn copy_words(from: *const u64, to: *mut u64, words: usize) {
    // SAFETY: the caller says that both are there. The direction is forward in Rust code, and in a handler.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") words => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Copies so many words, whatever is in them: of a stack there are those that nobody has written, and, in a build with AddressSanitizer, those
/// that the compiler has forbidden to touch. It looks at loads of Rust code, and not at these.
///
/// # Safety
///
/// As for `ptr::copy_nonoverlapping`, but that the source may have any contents.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn copy_words(from: *const u64, to: *mut u64, words: usize) {
    // SAFETY: the caller says that both are there.
    unsafe {
        std::arch::asm!(
            "cbz {left}, 3f",
            "2:",
            "ldr {word}, [{from}], #8",
            "str {word}, [{to}], #8",
            "subs {left}, {left}, #1",
            "b.ne 2b",
            "3:",
            left = inout(reg) words => _,
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            word = out(reg) _,
            options(nostack)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_words_are_copied_as_were_asked_for() {
        let from = [1, 2, 3, 4];
        for words in 0..=from.len() {
            let mut to = [0; 4];
            // SAFETY: both have four.
            unsafe { copy_words(from.as_ptr(), to.as_mut_ptr(), words) };
            assert_eq!(
                (&to[..words], &to[words..]),
                (&from[..words], &[0; 4][words..])
            );
        }
    }

    #[test]
    fn a_thread_that_is_not_there_is_not_asked() {
        let thread = std::thread::spawn(this_thread).join().expect("its number");
        assert_ne!(thread, this_thread());
        // `join` waits for the kernel to clear the thread's number, a moment before the thread is gone.
        while ask(thread, 0).is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(
            ask(thread, 0).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
    }
}
