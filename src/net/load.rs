//! What a host finds on the disk when it starts, and each core's share in reading it.
//!
//! There may be files of as many shards as the host ever had, and one of a redis-server. Each says
//! when it was written and for which slots it speaks (all, if it does not say). A slot's keys are those
//! of the newest file that speaks for it, wherever the slot is now; so a host starts with any number
//! of shards, after slots have moved, and with only some shards' files renewed since. Keys that a file
//! has beyond its slots count where no other file speaks for them.
//!
//! Cores read files side by side, a chunk a turn, so that clients hear that the host loads; and hand each other
//! the keys that are not their own.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use super::{clock, disk};
use crate::command::host::numbered;
use crate::command::rdb;
use crate::limits;
use crate::persist::rdb::{Item, Loaded, Reader};
use crate::repl::Position;
use crate::repl::position::Told;
use crate::shard::Shard;
use crate::slot::{SLOTS, Slot, key_slot};
use crate::value::Limits;

/// Keys on their way to the core that they belong to.
type Parcel = Vec<Loaded>;

/// How long a core waits when a sibling's letterbox is full.
const PAUSE: Duration = Duration::from_micros(100);

/// A file, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    path: String,
    saved_us: u64,
    /// `None`: all.
    slots: Option<Vec<(Slot, Slot)>>,
    /// Of the stream that its data are part of.
    stream: Told,
}

/// All files, and which counts for each slot.
#[derive(Debug)]
pub struct Survey {
    files: Vec<Found>,
    /// The place of the newest file that speaks for the slot.
    newest: Vec<Option<usize>>,
}

impl Survey {
    /// Looks at the files of this name, and of this name with a number, in the working directory.
    pub fn take(dbfilename: &str) -> Result<Survey, String> {
        let names = disk::names(|name| name == dbfilename || is_numbered(name, dbfilename))?;
        let found: Result<Vec<Found>, String> = names.into_iter().map(look).collect();
        let survey = Survey::of(found?);
        for (_, file) in survey.files.iter().enumerate().filter(|(index, _)| !survey.counts(*index)) {
            tracing::info!("{} is not loaded: newer files speak for all of its slots", file.path);
        }
        Ok(survey)
    }

    fn of(files: Vec<Found>) -> Survey {
        let mut newest: Vec<Option<usize>> = vec![None; SLOTS];
        for (index, file) in files.iter().enumerate() {
            let all = [(0, SLOTS as Slot - 1)];
            for &(from, to) in file.slots.as_deref().unwrap_or(&all) {
                for place in newest.iter_mut().take(to as usize + 1).skip(from as usize) {
                    if place.is_none_or(|other| files[other].saved_us < file.saved_us) {
                        *place = Some(index);
                    }
                }
            }
        }
        Survey { files, newest }
    }

    /// Whether anything may be in this file that counts.
    fn counts(&self, file: usize) -> bool {
        let says_nothing = self.files[file].slots.as_ref().is_some_and(Vec::is_empty);
        says_nothing || self.newest.contains(&Some(file))
    }

