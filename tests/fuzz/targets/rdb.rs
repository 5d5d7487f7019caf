//! RDB files and the values in them: an error or sound values, in whatever pieces the file comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::persist::rdb::{Item, Reader};
use shoal::persist::{Encoder, dump, restore};
use shoal::value::{Limits, Object, ValueRef};

/// What was read can be written and read again.
fn is_sound(object: &Object, limits: &Limits) {
    let value = match object {
        Object::Str(text) => ValueRef::Str(text),
        object => ValueRef::Obj(object),
    };
    let mut payload = Vec::new();
    dump(value, &mut Encoder::new(true), &mut payload);
    let again = restore(&payload, limits).expect("what we wrote");
    assert_eq!(again.type_name(), object.type_name());
}

fn read(bytes: &[u8], piece: usize, known: bool) -> Result<usize, String> {
    let limits = Limits::default();
    let mut reader = Reader::new(if known { bytes.len() as u64 } else { u64::MAX }, false);
    let (mut pieces, mut keys) = (bytes.chunks(piece), 0);
    loop {
        match reader.next(&limits, 64).map_err(|failure| format!("{:?}", failure.error))? {
            Item::Feed(_) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => return Err("cut off".into()),
            },
            Item::Key(key) => {
                is_sound(&key.value, &limits);
                keys += 1;
            }
            Item::End => return Ok(keys),
            _ => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [how, bytes @ ..] = data else { return };
    let file = [b"REDIS0010", bytes].concat();
    let whole = read(&file, file.len(), true);
    assert_eq!(read(&file, 1 + *how as usize, true), whole);
    if whole.is_ok() {
        assert_eq!(read(&file, 1 + *how as usize, false), whole);
    }
});
