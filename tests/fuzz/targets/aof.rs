//! Append-only files and their manifests: the same records in whatever pieces a file comes, places of errors that
//! lie within it, and a check that agrees.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::persist::aof::check::{Check, Subject, Verdict};
use shoal::persist::aof::manifest::Manifest;
use shoal::persist::aof::reader::{Reader, Record};

/// What is found: each record's bytes, and where it ends, well or not.
fn read(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, u64, Option<bool>) {
    let (mut reader, mut spans, mut found) = (Reader::default(), Vec::new(), Vec::new());
    let mut pieces = bytes.chunks(piece);
    loop {
        spans.clear();
        match reader.next(&mut spans) {
            Ok(Record::Command) => found.push(reader.args(&spans).iter().collect::<Vec<_>>().concat()),
            Ok(Record::Note { start, end }) => found.push(reader.note(start, end).to_vec()),
            Ok(Record::More) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => return (found, reader.offset(), Some(reader.is_clean())),
            },
            Err(bad) => return (found, bad.offset, None),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let whole = read(bytes, bytes.len().max(1));
    let parts = read(bytes, size as usize + 1);
    assert_eq!(parts.0, whole.0);
    assert_eq!(parts.1, whole.1);
    assert!(whole.1 <= bytes.len() as u64);
    let of = Subject { name: "a", path: "a", size: bytes.len() as u64, last: true, until: 0 };
    if let Ok(Verdict::Damaged { ok_up_to }) = Check::default().file(of, 0, &mut &bytes[..]) {
        assert!(ok_up_to <= bytes.len() as u64);
    }
    if let Ok(manifest) = Manifest::parse(bytes) {
        let again = Manifest::parse(&manifest.text()).expect("what we wrote");
        assert_eq!(again.text(), manifest.text());
    }
});