    fn takes(&self, file: usize, slot: Slot) -> bool {
        self.newest[slot as usize].is_none_or(|newest| newest == file)
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Shares the files out among cores: each reads its own (`owns` is given the core and a path), and
    /// the rest in turn.
    pub fn share(self, cores: usize, owns: impl Fn(usize, &str) -> bool) -> Vec<Share> {
        let survey = Arc::new(self);
        let (senders, inboxes): (Vec<_>, Vec<_>) =
            (0..cores).map(|_| sync_channel(limits::LOAD_PARCELS)).unzip();
        let mut shares: Vec<Share> = inboxes
            .into_iter()
            .map(|inbox| Share { files: Vec::new(), survey: survey.clone(), inbox, peers: senders.clone() })
            .collect();
        for file in (0..survey.files.len()).filter(|file| survey.counts(*file)) {
            let owner = (0..cores).find(|core| owns(*core, &survey.files[file].path));
            let least = (0..cores).min_by_key(|core| shares[*core].files.len()).unwrap_or(0);
            shares[owner.unwrap_or(least)].files.push(file);
        }
        shares
    }
}

/// `dump-7000.rdb` beside `dump.rdb`.
fn is_numbered(name: &str, dbfilename: &str) -> bool {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let number = (1..=digits.len()).find_map(|from| {
        let number = digits[from - 1..].parse().ok()?;
        (numbered(dbfilename, number) == name).then_some(number)
    });
    number.is_some()
}

/// Reads what a file says of itself: the facts at its beginning.
fn look(path: String) -> Result<Found, String> {
    let fail = |why: String| format!("Bad file {path}: {why}");
    let (size, mut file) = disk::open(&path).map_err(fail)?.ok_or_else(|| fail("it is gone".into()))?;
    let (mut reader, mut chunk) = (Reader::new(size, false), vec![0; limits::RDB_READ]);
    let mut found = Found { path: path.clone(), saved_us: 0, slots: None, stream: Told::default() };
    loop {
        match reader.next(&Limits::default(), 1).map_err(|failure| fail(failure.to_string()))? {
            Item::Aux(name, value) => found.note(&name, &value),
            Item::Feed(_) => match file.read(&mut chunk).map_err(|e| fail(e.to_string()))? {
                0 => return Err(fail(format!("at offset {}: unexpected end of the file", reader.offset()))),
                n => reader.feed(&chunk[..n]),
            },
            _ => return Ok(found),
        }
    }
}

impl Found {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        self.stream.note(name, value);
        if name == rdb::SAVED_AT.as_bytes() {
            self.saved_us = number().unwrap_or(self.saved_us);
        } else if name == b"ctime" && self.saved_us == 0 {
            self.saved_us = number().unwrap_or(0).saturating_mul(1_000_000);
        } else if name == rdb::SLOTS.as_bytes() {
            self.slots = rdb::parse_slots(value).or(self.slots.take());
        }
    }
}

/// One core's part of the work.
pub struct Share {
    files: Vec<usize>,
    survey: Arc<Survey>,
    inbox: Receiver<Parcel>,
    /// To every core.
    peers: Vec<SyncSender<Parcel>>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub loaded: u64,
    pub expired: u64,
    /// Keys in slots that no shard of this host has: they are kept where they were found.
    pub foreign: u64,
    /// Bytes of files.
    pub read: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.loaded += other.loaded;
        self.expired += other.expired;
        self.foreign += other.foreign;
        self.read += other.read;
    }
}

/// A core that loads: reads its files into its shard, and takes in what the others find for it.
pub struct Loading {
    me: usize,
    /// The shard's own file.
    own: String,
    /// Where in its stream that stands.
    position: Option<Position>,
    files: VecDeque<usize>,
    survey: Arc<Survey>,
    reading: Option<Reading>,
    chunk: Vec<u8>,
    carrier: Carrier,
    /// Bytes of the files.
    pub total: u64,
}

struct Reading {
    file: usize,
    from: File,
    reader: Reader,
}

/// Keys on their ways between cores, and into the shard.
struct Carrier {
    inbox: Receiver<Parcel>,
    peers: Vec<SyncSender<Parcel>>,
    parcels: Vec<Parcel>,
    tally: Tally,
    /// Keys past their time are taken in.
    late: bool,
    /// All of the shard's keys are of its own file, and all of that file's are here.
    exact: bool,
}

impl Loading {
    pub fn new(share: Share, me: usize, shard: &Shard, chunk: usize) -> Loading {
        let Share { files, survey, inbox, peers } = share;
        let parcels = peers.iter().map(|_| Parcel::new()).collect();
        let size = |file: &usize| std::fs::metadata(&survey.files[*file].path).map_or(0, |found| found.len());
        Loading {
            me,
            own: shard.file(),
            position: None,
            total: files.iter().map(size).sum(),
            files: files.into(),
            survey,
            reading: None,
            chunk: vec![0; chunk.min(limits::RDB_READ)],
            carrier: Carrier { inbox, peers, parcels, tally: Tally::default(), late: false, exact: true },
        }
    }

