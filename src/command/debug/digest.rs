//! Digests of data as redis-server 7.0 computes them: equal data, equal digest, on both.
//!
//! Elements of what has no order are XORed; what has an order is chained: `d = SHA1(d ^ SHA1(x))`.

use crate::store::{Clock, Db, EntryRef, Keyspace, ValueRef};
use crate::util::num::{self, write_double};
use crate::util::sha1::sha1;
use crate::value::{Elem, Object};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    pub fn xor(&mut self, other: &Digest) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
    }

    fn xor_sha(&mut self, data: &[u8]) {
        self.xor(&Digest(sha1(data)));
    }

    fn mix(&mut self, data: &[u8]) {
        self.xor_sha(data);
        self.0 = sha1(&self.0);
    }

    fn mix_elem(&mut self, elem: Elem<'_>) {
        elem.with_text(|text| self.mix(text));
    }

    /// A pair's own digest, XORed over its own digest: as Redis, which hashes it once more.
    fn xor_pair(&mut self, first: Elem<'_>, second: &[u8]) {
        let mut pair = Digest::default();
        pair.mix_elem(first);
        pair.mix(second);
        self.xor_sha(&pair.0);
    }

    /// Adds a value and whether it has a time to live.
    pub fn add_value(&mut self, entry: &EntryRef<'_>) {
        let kind: u32 = match entry.value() {
            ValueRef::Obj(Object::List(_)) => 1,
            ValueRef::Obj(Object::Set(_)) => 2,
            ValueRef::Obj(Object::ZSet(_)) => 3,
            ValueRef::Obj(Object::Hash(_)) => 4,
            ValueRef::Obj(Object::Stream(_)) => 6,
            _ => 0,
        };
        self.mix(&kind.to_be_bytes());
        match entry.value() {
            ValueRef::Int(n) => self.mix(itoa::Buffer::new().format(n).as_bytes()),
            ValueRef::Str(text) => self.mix(text),
            ValueRef::Obj(object) => self.add_object(object),
        }
        if entry.expire_at().is_some() {
            self.xor_sha(b"!!expire!!");
        }
    }

    fn add_object(&mut self, object: &Object) {
        match object {
            Object::Str(text) => self.mix(text),
            Object::List(list) => list.iter().for_each(|elem| self.mix_elem(elem)),
            Object::Set(set) => set.iter().for_each(|elem| elem.with_text(|text| self.xor_sha(text))),
            Object::ZSet(zset) => {
                for (member, score) in zset.iter() {
                    let mut text = num::Buf::new();
                    write_double(&mut text, score);
                    self.xor_pair(member, &text);
                }
            }
            Object::Hash(hash) => {
                for (field, value) in hash.iter() {
                    value.with_text(|value| self.xor_pair(field, value));
                }
            }
            Object::Stream(stream) => {
                for entry in stream.log.iter() {
                    self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (field, value) in entry.pairs() {
                        self.mix_elem(field);
                        self.mix_elem(value);
                    }
                }
            }
        }
    }

    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// What a database's number adds.
pub fn of_database(db: usize) -> Digest {
    let mut digest = Digest::default();
    digest.mix(&(db as u32).to_be_bytes());
    digest
}

/// The sum of a database's keys.
pub fn of_keys(db: &Db, clock: &Clock) -> Digest {
    let mut sum = Digest::default();
    db.for_each(clock, |entry| {
        let mut digest = Digest::default();
        digest.mix(entry.key());
        digest.add_value(&entry);
        sum.xor_sha(&digest.0);
    });
    sum
}

/// All databases that have keys, one after the other.
pub fn of_all(ks: &Keyspace, clock: &Clock) -> Digest {
    let mut all = Digest::default();
    for (i, db) in ks.iter().enumerate().filter(|(_, db)| db.len() > 0) {
        all.mix(&(i as u32).to_be_bytes());
        all.xor(&of_keys(db, clock));
    }
    all
}
