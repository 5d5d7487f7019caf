//! math.random: lrand48, which gives the same numbers on every machine.

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const BITS: u64 = (1 << 48) - 1;
/// One more than the largest number.
pub(super) const MAX: i32 = i32::MAX;

pub(super) struct Lrand48(u64);

impl Default for Lrand48 {
    fn default() -> Lrand48 {
        Lrand48(0x1234_ABCD_330E)
    }
}

impl Lrand48 {
    pub(super) fn seed(&mut self, seed: i32) {
        self.0 = (seed as u32 as u64) << 16 | 0x330E;
    }

    pub(super) fn next(&mut self) -> i32 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & BITS;
        (self.0 >> 17) as i32
    }
}
