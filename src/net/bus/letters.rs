//! What the plane has for the shards: a letterbox and a bell for each of them.
//!
//! A letter that is not taken yet grows with what comes after it: of several views only the newest is
//! kept, slots are united, and answers are as many as clients wait for. So it needs no bound of its
//! own, and the bus never waits for a shard.

use crate::cluster::plane::{Answer, Effect};
use crate::cluster::view::View;
use crate::shard::desk::Unsent;
use crate::shard::mail::Ticket;
use crate::shard::plane::{self, Answered, Letters};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One shard's.
pub struct Letterbox {
    letters: Mutex<Letters>,
    /// Something was put in since the bell was last rung.
    due: AtomicBool,
    /// The bell was rung since the shard last looked.
    rung: AtomicBool,
    bell: UnixStream,
}

impl Letterbox {
    /// A letterbox, and the stream by which its shard hears the bell.
    pub fn new() -> io::Result<(Letterbox, UnixStream)> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok((
            Letterbox {
                letters: Mutex::default(),
                due: AtomicBool::default(),
                rung: AtomicBool::default(),
                bell,
            },
            ear,
        ))
    }

    fn put(&self, change: impl FnOnce(&mut Letters)) {
        change(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner));
        self.due.store(true, Ordering::Release);
    }

    /// Rings for what was put in: once for a view and the answer that rests on it.
    fn ring(&self) {
        if self.due.swap(false, Ordering::AcqRel) && !self.rung.swap(true, Ordering::AcqRel) {
            // the stream is full only when the bell rings already
            let _ = (&self.bell).write(&[0]);
        }
    }

    /// The view that lies here, with all else.
    pub fn view(&self) -> Option<Arc<View>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).view.clone()
    }

    /// All that came since the last time.
    pub fn take(&self) -> Letters {
        self.rung.store(false, Ordering::Release);
        std::mem::take(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The answer to a question of this shard.
    pub fn answer(&self, ticket: Ticket, outcome: Result<Answer, String>, unsent: Unsent<'_>) {
        let answered = Answered::new(ticket, outcome, unsent);
        self.put(|letters| letters.answers.push(answered));
    }
}

/// Delivers one of the plane's effects to the shards that it is for.
pub fn deliver(boxes: &[Letterbox], effect: Effect) {
    plane::deliver(effect, |l, change| boxes[l].put(change));
}

/// Rings wherever something was put in.
pub fn ring(boxes: &[Letterbox]) {
    boxes.iter().for_each(Letterbox::ring);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::Node;

    /// A shard that starts looks at the view, and must not miss what else the plane has told it already.
    #[test]
    fn a_look_at_the_view_takes_nothing() {
        let (letterbox, _ear) = Letterbox::new().expect("a pair of sockets");
        let boxes = [letterbox];
        assert!(boxes[0].view().is_none());
        let view = Arc::new(View::new(1, 0, vec![Node::default()], |_| 0));
        deliver(&boxes, Effect::Publish { locals: vec![0], view });
        deliver(&boxes, Effect::Replicate { local: 0, of: None });
        assert!(boxes[0].view().is_some());
        let letters = boxes[0].take();
        assert!(letters.view.is_some() && letters.source == Some(None));
    }
}
