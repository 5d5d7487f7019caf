//! DUMP's payloads: type byte, value, version (u16 LE), checksum of all that (u64 LE).

use super::codes::VERSION;
use super::crc64::crc64;
use super::error::{Error, Stop};
use super::input::Input;
use super::rdb::{opcode, put_function};
use super::read::Building;
use super::write::{Encoder, Writing, kind_of};
use crate::limits::RDB_STEP;
use crate::value::{Limits, Object, ValueRef};

const CHECKSUM: usize = 8;
const FOOTER: usize = 2 + CHECKSUM;

/// A payload in the making; see [`Writing`] for what its steps ask for.
#[derive(Default)]
pub struct Dumping {
    begun: bool,
    writing: Writing,
    crc: u64,
}

impl Dumping {
    pub fn new() -> Dumping {
        Dumping::default()
    }

    /// Appends the next part; whether the payload is whole. Parts may go into different buffers.
    pub fn step(
        &mut self,
        value: ValueRef<'_>,
        encoder: &mut Encoder,
        budget: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let from = out.len();
        if !std::mem::replace(&mut self.begun, true) {
            out.push(kind_of(value));
        }
        let whole = self.writing.step(value, encoder, budget, out);
        if whole {
            out.extend_from_slice(&VERSION.to_le_bytes());
        }
        self.crc = crc64(self.crc, &out[from..]);
        if whole {
            out.extend_from_slice(&self.crc.to_le_bytes());
        }
        whole
    }
}

/// Appends FUNCTION DUMP's payload: libraries as a file has them, and the footer.
pub fn dump_functions<'c>(codes: impl Iterator<Item = &'c [u8]>, compress: bool, out: &mut Vec<u8>) {
    let (from, mut encoder) = (out.len(), Encoder::new(compress));
    codes.for_each(|code| put_function(code, &mut encoder, out));
    out.extend_from_slice(&VERSION.to_le_bytes());
    let crc = crc64(0, &out[from..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// The libraries of such a payload, or what Redis says of one that is none.
pub fn restore_functions(payload: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let body = checked(payload).map_err(|_| "DUMP payload version or checksum are wrong")?;
    let mut input = Input::whole(body);
    let mut codes = Vec::new();
    while input.left() > 0 {
        match input.byte() {
            Ok(opcode::FUNCTION) => {}
            Ok(opcode::FUNCTION_PREVIEW) => return Err("Pre-release function format not supported."),
            _ => return Err("given type is not a function"),
        }
        codes.push(input.text().map_err(|_| "Failed loading library blob")?.into_vec());
    }
    Ok(codes)
}

/// What stands before the footer, if that is right.
fn checked(payload: &[u8]) -> Result<&[u8], Error> {
    let body = payload.len().checked_sub(FOOTER).ok_or(Error::Frame)?;
    let (summed, crc) = payload.split_last_chunk::<CHECKSUM>().ok_or(Error::Frame)?;
    let version = u16::from_le_bytes([summed[body], summed[body + 1]]);
    match version > VERSION || crc64(0, summed) != u64::from_le_bytes(*crc) {
        true => Err(Error::Frame),
        false => Ok(&payload[..body]),
    }
}

/// Appends a value's payload.
pub fn dump(value: ValueRef<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
    let whole = Dumping::new().step(value, encoder, usize::MAX, out);
    assert!(whole, "no value is longer than any budget");
}

/// The value of a payload. Collections become flat or not as `limits` say. As in Redis, what stands
/// between the value and the footer does not matter.
pub fn restore(payload: &[u8], limits: &Limits) -> Result<Object, Error> {
    let mut restoring = Restoring::default();
    loop {
        if let Some(value) = restoring.step(payload, limits, usize::MAX) {
            return value;
        }
    }
}

/// A payload that is being read: first its checksum, then its value.
#[derive(Default)]
pub struct Restoring {
    summed: usize,
    crc: u64,
    building: Option<Building>,
    /// How far the value was read, and how many bytes of it the next step sees at least.
    at: usize,
    window: usize,
}

impl Restoring {
    /// Reads on, over about `budget` bytes; what the payload comes to, once that is known. It must be the same
    /// in each step.
    pub fn step(&mut self, payload: &[u8], limits: &Limits, budget: usize) -> Option<Result<Object, Error>> {
        match self.read_on(payload, limits, budget) {
            Ok(value) => value.map(Ok),
            Err(Stop::Broken(error)) => Some(Err(error)),
            Err(Stop::More(_)) => Some(Err(Error::Short)),
        }
    }

    fn read_on(&mut self, payload: &[u8], limits: &Limits, budget: usize) -> Result<Option<Object>, Stop> {
        let body = payload.len().checked_sub(FOOTER).ok_or(Error::Frame)?;
        let (summed, crc) = payload.split_last_chunk::<CHECKSUM>().ok_or(Error::Frame)?;
        let Some(building) = &mut self.building else {
            let to = self.summed.saturating_add(budget).min(summed.len());
            self.crc = crc64(self.crc, &summed[self.summed..to]);
            self.summed = to;
            if to == summed.len() {
                let version = u16::from_le_bytes([summed[body], summed[body + 1]]);
                if version > VERSION || self.crc != u64::from_le_bytes(*crc) {
                    return Err(Error::Frame.into());
                }
                let mut input = Input::whole(&payload[..body]);
                self.building = Some(Building::new(input.byte()?)?);
                self.at = input.at();
            }
            return Ok(None);
        };
        let end = self.at.saturating_add(budget.max(self.window)).min(body);
        let mut input = Input::part(&payload[self.at..end], (body - end) as u64);
        let value = building.step(&mut input, limits, RDB_STEP);
        self.at += input.at();
        match value {
            // an element is longer than what was shown of it
            Err(Stop::More(_)) if end < body => {
                self.window = if input.at() > 0 { 0 } else { (end - self.at).saturating_mul(2) };
                Ok(None)
            }
            value => {
                self.window = 0;
                value
            }
        }
    }

    /// What there is of a value that nobody wants any more.
    pub fn abandon(&mut self) -> Option<Object> {
        self.building.take()?.abandon()
    }
}
