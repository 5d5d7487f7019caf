//! What one database owes to a snapshot, and how it is walked.

use std::collections::VecDeque;

use super::{Budget, By, Encode, Progress};
use crate::limits::{SNAPSHOT_NODES, SNAPSHOT_WHOLE};
use crate::slot::{SLOTS, Slot};
use crate::store::db::{Bitmap, Db, EntryRef, SlotTable};
use crate::store::entry::{Entry, View};
use crate::store::key::{Hasher, Key};
use crate::store::owned::Garbage;
use crate::store::table::{Spot, Table};
use crate::value::Object;

/// Debts of a database's tables: its own, and those of tables that it has borrowed.
#[derive(Default)]
pub(in crate::store) struct Debts {
    walk: Option<Box<Walk>>,
    /// Borrowed tables that are owed to their owner's snapshot.
    guests: Bitmap,
    guest_count: usize,
    /// What was handed out of them.
    strays: Vec<(Slot, Entry)>,
}

/// A walk over one database.
pub(in crate::store) struct Walk {
    /// The database's number when the snapshot began.
    pub number: usize,
    /// Keys written so far.
    pub written: usize,
    /// `None`: nobody wants them any more.
    encode: Option<Encode>,
    /// Slots not yet walked to their end, and those of them that are lent.
    todo: Bitmap,
    away: Bitmap,
    /// The slot that is walked, and where in it.
    slot: usize,
    at: u64,
    /// Tables that left the database with debts, and where in the first of them.
    orphans: VecDeque<(Slot, Table)>,
    orphan_at: u64,
    /// What was handed out and not yet taken.
    handed: Vec<u8>,
    /// Large values that the walk has met.
    large: VecDeque<(Slot, Box<[u8]>)>,
    /// Large values that have left their tables.
    uprooted: VecDeque<Entry>,
    current: Option<Current>,
    /// Somebody waits for the first of the large values.
    urgent: bool,
}

/// The large value that is being written.
enum Current {
    InPlace(Slot, Box<[u8]>),
    Uprooted(Entry),
}

/// Whether a value is to be written in pieces.
fn is_large(entry: &Entry) -> bool {
    match entry.view() {
        View::Object(Object::List(list)) if list.nodes() > SNAPSHOT_NODES => true,
        View::Object(object) => object.mem() > SNAPSHOT_WHOLE,
        _ => false,
    }
}

/// Writes what is owed of one step of a table, and names what is too large for it.
fn see(
    table: &mut Table,
    at: u64,
    mut encode: Option<&mut Encode>,
    budget: &mut Budget,
    out: &mut Vec<u8>,
    mut large: impl FnMut(&[u8]),
) -> (u64, usize) {
    let phase = table.phase();
    let (mut visits, mut written, before) = (1, 0, out.len());
    let next = table.scan_mut(at, &mut |entry| {
        visits += 1;
        if entry.phase() == phase {
            return;
        }
        if let Some(encode) = &mut encode {
            if is_large(entry) {
                return large(entry.key());
            }
            encode(EntryRef { entry }, By::Walk, out);
        }
        entry.set_phase(phase);
        written += 1;
    });
    table.prefetch_step(next);
    budget.visits = budget.visits.saturating_sub(visits);
    budget.bytes = budget.bytes.saturating_sub(out.len() - before);
    (next, written)
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.visits == 0 || self.bytes == 0
    }
}

impl Walk {
    pub fn backlog(&self) -> usize {
        self.handed.len()
    }

    /// The entry is about to change. It agrees with its table already.
    fn hand_out(&mut self, entry: &Entry) {
        self.written += 1;
        if let Some(encode) = &mut self.encode {
            encode(EntryRef { entry }, By::Writer, &mut self.handed);
        }
    }

    /// A large entry has left its table.
    fn uproot(&mut self, slot: Slot, entry: Entry) {
        match &self.current {
            Some(Current::InPlace(s, key)) if *s == slot && **key == *entry.key() => {
                self.current = Some(Current::Uprooted(entry));
            }
            _ => self.uprooted.push_back(entry),
        }
    }

    fn owes(&self, slot: Slot) -> bool {
        self.todo.has(slot as usize)
            || self.large.iter().any(|l| l.0 == slot)
            || self.large_slot() == Some(slot)
    }

    fn large_slot(&self) -> Option<Slot> {
        match &self.current {
            Some(Current::InPlace(slot, _)) => Some(*slot),
            _ => None,
        }
    }

