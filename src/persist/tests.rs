//! Round trips, steps, pieces, old encodings, and bytes that are broken on purpose.

mod hostile;
pub mod samples;

use crate::util::proof::cases;
use proptest::prelude::*;

use super::*;
use crate::value::{Limits, Object, ValueRef};
use samples::{Kind, digest, model, payloads, value_of};

fn dumped(object: &Object, compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    dump(ValueRef::Obj(object), &mut Encoder::new(compress), &mut out);
    out
}

fn body_of(payload: &[u8]) -> &[u8] {
    &payload[..payload.len() - 10]
}

/// Limits that make small values big ones.
fn tight() -> Limits {
    Limits {
        hash_max_listpack_entries: 4,
        hash_max_listpack_value: 20,
        list_max_listpack_size: 3,
        set_max_intset_entries: 4,
        zset_max_listpack_entries: 4,
        zset_max_listpack_value: 20,
        stream_node_max_bytes: 200,
        stream_node_max_entries: 4,
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_is_written_is_read_again(model in model(), flat in any::<bool>(), compress in any::<bool>()) {
        let limits = if flat { Limits::default() } else { tight() };
        let object = value_of(&model, &limits);
        let payload = dumped(&object, compress);
        let back = restore(&payload, &limits).expect("our own payload");
        prop_assert_eq!(digest(&back), digest(&object));
        prop_assert_eq!(back.encoding(), object.encoding());
        let other = restore(&payload, &if flat { tight() } else { Limits::default() }).expect("with other limits");
        prop_assert_eq!(digest(&other), digest(&object));
    }

    #[test]
    fn steps_write_the_same_as_one(model in model(), budgets in prop::collection::vec(1usize..200, 1..20)) {
        let object = value_of(&model, &tight());
        let whole = dumped(&object, true);
        let (mut dumping, mut encoder) = (Dumping::new(), Encoder::new(true));
        let (mut out, mut budgets) = (Vec::new(), budgets.iter().cycle());
        loop {
            let (mut part, budget) = (Vec::new(), *budgets.next().expect("it cycles"));
            let done = dumping.step(ValueRef::Obj(&object), &mut encoder, budget, &mut part);
            // lengths, scores and the footer are not cut
            prop_assert!(part.len() <= budget + 32, "{} of {budget}", part.len());
            out.extend(part);
            if done {
                break;
            }
        }
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn pieces_read_the_same_as_the_whole(model in model(), sizes in prop::collection::vec(1usize..60, 1..20)) {
        let object = value_of(&model, &tight());
        let payload = dumped(&object, true);
        let body = body_of(&payload);
        let mut building = Building::new(body[0]).expect("a type that we wrote");
        let (mut at, mut have, mut sizes) = (1, 1, sizes.iter().cycle());
        let back = loop {
            let mut input = Input::part(&body[at..have], (body.len() - have) as u64);
            let found = building.step(&mut input, &tight(), 3);
            at += input.at();
            match found {
                Ok(Some(object)) => break object,
                Ok(None) => {}
                Err(Stop::More(more)) => {
                    prop_assert!(more <= (body.len() - have) as u64);
                    have = (have + sizes.next().expect("it cycles")).min(body.len());
                }
                Err(Stop::Broken(error)) => panic!("{error}"),
            }
        };
        prop_assert_eq!(at, body.len());
        prop_assert_eq!(digest(&back), digest(&object));
    }
}

#[test]
fn every_encoding_is_read() {
    for (name, kind, body, model) in payloads() {
        let mut input = Input::whole(&body);
        let back = Building::new(kind).unwrap().step(&mut input, &Limits::default(), usize::MAX);
        let back = back.unwrap_or_else(|e| panic!("{name}: {e:?}")).expect("all of it is there");
        assert_eq!(input.left(), 0, "{name}");
        assert_eq!(digest(&back), digest(&value_of(&model, &Limits::default())), "{name}");
    }
}

#[test]
fn payloads_are_redis_s() {
    let (str, list) = (|text: &str| Kind::Str(text.into()), |texts: &[&str]| Kind::List(all(texts)));
    let long = "z".repeat(65);
    // what redis-server 7.0.15 replied to DUMP
    for (model, hex) in [
        (str("12"), "00c00c0a003c2af8515c04bcd5"),
        (str("-129"), "00c17fff0a001760822854808480"),
        (str("2147483648"), "000a323134373438333634380a00e7b129a34c1d76ee"),
        (str("hello"), "000568656c6c6f0a006372df766534200a"),
        (str(&"abc".repeat(12)[..36]), "00c30b240361626361e015020162630a008e8791ca11001e28"),
        (str(&"x".repeat(300)), "00c30c412c017878e0ff00e017000178780a00f033195a8b660d84"),
        (list(&["1", "x"]), "1201020c0c00000002000101817802ff0a00085b1de17f42c1d8"),
        (
            Kind::Set(all(&["1", "3", "70000"])),
            "0b1404000000030000000100000003000000701101000a00499340ed54ef4afa",
        ),
        (Kind::Hash(vec![("f".into(), "v".into())]), "100d0d0000000200816602817602ff0a0020f13d442354089d"),
        (Kind::ZSet(vec![("m".into(), 1.5)]), "110f0f0000000200816d0283312e3504ff0a0049d9876078254e8a"),
        (
            Kind::ZSet(vec![(long.into(), f64::NEG_INFINITY)]),
            "0501c3094041017a7ae03400017a7a000000000000f0ff0a00af8ec40971d2690e",
        ),
    ] {
        let payload = dumped(&value_of(&model, &Limits::default()), true);
        let text: String = payload.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(text, hex, "{model:?}");
    }
}

fn all(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_value_of_many_megabytes_is_written_in_bounded_steps() {
    let noise: Vec<u8> =
        (0..3_000_000u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let models = [
        Kind::Str(noise.clone()),
        Kind::Str(vec![b'x'; 3_000_000]),
        Kind::List(vec![noise.clone(), b"1".to_vec(), noise.clone()]),
        Kind::Hash(vec![("f".into(), noise.clone()), ("g".into(), vec![b'y'; 100_000])]),
        Kind::Set((0..20_000).map(|i| format!("member:{i}").into_bytes()).collect()),
        Kind::ZSet((0..20_000).map(|i| (format!("member:{i}").into_bytes(), f64::from(i) / 7.0)).collect()),
        Kind::Stream(samples::long_stream(20_000)),
    ];
    for model in models {
        let object = value_of(&model, &Limits::default());
        for compress in [false, true] {
            let whole = dumped(&object, compress);
            let (mut dumping, mut encoder, mut out) = (Dumping::new(), Encoder::new(compress), Vec::new());
            let mut part = Vec::new();
            while !dumping.step(ValueRef::Obj(&object), &mut encoder, 10_000, &mut part) {
                assert!(part.len() <= 10_100, "{}", part.len());
                out.append(&mut part);
            }
            out.append(&mut part);
            assert!(out == whole, "compress: {compress}, {} and {} bytes", out.len(), whole.len());
        }
    }
}
