//! Reading a file.

use std::fmt;

use super::{HEADER, MAGIC, MAGIC_VALKEY, NEWEST, NEWEST_VALKEY, Usage, WITH_CHECKSUM, opcode};
use crate::limits::RDB_KEEP;
use crate::persist::crc64::crc64;
use crate::persist::{Building, Error, Input, Stop};
use crate::value::{Limits, Object};

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where the record begins that could not be read.
    pub offset: u64,
    pub error: Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}: {}", self.offset, self.error)
    }
}

/// A key of the file.
#[derive(Debug)]
pub struct Loaded {
    pub db: usize,
    pub key: Vec<u8>,
    pub value: Object,
    /// Unix time in milliseconds.
    pub expire_at: Option<u64>,
    pub usage: Usage,
}

/// What the next bytes say.
#[derive(Debug)]
pub enum Item {
    /// A fact about the file.
    Aux(Vec<u8>, Vec<u8>),
    /// How many keys the database has, and how many of them have a time to live.
    Sizes {
        db: usize,
        keys: u64,
        volatile: u64,
    },
    Key(Box<Loaded>),
    /// A key whose collection is empty, which none may be: it is as good as absent.
    EmptyKey(Vec<u8>),
    /// A library of functions.
    Function(Vec<u8>),
    /// Nothing yet: a large value takes more steps.
    Working,
    /// So many bytes more are needed.
    Feed(u64),
    /// The end. What follows is none of the file's.
    End,
}

/// A file in the reading.
pub struct Reader {
    bytes: Vec<u8>,
    /// Read up to here.
    at: usize,
    /// Where `bytes` begins in the file.
    offset: u64,
    /// Bytes of the file that were not yet fed.
    more: u64,
    checked: bool,
    crc: u64,
    state: State,
    version: u32,
    db: usize,
    next: Attributes,
}

enum State {
    Header,
    Records,
    Value { key: Vec<u8>, building: Building },
    Checksum,
    Ended,
}

/// What one look at the bytes has given.
enum Step {
    Header(u32),
    Record(Record),
    /// The value, once it is whole.
    Value(Option<Object>),
    Empty,
    Checksum([u8; 8]),
}

/// What was said of the key to come.
#[derive(Default)]
struct Attributes {
    expire_at: Option<u64>,
    usage: Usage,
}

/// One record that is no value.
enum Record {
    Item(Item),
    /// Of the key to come, or of no interest.
    Passed,
    Value(Vec<u8>, Building),
    End,
}