    /// The slot to walk, which isn't lent.
    fn next_slot(&self) -> Option<usize> {
        let here = |from: usize| {
            let mut slot = self.todo.next(from, SLOTS);
            while let Some(s) = slot
                && self.away.has(s)
            {
                slot = self.todo.next(s + 1, SLOTS);
            }
            slot
        };
        here(self.slot).or_else(|| here(0))
    }

    fn tables(&mut self, tables: &mut [Table; SLOTS], budget: &mut Budget, out: &mut Vec<u8>) {
        while !budget.is_spent()
            && let Some(slot) = self.next_slot()
        {
            if slot != self.slot {
                (self.slot, self.at) = (slot, 0);
            }
            let large = &mut self.large;
            let met = |key: &[u8]| large.push_back((slot as Slot, key.into()));
            let (next, written) = see(&mut tables[slot], self.at, self.encode.as_mut(), budget, out, met);
            self.written += written;
            self.at = next;
            if next == 0 {
                self.todo.put(slot, false);
                self.slot += 1;
            }
        }
    }

    fn orphans(
        &mut self,
        hasher: &Hasher,
        garbage: &mut Vec<Garbage>,
        budget: &mut Budget,
        out: &mut Vec<u8>,
    ) {
        while !budget.is_spent()
            && let Some((slot, table)) = self.orphans.front_mut()
        {
            let mut large: Vec<Box<[u8]>> = Vec::new();
            let met = |key: &[u8]| large.push(key.into());
            let (next, written) = see(table, self.orphan_at, self.encode.as_mut(), budget, out, met);
            self.written += written;
            self.orphan_at = next;
            for key in large {
                let spot = table.find(&hasher.key_in_slot(&key, *slot)).expect("it was just seen");
                self.uprooted.push_back(table.remove(spot));
            }
            if next == 0
                && let Some((slot, table)) = self.orphans.pop_front()
            {
                garbage.push(Garbage::Slot(SlotTable::new(slot, table)));
            }
        }
    }
}

impl Debts {
    pub fn walk(&self) -> Option<&Walk> {
        self.walk.as_deref()
    }

    /// Whether any table here owes anything to a snapshot.
    pub fn any(&self) -> bool {
        self.walk.is_some() || self.guest_count > 0
    }

    pub fn owes(&self, slot: Slot) -> bool {
        self.walk().is_some_and(|walk| walk.owes(slot))
    }

    pub fn large_slot(&self) -> Option<Slot> {
        self.walk()?.large_slot()
    }

    pub fn hurry(&mut self, slot: Slot) {
        if let Some(walk) = &mut self.walk {
            if walk.todo.has(slot as usize) && walk.slot != slot as usize {
                (walk.slot, walk.at) = (slot as usize, 0);
            }
            if let Some(i) = walk.large.iter().position(|l| l.0 == slot) {
                walk.large.swap(0, i);
                walk.urgent = true;
            }
        }
    }

    pub fn urge(&mut self, key: &Key) {
        if let Some(walk) = self.own(key.slot) {
            walk.urgent = true;
            if walk.large.front().is_none_or(|l| *l.1 != *key.bytes) {
                walk.large.push_front((key.slot, key.bytes.into()));
            }
        }
    }

    /// Whether nobody wants what is owed of this slot any more.
    fn is_abandoned(&self, slot: Slot) -> bool {
        !self.guests.has(slot as usize) && self.walk().is_some_and(|walk| walk.encode.is_none())
    }

    /// The walk that an entry in this slot is owed to, unless its table is a guest.
    fn own(&mut self, slot: Slot) -> Option<&mut Walk> {
        if self.guests.has(slot as usize) { None } else { self.walk.as_deref_mut() }
    }

    fn hand_out(&mut self, slot: Slot, entry: &Entry) {
        match self.own(slot) {
            Some(walk) => walk.hand_out(entry),
            None => self.strays.push((slot, entry.duplicate())),
        }
    }

    /// A table leaves: whether it has debts, and what was handed out of it meanwhile.
    pub fn see_off(&mut self, slot: Slot) -> (bool, Vec<(Slot, Entry)>) {
        if self.guests.has(slot as usize) {
            self.guests.put(slot as usize, false);
            self.guest_count -= 1;
            let (theirs, rest) = std::mem::take(&mut self.strays).into_iter().partition(|s| s.0 == slot);
            self.strays = rest;
            return (true, theirs);
        }
        let owing = self.owes(slot);
        if let Some(walk) = self.walk.as_deref_mut().filter(|_| owing) {
            walk.away.put(slot as usize, true);
        }
        (owing, Vec::new())
    }

