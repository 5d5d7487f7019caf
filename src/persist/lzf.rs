//! LZF, the compression of strings in payloads and files.
//!
//! The format: a control byte below 32 is followed by so many literal bytes and one more. Otherwise
//! its upper three bits, and if they are all set a further byte, tell the length of a reference, less
//! two; its lower five bits and a last byte tell how far back that begins, less one.
//!
//! The compressor makes the same choices as liblzf with the settings that Redis builds it with, so
//! that its output is the same. It works in steps, because a string may be long.

const HASH_BITS: u32 = 16;
const MAX_LITERAL: usize = 1 << 5;
const MAX_OFFSET: usize = 1 << 13;
const MAX_REFERENCE: usize = (1 << 8) + (1 << 3);
/// No byte of input makes more of output: three bytes are a reference of the greatest length.
pub const MAX_RATIO: u64 = MAX_REFERENCE as u64 / 3;
/// Fewer bytes than this are not worth it.
const MIN_GAIN: usize = 4;
/// Bytes that the first look at a match compares without asking for its end.
const UNBOUNDED: usize = 16;

/// Where three bytes with the same hash were seen last. Shared by any number of runs, one after the
/// other or in turns, and never cleared for a new one: every run numbers its bytes onwards from
/// where the one before ended, and verifies what it finds.
pub struct Table {
    slots: Vec<u32>,
    next: u32,
}

impl Table {
    /// Without memory, until the first run.
    pub const fn new() -> Table {
        Table { slots: Vec::new(), next: 1 }
    }

    /// Numbers for `len` bytes.
    fn claim(&mut self, len: usize) -> u32 {
        if self.slots.is_empty() || u64::from(self.next) + len as u64 > u64::from(u32::MAX) {
            self.slots = vec![0; 1 << HASH_BITS];
            self.next = 1;
        }
        let first = self.next;
        self.next += len as u32;
        first
    }
}

/// One string on its way.
pub struct Run {
    out: Vec<u8>,
    /// Most bytes that are worth it.
    most: usize,
    at: usize,
    /// Literals since the last control byte.
    literals: usize,
    first: u32,
}

/// How far a run came.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Unfinished,
    /// The compressed bytes.
    Done(Vec<u8>),
    /// The string does not get shorter.
    Vain,
}

impl Run {
    /// For a string of `len` bytes, which is below 4 GiB.
    pub fn new(table: &mut Table, len: usize) -> Run {
        let most = len.saturating_sub(MIN_GAIN);
        let mut out = Vec::with_capacity(most.min(len / 2 + 16));
        out.push(0);
        Run { out, most, at: 0, literals: 0, first: table.claim(len) }
    }

    /// Goes on for about `work` bytes of the string, which is the same one in every call. Not to be
    /// called again after another answer than [`Outcome::Unfinished`].
    pub fn step(&mut self, table: &mut Table, input: &[u8], work: usize) -> Outcome {
        let last = input.len().saturating_sub(2);
        let until = self.at.saturating_add(work).min(last);
        let slots = &mut table.slots[..1 << HASH_BITS];
        while self.at < until {
            let at = self.at;
            let slot = &mut slots[hash(input, at)];
            let seen = slot.wrapping_sub(self.first) as usize;
            *slot = self.first.wrapping_add(at as u32);
            if seen > 0 && seen < at && at - seen <= MAX_OFFSET && input[seen..seen + 3] == input[at..at + 3]
            {
                let len = match_len(input, seen, at);
                if !self.reference(at - seen - 1, len) {
                    return Outcome::Vain;
                }
                self.at += len;
                if self.at < last {
                    for at in self.at - 2..self.at {
                        slots[hash(input, at)] = self.first.wrapping_add(at as u32);
                    }
                }
            } else {
                if self.out.len() >= self.most {
                    return Outcome::Vain;
                }
                self.literal(input[at]);
            }
        }
        if self.at < last { Outcome::Unfinished } else { self.finish(input) }
    }

