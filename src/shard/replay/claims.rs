//! Whose word on a slot counts, of all the logs that a host has read.
//!
//! Of a host with several shards each has its own log, and a slot's keys may stand in several: see
//! [`slots`]. Whoever reads a log hands the slots that belong to siblings over, and they take them
//! unless their own logs speak for these slots. Where a log had only begun to take a slot in, what it
//! names is laid over what the log says that had the slot before.

use crate::cluster::slots::SlotSet;
use crate::command::spec::{Spec, flag};
use crate::command::table;
use crate::persist::aof::slots::{self, Stamp, Word};
use crate::resp::Args;
use crate::shard::Shard;
use crate::shard::mail::{Mail, Tables};
use crate::slot::{SLOTS, Slot, key_slot};
use crate::store::Owned;
use std::collections::{HashMap, HashSet};

/// Keys, with their databases.
type Named = HashSet<(usize, Box<[u8]>)>;

/// What a shard knows while it loads, until all have loaded.
#[derive(Default)]
pub(in crate::shard) struct Loading {
    /// Slots that our own log speaks for.
    claims: SlotSet,
    /// Slots that it had begun to take in.
    taking: HashMap<Slot, Taking>,
    /// What the log that is read held of slots for which it then no longer spoke.
    aside: Vec<Orphan>,
    /// What logs held of shards that are no more.
    foreign: Vec<Orphan>,
    /// What siblings' logs held of our slots, and what ours held before another's spoke for them.
    orphans: Vec<Orphan>,
}

/// A slot of which only what was named counts.
#[derive(Default)]
struct Taking {
    named: Named,
    piece: Piece,
}

/// The key that is stated by several commands, not all of which have been read.
#[derive(Default)]
enum Piece {
    #[default]
    Nobody,
    /// The next one that is named.
    Next,
    Of(usize, Box<[u8]>),
}

/// Whose word on a slot that our own log does not speak for counts, the least first: a log that never spoke
/// for it; of those that did the one that stopped last; one that does still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Stray,
    Shelved(Stamp),
    Claimed,
}

/// What a log held of a slot.
pub struct Orphan {
    slot: Slot,
    tables: Tables,
    word: Says,
}

/// How much of a slot it is.
enum Says {
    All(Rank),
    /// These keys, be they there or not.
    Only(Named),
}

impl Taking {
    fn name(&mut self, db: usize, key: &[u8], is_deletion: bool) {
        match &self.piece {
            Piece::Next => return self.piece = Piece::Of(db, key.into()),
            Piece::Of(d, name) if *d == db && **name == *key => {
                // it was deleted before it was whole
                if !is_deletion {
                    return;
                }
                self.piece = Piece::Nobody;
            }
            _ => {}
        }
        self.named.insert((db, key.into()));
    }

    fn end_piece(&mut self) {
        if let Piece::Of(db, name) = std::mem::take(&mut self.piece) {
            self.named.insert((db, name));
        }
    }
}

impl Loading {
    /// A command of a log is executed.
    #[inline]
    pub(super) fn note(&mut self, db: usize, spec: &Spec, args: Args<'_>) {
        if !self.taking.is_empty() {
            self.note_names(db, spec, args);
        }
    }

    #[cold]
    fn note_names(&mut self, db: usize, spec: &Spec, args: Args<'_>) {
        let keys = table::keys_of(spec, args);
        if keys.is_empty() && spec.has(flag::WRITE) {
            // it is about all that there is: what came before it is no more
            let slots = std::mem::take(&mut self.taking).into_keys();
            self.claims.unite(&slots.collect());
        }
        let is_deletion = matches!(spec.name, "del" | "unlink");
        for k in keys.iter() {
            let name = args.at(k.index);
            if let Some(taking) = self.taking.get_mut(&key_slot(name)) {
                taking.name(db, name, is_deletion);
            }
        }
    }
}

impl Shard {
    /// The log says which slots it speaks for from here on.
    pub(super) fn take_claim(&mut self, claim: &slots::Claim) {
        for slot in claim.ranges.iter().flat_map(|&(first, last)| first..=last) {
            let had = match claim.word {
                Word::Gave(_) | Word::Takes => self.take_tables(&[slot]),
                Word::Has | Word::Begins | Word::Ends => Tables::new(),
            };
            let Some(loading) = &mut self.loading else { return };
            match claim.word {
                Word::Has => {
                    loading.claims.insert(slot);
                    loading.taking.remove(&slot);
                    loading.aside.retain(|orphan| orphan.slot != slot);
                }
                Word::Gave(stamp) => {
                    loading.claims.remove(slot);
                    loading.taking.remove(&slot);
                    let word = Says::All(Rank::Shelved(stamp));
                    loading.aside.push(Orphan { slot, tables: had, word });
                }
                Word::Takes => {
                    loading.claims.remove(slot);
                    loading.taking.insert(slot, Taking::default());
                }
                Word::Begins => {
                    if let Some(taking) = loading.taking.get_mut(&slot) {
                        taking.piece = Piece::Next;
                    }
                }
                Word::Ends => {
                    if let Some(taking) = loading.taking.get_mut(&slot) {
                        taking.end_piece();
                    }
                }
            }
        }
    }

