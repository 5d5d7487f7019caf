//! Hash slots: the 16384 shares of the keyspace, and which one a key belongs to.
//!
//! The rule is the Redis Cluster specification's: CRC16 (XMODEM) of the key, or of its hash tag
//! (what stands between the first `{` and the next `}`, when that is not empty), modulo 16384.

/// Number of hash slots in a cluster.
pub const SLOTS: usize = 16384;

/// A hash slot, `0..SLOTS`.
pub type Slot = u16;

/// The slot of `key`.
#[inline]
pub fn key_slot(key: &[u8]) -> Slot {
    crc16::State::<crc16::XMODEM>::calculate(hash_tag(key)) & (SLOTS as u16 - 1)
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
}
