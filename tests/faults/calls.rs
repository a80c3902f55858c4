//! Between the program and the C library: the calls of the system that can fail, each of which does so when its turn comes.
//!
//! 1. A function that the program defines under the name of one of the C library's takes its place wherever Rust code calls it: the
//!    library, std, mio, socket2. So all of the calls that a program makes are reached, not only those that `src/sys` makes itself.
//! 2. There is one order at a time. What is struck is the n-th call that the order is about, on whatever thread.
//! 3. A call fails as the system lets it fail: nothing has happened then. Only a `connect` that is interrupted goes on, and a
//!    connection that breaks is broken for its peer as well.
//! 4. A read of a TCP connection that leaves room has emptied it: the system keeps that promise and the library relies on it (see
//!    `Source::retry_read`), so such a read is not made short.
//! 5. What runs here may run in a signal handler or between `fork` and `exec`: atomics alone, no lock, no allocation.

use libc::{c_char, c_int, c_long, c_uint, c_void, off_t, size_t, ssize_t};
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering::SeqCst};

/// What a call of the system may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Injury {
    /// `EMFILE`: the process has no descriptor left. Of the calls that make one.
    NoDescriptor = 1,
    /// `ENOMEM`: no address space, no mapping for a guard, no memory in the kernel. Of the calls that need some.
    NoMemory,
    /// `EAGAIN`: no thread can be started.
    NoThread,
    /// `EINTR`: a signal came. Of the calls that wait, or might.
    Signal,
    /// One byte goes through, whatever was asked for. Of the calls that move data.
    Short,
    /// The connection has been reset; of a pipe the other end has gone, and a file cannot be read (`EIO`).
    Broken,
}

use Injury::{Broken, NoDescriptor, NoMemory, NoThread, Short, Signal};

/// Zero is none.
static ORDER: AtomicU8 = AtomicU8::new(0);
/// Calls until then, that one included; zero when it has happened.
static LEFT: AtomicUsize = AtomicUsize::new(0);
/// The name of the call that was struck, and its length.
static AT: (AtomicPtr<u8>, AtomicUsize) = (AtomicPtr::new(ptr::null_mut()), AtomicUsize::new(0));

/// Has it happen to the `nth` call that it can happen to; the first is 1.
pub fn order(injury: Injury, nth: usize) {
    AT.1.store(0, SeqCst);
    LEFT.store(nth, SeqCst);
    ORDER.store(injury as u8, SeqCst);
}

/// Takes the order back: which call was struck.
///
/// # Errors
/// There were fewer calls; here is how many were missing.
pub fn withdraw() -> Result<&'static str, usize> {
    ORDER.store(0, SeqCst);
    match LEFT.swap(0, SeqCst) {
        0 => {
            let (start, length) = (AT.0.load(SeqCst).cast_const(), AT.1.load(SeqCst));
            if length == 0 {
                return Ok("");
            }
            // SAFETY: both are of a name that is written in this file; the length was stored last.
            let name = unsafe { std::slice::from_raw_parts(start, length) };
            Ok(std::str::from_utf8(name).unwrap())
        }
        missing => Err(missing),
    }
}

/// Whether this is the call that is struck; by one of `injuries`.
fn due(injuries: &[Injury], name: &'static str) -> Option<Injury> {
    let order = ORDER.load(SeqCst);
    let injury = injuries.iter().find(|&&injury| injury as u8 == order)?;
    if LEFT
        .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
        .ok()?
        > 1
    {
        return None;
    }
    ORDER.store(0, SeqCst);
    AT.0.store(name.as_ptr().cast_mut(), SeqCst);
    AT.1.store(name.len(), SeqCst);
    Some(*injury)
}

/// The same of a call that moves data. The counter by which threads wake each other (`eventfd`) neither waits nor fails.
fn due_at(fd: c_int, name: &'static str) -> Option<Injury> {
    // SAFETY: plain integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` outlives the call.
    let known = unsafe { libc::fstat(fd, &mut stat) } == 0;
    if known && stat.st_mode & libc::S_IFMT == 0 {
        return None;
    }
    due(&[Signal, Short, Broken], name)
}

// ---- answers ----