    /// All logs of a shard that is no more were read: what they hold is nobody's yet.
    pub fn end_foreign_log(&mut self) {
        let Some(loading) = &mut self.loading else { return };
        let claims = std::mem::take(&mut loading.claims);
        self.set_taking_aside();
        for slot in 0..SLOTS as Slot {
            let claimed = claims.contains(slot);
            if claimed || self.ks.iter().any(|db| db.slot_len(slot) > 0) {
                let tables = self.take_tables(&[slot]);
                let rank = if claimed { Rank::Claimed } else { Rank::Stray };
                self.set_aside(Orphan { slot, tables, word: Says::All(rank) });
            }
        }
        if let Some(loading) = &mut self.loading {
            // what another log says of itself does not concern them
            loading.foreign.append(&mut loading.aside);
        }
    }

    fn set_aside(&mut self, orphan: Orphan) {
        if let Some(loading) = &mut self.loading {
            loading.aside.push(orphan);
        }
    }

    /// Sets aside what the log names of slots that it had begun to take in.
    fn set_taking_aside(&mut self) {
        let Some(loading) = &mut self.loading else { return };
        for (slot, Taking { named, .. }) in std::mem::take(&mut loading.taking) {
            let tables = self.take_tables(&[slot]);
            self.set_aside(Orphan { slot, tables, word: Says::Only(named) });
        }
    }

    /// Our logs are read: what is siblings' goes to them.
    pub fn hand_over(&mut self) {
        let (me, view) = (self.at.me, self.view.clone());
        let sibling = |slot: Slot| view.local_owner(slot).map(usize::from).filter(|&to| to != me);
        self.set_taking_aside();
        let Some(mut loading) = self.loading.take() else { return };
        for slot in 0..SLOTS as Slot {
            let Some(to) = sibling(slot) else { continue };
            let claimed = loading.claims.contains(slot);
            if claimed || self.ks.iter().any(|db| db.slot_len(slot) > 0) {
                let tables = self.take_tables(&[slot]);
                let rank = if claimed { Rank::Claimed } else { Rank::Stray };
                let orphan = Orphan { slot, tables, word: Says::All(rank) };
                self.letters.push((to, Mail::Orphan(Box::new(orphan))));
            }
        }
        let [aside, foreign] = [&mut loading.aside, &mut loading.foreign].map(std::mem::take);
        for orphan in aside.into_iter().chain(foreign) {
            match sibling(orphan.slot) {
                Some(to) => self.letters.push((to, Mail::Orphan(Box::new(orphan)))),
                None => loading.orphans.push(orphan),
            }
        }
        self.loading = Some(loading);
    }

    /// A sibling's logs had keys of a slot of ours.
    pub(in crate::shard) fn adopt(&mut self, orphan: Orphan) {
        if let Some(loading) = &mut self.loading {
            loading.orphans.push(orphan);
        }
    }

    /// Everybody has loaded: takes what siblings found and our log does not speak for. Whether that has
    /// changed anything, which our log then does not know.
    pub fn settle_loading(&mut self) -> bool {
        let loading = self.loading.as_mut().map(|loading| std::mem::take(&mut **loading));
        let Loading { claims, orphans, .. } = loading.unwrap_or_default();
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for Orphan { slot, tables, word } in orphans.into_iter().filter(|o| !claims.contains(o.slot)) {
            match word {
                Says::All(rank) => whole.push((rank, slot, tables)),
                Says::Only(named) => parts.push((slot, tables, named)),
            }
        }
        let (mut decided, mut adopted) = (SlotSet::new(), !parts.is_empty());
        whole.sort_by_key(|(rank, ..)| std::cmp::Reverse(*rank));
        for (rank, slot, tables) in whole {
            let ours = self.ks.iter().any(|db| db.slot_len(slot) > 0);
            let theirs = tables.iter().flatten().any(|t| t.len() > 0);
            if decided.contains(slot) || (ours && (rank == Rank::Stray || !theirs)) {
                continue;
            }
            decided.insert(slot);
            adopted |= theirs;
            for (db, tables) in self.ks.iter_mut().zip(tables) {
                tables.into_iter().for_each(|table| drop(db.put_slot(table)));
            }
        }
        parts.into_iter().for_each(|(slot, tables, named)| self.lay_over(slot, tables, &named));
        adopted
    }

    /// What these tables have of the named keys takes the place of what is here of them.
    fn lay_over(&mut self, slot: Slot, tables: Tables, named: &Named) {
        let before = self.take_tables(&[slot]);
        self.put_tables(tables);
        let hasher = self.ks.hasher().clone();
        let take = |(n, name): &(usize, Box<[u8]>)| {
            self.ks.db_mut(*n).remove(&hasher.key_in_slot(name, slot), &self.clock)
        };
        let values: Vec<Option<Owned>> = named.iter().map(take).collect();
        drop(self.take_tables(&[slot]));
        self.put_tables(before);
        for ((n, name), value) in named.iter().zip(values) {
            let (db, key) = (self.ks.db_mut(*n), hasher.key_in_slot(name, slot));
            match value {
                Some(value) => db.put(&key, value, &self.clock),
                None => db.delete(&key, false, &self.clock),
            };
        }
    }
}
