//! The bytes of a HyperLogLog, which are Redis's: a header and 16384 registers.
//!
//! ```text
//! HYLL | encoding 1 | unused 3 | cached count 8, little endian, highest bit set: not valid | registers
//! dense:  six bits a register, from the low end of each byte
//! sparse: runs. 00nnnnnn: n+1 zeros. 01nnnnnn nnnnnnnn: n+1 zeros. 1vvvvvnn: n+1 registers of v+1
//! ```

use smallvec::SmallVec;

pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that choose the register; the others are looked at for their zeros.
const INDEX_BITS: u32 = 14;
/// Longest run of zeros that is counted, with the one that ends it.
pub const LONGEST: usize = (u64::BITS - INDEX_BITS) as usize + 1;
const REGISTER_BITS: usize = 6;
pub const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
pub const HEADER: usize = 16;
const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const COUNT_AT: usize = 8;
/// In the last byte of the cached count.
const STALE: u8 = 1 << 7;
const DENSE_LEN: usize = HEADER + REGISTERS * REGISTER_BITS / 8;

/// What a run of the sparse form can say.
const VALUE_MAX: u8 = 32;
const VALUES_MAX: usize = 4;
const ZEROS_MAX: usize = 64;
/// Runs that may become one when a register changes.
const MERGED: usize = 5;

/// The value of each register.
pub type Registers = [u8; REGISTERS];
/// How many registers have each value.
pub type Histogram = [u32; REGISTER_MAX as usize + 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// The sparse form does not come to as many registers as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// The encoding of a string that looks like a HyperLogLog.
pub fn encoding(hll: &[u8]) -> Option<Encoding> {
    match (hll.len(), hll.get(ENCODING_AT)) {
        _ if hll.len() < HEADER || !hll.starts_with(MAGIC) => None,
        (DENSE_LEN, Some(0)) => Some(Encoding::Dense),
        (_, Some(1)) => Some(Encoding::Sparse),
        _ => None,
    }
}

/// An empty one, with a count of 0.
pub fn new() -> Vec<u8> {
    let mut hll = Vec::with_capacity(64);
    hll.extend_from_slice(MAGIC);
    hll.resize(HEADER, 0);
    hll[ENCODING_AT] = 1;
    push_run(&mut hll, 0, REGISTERS);
    hll
}

/// The cached count, if nothing has changed since.
pub fn cached(hll: &[u8]) -> Option<u64> {
    let count = hll[COUNT_AT..HEADER].try_into().expect("eight bytes of a header");
    (hll[HEADER - 1] & STALE == 0).then_some(u64::from_le_bytes(count))
}

pub fn cache(hll: &mut [u8], count: u64) {
    hll[COUNT_AT..HEADER].copy_from_slice(&count.to_le_bytes());
}

pub fn forget_count(hll: &mut [u8]) {
    hll[HEADER - 1] |= STALE;
}

// ---- elements

/// The register of an element, and the value that it asks for.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let rest = hash >> INDEX_BITS | 1 << (u64::BITS - INDEX_BITS);
    ((hash % REGISTERS as u64) as usize, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash2, its form for 64 bits, with Redis's seed.
fn murmur(text: &[u8]) -> u64 {
    const SEED: u64 = 0xadc8_3b19;
    const MIX: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = SEED ^ (text.len() as u64).wrapping_mul(MIX);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(MIX);
        k ^= k >> SHIFT;
        hash = (hash ^ k.wrapping_mul(MIX)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MIX);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MIX);
    hash ^ hash >> SHIFT
}

// ---- dense

/// Register `index` of the dense form.
pub fn dense_get(hll: &[u8], index: usize) -> u8 {
    let (at, shift) = dense_at(index);
    let high = hll.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([hll[at], high]) >> shift) as u8 & REGISTER_MAX
}

