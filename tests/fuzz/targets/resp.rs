//! RESP and inline commands: whatever pieces the bytes come in, the same commands are found, or the same error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::resp::Args;
use shoal::resp::parse::{Parsed, Parser, Rules, Violation};

type Found = (Vec<Vec<Vec<u8>>>, Option<String>);

fn feed(bytes: &[u8], step: usize, rules: Rules) -> Found {
    let (mut parser, mut have, mut found) = (Parser::default(), Vec::new(), Vec::new());
    let (mut spans, mut scratch) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        have.extend_from_slice(piece);
        loop {
            spans.clear();
            scratch.clear();
            let (end, args) = match parser.parse(&have, rules, &mut spans, &mut scratch) {
                Err(Violation(text)) => return (found, Some(text)),
                Ok(Parsed::Partial) => break,
                Ok(Parsed::Command(end)) => (end, Args::new(&have, &spans)),
                Ok(Parsed::Inline(end)) => (end, Args::new(&scratch, &spans)),
            };
            if args.len() > 0 {
                found.push(args.iter().map(<[u8]>::to_vec).collect());
            }
            have.drain(..end);
        }
    }
    (found, None)
}

fuzz_target!(|data: &[u8]| {
    let [how, bytes @ ..] = data else { return };
    let rules = Rules { max_bulk: 1 << 20, unauthenticated: how & 1 == 1 };
    let step = 1 + (how >> 1) as usize;
    assert_eq!(feed(bytes, step, rules), feed(bytes, bytes.len().max(1), rules));
});