/// What a call answers when it fails.
trait Failed {
    const FAILED: Self;
}

impl Failed for i32 {
    const FAILED: i32 = -1;
}

impl Failed for isize {
    const FAILED: isize = -1;
}

impl Failed for i64 {
    const FAILED: i64 = -1;
}

impl Failed for *mut c_void {
    const FAILED: *mut c_void = libc::MAP_FAILED;
}

fn fail<T: Failed>(error: c_int) -> T {
    // SAFETY: the address of this thread's `errno`.
    unsafe { *libc::__errno_location() = error };
    T::FAILED
}

fn error(injury: Injury) -> c_int {
    match injury {
        NoDescriptor => libc::EMFILE,
        NoMemory => libc::ENOMEM,
        NoThread => libc::EAGAIN,
        Signal => libc::EINTR,
        Short | Broken => libc::EIO,
    }
}

/// Breaks what is behind `fd`: what a call that would `write`, or read, answers.
fn broken(fd: c_int, write: bool) -> c_int {
    // SAFETY: takes two integers.
    let is_socket = unsafe { libc::shutdown(fd, libc::SHUT_RDWR) } == 0;
    match (is_socket, write) {
        (_, true) => libc::EPIPE,
        (true, false) => libc::ECONNRESET,
        (false, false) => libc::EIO,
    }
}

/// See 4; and a datagram goes as a whole.
fn can_be_short(fd: c_int, write: bool) -> bool {
    match option(fd, libc::SO_TYPE) {
        None => true,
        Some(libc::SOCK_STREAM) => write || option(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX),
        Some(_) => false,
    }
}

/// What is set on a socket; of what is none, nothing.
fn option(fd: c_int, name: c_int) -> Option<c_int> {
    let (mut value, mut length): (c_int, _) = (0, size_of::<c_int>() as libc::socklen_t);
    let room = (&raw mut value).cast();
    // SAFETY: room for an integer, and its length.
    let asked = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, room, &mut length) };
    (asked == 0).then_some(value)
}

/// The C library's own.
fn real(known: &AtomicPtr<c_void>, name: &'static str) -> *mut c_void {
    let found = known.load(SeqCst);
    if !found.is_null() {
        return found;
    }
    // SAFETY: a name that ends with a zero.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast::<c_char>()) };
    if found.is_null() {
        // SAFETY: it takes nothing.
        unsafe { libc::abort() };
    }
    known.store(found, SeqCst);
    found
}

/// The C library's function of that name and type.
macro_rules! real {
    ($name:ident($($type:ty),* $(,)?) -> $answer:ty) => {{
        static KNOWN: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
        let found = real(&KNOWN, concat!(stringify!($name), "\0"));
        // SAFETY: it is the function of which the caller gives the type.
        unsafe { transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $answer>(found) }
    }};
}

/// Functions that fail, or are the C library's.
macro_rules! calls {
    ($($injuries:expr => fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        #[no_mangle]
        unsafe extern "C" fn $name($($arg: $type),*) -> $answer {
            match due($injuries, stringify!($name)) {
                Some(injury) => fail(error(injury)),
                None => {
                    let call = real!($name($($type),*) -> $answer);
                    // SAFETY: what the caller promises the C library.
                    unsafe { call($($arg),*) }
                }
            }
        }
    )*};
}

/// Functions that move bytes.
macro_rules! transfers {
    ($($write:literal fn $name:ident(fd, buf: $buf:ty, len $(, $arg:ident: $type:ty)*);)*) => {$(
        #[no_mangle]
        unsafe extern "C" fn $name(fd: c_int, buf: $buf, len: size_t $(, $arg: $type)*) -> ssize_t {
            let len = match due_at(fd, stringify!($name)) {
                Some(Short) if can_be_short(fd, $write) => len.min(1),
                Some(Short) => len,
                Some(Broken) => return fail(broken(fd, $write)),
                Some(injury) => return fail(error(injury)),
                None => len,
            };
            let call = real!($name(c_int, $buf, size_t $(, $type)*) -> ssize_t);
            // SAFETY: what the caller promises the C library, of no more bytes.
            unsafe { call(fd, buf, len $(, $arg)*) }
        }
    )*};
}

