//! Who runs a shard: its own core, or for a moment a sibling that needs it while that core sleeps.
//!
//! Waking a core costs more than most of what it is woken for: a switch on its side, a call on ours, and
//! the same on the way back. A shard is a synchronous state machine, so while its core sleeps a sibling
//! may as well come and run it. The baton says who has it:
//!
//! ```text
//!            park                  try_visit
//!  RUNNING --------->    PARKED   ----------->   VISITED
//!     ^     <---------            <-----------      |
//!     |  rouse, awake               end: quiet      |
//!     +---------------------------------------------+
//!                    end: its owner is awaited
//! ```
//!
//! RUNNING also stands for an owner that was rung and has not woken yet: nobody else rings it or comes in.
//! An owner that wakes during a visit waits for its end. That is soon: a visitor does a bounded piece of
//! work, never sleeps, and visits nobody else meanwhile.
//!
//! The same state is the mailbox's flag of who sleeps. A core that is about to park says so and then looks
//! for mail once more, and so does a visitor at its end; a sender first puts its mail in and then looks
//! whether the receiver sleeps. One of the two sees the other, so no mail is slept over, and a core that is
//! awake is never rung.

use crate::limits::BATON_SPINS;
use crossbeam::utils::CachePadded;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU8, fence};

const RUNNING: u8 = 0;
const PARKED: u8 = 1;
const VISITED: u8 = 2;

/// Something that one thread owns and others may have while that one sleeps.
pub struct Baton<T> {
    state: CachePadded<AtomicU8>,
    value: UnsafeCell<T>,
}

// SAFETY: `value` is reached in two ways only. The one `Owner` derefs to it, and it can do so only while
// the state is RUNNING: `park` borrows it mutably from before it gives the state up until it has it back,
// so no reference from it lives meanwhile. A `Visit` derefs to it; one exists only while the state is
// VISITED, for it is made by the exchange of PARKED for VISITED, which one thread wins, and only its end
// leaves that state. The state is given up with Release and taken with Acquire, so what one holder wrote
// the next one sees: the value moves between threads as if it was sent, which `T: Send` allows.
unsafe impl<T: Send> Sync for Baton<T> {}

impl<T> Baton<T> {
    /// A baton that lives as long as the process, in the hand of its owner.
    pub fn leak(value: T) -> (Owner<T>, &'static Baton<T>) {
        let state = CachePadded::new(AtomicU8::new(RUNNING));
        let baton: &'static Baton<T> = Box::leak(Box::new(Baton { state, value: UnsafeCell::new(value) }));
        (Owner { baton, like: PhantomData }, baton)
    }

    /// Comes in, if the owner sleeps and nobody else is there.
    #[inline]
    pub fn try_visit(&self) -> Option<Visit<'_, T>> {
        let free = self.state.load(Relaxed) == PARKED
            && self.state.compare_exchange(PARKED, VISITED, Acquire, Relaxed).is_ok();
        // lazily: a visit that is made has begun, and its drop gives the value to the owner
        free.then(|| Visit { baton: self, like: PhantomData })
    }

    /// After something was left for the owner: whether it sleeps and must be rung. Answers yes to one
    /// caller only, and no during a visit, whose end looks for what was left.
    #[inline]
    pub fn rouse(&self) -> bool {
        fence(SeqCst);
        self.state.load(Relaxed) == PARKED
            && self.state.compare_exchange(PARKED, RUNNING, AcqRel, Relaxed).is_ok()
    }

    /// The owner has woken.
    fn take_back(&self) {
        let mut tries = 0;
        while let Err(VISITED | PARKED) = self.state.compare_exchange_weak(PARKED, RUNNING, Acquire, Acquire)
        {
            tries += 1;
            match tries < BATON_SPINS {
                true => std::hint::spin_loop(),
                // the visitor may need this very core to go on
                false => std::thread::yield_now(),
            }
        }
    }
}

/// The hand of the one thread that has the baton unless it sleeps.
pub struct Owner<T: 'static> {
    baton: &'static Baton<T>,
    /// Whoever may share an owner may share what it has.
    like: PhantomData<&'static mut T>,
}

