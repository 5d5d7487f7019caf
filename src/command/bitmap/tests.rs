//! Words at a time against bit by bit; what is told of a change. Replies: `tests/commands/bitmap.resp`.

use super::bits::{self, Op};
use crate::command::testing::World;
use crate::util::rng::Rng;

/// A text of up to 40 bytes with runs of zeros and ones.
fn any_text(rng: &mut Rng) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..rng.below(6) {
        let byte = [0, 0xff, rng.below(256) as u8][rng.below(3) as usize];
        text.extend(std::iter::repeat_n(byte, rng.below(14) as usize));
    }
    text
}

#[test]
fn ranges_of_bits_are_looked_at_by_words() {
    let mut rng = Rng::new(1);
    for _ in 0..3000 {
        let text = any_text(&mut rng);
        let total = text.len() as u64 * 8;
        let start = rng.below(total + 1);
        let range = start..start + rng.below(total - start + 1);
        let ones = range.clone().filter(|&i| bits::get(&text, i)).count() as u64;
        assert_eq!(bits::count(&text, range.clone()), ones, "{text:x?} {range:?}");
        for bit in [false, true] {
            let first = range.clone().find(|&i| bits::get(&text, i) == bit);
            assert_eq!(bits::find(&text, range.clone(), bit), first, "{bit} in {text:x?} {range:?}");
        }
    }
}

#[test]
fn fields_are_rows_of_bits() {
    let mut rng = Rng::new(2);
    for _ in 0..3000 {
        let mut text = any_text(&mut rng);
        let (offset, width) = (rng.below(400), 1 + rng.below(64) as u32);
        let by_bit = |text: &[u8]| {
            (offset..offset + width as u64).fold(0, |n: u64, i| n << 1 | bits::get(text, i) as u64)
        };
        assert_eq!(bits::get_field(&text, offset, width), by_bit(&text), "{offset}/{width} of {text:x?}");
        let end = (offset + width as u64).div_ceil(8) as usize;
        text.resize(text.len().max(end), 0);
        let (mut want, value) = (text.clone(), rng.next_u64());
        for n in 0..width {
            bits::set(&mut want, offset + n as u64, value >> (width - 1 - n) & 1 != 0);
        }
        bits::set_field(&mut text, offset, width, value);
        assert_eq!(text, want, "{value:x} at {offset}/{width}");
    }
}

#[test]
fn texts_are_combined_as_if_filled_up() {
    let mut rng = Rng::new(3);
    for _ in 0..1000 {
        let (a, b) = (any_text(&mut rng), any_text(&mut rng));
        let at = |text: &[u8], i: usize| text.get(i).copied().unwrap_or(0);
        for op in [Op::And, Op::Or, Op::Xor] {
            let one = |i| match op {
                Op::And => at(&a, i) & at(&b, i),
                Op::Or => at(&a, i) | at(&b, i),
                Op::Xor => at(&a, i) ^ at(&b, i),
            };
            let want: Vec<u8> = (0..a.len().max(b.len())).map(one).collect();
            let mut acc = a.clone();
            bits::combine(op, &mut acc, &b);
            assert_eq!(acc, want, "{op:?} of {a:x?} and {b:x?}");
        }
    }
}

/// What a request changes: its events, and how much it counts.
#[test]
fn changes_are_told() {
    let mut w = World::new();
    let cases: &[(&str, &[&str], u64)] = &[
        ("SETBIT a 1 0", &["new:a", "setbit:a"], 1),
        ("SETBIT a 1 0", &[], 0),
        ("SETBIT a 1 1", &["setbit:a"], 1),
        ("SETBIT a 8 0", &["setbit:a"], 1),
        ("GETBIT missing 1", &["keymiss:missing"], 0),
        ("BITFIELD a GET u8 0", &[], 0),
        ("BITFIELD a SET u8 0 1 SET u8 0 1 SET u8 0 2", &["setbit:a"], 2),
        ("BITFIELD a OVERFLOW FAIL SET u8 0 256", &[], 0),
        ("BITFIELD b OVERFLOW FAIL SET u8 0 256", &["new:b", ":b"], 1),
        ("BITFIELD c SET u8 0 0 GET u8 0", &["new:c", "setbit:c"], 1),
        ("BITOP OR d a", &["new:d", "set:d"], 1),
        ("BITOP AND d missing", &["keymiss:missing", "del:d"], 1),
        ("BITOP AND d missing", &["keymiss:missing"], 0),
    ];
    for (line, events, dirty) in cases {
        w.run(line);
        assert_eq!(w.events(), *events, "{line}");
        assert_eq!(std::mem::take(&mut w.fx.dirty), *dirty, "{line}");
    }
}
