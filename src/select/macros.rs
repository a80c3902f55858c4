//! `select!`: arms of a number known when it is written.
//!
//! The expansion is, for `recv(r) -> m => b, send(s, v) -> e => c`:
//!
//! ```text
//! match &r { place_r => match &s { place_s => match {
//!     let arm_r = recv(place_r);
//!     let arm_s = send(place_s);
//!     match choose(&[&arm_r, &arm_s], Never) {
//!         0 => This(received(place_r, &arm_r)),
//!         n => Other(match n - 1 { 0 => This(granted(place_s, &arm_s)), n => Other(never(n - 1)) }),
//!     }
//! } {
//!     This(out) => { let m = out; b }
//!     Other(rest) => match rest { This(out) => { let e = out.send(v); c } Other(rest) => match rest {} }
//! }}}
//! ```
//!
//! 1. The bodies are in the branches of the caller's own code: `break`, `return` and `?` are its.
//! 2. The arms are gone when a body begins, and with them what they borrow. (A right to send borrows, too; it is passed on in
//!    `ManuallyDrop`, or the compiler would see it dropped at the end of every body.)
//! 3. A value to be sent, and a handle to be joined, are named in their own branch only: the others leave it where it was.
//!
//! Each step adds a name to those handed on; hygiene keeps them apart. The shape of the parser, one arm at a time with the
//! three ways in which its body may end, is that of crossbeam-channel's `select!`.

/// Waits for the first of several things, and does that.
///
/// ```
/// use multitask::{select, spawn, sync::mpsc};
/// use std::time::Duration;
///
/// let (sender, receiver) = mpsc::channel();
/// let (stop, stopped) = mpsc::channel::<()>();
/// let sum = spawn(move || {
///     let mut sum = 0;
///     loop {
///         select! {
///             recv(receiver) -> message => sum += message.unwrap_or(0),
///             recv(stopped) -> _ => break sum,
///             default(Duration::from_secs(10)) => panic!("nothing came"),
///         }
///     }
/// });
/// sender.send(5).unwrap();
/// multitask::yield_now();
/// drop(stop);
/// assert_eq!(sum.join().unwrap(), 5);
/// ```
///
/// # Arms
///
/// | | done when | the pattern is |
/// |---|---|---|
/// | `recv(r) -> pattern => …` | a message, or the end, is here | what `r.recv()` answers ([`Queue`]: `get`; [`Signals`]: `wait`) |
/// | `send(s, value) -> pattern => …` | there is room, or nobody who could receive | what `s.send(value)` answers (`Queue`: `put`) |
/// | `readable(fd) -> pattern => …`, `writable(fd) …` | as [`io::wait`] says | `io::Result<()>`; `-> pattern` may be left out |
/// | `join(handle) -> pattern => …` | the task has ended | what `handle.join()` answers |
/// | `after(duration) => …`, `at(instant) => …` | it is time | |
/// | `default => …` | nothing is ready at once | |
/// | `default(duration) => …` | nothing was for so long | |
///
/// `r` is a receiver of [`mpsc`], [`mpmc`] or [`oneshot`], a `Queue` or `Signals`, `s` a sender or a `Queue`, or a reference or an `Arc` to
/// one: see [`Receive`] and [`Transmit`]. `fd` is anything with a descriptor. A closed channel is ready: a loop has to do something
/// about it.
///
/// - **Exactly one arm is done**, and one that is not has done nothing. A value is made when its arm has been chosen, so
///   `send(s, value)` moves `value` only then; and `handle`, a variable or a field, is moved only when its task has ended. Both
///   can be used in the other arms and in the next round of a loop.
/// - **Which**: of those that are ready, one drawn by lot, so that none starves. (Trying begins with an arm drawn evenly, and goes
///   on with those after it.) If none is, that for which something comes first. Among all who wait for a channel the order is that
///   in which they came, also for who waits in a `select!`.
/// - **The body** is the caller's own code: `break`, `return` and `?` work in it.
/// - Suspends the calling task while it waits (on a plain thread: blocks it, running its default scheduler if that has tasks, or
///   if there is a descriptor among the arms). No task is made for an arm. With `default` it does not wait.
/// - **Interruption**: cancelling, and a [`timeout`](crate::timeout) round it, unwind; where nothing can be unwound, it waits on.
///
/// ```
/// use multitask::{select, sleep, spawn, sync::mpsc};
/// use std::time::Duration;
///
/// let (sender, receiver) = mpsc::sync_channel(0);
/// let work = spawn(|| sleep(Duration::from_millis(1)));
/// let precious = String::from("value");
/// let back = select! {
///     send(sender, precious) -> sent => panic!("nobody receives: {sent:?}"),
///     join(work) -> done => {
///         done.unwrap();
///         precious // is still ours
///     }
/// };
/// assert_eq!(back, "value");
/// # drop(receiver);
/// ```
///
/// # With a capacity of 0
///
/// a `send` arm meets a receiver that *waits*, in `recv`, `recv_timeout` or another `select!`. `try_recv`, an arm beside a `default`,
/// and `get_matching` pass it by, for there is no value to be had at once; and a receiver takes what an ordinary sender offers first.
///
/// # Panics
/// As the operations themselves: on a plain thread, if nothing can ever happen again on the thread's default scheduler.
///
/// ```compile_fail
/// multitask::select! {
///     receive(channel) -> message => {}
/// }
/// ```
///
/// [`mpsc`]: crate::sync::mpsc
/// [`mpmc`]: crate::sync::mpmc
/// [`oneshot`]: crate::sync::oneshot
/// [`Queue`]: crate::sync::Queue
/// [`Signals`]: crate::signal::Signals
/// [`io::wait`]: crate::io::wait
/// [`Receive`]: crate::select::Receive
/// [`Transmit`]: crate::select::Transmit
#[macro_export]
macro_rules! select {
    () => {
        ::core::compile_error!("`select!` needs an arm to wait for")
    };
    ($($arms:tt)+) => {
        $crate::select::macros::step!(@parse ($($arms)+) [])
    };
}