impl<T> Owner<T> {
    /// Lets others in while `sleep` runs. It is told whether it may sleep: not when `is_awaited` says that
    /// something was left for the owner.
    pub fn park<R>(&mut self, is_awaited: impl FnOnce() -> bool, sleep: impl FnOnce(bool) -> R) -> R {
        struct Back<'a, T>(&'a Baton<T>);
        impl<T> Drop for Back<'_, T> {
            fn drop(&mut self) {
                self.0.take_back();
            }
        }
        self.baton.state.store(PARKED, Release);
        let back = Back(self.baton);
        fence(SeqCst);
        if is_awaited() {
            drop(back);
            return sleep(false);
        }
        sleep(true)
    }
}

impl<T> Deref for Owner<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the state is RUNNING outside of `park`, which nobody can be in who has `&self`.
        unsafe { &*self.baton.value.get() }
    }
}

impl<T> DerefMut for Owner<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; and this is the only owner, for `leak` makes one and it can't be cloned.
        unsafe { &mut *self.baton.value.get() }
    }
}

/// The hand of a thread that came in.
pub struct Visit<'a, T> {
    baton: &'a Baton<T>,
    like: PhantomData<&'a mut T>,
}

impl<T> Visit<'_, T> {
    /// Goes. The owner is awaited if the visit made work for it, or if `is_awaited` finds something that
    /// was left for it meanwhile; true: it must be rung.
    #[inline]
    pub fn end(self, made_work: bool, is_awaited: impl FnOnce() -> bool) -> bool {
        let baton = self.baton;
        if made_work {
            // as when a visit breaks off
            return true;
        }
        std::mem::forget(self);
        baton.state.store(PARKED, Release);
        fence(SeqCst);
        is_awaited() && baton.rouse()
    }
}

impl<T> Drop for Visit<'_, T> {
    /// The owner has the baton again, and nobody comes in before it has looked at what was left.
    fn drop(&mut self) {
        self.baton.state.store(RUNNING, Release);
    }
}

impl<T> Deref for Visit<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the state is VISITED, by this visit, until it is dropped.
        unsafe { &*self.baton.value.get() }
    }
}

