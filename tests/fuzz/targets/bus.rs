//! Packets of the cluster bus: refused, or read as something that can be sent on and is read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::cluster::wire::{decode, encode, frame_len, kind_of};

/// Bytes of a packet before its body.
const HEADER: usize = 2256;

fuzz_target!(|data: &[u8]| {
    let _ = (frame_len(data), kind_of(data), decode(data));
    // signature, length and version, which chance seldom hits
    let mut frame = data.to_vec();
    frame.resize(data.len().max(HEADER), 0);
    let len = frame.len() as u32;
    frame[..4].copy_from_slice(b"RCmb");
    frame[4..8].copy_from_slice(&len.to_be_bytes());
    frame[8..10].copy_from_slice(&1u16.to_be_bytes());
    if let Ok(packet) = decode(&frame) {
        let mut again = Vec::new();
        encode(&packet, &mut again);
        assert_eq!(decode(&again).as_ref(), Ok(&packet));
    }
});
