//! Visits: a shard whose core sleeps is run by the sibling that needs it, on the sibling's core.

use super::mail::Mail;
use super::{Now, Shard};
use crate::command::spec::{Route, Spec, flag};
use crate::limits::{STREAM_UNWRITTEN, VISIT_WEIGHT};

/// How much a forwarded command counts towards [`VISIT_WEIGHT`]. One that may take long is better done by
/// its own core, while the sibling's goes on.
pub(super) fn weight(spec: &Spec) -> u32 {
    let quick = spec.has(flag::FAST) || spec.complexity == "O(1)";
    match spec.route {
        Route::Keys | Route::Split { .. } if quick => 1,
        _ => VISIT_WEIGHT + 1,
    }
}

impl Shard {
    /// Whether `mail` may be handed over in a visit: it is quickly done, and answered rather than passed
    /// on to clients, for which the shard's own core would have to be woken all the same.
    #[inline]
    pub fn may_visit(mail: &Mail) -> bool {
        match mail {
            Mail::Requests(batch) => batch.weight <= VISIT_WEIGHT,
            Mail::Borrow { .. } | Mail::Return { .. } | Mail::Forget { .. } => true,
            Mail::Replies(_)
            | Mail::Lend { .. }
            | Mail::Refuse { .. }
            | Mail::Ready { .. }
            | Mail::Wake { .. }
            | Mail::Handoff(_)
            | Mail::Orphan(_)
            | Mail::Landed
            | Mail::Kept { .. }
            | Mail::Heard(_)
            | Mail::Crowded => false,
        }
    }

    /// Sibling `from` brings `mail` in person, and takes what is for it along in `back`. True when something
    /// is left to do for this shard's own core.
    pub fn visited(&mut self, from: usize, mail: Mail, now: Now, back: &mut Vec<Mail>) -> bool {
        self.mail(from, mail, now);
        back.extend(self.handoffs.first.extract_if(.., |(to, _)| *to == from).map(|(_, mail)| mail));
        let answers = self.answers.extract_if(.., |(to, _)| *to == from);
        back.extend(answers.map(|(_, batch)| Mail::Replies(batch)));
        back.extend(self.outbox[from].take().map(Mail::Requests));
        back.extend(self.letters.extract_if(.., |(to, _)| *to == from).map(|(_, letter)| letter));
        self.leaves_work()
    }

    /// Whether the shard's core has something to do after this turn. All that `net/` asks the shard for
    /// after a turn belongs here.
    fn leaves_work(&self) -> bool {
        !self.news.is_empty()
            || !self.resume.is_empty()
            || self.chores
            || self.has_garbage()
            || self.has_questions()
            || self.has_link_orders()
            || self.has_file_orders()
            // less is written with the next tick
            || self.stream.len() > STREAM_UNWRITTEN
            || !self.answers.is_empty()
            || !self.letters.is_empty()
            || !self.handoffs.first.is_empty()
            || self.handoffs.tell
            || self.outbox.iter().any(Option::is_some)
    }
}