    /// A table with debts comes: home, or as a guest.
    pub fn welcome(&mut self, slot: Slot, strays: Vec<(Slot, Entry)>) {
        let Some(walk) = self.walk.as_deref_mut().filter(|walk| walk.away.has(slot as usize)) else {
            self.guests.put(slot as usize, true);
            self.guest_count += 1;
            self.strays.extend(strays);
            return;
        };
        walk.away.put(slot as usize, false);
        for (_, entry) in strays {
            if walk.encode.is_some() && is_large(&entry) {
                walk.uprooted.push_back(entry);
            } else {
                walk.hand_out(&entry);
            }
        }
    }
}

/// What the database does for a snapshot.
impl Db {
    pub(super) fn begin_walk(&mut self, number: usize, encode: Encode) {
        debug_assert!(!self.debts.any(), "no table is borrowed");
        let mut slot = 0;
        while let Some(s) = self.used.next(slot, SLOTS) {
            self.tables[s].turn_phase();
            slot = s + 1;
        }
        self.debts.walk = Some(Box::new(Walk {
            number,
            written: 0,
            encode: Some(encode),
            todo: self.used.clone(),
            away: Bitmap::default(),
            slot: 0,
            at: 0,
            orphans: VecDeque::new(),
            orphan_at: 0,
            handed: Vec::new(),
            large: VecDeque::new(),
            uprooted: VecDeque::new(),
            current: None,
            urgent: false,
        }));
        self.careful = true;
    }

    pub(super) fn walk_step(&mut self, budget: &mut Budget, out: &mut Vec<u8>) -> Progress {
        let Some(walk) = self.debts.walk.as_deref_mut() else { return Progress::Done };
        debug_assert!(walk.current.is_none());
        budget.bytes = budget.bytes.saturating_sub(walk.handed.len());
        out.append(&mut walk.handed);
        if std::mem::take(&mut walk.urgent) && self.next_large() {
            return Progress::Large;
        }
        let Some(walk) = self.debts.walk.as_deref_mut() else { return Progress::Done };
        walk.tables(&mut self.tables, budget, out);
        walk.orphans(&self.hasher, &mut self.garbage, budget, out);
        if walk.next_slot().is_some() || !walk.orphans.is_empty() {
            return Progress::More;
        }
        if self.next_large() {
            return Progress::Large;
        }
        match &self.debts.walk {
            Some(walk) if walk.todo.next(0, SLOTS).is_some() || !walk.large.is_empty() => Progress::Waits,
            _ => Progress::Done,
        }
    }

    /// Chooses the large value to be written next.
    fn next_large(&mut self) -> bool {
        let Some(walk) = self.debts.walk.as_deref_mut() else { return false };
        for _ in 0..walk.large.len() {
            let Some((slot, key)) = walk.large.pop_front() else { break };
            if walk.away.has(slot as usize) {
                walk.large.push_back((slot, key));
                continue;
            }
            let table = &self.tables[slot as usize % SLOTS];
            let spot = table.find(&self.hasher.key_in_slot(&key, slot));
            if spot.is_some_and(|spot| table.at(spot).phase() != table.phase()) {
                walk.current = Some(Current::InPlace(slot, key));
                return true;
            }
        }
        walk.current = walk.uprooted.pop_front().map(Current::Uprooted);
        walk.current.is_some()
    }

