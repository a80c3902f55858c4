//! The chain of `timeout` and `shield` scopes that a task (or a plain thread) is inside of.
//!
//! 1. A scope lives in the stack frame that opened it and is the top of its owner's chain from `enter` until its
//!    guard is dropped; chains are last in, first out because calls are.
//! 2. A scope is made complete by `enter` and never changes: what its parents decide (the nearest deadline, whether
//!    a shield covers) is copied in, so nobody walks the chain.

use super::fault;
use std::cell::Cell;
use std::ptr;
use std::time::Instant;

/// Names a scope among all that were ever opened on its thread, by tasks, which stay on it, or by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeId(pub(super) u64);

/// The deadline that will end a scope, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) deadline: Instant,
    pub(crate) scope: ScopeId,
}

impl Limit {
    /// With the deadline that a test has moved.
    #[inline(always)]
    fn hastened(self) -> Limit {
        let deadline = fault::hastened(self.scope.0).unwrap_or(self.deadline);
        Limit { deadline, ..self }
    }
}

struct Scope {
    parent: *const Scope,
    /// The nearest deadline that holds here: this scope's own or an outer one's; a shield hides the outer ones.
    limit: Option<Limit>,
    /// Cancelling the task is put off: a shield is open.
    shielded: bool,
}

/// The top of an owner's chain.
pub(crate) struct Scopes {
    top: Cell<*const Scope>,
}

thread_local! {
    /// The name of the next scope that is opened on this thread.
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

impl Scopes {
    pub(crate) const fn new() -> Self {
        Scopes {
            top: Cell::new(ptr::null()),
        }
    }

    /// The nearest deadline that holds now.
    #[inline]
    pub(crate) fn limit(&self) -> Option<Limit> {
        self.top()
            .and_then(|scope| scope.limit)
            .map(Limit::hastened)
    }

    /// Whether neither a deadline nor a shield holds now.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.top.get().is_null()
    }

    /// Whether a shield is open.
    #[inline]
    pub(crate) fn shielded(&self) -> bool {
        self.top().is_some_and(|scope| scope.shielded)
    }

    /// Calls `body` inside a scope that ends at `deadline`; `None` is never.
    pub(crate) fn within<R>(
        &self,
        deadline: Option<Instant>,
        body: impl FnOnce(ScopeId) -> R,
    ) -> R {
        let id = ScopeId(NEXT.replace(NEXT.get() + 1));
        let own = deadline.map(|deadline| Limit {
            deadline,
            scope: id,
        });
        let limit = match (own, self.limit()) {
            // Equal deadlines: the inner scope ends, and the outer one at the next occasion.
            (Some(own), Some(outer)) if outer.deadline < own.deadline => Some(outer),
            (own, outer) => own.or(outer),
        };
        self.enter(limit, self.shielded(), || body(id))
    }

    /// Calls `body` with outer deadlines and cancelling put off.
    pub(crate) fn shield<R>(&self, body: impl FnOnce() -> R) -> R {
        self.enter(None, true, body)
    }

    fn enter<R>(&self, limit: Option<Limit>, shielded: bool, body: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Scopes, *const Scope);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.top.set(self.1);
            }
        }
        let scope = Scope {
            parent: self.top.get(),
            limit,
            shielded,
        };
        self.top.set(&scope);
        let _leave = Leave(self, scope.parent);
        body()
    }

    fn top(&self) -> Option<&Scope> {
        // SAFETY: by invariant 1 the top of the chain lives in a frame below the caller's.
        unsafe { self.top.get().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_smaller_deadline_wins_whether_inner_or_outer() {
        let scopes = Scopes::new();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        scopes.within(Some(now), |outer| {
            scopes.within(Some(later), |_| {
                assert_eq!(scopes.limit().unwrap().scope, outer)
            });
            scopes.within(None, |_| assert_eq!(scopes.limit().unwrap().scope, outer));
        });
        scopes.within(Some(later), |_| {
            scopes.within(Some(now), |inner| {
                assert_eq!(scopes.limit().unwrap().scope, inner)
            });
        });
        assert_eq!(scopes.limit(), None);
    }

    #[test]
    fn a_shield_hides_outer_deadlines_but_not_inner_ones() {
        let scopes = Scopes::new();
        let now = Instant::now();
        scopes.within(Some(now), |_| {
            assert!(!scopes.shielded());
            scopes.shield(|| {
                assert_eq!(scopes.limit(), None);
                scopes.within(Some(now), |inner| {
                    assert!(scopes.shielded());
                    assert_eq!(scopes.limit().unwrap().scope, inner);
                });
            });
            assert!(!scopes.shielded() && scopes.limit().is_some());
        });
    }

    #[test]
    fn a_scope_left_by_unwinding_is_closed() {
        let scopes = Scopes::new();
        let body = || scopes.within(Some(Instant::now()), |_| panic!("out"));
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        assert!(unwound.is_err());
        assert_eq!(scopes.limit(), None);
    }
}
