//! The format's numbers, and how it writes lengths.

/// What 7.0.15 writes, and the newest payload that its RESTORE takes.
pub const VERSION: u16 = 10;

/// What a value is and how it is encoded: the byte before it.
pub mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    /// Scores as text.
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    /// Scores as doubles.
    pub const ZSET_2: u8 = 5;
    pub const MODULE: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM_LISTPACKS: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_LISTPACKS_2: u8 = 19;
    /// From 7.2 on.
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// Hashes whose fields have times to live, from 7.4 on; the first two never left its previews.
    pub const HASH_TTL_PREVIEW: u8 = 22;
    pub const HASH_LISTPACK_TTL_PREVIEW: u8 = 23;
    pub const HASH_TTL: u8 = 24;
    pub const HASH_LISTPACK_TTL: u8 = 25;
    /// The same of Valkey 9, whose versions count on their own.
    pub const VALKEY_HASH_TTL: u8 = 22;
}

/// What a quicklist's node is: one element as it is, or a listpack.
pub const NODE_PLAIN: u64 = 1;
pub const NODE_PACKED: u64 = 2;

/// The two highest bits of a length's first byte: a length of 6 or 14 bits, or an encoded string.
pub const LEN_6: u8 = 0x00;
pub const LEN_14: u8 = 0x40;
pub const LEN_ENCODED: u8 = 0xC0;
/// Whole first bytes: what follows is a length of 32 or 64 bits, big-endian.
pub const LEN_32: u8 = 0x80;
pub const LEN_64: u8 = 0x81;

/// Encoded strings: integers, little-endian, or compressed.
pub const ENC_I8: u8 = 0;
pub const ENC_I16: u8 = 1;
pub const ENC_I32: u8 = 2;
pub const ENC_LZF: u8 = 3;

/// Lengths of a score's text that mean something else.
pub const SCORE_NAN: u8 = 253;
pub const SCORE_INF: u8 = 254;
pub const SCORE_MINUS_INF: u8 = 255;

/// Strings longer than this are compressed if that makes them shorter.
pub const COMPRESS_ABOVE: usize = 20;
/// Strings up to this length may be a number that fits 32 bits.
pub const NUMBER_TEXT: usize = 11;

pub fn put_len(out: &mut Vec<u8>, len: u64) {
    match len {
        0..0x40 => out.push(LEN_6 | len as u8),
        0x40..0x4000 => out.extend_from_slice(&[LEN_14 | (len >> 8) as u8, len as u8]),
        0x4000..=0xFFFF_FFFF => {
            out.push(LEN_32);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(LEN_64);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// Writes a number as an encoded string, if it fits 32 bits.
pub fn put_int(out: &mut Vec<u8>, n: i64) -> bool {
    if let Ok(n) = i8::try_from(n) {
        out.extend_from_slice(&[LEN_ENCODED | ENC_I8, n as u8]);
    } else if let Ok(n) = i16::try_from(n) {
        out.push(LEN_ENCODED | ENC_I16);
        out.extend_from_slice(&n.to_le_bytes());
    } else if let Ok(n) = i32::try_from(n) {
        out.push(LEN_ENCODED | ENC_I32);
        out.extend_from_slice(&n.to_le_bytes());
    } else {
        return false;
    }
    true
}
