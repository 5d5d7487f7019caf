//! Hash slots: the 16384 shares of the keyspace, and which one a key belongs to.
//!
//! The rule is the Redis Cluster specification's: CRC16 (XMODEM) of the key, or of its hash tag
//! (what stands between the first `{` and the next `}`, when that is not empty), modulo 16384.

/// Number of hash slots in a cluster.
pub const SLOTS: usize = 16384;

/// A hash slot, `0..SLOTS`.
pub type Slot = u16;

/// The slot of `key`.
#[inline(always)]
pub fn key_slot(key: &[u8]) -> Slot {
    let crc = match checksum_untagged(key) {
        Some(crc) => crc,
        None => crc16::State::<crc16::XMODEM>::calculate(hash_tag(key)),
    };
    crc & (SLOTS as u16 - 1)
}

/// `TABLES[k][b]`: what byte `b` with `k` bytes behind it adds to a CRC16. With one table a byte, eight
/// bytes are looked up at once, where the plain algorithm waits for each byte's look-up before
/// the next.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut out = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        out[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = out[behind - 1][byte];
            out[behind][byte] = (crc << 8) ^ out[0][(crc >> 8) as usize];
            byte += 1;
        }
        behind += 1;
    }
    out
}

/// The CRC16 of the whole key; `None` when it has a `{` and so perhaps a tag.
#[inline(always)]
fn checksum_untagged(key: &[u8]) -> Option<u16> {
    let (chunks, tail) = key.as_chunks::<8>();
    let mut crc = 0u16;
    let mut braces = 0;
    for chunk in chunks {
        braces |= brace_bytes(u64::from_le_bytes(*chunk));
        let [a, b] = crc.to_be_bytes();
        crc = TABLES[7][(chunk[0] ^ a) as usize]
            ^ TABLES[6][(chunk[1] ^ b) as usize]
            ^ TABLES[5][chunk[2] as usize]
            ^ TABLES[4][chunk[3] as usize]
            ^ TABLES[3][chunk[4] as usize]
            ^ TABLES[2][chunk[5] as usize]
            ^ TABLES[1][chunk[6] as usize]
            ^ TABLES[0][chunk[7] as usize];
    }
    let mut brace = braces != 0;
    for &byte in tail {
        brace |= byte == b'{';
        crc = (crc << 8) ^ TABLES[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    (!brace).then_some(crc)
}

/// Not zero when one of the eight bytes is `{`.
#[inline]
fn brace_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let x = word ^ (ONES * b'{' as u64);
    x.wrapping_sub(ONES) & !x & (ONES * 0x80)
}

/// The part of `key` that decides its slot.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if let Some(open) = memchr::memchr(b'{', key) {
        let rest = &key[open + 1..];
        if let Some(len) = memchr::memchr(b'}', rest)
            && len > 0
        {
            return &rest[..len];
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_agree_with_redis() {
        // CLUSTER KEYSLOT of redis-server 7.0.15
        let cases: &[(&[u8], Slot)] = &[
            (b"foo", 12182),
            (b"bar", 5061),
            (b"", 0),
            (b"123456789", 12739),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
            (b"{bar", 4015),
        ];
        for (key, slot) in cases {
            assert_eq!(key_slot(key), *slot, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn eight_bytes_at_once_are_the_plain_checksum() {
        let mut state = 16u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for len in (0..40).cycle().take(4000) {
            // braces are likely in every fourth
            let key: Vec<u8> = (0..len)
                .map(|_| match below(8) {
                    0 if len % 4 == 0 => b'{',
                    1 if len % 4 == 0 => b'}',
                    _ => below(256) as u8,
                })
                .collect();
            let plain = crc16::State::<crc16::XMODEM>::calculate(hash_tag(&key)) & (SLOTS as u16 - 1);
            assert_eq!(key_slot(&key), plain, "{key:?}");
        }
    }
}
