//! A core's mail: read, sent, or handed over in person.

use super::{Core, clock};
use crate::limits;
use crate::shard::Shard;
use crate::shard::mail::Mail;

impl Core {
    pub(super) fn read_mail(&mut self) -> bool {
        let mut any = false;
        for from in 0..self.backlog.len() {
            for _ in 0..limits::MAILBOX {
                let Some(mail) = self.shared.post.receive(self.me, from) else {
                    break;
                };
                any = true;
                self.attended(|shard, _, _| shard.mail(from, mail, clock::now()));
            }
        }
        if any {
            self.send_rests();
        }
        any
    }

    /// Takes the shard's mail to its siblings. One that sleeps is visited if that is the cheaper way; its
    /// answers may make more mail.
    pub(super) fn send_mail(&mut self) {
        self.let_go();
        let mut outgoing = std::mem::take(&mut self.outgoing);
        for round in 0.. {
            outgoing.extend(self.shard.take_mail());
            if outgoing.is_empty() {
                break;
            }
            for (to, mail) in outgoing.drain(..) {
                let Some(mail) = self.keep_back(to, mail) else { continue };
                let by_post = match round < limits::VISIT_ROUNDS {
                    true => self.visit(to, mail).err(),
                    false => Some(mail),
                };
                self.backlog[to].extend(by_post);
            }
        }
        self.outgoing = outgoing;
        if self.must_go_on() {
            (0..self.backlog.len()).for_each(|to| self.post_backlog(to));
        }
    }

    fn post_backlog(&mut self, to: usize) {
        let mut sent = false;
        while let Some(mail) = self.backlog[to].pop_front() {
            if let Err(mail) = self.shared.post.send(self.me, to, mail) {
                self.backlog[to].push_front(mail);
                break;
            }
            sent = true;
        }
        if sent
            && let Some(sibling) = self.shared.siblings[to].get()
            && sibling.baton.rouse()
        {
            self.ring.wake(sibling.peer);
        }
    }

    /// Hands `mail` over in person: runs the sibling that it is for, whose core sleeps, and takes its
    /// answers along. Gives the mail back where it has to go by post.
    ///
    /// Nothing is overtaken: earlier mail in either direction has been read, or this goes by post too. So a
    /// visit is what would have happened had the sibling woken, read this and slept again.
    fn visit(&mut self, to: usize, mail: Mail) -> Result<(), Mail> {
        let (me, post) = (self.me, &self.shared.post);
        // what a visit writes is synced by its owner, later
        if !Shard::may_visit(&mail) || !self.backlog[to].is_empty() || self.syncs_each_write() {
            return Err(mail);
        }
        let Some(sibling) = self.shared.siblings[to].get() else { return Err(mail) };
        let Some(mut visit) = sibling.baton.try_visit() else { return Err(mail) };
        let now = clock::now();
        let is_clear = post.is_empty(me, to) && post.is_empty(to, me);
        let mut refused = None;
        let mut makes_work = false;
        match is_clear {
            true => makes_work = visit.visited(me, mail, now, &mut self.answers),
            false => refused = Some(mail),
        }
        if visit.end(makes_work, || post.has_mail(to)) {
            self.ring.wake(sibling.peer);
        }
        let mut answers = std::mem::take(&mut self.answers);
        for answer in answers.drain(..) {
            self.attended(|shard, _, _| shard.mail(to, answer, now));
        }
        self.answers = answers;
        refused.map_or(Ok(()), Err)
    }
}