    pub fn tally(&self) -> Tally {
        self.carrier.tally
    }

    /// All our files are read: the rest is what others send.
    pub fn only_waits(&self) -> bool {
        self.carrier.peers.is_empty()
    }

    /// Goes on by a chunk; true when all cores have read their files and sent what they found.
    pub fn step(&mut self, shard: &mut Shard) -> Result<bool, String> {
        shard.set_clock(clock::now());
        let over = self.carrier.receive(shard)?;
        if self.reading.is_none() && !self.begin_file(shard)? {
            for to in 0..self.carrier.peers.len() {
                self.carrier.send(to, shard)?;
            }
            // the others learn from this that nothing more comes
            self.carrier.peers.clear();
            if over && let Some(position) = self.position.take().filter(|_| self.carrier.exact) {
                shard.go_on_from(position);
            }
            return Ok(over);
        }
        let (survey, file) = (self.survey.clone(), self.reading.as_ref().map_or(0, |reading| reading.file));
        let path = &survey.files[file].path;
        self.read(shard, &survey).map_err(|why| format!("Error reading the RDB file {path}: {why}"))?;
        Ok(false)
    }

    fn begin_file(&mut self, shard: &Shard) -> Result<bool, String> {
        let Some(file) = self.files.pop_front() else { return Ok(false) };
        let Found { path, stream, .. } = &self.survey.files[file];
        let of_stream = stream.position().filter(|_| *path == self.own);
        self.carrier.late = of_stream.is_some();
        self.carrier.exact &= *path == self.own;
        self.position = self.position.take().or(of_stream);
        let fail = |why: &str| format!("Error reading the RDB file {path}: {why}");
        let (size, from) = disk::open(path).map_err(|why| fail(&why))?.ok_or_else(|| fail("it is gone"))?;
        self.reading = Some(Reading { file, from, reader: Reader::new(size, shard.checks_sums()) });
        Ok(true)
    }

    fn read(&mut self, shard: &mut Shard, survey: &Survey) -> Result<(), String> {
        let Loading { me, reading, chunk, carrier, .. } = self;
        let Some(Reading { file, from, reader }) = reading else { return Ok(()) };
        let (limits, host) = (shard.limits(), shard.host());
        carrier.tally.read += rdb::feed(reader, from, chunk)? as u64;
        let ended = rdb::read_on(reader, &limits, &host.registers.libraries, &mut |key| {
            let slot = key_slot(&key.key);
            if !survey.takes(*file, slot) {
                carrier.exact = false;
                return Ok(());
            }
            match shard.home(slot) {
                Some(to) if to != *me => {
                    carrier.exact = false;
                    carrier.parcels[to].push(key);
                    if carrier.parcels[to].len() < limits::LOAD_PARCEL {
                        return Ok(());
                    }
                    carrier.send(to, shard)
                }
                home => {
                    carrier.tally.foreign += u64::from(home.is_none());
                    carrier.take_in(key, shard, carrier.late)
                }
            }
        })?;
        if ended {
            self.reading = None;
        }
        Ok(())
    }
}

impl Carrier {
    fn take_in(&mut self, key: Loaded, shard: &mut Shard, late: bool) -> Result<(), String> {
        match shard.take_in(key, late)? {
            true => self.tally.loaded += 1,
            false => self.tally.expired += 1,
        }
        Ok(())
    }

    fn unpack(&mut self, parcel: Parcel, shard: &mut Shard) -> Result<(), String> {
        self.exact = false;
        parcel.into_iter().try_for_each(|key| self.take_in(key, shard, false))
    }

