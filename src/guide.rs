//! The Rust blocks of the documents beside the source, as documentation tests.
#![cfg(doctest)]

#[doc = include_str!("../README.md")]
mod readme {}

#[doc = include_str!("../docs/guide/README.md")]
mod index {}

#[doc = include_str!("../docs/guide/chat.md")]
mod chat {}

#[doc = include_str!("../docs/guide/tasks.md")]
mod tasks {}

#[doc = include_str!("../docs/guide/time-and-cancelling.md")]
mod time_and_cancelling {}

#[doc = include_str!("../docs/guide/unwinding.md")]
mod unwinding {}

#[doc = include_str!("../docs/guide/sockets.md")]
mod sockets {}

#[doc = include_str!("../docs/guide/http-and-tls.md")]
mod http_and_tls {}

#[doc = include_str!("../docs/guide/files.md")]
mod files {}

#[doc = include_str!("../docs/guide/blocking.md")]
mod blocking {}

#[doc = include_str!("../docs/guide/processes.md")]
mod processes {}

#[doc = include_str!("../docs/guide/sharing.md")]
mod sharing {}

#[doc = include_str!("../docs/guide/futures.md")]
mod futures {}

#[doc = include_str!("../docs/guide/databases-and-queues.md")]
mod databases_and_queues {}

#[doc = include_str!("../docs/guide/multi-core.md")]
mod multi_core {}

#[doc = include_str!("../docs/guide/debugging.md")]
mod debugging {}

#[cfg(feature = "tracing")]
#[doc = include_str!("../docs/guide/observing.md")]
mod observing {}

#[cfg(feature = "testing")]
#[doc = include_str!("../docs/guide/testing.md")]
mod testing {}

#[doc = include_str!("../docs/guide/from-threads.md")]
mod from_threads {}

#[doc = include_str!("../docs/guide/coming-from-multitask.md")]
mod coming_from_multitask {}

#[doc = include_str!("../docs/guide/coming-from-gevent.md")]
mod coming_from_gevent {}

#[doc = include_str!("../docs/guide/coming-from-may.md")]
mod coming_from_may {}

#[doc = include_str!("../docs/guide/coming-from-tokio.md")]
mod coming_from_tokio {}