/// Functions that move bytes from or to several places.
macro_rules! vectors {
    ($($write:literal fn $name:ident(fd, vectors, count $(, $arg:ident: $type:ty)*);)*) => {$(
        #[no_mangle]
        unsafe extern "C" fn $name(fd: c_int, vectors: *const libc::iovec, count: c_int $(, $arg: $type)*) -> ssize_t {
            let call = real!($name(c_int, *const libc::iovec, c_int $(, $type)*) -> ssize_t);
            match due_at(fd, stringify!($name)) {
                Some(Short) if !can_be_short(fd, $write) => {}
                Some(Short) => {
                    // SAFETY: the caller promises so many.
                    let all = (0..count as usize).map(|at| unsafe { *vectors.add(at) });
                    if let Some(mut first) = all.into_iter().find(|vector| vector.iov_len > 0) {
                        first.iov_len = 1;
                        // SAFETY: what the caller promises the C library, of one byte.
                        return unsafe { call(fd, &first, 1 $(, $arg)*) };
                    }
                }
                Some(Broken) => return fail(broken(fd, $write)),
                Some(injury) => return fail(error(injury)),
                None => {}
            }
            // SAFETY: what the caller promises the C library.
            unsafe { call(fd, vectors, count $(, $arg)*) }
        }
    )*};
}

calls! {
    &[NoDescriptor, NoMemory] => fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    &[NoDescriptor] => fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int;
    &[NoDescriptor, Signal] => fn accept4(fd: c_int, address: *mut libc::sockaddr, length: *mut libc::socklen_t, flags: c_int) -> c_int;
    &[NoDescriptor, Signal] => fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int;
    &[NoDescriptor] => fn pipe2(pair: *mut c_int, flags: c_int) -> c_int;
    &[NoDescriptor, NoMemory] => fn eventfd(value: c_uint, flags: c_int) -> c_int;
    &[NoDescriptor, NoMemory] => fn epoll_create1(flags: c_int) -> c_int;
    &[NoDescriptor, NoMemory] => fn timerfd_create(clock: c_int, flags: c_int) -> c_int;

    &[NoMemory] => fn mmap(at: *mut c_void, len: size_t, protection: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void;

    &[Signal] => fn poll(entries: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int;
    &[Signal] => fn ppoll(entries: *mut libc::pollfd, count: libc::nfds_t, timeout: *const libc::timespec, mask: *const libc::sigset_t) -> c_int;
    &[Signal] => fn epoll_wait(fd: c_int, events: *mut libc::epoll_event, count: c_int, timeout: c_int) -> c_int;
    &[Signal] => fn recvmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int, timeout: *mut libc::timespec) -> c_int;
    &[Signal] => fn sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int) -> c_int;
    &[Signal] => fn waitid(kind: libc::idtype_t, id: libc::id_t, info: *mut libc::siginfo_t, options: c_int) -> c_int;
}

transfers! {
    false fn read(fd, buf: *mut c_void, len);
    false fn recv(fd, buf: *mut c_void, len, flags: c_int);
    true fn write(fd, buf: *const c_void, len);
    true fn send(fd, buf: *const c_void, len, flags: c_int);
}

vectors! {
    false fn readv(fd, vectors, count);
    true fn writev(fd, vectors, count);
    false fn preadv2(fd, vectors, count, offset: off_t, flags: c_int);
    true fn pwritev2(fd, vectors, count, offset: off_t, flags: c_int);
}

// ---- those that are struck by what they are asked for, or answer otherwise ----

/// Advice does not fail for want of memory, but for guards.
#[no_mangle]
unsafe extern "C" fn madvise(at: *mut c_void, len: size_t, advice: c_int) -> c_int {
    /// Of Linux 6.13; `libc` has no name for it yet.
    const GUARD_INSTALL: c_int = 102;
    if advice == GUARD_INSTALL && due(&[NoMemory], "madvise").is_some() {
        return fail(libc::ENOMEM);
    }
    let call = real!(madvise(*mut c_void, size_t, c_int) -> c_int);
    // SAFETY: what the caller promises the C library.
    unsafe { call(at, len, advice) }
}