/// The steps of `select!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // Arms, one by one, into `{kind (arguments) (pattern) {body}}`.
    (@parse () $arms:tt) => {
        $crate::select::macros::step!(@bind $arms [] ())
    };
    (@parse (default => $($rest:tt)*) $arms:tt) => {
        $crate::select::macros::step!(@parse (default() => $($rest)*) $arms)
    };
    (@parse ($kind:ident $args:tt $(-> $pat:pat)? => $body:expr, $($rest:tt)*) [$($arms:tt)*]) => {
        $crate::select::macros::step!(@parse ($($rest)*) [$($arms)* {$kind $args ($($pat)?) {$body}}])
    };
    (@parse ($kind:ident $args:tt $(-> $pat:pat)? => $body:block $($rest:tt)*) [$($arms:tt)*]) => {
        $crate::select::macros::step!(@parse ($($rest)*) [$($arms)* {$kind $args ($($pat)?) {$body}}])
    };
    (@parse ($kind:ident $args:tt $(-> $pat:pat)? => $body:expr) [$($arms:tt)*]) => {
        $crate::select::macros::step!(@parse () [$($arms)* {$kind $args ($($pat)?) {$body}}])
    };
    (@parse ($($rest:tt)*) $arms:tt) => {
        ::core::compile_error!(::core::concat!(
            "expected an arm as `recv(receiver) -> message => …,`, found `", ::core::stringify!($($rest)*), "`"
        ))
    };

    // What they are about, evaluated in order: `{kind place …}`.
    (@bind [{recv ($from:expr $(,)?) ($pat:pat) $body:tt} $($arms:tt)*] [$($bound:tt)*] $default:tt) => {
        match &$from {
            place => $crate::select::macros::step!(@bind [$($arms)*] [$($bound)* {recv place ($pat) $body}] $default),
        }
    };
    (@bind [{send ($to:expr, $value:expr $(,)?) ($pat:pat) $body:tt} $($arms:tt)*] [$($bound:tt)*] $default:tt) => {
        match &$to {
            place => $crate::select::macros::step!(@bind [$($arms)*] [$($bound)* {send place ($value) ($pat) $body}] $default),
        }
    };
    (@bind [{readable ($fd:expr $(,)?) ($($pat:pat)?) $body:tt} $($arms:tt)*] [$($bound:tt)*] $default:tt) => {
        match &$fd {
            place => $crate::select::macros::step!(@bind [$($arms)*] [$($bound)* {readable place ($($pat)?) $body}] $default),
        }
    };
    (@bind [{writable ($fd:expr $(,)?) ($($pat:pat)?) $body:tt} $($arms:tt)*] [$($bound:tt)*] $default:tt) => {
        match &$fd {
            place => $crate::select::macros::step!(@bind [$($arms)*] [$($bound)* {writable place ($($pat)?) $body}] $default),
        }
    };
    (@bind [{join ($handle:ident $(. $field:tt)* $(,)?) ($pat:pat) $body:tt} $($arms:tt)*] [$($bound:tt)*] $default:tt) => {
        match &$handle $(. $field)* {
            place => $crate::select::macros::step!(
                @bind [$($arms)*] [$($bound)* {join place ($handle $(. $field)*) ($pat) $body}] $default
            ),
        }
    };
    (@bind [{after ($duration:expr $(,)?) () $body:tt} $($arms:tt)*] [$($bound:tt)*] $default:tt) => {
        match $crate::select::private::after($duration) {
            place => $crate::select::macros::step!(@bind [$($arms)*] [$($bound)* {moment place $body}] $default),
        }
    };
    (@bind [{at ($moment:expr $(,)?) () $body:tt} $($arms:tt)*] [$($bound:tt)*] $default:tt) => {
        match $crate::select::private::at($moment) {
            place => $crate::select::macros::step!(@bind [$($arms)*] [$($bound)* {moment place $body}] $default),
        }
    };
    (@bind [{default () () $body:tt} $($arms:tt)*] $bound:tt ()) => {
        $crate::select::macros::step!(@bind [$($arms)*] $bound ((::core::time::Duration::ZERO) $body))
    };
    (@bind [{default ($duration:expr $(,)?) () $body:tt} $($arms:tt)*] $bound:tt ()) => {
        $crate::select::macros::step!(@bind [$($arms)*] $bound (($duration) $body))
    };
    (@bind [{default $args:tt $pat:tt $body:tt} $($arms:tt)*] $bound:tt $default:tt) => {
        ::core::compile_error!("`default` stands once, as `default => …` or `default(duration) => …`")
    };
    (@bind [{$kind:ident $args:tt ($($pat:tt)?) $body:tt} $($arms:tt)*] $bound:tt $default:tt) => {
        ::core::compile_error!(::core::concat!(
            "no arm is written `", ::core::stringify!($kind $args), "`: the arms are `recv(receiver) -> pattern`, \
             `send(sender, value) -> pattern`, `readable(fd)`, `writable(fd)`, `join(handle) -> pattern`, `after(duration)`, \
             `at(instant)`, `default` and `default(duration)`"
        ))
    };
    (@bind [] [$($bound:tt)*] $default:tt) => {
        $crate::select::macros::step!(@branch (
            $crate::select::macros::step!(@arm [$($bound)*] [] $default)
        ) [$($bound)*] $default)
    };

    // The arms, and the choice among them.
    (@arm [{$kind:ident $place:ident $($more:tt)*} $($bound:tt)*] [$($arms:tt)*] $default:tt) => {{
        let arm = $crate::select::private::$kind($place);
        let picked = $crate::select::macros::step!(@arm [$($bound)*] [$($arms)* {$kind $place arm}] $default);
        picked
    }};
    (@arm [] [$({$kind:ident $place:ident $arm:ident})*] $default:tt) => {{
        let arms: &[&dyn $crate::select::private::Arm] = &[$(&$arm),*];
        let chosen = $crate::select::private::choose(arms, $crate::select::macros::step!(@bound $default));
        $crate::select::macros::step!(@pick (chosen) [$({$kind $place $arm})*] $default)
    }};
    (@bound ()) => {
        $crate::select::private::Bound::Never
    };
    (@bound (($duration:expr) $body:tt)) => {
        $crate::select::private::Bound::For($duration)
    };

    // What came of it.
    (@pick ($chosen:expr) [{$kind:ident $place:ident $arm:ident} $($arms:tt)*] $default:tt) => {
        match $chosen {
            0 => $crate::select::private::Pick::This($crate::select::macros::step!(@outcome $kind $place $arm)),
            others => $crate::select::private::Pick::Other(
                $crate::select::macros::step!(@pick (others - 1) [$($arms)*] $default)
            ),
        }
    };
    (@pick ($chosen:expr) [] ()) => {
        $crate::select::private::never($chosen)
    };
    (@pick ($chosen:expr) [] $default:tt) => {
        ::core::mem::drop($chosen)
    };
    (@outcome recv $place:ident $arm:ident) => {
        $crate::select::private::Receive::received($place, &$arm)
    };
    (@outcome send $place:ident $arm:ident) => {
        ::core::mem::ManuallyDrop::new($crate::select::private::Transmit::granted($place, &$arm))
    };
    (@outcome readable $place:ident $arm:ident) => {
        $crate::select::private::outcome(&$arm)
    };
    (@outcome writable $place:ident $arm:ident) => {
        $crate::select::private::outcome(&$arm)
    };
    (@outcome $kind:ident $place:ident $arm:ident) => {
        ()
    };

    // The bodies.
    (@branch ($picked:expr) [{$kind:ident $place:ident $($more:tt)*} $($bound:tt)*] $default:tt) => {
        match $picked {
            $crate::select::private::Pick::This(_out) => $crate::select::macros::step!(@body _out $kind $($more)*),
            $crate::select::private::Pick::Other(others) => {
                $crate::select::macros::step!(@branch (others) [$($bound)*] $default)
            }
        }
    };
    (@branch ($others:expr) [] ()) => {
        match $others {}
    };
    (@branch ($others:expr) [] (($duration:expr) $body:tt)) => {
        match $others { () => $body }
    };
    (@body $out:ident send ($value:expr) ($pat:pat) $body:tt) => {{
        let $pat = $crate::select::private::Grant::send(::core::mem::ManuallyDrop::into_inner($out), $value);
        $body
    }};
    (@body $out:ident join ($($handle:tt)+) ($pat:pat) $body:tt) => {{
        let $pat = $($handle)+.join();
        $body
    }};
    (@body $out:ident moment $body:tt) => {
        $body
    };
    (@body $out:ident $kind:ident ($($pat:pat)?) $body:tt) => {{
        $(let $pat = $out;)?
        $body
    }};
}

/// By this path, for the root holds nothing that the crate itself uses.
pub use __select as step;