    pub(super) fn large(&self) -> Option<EntryRef<'_>> {
        match self.debts.walk()?.current.as_ref()? {
            Current::Uprooted(entry) => Some(EntryRef { entry }),
            Current::InPlace(slot, key) => {
                let key = self.hasher.key_in_slot(key, *slot);
                let entry = self.entry(&key, self.spot(&key)?);
                Some(EntryRef { entry })
            }
        }
    }

    pub(super) fn large_done(&mut self) {
        let Some(walk) = self.debts.walk.as_deref_mut() else { return };
        match walk.current.take() {
            None => return,
            Some(Current::Uprooted(entry)) => self.drop_entry(entry, true),
            Some(Current::InPlace(slot, key)) => {
                let table = &mut self.tables[slot as usize % SLOTS];
                if let Some(spot) = table.find(&self.hasher.key_in_slot(&key, slot)) {
                    let phase = table.phase();
                    table.at_mut(spot).set_phase(phase);
                }
            }
        }
        if let Some(walk) = &mut self.debts.walk {
            walk.written += 1;
        }
    }

    pub(super) fn end_walk(&mut self) {
        self.debts.walk = None;
        self.careful = self.debts.any();
    }

    pub(super) fn abandon_walk(&mut self) {
        let Some(walk) = self.debts.walk.as_deref_mut() else { return };
        walk.encode = None;
        walk.handed = Vec::new();
        // large values that were met are to be met again, also in the slot that is walked
        walk.at = 0;
        for (slot, _) in std::mem::take(&mut walk.large) {
            walk.todo.put(slot as usize, true);
        }
        let current = walk.current.take();
        if let Some(Current::InPlace(slot, _)) = &current {
            walk.todo.put(*slot as usize, true);
        }
        let orphans = std::mem::take(&mut walk.orphans);
        let mut uprooted = std::mem::take(&mut walk.uprooted);
        if let Some(Current::Uprooted(entry)) = current {
            uprooted.push_back(entry);
        }
        self.garbage
            .extend(orphans.into_iter().map(|(slot, table)| Garbage::Slot(SlotTable::new(slot, table))));
        uprooted.into_iter().for_each(|entry| self.drop_entry(entry, true));
    }

    /// Whether the key holds a large value that is owed still: who would change it must wait until it is
    /// written.
    pub fn owes_large(&self, key: &Key) -> bool {
        let owed = |spot| {
            let table = self.table(key.slot);
            let entry = table.at(spot);
            entry.phase() != table.phase() && is_large(entry)
        };
        self.careful && self.spot(key).is_some_and(owed) && !self.debts.is_abandoned(key.slot)
    }

    /// The entry at `spot` is about to change: if it is owed, what it is now is written first.
    pub(in crate::store) fn settle(&mut self, slot: Slot, spot: Spot) {
        let table = &mut self.tables[slot as usize % SLOTS];
        let phase = table.phase();
        let entry = table.at_mut(spot);
        if entry.phase() != phase {
            entry.set_phase(phase);
            self.debts.hand_out(slot, entry);
        }
    }

    /// Takes a large value that is owed out of its table, to be written from where it lies. False when
    /// it isn't such a one.
    pub(in crate::store) fn uproot(&mut self, key: &Key, spot: Spot) -> bool {
        if !self.owes_large(key) {
            return false;
        }
        let entry = self.change(key.slot, |table, _| table.remove(spot));
        match self.debts.own(key.slot) {
            Some(walk) => walk.uproot(key.slot, entry),
            None => self.debts.strays.push((key.slot, entry)),
        }
        true
    }

    /// A slot isn't ours any more: its keys are gone, to be freed by the owner of the garbage. What a
    /// snapshot is owed of them is written first.
    pub fn forsake_slot(&mut self, slot: Slot) {
        self.uproot_current(|s| s == slot);
        let table = self.change(slot, |table, _| std::mem::replace(table, Table::new()));
        match self.debts.walk.as_deref_mut() {
            Some(walk) if walk.owes(slot) => {
                walk.todo.put(slot as usize, false);
                walk.large.retain(|l| l.0 != slot);
                walk.orphans.push_back((slot, table));
            }
            _ => self.garbage.push(Garbage::Slot(SlotTable::new(slot, table))),
        }
    }

    /// Before the database is cleared: the walk takes the tables that it has not been through. How many
    /// keys those have.
    pub(in crate::store) fn orphan_tables(&mut self) -> usize {
        if self.debts.walk().is_none_or(|walk| walk.encode.is_none()) {
            return 0;
        }
        self.uproot_current(|_| true);
        let Some(walk) = self.debts.walk.as_deref_mut() else { return 0 };
        for (slot, _) in std::mem::take(&mut walk.large) {
            walk.todo.put(slot as usize, true);
        }
        let (mut from, mut keys) = (0, 0);
        while let Some(s) = walk.todo.next(from, SLOTS) {
            from = s + 1;
            if !walk.away.has(s) {
                walk.todo.put(s, false);
                let table = std::mem::replace(&mut self.tables[s], Table::new());
                self.tables[s].load = table.load;
                keys += table.len();
                walk.orphans.push_back((s as Slot, table));
            }
        }
        keys
    }

    /// The large value that is being written leaves its table, which is about to go.
    fn uproot_current(&mut self, goes: impl FnOnce(Slot) -> bool) {
        let Some(slot) = self.debts.large_slot().filter(|&slot| goes(slot)) else { return };
        let Some(name) = self.large().map(|entry| Box::<[u8]>::from(entry.key())) else { return };
        let key = self.hasher.key_in_slot(&name, slot);
        if let Some(spot) = self.spot(&key) {
            let entry = self.change(slot, |table, _| table.remove(spot));
            if let Some(walk) = &mut self.debts.walk {
                walk.current = Some(Current::Uprooted(entry));
            }
        }
    }
}
