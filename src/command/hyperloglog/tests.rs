//! The two forms against each other, broken ones, what is told of a change. Replies, and every byte of
//! what is stored: `tests/commands/hyperloglog.resp`.

use super::estimate::estimate;
use super::sketch::{self, Encoding, REGISTERS};
use crate::command::testing::World;
use crate::util::rng::Rng;

fn dense() -> Vec<u8> {
    let mut hll = sketch::new();
    sketch::make_dense(&mut hll).unwrap();
    hll
}

/// Runs, as a sequence of values.
fn unrolled(hll: &[u8]) -> Vec<u8> {
    sketch::runs(hll).flat_map(|run| std::iter::repeat_n(run.value, run.registers)).collect()
}

/// Any registers, raised in any order, stand in runs that say just that, and in the dense form.
#[test]
fn both_forms_hold_the_same_registers() {
    let mut rng = Rng::new(1);
    for round in 0..60 {
        let (mut sparse, mut wide) = (sketch::new(), dense());
        let mut registers = [0u8; REGISTERS];
        // near each other, so that runs meet
        let (from, span) = (rng.below(REGISTERS as u64 - 64), [3, 9, 64][round % 3]);
        for n in 0..300 {
            let index = match rng.below(20) {
                0 => [0, REGISTERS - 1, rng.below(REGISTERS as u64) as usize][n % 3],
                _ => (from + rng.below(span)) as usize,
            };
            let value = 1 + rng.below(if n == 299 && round % 4 == 0 { 51 } else { 4 }) as u8;
            let raised = registers[index] < value;
            registers[index] = registers[index].max(value);
            assert_eq!(sketch::raise(&mut sparse, index, value, 3000), Ok(raised));
            assert_eq!(sketch::raise(&mut wide, index, value, 3000), Ok(raised));
        }
        let encoding = sketch::encoding(&sparse).unwrap();
        if encoding == Encoding::Sparse {
            assert_eq!(unrolled(&sparse), registers);
        }
        for (hll, encoding) in [(&sparse, encoding), (&wide, Encoding::Dense)] {
            let mut merged = [0; REGISTERS];
            sketch::merge(&mut merged, hll, encoding).unwrap();
            assert_eq!(merged, registers);
            assert_eq!(sketch::histogram(hll, encoding), Ok(sketch::histogram_of(&registers)));
        }
        sketch::make_dense(&mut sparse).unwrap();
        assert_eq!(sparse, wide);
        assert!((0..REGISTERS).all(|index| sketch::dense_get(&sparse, index) == registers[index]));
    }
}

#[test]
fn estimates_are_near() {
    let mut hll = dense();
    let mut checkpoint = 1;
    for n in 1..=100_000u64 {
        sketch::dense_add(&mut hll, &n.to_be_bytes());
        if n == checkpoint {
            let count = estimate(&sketch::histogram(&hll, Encoding::Dense).unwrap());
            assert!(count.abs_diff(n) * 20 <= n, "{count} instead of {n}");
            checkpoint *= 10;
        }
    }
    assert_eq!(World::new().run("PFSELFTEST"), "+OK\r\n");
}

/// Strings that begin as a sparse one does, with anything behind: refused or counted, never a panic.
#[test]
fn broken_ones_are_refused() {
    let mut rng = Rng::new(2);
    let mut refused = 0;
    for round in 0..400 {
        let mut w = World::new();
        let mut hll = sketch::new();
        hll.truncate(16 + rng.below(3) as usize);
        hll.extend((0..rng.below(200)).map(|_| rng.below(256) as u8));
        if round % 2 == 0 {
            hll.insert(16, 0x7f - rng.below(8) as u8);
        }
        w.run_words(&[b"SET", b"h", &hll]);
        let lines = [
            "PFCOUNT h",
            "PFCOUNT h h",
            "PFADD h a b c d e f g",
            "PFDEBUG DECODE h",
            "PFMERGE d h",
            "PFMERGE h d",
            "PFDEBUG TODENSE h",
            "PFDEBUG GETREG h",
            "PFADD h a b c",
        ];
        refused += lines.iter().filter(|line| w.run(line).starts_with("-INVALIDOBJ Corrupted")).count();
    }
    assert!(refused > 1000, "only {refused}");
}

#[test]
fn changes_are_told() {
    let mut w = World::new();
    let cases: &[(&str, &[&str], u64)] = &[
        ("PFADD a", &["new:a", "pfadd:a"], 1),
        ("PFADD a", &[], 0),
        ("PFCOUNT a", &[":a"], 1),
        ("PFCOUNT a", &[], 0),
        ("PFADD a x y", &["pfadd:a"], 2),
        ("PFADD a y x", &[], 0),
        ("PFADD b x y z", &["new:b", "pfadd:b"], 4),
        ("PFCOUNT a b missing", &["keymiss:missing"], 0),
        ("PFMERGE c a b", &["keymiss:c", "new:c", "pfadd:c"], 1),
        ("PFMERGE c a", &["pfadd:c"], 1),
        ("PFDEBUG TODENSE c", &[], 1),
        ("PFDEBUG TODENSE c", &[], 0),
        ("PFADD c x", &[], 0),
        ("PFADD c more", &["pfadd:c"], 1),
    ];
    for (line, events, dirty) in cases {
        w.run(line);
        assert_eq!(w.events(), *events, "{line}");
        assert_eq!(std::mem::take(&mut w.fx.dirty), *dirty, "{line}");
    }
}