/// A guard of ours has four pages at least. That of a thread's signal stack, which has one, is std's, which ends the process without it.
#[no_mangle]
unsafe extern "C" fn mprotect(at: *mut c_void, len: size_t, protection: c_int) -> c_int {
    if len >= 16 << 10 && due(&[NoMemory], "mprotect").is_some() {
        return fail(libc::ENOMEM);
    }
    let call = real!(mprotect(*mut c_void, size_t, c_int) -> c_int);
    // SAFETY: what the caller promises the C library.
    unsafe { call(at, len, protection) }
}

#[no_mangle]
unsafe extern "C" fn epoll_ctl(
    fd: c_int,
    operation: c_int,
    of: c_int,
    event: *mut libc::epoll_event,
) -> c_int {
    if operation == libc::EPOLL_CTL_ADD && due(&[NoMemory], "epoll_ctl").is_some() {
        return fail(libc::ENOMEM);
    }
    let call = real!(epoll_ctl(c_int, c_int, c_int, *mut libc::epoll_event) -> c_int);
    // SAFETY: what the caller promises the C library.
    unsafe { call(fd, operation, of, event) }
}

/// It has one more argument at most, which is no larger than a word.
#[no_mangle]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    if command == libc::F_DUPFD_CLOEXEC && due(&[NoDescriptor], "fcntl").is_some() {
        return fail(libc::EMFILE);
    }
    let call = real!(fcntl(c_int, c_int, *mut c_void) -> c_int);
    // SAFETY: what the caller promises the C library.
    unsafe { call(fd, command, argument) }
}

/// Goes on when it is interrupted. That of a Unix socket, which does not wait, is not: it succeeds at once or not at all.
#[no_mangle]
unsafe extern "C" fn connect(
    fd: c_int,
    address: *const libc::sockaddr,
    length: libc::socklen_t,
) -> c_int {
    let call = real!(connect(c_int, *const libc::sockaddr, libc::socklen_t) -> c_int);
    // SAFETY: what the caller promises the C library.
    let answer = unsafe { call(fd, address, length) };
    let is_unix = option(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX);
    if !is_unix && due(&[Signal], "connect").is_some() {
        return fail(libc::EINTR);
    }
    answer
}

/// One that looks does not wait, and is not interrupted.
#[no_mangle]
unsafe extern "C" fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int {
    if options & libc::WNOHANG == 0 && due(&[Signal], "waitpid").is_some() {
        return fail(libc::EINTR);
    }
    let call = real!(waitpid(c_int, *mut c_int, c_int) -> c_int);
    // SAFETY: what the caller promises the C library.
    unsafe { call(pid, status, options) }
}

/// It has six more arguments at most, which are words.
#[no_mangle]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_pidfd_open && due(&[NoDescriptor, NoMemory], "pidfd_open").is_some() {
        return fail(libc::EMFILE);
    }
    let call = real!(syscall(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long);
    // SAFETY: what the caller promises the C library.
    unsafe { call(number, a, b, c, d, e, f) }
}

/// It answers with the error itself.
#[no_mangle]
unsafe extern "C" fn posix_spawnp(
    pid: *mut libc::pid_t,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: *const *mut c_char,
    environment: *const *mut c_char,
) -> c_int {
    if due(&[NoMemory, NoThread], "posix_spawnp").is_some() {
        return libc::ENOMEM;
    }
    let call = real!(
        posix_spawnp(
            *mut libc::pid_t,
            *const c_char,
            *const c_void,
            *const c_void,
            *const *mut c_char,
            *const *mut c_char,
        ) -> c_int
    );
    // SAFETY: what the caller promises the C library.
    unsafe { call(pid, file, actions, attributes, arguments, environment) }
}

/// It answers with the error itself.
#[no_mangle]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const c_void,
    body: *mut c_void,
    argument: *mut c_void,
) -> c_int {
    if due(&[NoThread], "pthread_create").is_some() {
        return libc::EAGAIN;
    }
    let call = real!(
        pthread_create(*mut libc::pthread_t, *const c_void, *mut c_void, *mut c_void) -> c_int
    );
    // SAFETY: what the caller promises the C library.
    unsafe { call(thread, attributes, body, argument) }
}
