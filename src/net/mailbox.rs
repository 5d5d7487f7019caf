//! Mail between cores: one bounded ring per ordered pair. Whether a receiver sleeps is its
//! [`Baton`](super::baton::Baton)'s to know.

use crossbeam::queue::ArrayQueue;

/// The mailboxes of one host.
pub struct Post<T> {
    cores: usize,
    /// `to * cores + from`: all that one core receives lies together.
    boxes: Vec<ArrayQueue<T>>,
}

impl<T> Post<T> {
    pub fn new(cores: usize, capacity: usize) -> Post<T> {
        Post { cores, boxes: (0..cores * cores).map(|_| ArrayQueue::new(capacity)).collect() }
    }

    /// Puts `mail` in; gives it back when the box is full. Rouse the receiver once per batch.
    pub fn send(&self, from: usize, to: usize, mail: T) -> Result<(), T> {
        self.boxes[to * self.cores + from].push(mail)
    }

    #[inline]
    pub fn receive(&self, to: usize, from: usize) -> Option<T> {
        self.boxes[to * self.cores + from].pop()
    }

    /// Nothing from one core to the other is on its way.
    #[inline]
    pub fn is_empty(&self, from: usize, to: usize) -> bool {
        self.boxes[to * self.cores + from].is_empty()
    }

    #[inline]
    pub fn has_mail(&self, to: usize) -> bool {
        self.boxes[to * self.cores..(to + 1) * self.cores].iter().any(|b| !b.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_box_gives_mail_back_and_order_holds() {
        let post = Post::new(2, 4);
        for i in 0..4 {
            post.send(0, 1, i).unwrap();
        }
        assert_eq!(post.send(0, 1, 9), Err(9));
        assert_eq!(post.receive(0, 1), None);
        assert!(post.is_empty(1, 0) && !post.is_empty(0, 1) && post.has_mail(1) && !post.has_mail(0));
        assert_eq!(
            (0..5).map(|_| post.receive(1, 0)).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
    }
}