    /// Takes in what lies in the letterbox; true when nothing will ever come again.
    fn receive(&mut self, shard: &mut Shard) -> Result<bool, String> {
        for _ in 0..limits::LOAD_PARCELS {
            match self.inbox.try_recv() {
                Ok(parcel) => self.unpack(parcel, shard)?,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Sends a parcel. While its letterbox is full, our own is emptied: so no two cores wait for each
    /// other for ever.
    fn send(&mut self, to: usize, shard: &mut Shard) -> Result<(), String> {
        let mut parcel = std::mem::take(&mut self.parcels[to]);
        if parcel.is_empty() {
            return Ok(());
        }
        loop {
            match self.peers[to].try_send(parcel) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err("another shard failed".into()),
                Err(TrySendError::Full(back)) => parcel = back,
            }
            match self.inbox.try_recv() {
                Ok(parcel) => self.unpack(parcel, shard)?,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => std::thread::sleep(PAUSE),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, saved_us: u64, slots: Option<&[(Slot, Slot)]>) -> Found {
        Found { path: path.into(), saved_us, slots: slots.map(<[_]>::to_vec), stream: Told::default() }
    }

    #[test]
    fn numbered_names_are_known() {
        for (name, of, yes) in [
            ("dump-0.rdb", "dump.rdb", true),
            ("dump-7000.rdb", "dump.rdb", true),
            ("dump.rdb", "dump.rdb", false),
            ("dump-.rdb", "dump.rdb", false),
            ("dump-x.rdb", "dump.rdb", false),
            ("dump-01.rdb", "dump.rdb", false),
            ("a1-2.b", "a1.b", true),
            ("data-5", "data", true),
            (".rdb-5", ".rdb", true),
        ] {
            assert_eq!(is_numbered(name, of), yes, "{name}");
        }
    }

    #[test]
    fn the_newest_file_speaks_for_a_slot() {
        let all = Survey::of(vec![file("dump.rdb", 5, None)]);
        assert!(all.takes(0, 0) && all.takes(0, 16383) && all.counts(0));
        // a redis-server's file, and one shard's that was renewed since
        let survey = Survey::of(vec![
            file("dump-1.rdb", 9, Some(&[(8192, 16383)])),
            file("dump.rdb", 5, None),
            file("dump-3.rdb", 4, Some(&[(0, 99)])),
            file("dump-4.rdb", 1, Some(&[])),
        ]);
        for (slot, takes) in [(0, 1), (8191, 1), (8192, 0), (16383, 0)] {
            let who: Vec<usize> = (0..4).filter(|file| survey.takes(*file, slot)).collect();
            assert_eq!(who, [takes], "{slot}");
        }
        let counts: Vec<bool> = (0..4).map(|file| survey.counts(file)).collect();
        assert_eq!(counts, [true, true, false, true]);
        // a slot that nobody speaks for is whoever's has it
        let partial = Survey::of(vec![file("a", 1, Some(&[(0, 9)])), file("b", 2, Some(&[(5, 9)]))]);
        assert!(partial.takes(0, 4) && !partial.takes(0, 5) && partial.takes(0, 10) && partial.takes(1, 10));
        assert!(!partial.takes(1, 4));
    }

    #[test]
    fn every_core_reads_its_own() {
        let files = ["dump-0.rdb", "dump-1.rdb", "dump-7.rdb", "dump.rdb"];
        let slots: Vec<[(Slot, Slot); 1]> = (0..4).map(|i| [(i * 10, i * 10 + 9)]).collect();
        let found = files.iter().zip(&slots).map(|(path, slots)| file(path, 1, Some(slots))).collect();
        let shares = Survey::of(found).share(2, |core, path| path == format!("dump-{core}.rdb"));
        let files: Vec<&[usize]> = shares.iter().map(|share| &share.files[..]).collect();
        assert_eq!(files, [&[0, 2], &[1, 3]]);
    }
}