    fn finish(&mut self, input: &[u8]) -> Outcome {
        if self.out.len() + 3 > self.most {
            return Outcome::Vain;
        }
        while self.at < input.len() {
            self.literal(input[self.at]);
        }
        self.end_literals();
        Outcome::Done(std::mem::take(&mut self.out))
    }

    fn literal(&mut self, byte: u8) {
        self.out.push(byte);
        self.at += 1;
        self.literals += 1;
        if self.literals == MAX_LITERAL {
            self.end_literals();
            self.begin_literals();
        }
    }

    fn begin_literals(&mut self) {
        self.literals = 0;
        self.out.push(0);
    }

    /// Writes the control byte, or takes it away where nothing follows it.
    fn end_literals(&mut self) {
        match self.literals {
            0 => {
                self.out.pop();
            }
            n => {
                let control = self.out.len() - n - 1;
                self.out[control] = n as u8 - 1;
            }
        }
    }

    /// False when there is no room for it.
    fn reference(&mut self, back: usize, len: usize) -> bool {
        if self.out.len() - usize::from(self.literals == 0) + 4 >= self.most {
            return false;
        }
        self.end_literals();
        let (high, low, len) = ((back >> 8) as u8, back as u8, len - 2);
        match len {
            0..7 => self.out.extend_from_slice(&[high | (len as u8) << 5, low]),
            _ => self.out.extend_from_slice(&[high | 7 << 5, (len - 7) as u8, low]),
        }
        self.begin_literals();
        true
    }
}

fn hash(input: &[u8], at: usize) -> usize {
    let h = u32::from_be_bytes([0, input[at], input[at + 1], input[at + 2]]);
    ((h >> (24 - HASH_BITS)).wrapping_sub(h.wrapping_mul(5)) & ((1 << HASH_BITS) - 1)) as usize
}

/// How many bytes are the same at both places, of which three are known to be. liblzf stops two
/// bytes before the end, but for what it compares blindly.
fn match_len(input: &[u8], seen: usize, at: usize) -> usize {
    let most = (input.len() - at - 2).min(MAX_REFERENCE);
    let same = |len: usize| input[seen + len] == input[at + len];
    let mut len = 3;
    if most > UNBOUNDED {
        while len < 3 + UNBOUNDED {
            if !same(len) {
                return len;
            }
            len += 1;
        }
    }
    while len < most && same(len) {
        len += 1;
    }
    len
}

/// Decompresses to exactly `len` bytes; `None` when the input is not such. The caller has held `len`
/// against [`MAX_RATIO`].
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    let mut rest = input;
    while let Some((&control, tail)) = rest.split_first() {
        if (control as usize) < MAX_LITERAL {
            let (literals, tail) = tail.split_at_checked(control as usize + 1)?;
            if len - out.len() < literals.len() {
                return None;
            }
            out.extend_from_slice(literals);
            rest = tail;
            continue;
        }
        let (more, tail) = match control >> 5 {
            7 => tail.split_first().map(|(more, tail)| (*more as usize, tail))?,
            _ => (0, tail),
        };
        let (&low, tail) = tail.split_first()?;
        let count = (control >> 5) as usize + more + 2;
        let back = ((control & 0x1F) as usize) << 8 | low as usize;
        let from = out.len().checked_sub(back + 1)?;
        if len - out.len() < count {
            return None;
        }
        repeat(&mut out, from, count);
        rest = tail;
    }
    (out.len() == len).then_some(out)
}

/// Appends `count` bytes from `from` on, which may run into what is appended.
fn repeat(out: &mut Vec<u8>, from: usize, count: usize) {
    let (end, period) = (out.len() + count, out.len() - from);
    if count <= period {
        out.extend_from_within(from..from + count);
        return;
    }
    while out.len() < end {
        // what is there from `from` on is whole periods, twice as many each time
        let have = (out.len() - from).min(end - out.len());
        out.extend_from_within(from..from + have);
    }
}
