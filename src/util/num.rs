//! Numbers as Redis reads and writes them.

use smallvec::SmallVec;

/// Room for the text of any number.
pub type Buf = SmallVec<[u8; 40]>;

/// Appends `x` as Redis shows scores and doubles: `inf`, `-inf`, `nan`, integers without a
/// fraction, and else the shortest text that reads back as `x` (`%.17g`).
pub fn write_double(out: &mut Buf, x: f64) {
    out.extend_from_slice(format!("{x}").as_bytes());
}
