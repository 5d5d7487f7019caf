//! What a primary says to its replica: whatever pieces the bytes come in, they mean the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::repl::Upstream;
use shoal::repl::history::Id;
use shoal::repl::upstream::{Heard, Terms};

/// What was heard, with pieces of one kind put together; and what was answered.
fn feed(bytes: &[u8], step: usize, terms: &Terms) -> (Vec<(&'static str, Vec<u8>)>, Vec<u8>) {
    let mut upstream = Upstream::new(terms.clone(), 0);
    upstream.opened(0);
    let (mut heard, mut answers): (Vec<(&'static str, Vec<u8>)>, Vec<u8>) = Default::default();
    for piece in bytes.chunks(step) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (what, said) = match upstream.hear(&mut rest, 0) {
                Heard::More => continue,
                Heard::Full(of) => ("full", format!("{of:?}").into_bytes()),
                Heard::Begins => ("begins", Vec::new()),
                Heard::Payload(bytes) => ("payload", bytes),
                Heard::Whole(bytes) => {
                    upstream.in_place(100, 0);
                    ("payload", bytes)
                }
                Heard::Continues(id) => ("continues", format!("{id:?}").into_bytes()),
                Heard::Stream(bytes) => ("stream", bytes.to_vec()),
                Heard::Over(why) => ("over", why.into_bytes()),
            };
            match heard.last_mut() {
                Some((before, all)) if *before == what => all.extend_from_slice(&said),
                _ => heard.push((what, said)),
            }
        }
        answers.extend_from_slice(&upstream.take_output());
    }
    heard.retain(|(what, said)| *what != "payload" || !said.is_empty());
    (heard, answers)
}

fuzz_target!(|data: &[u8]| {
    let [how, step, bytes @ ..] = data else { return };
    let resume = (how & 1 == 1).then(|| (Id::from_bytes(&[b'a'; Id::LEN]).expect("an id"), 7));
    let password = (how & 2 == 2).then(|| b"secret".to_vec());
    let terms = Terms { resume, password, port: 7, ..Terms::default() };
    // the greetings, which chance seldom hits
    let hello: &[u8] = if how & 4 == 4 { b"+PONG\r\n+OK\r\n+OK\r\n" } else { b"" };
    let said = [hello, bytes].concat();
    let whole = feed(&said, said.len().max(1), &terms);
    assert_eq!(feed(&said, 1 + *step as usize, &terms), whole);
});
