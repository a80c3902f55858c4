//! What only some systems have, as [`std::os`].

pub mod unix;
