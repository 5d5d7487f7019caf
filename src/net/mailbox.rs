//! Mail between cores: one bounded ring per ordered pair, and a flag per core that says it sleeps.
//!
//! The protocol of the flag: a core that is about to park raises it and then looks into its
//! mailboxes once more; a sender first puts its mail in and then takes the flag down. One of the
//! two sees the other, so no mail is slept over, and a core that is awake is never rung.

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The mailboxes of one host.
pub struct Post<T> {
    cores: usize,
    /// `to * cores + from`: all that one core receives lies together.
    boxes: Vec<ArrayQueue<T>>,
    parked: Vec<CachePadded<AtomicBool>>,
}

impl<T> Post<T> {
    pub fn new(cores: usize, capacity: usize) -> Post<T> {
        Post {
            cores,
            boxes: (0..cores * cores).map(|_| ArrayQueue::new(capacity)).collect(),
            parked: (0..cores).map(|_| CachePadded::new(AtomicBool::new(false))).collect(),
        }
    }

    /// Puts `mail` in; gives it back when the box is full. Ring the peer once per batch when
    /// [`Post::must_ring`] says so.
    pub fn send(&self, from: usize, to: usize, mail: T) -> Result<(), T> {
        self.boxes[to * self.cores + from].push(mail)
    }

    #[inline]
    pub fn receive(&self, to: usize, from: usize) -> Option<T> {
        self.boxes[to * self.cores + from].pop()
    }

    /// After sending: whether `to` sleeps and must be rung. Answers yes to one sender only.
    pub fn must_ring(&self, to: usize) -> bool {
        fence(Ordering::SeqCst);
        self.parked[to].load(Ordering::Relaxed) && self.parked[to].swap(false, Ordering::SeqCst)
    }

    fn has_mail(&self, to: usize) -> bool {
        self.boxes[to * self.cores..(to + 1) * self.cores].iter().any(|b| !b.is_empty())
    }

    /// Raises the flag of `me`; false, with the flag down again, when mail has come.
    pub fn try_park(&self, me: usize) -> bool {
        if self.cores == 1 {
            return true;
        }
        self.parked[me].store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.has_mail(me) {
            self.unpark(me);
            return false;
        }
        true
    }

    pub fn unpark(&self, me: usize) {
        self.parked[me].store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn a_full_box_gives_mail_back_and_order_holds() {
        let post = Post::new(2, 4);
        for i in 0..4 {
            post.send(0, 1, i).unwrap();
        }
        assert_eq!(post.send(0, 1, 9), Err(9));
        assert_eq!(post.receive(0, 1), None);
        assert_eq!(
            (0..5).map(|_| post.receive(1, 0)).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
    }

    /// A receiver that sleeps only by the protocol, and a sender that rings only by it, never lose
    /// a message.
    #[test]
    fn no_mail_is_slept_over() {
        let post = Arc::new(Post::new(2, 64));
        let rings = Arc::new(AtomicU64::new(0));
        const MESSAGES: u64 = 50_000;
        let receiver = {
            let (post, rings) = (post.clone(), rings.clone());
            std::thread::spawn(move || {
                let (mut seen, mut heard) = (0u64, 0u64);
                while seen < MESSAGES {
                    while let Some(n) = post.receive(1, 0) {
                        assert_eq!(n, seen);
                        seen += 1;
                    }
                    if seen < MESSAGES && post.try_park(1) {
                        let start = std::time::Instant::now();
                        while rings.load(Ordering::SeqCst) == heard {
                            assert!(start.elapsed().as_secs() < 20, "slept over mail after {seen}");
                            std::thread::yield_now();
                        }
                        heard = rings.load(Ordering::SeqCst);
                        post.unpark(1);
                    }
                }
            })
        };
        for n in 0..MESSAGES {
            let mut mail = n;
            while let Err(back) = post.send(0, 1, mail) {
                mail = back;
                std::thread::yield_now();
            }
            if post.must_ring(1) {
                rings.fetch_add(1, Ordering::SeqCst);
            }
        }
        receiver.join().unwrap();
    }
}