pub fn dense_set(hll: &mut [u8], index: usize, value: u8) {
    let (at, shift) = dense_at(index);
    let high = hll.get(at + 1).copied().unwrap_or(0);
    let word = u16::from_le_bytes([hll[at], high]) & !((REGISTER_MAX as u16) << shift);
    let [low, high] = (word | (value as u16) << shift).to_le_bytes();
    hll[at] = low;
    // the last register ends with the last byte
    if let Some(next) = hll.get_mut(at + 1) {
        *next = high;
    }
}

fn dense_at(index: usize) -> (usize, usize) {
    (HEADER + index * REGISTER_BITS / 8, index * REGISTER_BITS % 8)
}

fn dense_raise(hll: &mut [u8], index: usize, value: u8) -> bool {
    let raises = dense_get(hll, index) < value;
    if raises {
        dense_set(hll, index, value);
        forget_count(hll);
    }
    raises
}

/// Calls `f` with the registers of the dense form in their order.
fn each_dense(hll: &[u8], mut f: impl FnMut(usize, u8)) {
    let (groups, _) = hll[HEADER..].as_chunks::<3>();
    for (n, &[a, b, c]) in groups.iter().enumerate() {
        let word = u32::from_le_bytes([a, b, c, 0]);
        for i in 0..4 {
            f(4 * n + i, (word >> (i * REGISTER_BITS)) as u8 & REGISTER_MAX);
        }
    }
}

// ---- sparse

/// A run of registers with one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub value: u8,
    pub registers: usize,
    /// Bytes that say so: two for many zeros.
    pub bytes: usize,
}

impl Run {
    /// The run at `at`. One that is cut off reads on in zeros, as in Redis.
    fn at(hll: &[u8], at: usize) -> Run {
        let byte = hll[at];
        match byte >> 6 {
            0 => Run { value: 0, registers: byte as usize + 1, bytes: 1 },
            1 => {
                let low = hll.get(at + 1).copied().unwrap_or(0);
                let n = u16::from_be_bytes([byte & 0x3f, low]);
                Run { value: 0, registers: n as usize + 1, bytes: 2 }
            }
            _ => Run { value: (byte >> 2 & 0x1f) + 1, registers: (byte & 3) as usize + 1, bytes: 1 },
        }
    }
}

/// The runs of the sparse form, as they are written.
pub fn runs(hll: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let run = (at < hll.len()).then(|| Run::at(hll, at))?;
        at += run.bytes;
        Some(run)
    })
}

