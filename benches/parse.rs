//! How long finding commands in bytes takes: small GETs and SETs in one buffer, and a long MSET.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shoal::resp::parse::{Parsed, Parser, Rules};
use std::hint::black_box;

const RULES: Rules = Rules { max_bulk: 512 << 20, unauthenticated: false };

fn encode(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|w| out.extend(format!("${}\r\n{w}\r\n", w.len()).bytes()));
    out
}

fn parse_all(
    buf: &[u8],
    parser: &mut Parser,
    spans: &mut Vec<shoal::resp::Span>,
    scratch: &mut Vec<u8>,
) -> usize {
    let (mut at, mut commands) = (0, 0);
    spans.clear();
    while let Ok(Parsed::Command(len)) = parser.parse(&buf[at..], RULES, spans, scratch) {
        at += len;
        commands += 1;
    }
    commands
}

fn parse(c: &mut Criterion) {
    let mset: Vec<String> =
        std::iter::once("MSET".into()).chain((0..20).map(|i| format!("key:{i:012}"))).collect();
    let mset: Vec<&str> = mset.iter().map(String::as_str).collect();
    let cases = [
        ("GET x64", encode(&["GET", "key:000000012345"]).repeat(64), 64),
        ("SET x64", encode(&["SET", "key:000000012345", "xxxxxxxxxxxxxxxx"]).repeat(64), 64),
        ("MSET of 10 keys x8", encode(&mset).repeat(8), 8),
    ];
    let mut group = c.benchmark_group("parse");
    for (name, buf, commands) in cases {
        let (mut parser, mut spans, mut scratch) = (Parser::default(), Vec::new(), Vec::new());
        assert_eq!(parse_all(&buf, &mut parser, &mut spans, &mut scratch), commands);
        group.throughput(Throughput::Elements(commands as u64));
        group.bench_function(name, |b| {
            b.iter(|| parse_all(black_box(&buf), &mut parser, &mut spans, &mut scratch))
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