impl<T> DerefMut for Visit<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.baton.value.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::mailbox::Post;
    use std::cell::Cell;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    #[test]
    fn states() {
        let (mut owner, baton) = Baton::leak(1);
        assert!(baton.try_visit().is_none() && !baton.rouse(), "the owner runs");
        *owner += 1;
        owner.park(
            || false,
            |may_sleep| {
                assert!(may_sleep);
                let mut visit = baton.try_visit().expect("the owner sleeps");
                *visit += 1;
                assert!(baton.try_visit().is_none() && !baton.rouse(), "somebody is there");
                assert!(!visit.end(false, || false));
                let visit = baton.try_visit().expect("the owner sleeps on");
                assert!(visit.end(false, || true), "something was left");
                assert!(baton.try_visit().is_none() && !baton.rouse(), "the owner was rung");
            },
        );
        owner.park(
            || false,
            |_| {
                assert!(baton.try_visit().expect("the owner sleeps").end(true, || false));
                assert!(baton.try_visit().is_none(), "the owner was rung");
            },
        );
        owner.park(|| true, |may_sleep| assert!(!may_sleep && baton.try_visit().is_none()));
        owner.park(|| false, |_| assert!(baton.rouse() && !baton.rouse(), "one rings"));
        assert_eq!(*owner, 3);
    }

    /// What many threads change without a lock of its own: two counters that are equal whenever
    /// nobody is at work on them.
    struct Tally {
        first: Cell<u64>,
        second: Cell<u64>,
    }

    impl Tally {
        fn count(&mut self) {
            assert_eq!(self.first.get(), self.second.get(), "two were at work");
            self.first.set(self.first.get() + 1);
            std::hint::spin_loop();
            self.second.set(self.second.get() + 1);
        }
    }

    const SENDERS: usize = 3;
    const MESSAGES: u64 = if cfg!(miri) { 50 } else { 5000 };

    /// What many threads share with the owner.
    struct Street {
        post: Post<u64>,
        /// How often the owner was rung.
        rings: Mutex<u64>,
        bell: Condvar,
        done: AtomicBool,
    }

    impl Street {
        fn ring(&self) {
            *self.rings.lock().unwrap() += 1;
            self.bell.notify_all();
        }

        /// Sleeps until there was a ring that was not `heard` yet.
        fn sleep(&self, heard: u64) {
            let rings = self.rings.lock().unwrap();
            let patience = Duration::from_secs(60);
            let waited = self.bell.wait_timeout_while(rings, patience, |rings| *rings == heard).unwrap();
            assert!(!waited.1.timed_out(), "slept over something");
        }
    }

    type Payload = (Tally, [u64; SENDERS]);

    /// Each message is worked off in a visit, or else posted; the owner sleeps whenever it has no mail, and
    /// rings are all that wakes it. All messages of a sender count, in their order, each once.
    #[test]
    fn visitors_and_mail_lose_nothing() {
        let (rings, bell, done) = (Mutex::new(0), Condvar::new(), AtomicBool::new(false));
        let street = Arc::new(Street { post: Post::new(SENDERS + 1, 64), rings, bell, done });
        let tally = Tally { first: Cell::new(0), second: Cell::new(0) };
        let (owner, baton) = Baton::leak((tally, [0; SENDERS]));
        let receiver = {
            let street = street.clone();
            std::thread::spawn(move || own(owner, &street))
        };
        let senders = [0, 1, 2].map(|from| {
            let street = street.clone();
            let send = move |n: &u64| send(baton, &street, from, *n);
            std::thread::spawn(move || (0..MESSAGES).filter(send).count())
        });
        let visits: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        street.done.store(true, SeqCst);
        street.ring();
        let (owned, counted) = receiver.join().unwrap();
        assert_eq!(owned + visits as u64, SENDERS as u64 * MESSAGES);
        assert_eq!(counted, SENDERS as u64 * MESSAGES, "every message counts once");
        assert!(visits >= SENDERS, "nobody ever came in");
    }

    fn work(payload: &mut Payload, from: usize, n: u64) {
        payload.0.count();
        assert_eq!(std::mem::replace(&mut payload.1[from], n + 1), n, "{from} was overtaken");
    }

    /// Works off mail until all is done; how much of it, and all that counted.
    fn own(mut owner: Owner<Payload>, street: &Street) -> (u64, u64) {
        let (mut owned, mut heard) = (0, 0);
        loop {
            for from in 0..SENDERS {
                while let Some(n) = street.post.receive(SENDERS, from) {
                    work(&mut owner, from, n);
                    owned += 1;
                }
            }
            if street.done.load(SeqCst) && !street.post.has_mail(SENDERS) {
                return (owned, owner.0.first.get());
            }
            owner.park(
                || street.post.has_mail(SENDERS),
                |may_sleep| {
                    if may_sleep {
                        street.sleep(heard);
                    }
                },
            );
            heard = *street.rings.lock().unwrap();
        }
    }

    /// Visits or posts; whether it was a visit. A first message waits until it may visit.
    fn send(baton: &Baton<Payload>, street: &Street, from: usize, n: u64) -> bool {
        loop {
            if let Some(mut visit) = baton.try_visit() {
                let is_clear = street.post.is_empty(from, SENDERS);
                if is_clear {
                    work(&mut visit, from, n);
                }
                // now and then a visit makes work
                if visit.end(is_clear && n.is_multiple_of(64), || street.post.has_mail(SENDERS)) {
                    street.ring();
                }
                if is_clear {
                    return true;
                }
            }
            if n > 0 {
                break;
            }
            std::thread::yield_now();
        }
        while street.post.send(from, SENDERS, n).is_err() {
            assert!(!street.done.load(SeqCst));
            std::thread::yield_now();
        }
        if baton.rouse() {
            street.ring();
        }
        false
    }
}