/// Calls `f` with the first register of each run and with the run, as long as there are registers.
fn each_run(hll: &[u8], mut f: impl FnMut(usize, Run)) -> Result<(), Corrupt> {
    let mut first = 0;
    for run in runs(hll) {
        if first + run.registers > REGISTERS {
            return Err(Corrupt);
        }
        f(first, run);
        first += run.registers;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// Adds a run, if it isn't empty.
fn push_run(out: &mut impl Extend<u8>, value: u8, registers: usize) {
    match (value, registers) {
        (_, 0) => {}
        (0, ..=ZEROS_MAX) => out.extend([registers as u8 - 1]),
        (0, _) => {
            let [high, low] = (registers as u16 - 1).to_be_bytes();
            out.extend([high | 0x40, low]);
        }
        _ => out.extend([0x80 | (value - 1) << 2 | (registers as u8 - 1)]),
    }
}

/// Makes the dense form of the sparse one; the dense one stays.
pub fn make_dense(hll: &mut Vec<u8>) -> Result<(), Corrupt> {
    if hll[ENCODING_AT] == 0 {
        return Ok(());
    }
    let mut dense = vec![0; DENSE_LEN];
    dense[..HEADER].copy_from_slice(&hll[..HEADER]);
    dense[ENCODING_AT] = 0;
    each_run(hll, |first, run| {
        if run.value > 0 {
            (first..first + run.registers).for_each(|index| dense_set(&mut dense, index, run.value));
        }
    })?;
    *hll = dense;
    Ok(())
}

/// Raises a register of the sparse form to `value`, if it is below. Beyond `most` bytes, and for values
/// that a run can't have, it becomes the dense form. Whether anything changed.
fn sparse_raise(hll: &mut Vec<u8>, index: usize, value: u8, most: usize) -> Result<bool, Corrupt> {
    if value > VALUE_MAX {
        make_dense(hll)?;
        return Ok(dense_raise(hll, index, value));
    }
    let (mut at, mut first, mut before) = (HEADER, 0, HEADER);
    let run = loop {
        if at >= hll.len() {
            return Err(Corrupt);
        }
        let run = Run::at(hll, at);
        if index < first + run.registers {
            break run;
        }
        before = at;
        at += run.bytes;
        first += run.registers;
    };
    if at + run.bytes > hll.len() {
        return Err(Corrupt);
    }
    if run.value >= value {
        return Ok(false);
    }
    // the run falls into what is left of the register, the register, and what is right of it
    let mut parts = SmallVec::<[u8; 5]>::new();
    push_run(&mut parts, run.value, index - first);
    push_run(&mut parts, value, 1);
    push_run(&mut parts, run.value, first + run.registers - 1 - index);
    if parts.len() > run.bytes && hll.len() + parts.len() - run.bytes > most {
        make_dense(hll)?;
        return Ok(dense_raise(hll, index, value));
    }
    hll.splice(at..at + run.bytes, parts);
    merge_runs(hll, before);
    forget_count(hll);
    Ok(true)
}

/// Joins neighbours of the same value, from the run at `at` on: as many as one change can have made.
fn merge_runs(hll: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGED {
        if at >= hll.len() {
            return;
        }
        let run = Run::at(hll, at);
        let next = at + run.bytes;
        if run.value > 0 && next < hll.len() {
            let other = Run::at(hll, next);
            let registers = run.registers + other.registers;
            if other.value == run.value && registers <= VALUES_MAX {
                hll.remove(at);
                hll[at] += run.registers as u8;
                continue;
            }
        }
        at = next;
    }
}

// ---- both

/// Raises a register to `value`, if it is below; whether it was. `most` bytes may the sparse form have.
pub fn raise(hll: &mut Vec<u8>, index: usize, value: u8, most: usize) -> Result<bool, Corrupt> {
    match hll[ENCODING_AT] {
        0 => Ok(dense_raise(hll, index, value)),
        _ => sparse_raise(hll, index, value, most),
    }
}

/// As [`raise`], for an element and the dense form.
pub fn dense_add(hll: &mut [u8], element: &[u8]) -> bool {
    let (index, value) = place(element);
    dense_raise(hll, index, value)
}

/// Raises `registers` to those of a HyperLogLog.
pub fn merge(registers: &mut Registers, hll: &[u8], encoding: Encoding) -> Result<(), Corrupt> {
    match encoding {
        Encoding::Dense => {
            each_dense(hll, |index, value| registers[index] = registers[index].max(value));
            Ok(())
        }
        Encoding::Sparse => each_run(hll, |first, run| {
            let those = &mut registers[first..first + run.registers];
            those.iter_mut().for_each(|register| *register = run.value.max(*register));
        }),
    }
}

pub fn histogram(hll: &[u8], encoding: Encoding) -> Result<Histogram, Corrupt> {
    let mut out = [0; REGISTER_MAX as usize + 1];
    match encoding {
        Encoding::Dense => each_dense(hll, |_, value| out[value as usize] += 1),
        Encoding::Sparse => each_run(hll, |_, run| out[run.value as usize] += run.registers as u32)?,
    }
    Ok(out)
}

pub fn histogram_of(registers: &Registers) -> Histogram {
    let mut out = [0; REGISTER_MAX as usize + 1];
    registers.iter().for_each(|value| out[(value & REGISTER_MAX) as usize] += 1);
    out
}