impl Reader {
    /// `size` is the file's, or `u64::MAX` if it is not known: nothing is believed that could not fit
    /// into it. `checked` is `rdbchecksum`.
    pub fn new(size: u64, checked: bool) -> Reader {
        Reader {
            bytes: Vec::new(),
            at: 0,
            offset: 0,
            more: size,
            checked,
            crc: 0,
            state: State::Header,
            version: 0,
            db: 0,
            next: Attributes::default(),
        }
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > RDB_KEEP {
            self.bytes = Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
        if self.more != u64::MAX {
            self.more = self.more.saturating_sub(bytes.len() as u64);
        }
    }

    /// How far it has read.
    pub fn offset(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// The key whose value is being read.
    pub fn key(&self) -> Option<&[u8]> {
        if let State::Value { key, .. } = &self.state { Some(key) } else { None }
    }

    /// The file's version; 0 before the header was read.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads on, over at most `work` elements of a value.
    pub fn next(&mut self, limits: &Limits, work: usize) -> Result<Item, Failure> {
        loop {
            let mut input = Input::part(&self.bytes[self.at..], self.more);
            let step = match &mut self.state {
                State::Header => input.attempt(header).map(Step::Header),
                State::Records => {
                    let (db, next) = (&mut self.db, &mut self.next);
                    input.attempt(|input| record(input, self.version, db, next)).map(Step::Record)
                }
                State::Value { building, .. } => match building.step(&mut input, limits, work) {
                    Ok(value) => Ok(Step::Value(value)),
                    Err(Stop::Broken(Error::Empty)) => Ok(Step::Empty),
                    Err(stop) => Err(stop),
                },
                State::Checksum => input.attempt(Input::array).map(Step::Checksum),
                State::Ended => return Ok(Item::End),
            };
            let read = input.at();
            let step = match step {
                Ok(step) => step,
                Err(Stop::More(more)) => {
                    self.take(read);
                    return Ok(Item::Feed(more));
                }
                Err(Stop::Broken(error)) => {
                    return Err(Failure { offset: self.offset() + read as u64, error });
                }
            };
            let summed = self.crc;
            self.take(read);
            if let Some(item) = self.apply(step, summed)? {
                return Ok(item);
            }
        }
    }

    /// Takes up what was read; `summed` is the checksum of what stands before it.
    fn apply(&mut self, step: Step, summed: u64) -> Result<Option<Item>, Failure> {
        match step {
            Step::Header(version) => {
                self.version = version;
                self.state = State::Records;
            }
            Step::Record(Record::Passed) => {}
            Step::Record(Record::Item(item)) => return Ok(Some(item)),
            Step::Record(Record::Value(key, building)) => self.state = State::Value { key, building },
            Step::Record(Record::End) => {
                let sums = self.version >= WITH_CHECKSUM;
                self.state = if sums { State::Checksum } else { State::Ended };
            }
            Step::Value(None) => return Ok(Some(Item::Working)),
            Step::Value(Some(value)) => {
                let (key, Attributes { expire_at, usage }) = self.leave_value();
                let loaded = Loaded { db: self.db, key, value, expire_at, usage };
                return Ok(Some(Item::Key(Box::new(loaded))));
            }
            Step::Empty => return Ok(Some(Item::EmptyKey(self.leave_value().0))),
            Step::Checksum(said) => {
                // 0 means that there is none
                let said = u64::from_le_bytes(said);
                if self.checked && said != 0 && said != summed {
                    return Err(Failure { offset: self.offset(), error: Error::Checksum });
                }
                self.state = State::Ended;
            }
        }
        Ok(None)
    }

    fn leave_value(&mut self) -> (Vec<u8>, Attributes) {
        match std::mem::replace(&mut self.state, State::Records) {
            State::Value { key, .. } => (key, std::mem::take(&mut self.next)),
            _ => unreachable!("a value was read"),
        }
    }

    /// So many bytes are understood.
    fn take(&mut self, read: usize) {
        if self.checked {
            self.crc = crc64(self.crc, &self.bytes[self.at..self.at + read]);
        }
        self.at += read;
    }
}

fn header(input: &mut Input<'_>) -> Result<u32, Stop> {
    const NOT_RDB: Error = Error::Corrupt("no RDB file: its first bytes are others");
    let bytes = input.array::<HEADER>()?;
    let (version, newest) = match (bytes.strip_prefix(MAGIC), bytes.strip_prefix(MAGIC_VALKEY)) {
        (Some(version), _) => (version, NEWEST),
        (_, Some(version)) => (version, NEWEST_VALKEY),
        _ => return Err(NOT_RDB.into()),
    };
    let version = std::str::from_utf8(version).ok().and_then(|version| version.parse::<u32>().ok());
    match version {
        Some(version) if (1..=newest).contains(&version) => Ok(version),
        Some(_) => Err(Error::Unsupported("a file of this version").into()),
        None => Err(NOT_RDB.into()),
    }
}

fn record(
    input: &mut Input<'_>,
    version: u32,
    db: &mut usize,
    next: &mut Attributes,
) -> Result<Record, Stop> {
    match input.byte()? {
        opcode::AUX => {
            let (name, value) = (input.text()?.into_vec(), input.text()?.into_vec());
            return Ok(Record::Item(Item::Aux(name, value)));
        }
        opcode::SELECT => {
            let number = input.length()?;
            *db = usize::try_from(number).map_err(|_| Error::Corrupt("a database's number"))?;
        }
        opcode::RESIZE => {
            let (keys, volatile) = (input.length()?, input.length()?);
            return Ok(Record::Item(Item::Sizes { db: *db, keys, volatile }));
        }
        opcode::EXPIRE_MS => {
            // before version 9, Redis wrote it in its machine's order: little-endian practically always
            let at = i64::from_le_bytes(input.array()?);
            next.expire_at = Some(at.max(0) as u64);
        }
        opcode::EXPIRE_S => {
            let at = i32::from_le_bytes(input.array()?);
            next.expire_at = Some(i64::from(at).max(0) as u64 * 1000);
        }
        opcode::IDLE => next.usage = Usage::Idle(input.length()?),
        opcode::FREQUENCY => next.usage = Usage::Frequency(input.byte()?),
        opcode::SLOT_INFO if version > u32::from(crate::persist::codes::VERSION) => {
            for _ in 0..3 {
                input.length()?;
            }
        }
        opcode::FUNCTION => return Ok(Record::Item(Item::Function(input.text()?.into_vec()))),
        opcode::FUNCTION_PREVIEW => {
            return Err(Error::Unsupported("functions as previews of Redis 7.0 wrote them").into());
        }
        opcode::MODULE_AUX => return Err(Error::Unsupported("a module's data").into()),
        opcode::SLOT_IMPORT => return Err(Error::Unsupported("the state of a slot on its way").into()),
        opcode::END => return Ok(Record::End),
        kind => {
            let valkey = version > NEWEST;
            let building = if valkey { Building::of_valkey(kind)? } else { Building::new(kind)? };
            return Ok(Record::Value(input.text()?.into_vec(), building));
        }
    }
    Ok(Record::Passed)
}
