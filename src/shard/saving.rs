//! The shard's data on the disk.

use super::{Now, Shard};
use crate::command::ctx::limits;
use crate::command::rdb::{self, Place};
use crate::persist::rdb::Loaded;
use crate::slot::Slot;
use crate::store::{Clock, Expiry};
use crate::value::Limits;

impl Shard {
    pub(super) fn place(&self, now: Now) -> Place<'_> {
        Place {
            me: self.at.me,
            host: &self.host,
            view: &self.view,
            conf: &self.conf,
            clock: self.clock,
            now_us: now.unix_us,
        }
    }

    /// Writes all of the shard's data to its file; it stands still meanwhile. Fails while some of it is
    /// lent.
    pub fn save(&mut self, now: Now) -> Result<(), String> {
        self.begin(now);
        if self.is_lending() {
            let why = "a command over several shards has slots of this one";
            tracing::warn!("Can't save: {why}");
            return Err(why.into());
        }
        self.give_up_saves();
        let of_stream = self.facts_of_stream();
        rdb::save(&self.ks, &self.place(now), &of_stream)
    }

    /// The time at which keys are taken in.
    pub fn set_clock(&mut self, now: Now) {
        self.clock.now_ms = now.ms();
    }

    /// Its file.
    pub fn file(&self) -> String {
        rdb::file(&self.host, &self.conf, self.at.me)
    }

    /// Takes in a key from a file, before the shard serves; false when its time is over. `late` ones are
    /// taken in, too.
    pub fn take_in(&mut self, key: Loaded, late: bool) -> Result<bool, String> {
        let expiry = if late { Expiry::Ignore } else { self.clock.expiry };
        rdb::put(&mut self.ks, key, &Clock { expiry, ..self.clock }, false)
    }

    /// The shard of this host that a slot belongs to.
    pub fn home(&self, slot: Slot) -> Option<usize> {
        self.view.local_owner(slot).map(usize::from)
    }

    /// Up to where collections stay flat.
    pub fn limits(&self) -> Limits {
        limits(&self.conf)
    }

    /// `rdbchecksum`.
    pub fn checks_sums(&self) -> bool {
        self.conf.rdbchecksum
    }
}
