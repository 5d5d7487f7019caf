//! DUMP's payloads: type byte, value, version (u16 LE), checksum of all that (u64 LE).

use super::codes::VERSION;
use super::crc64::crc64;
use super::error::{Error, Stop};
use super::input::Input;
use super::read::Building;
use super::write::{Encoder, Writing, kind_of};
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

/// Appends a value's payload.
pub fn dump(value: ValueRef<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
    let whole = Dumping::new().step(value, encoder, usize::MAX, out);
    assert!(whole, "no value is longer than any budget");
}

/// The value of a payload. Collections become flat or not as `limits` say. As in Redis, what stands
/// between the value and the footer does not matter.
pub fn restore(payload: &[u8], limits: &Limits) -> Result<Object, Error> {
    let body = payload.len().checked_sub(FOOTER).ok_or(Error::Frame)?;
    let (summed, crc) = payload.split_last_chunk::<CHECKSUM>().ok_or(Error::Frame)?;
    let version = u16::from_le_bytes([summed[body], summed[body + 1]]);
    if version > VERSION || crc64(0, summed) != u64::from_le_bytes(*crc) {
        return Err(Error::Frame);
    }
    let mut input = Input::whole(&payload[..body]);
    let read = |input: &mut Input<'_>| {
        let mut building = Building::new(input.byte()?)?;
        building.step(input, limits, usize::MAX)
    };
    match read(&mut input) {
        Ok(Some(object)) => Ok(object),
        Err(Stop::Broken(error)) => Err(error),
        Ok(None) | Err(Stop::More(_)) => Err(Error::Short),
    }
}
