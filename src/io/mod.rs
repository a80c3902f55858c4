//! Descriptors that suspend the task instead of blocking the thread.

pub(crate) mod source;
