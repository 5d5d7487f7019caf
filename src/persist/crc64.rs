//! The checksum of payloads and files: CRC-64/Jones, reflected, from 0 and without a final change.

/// The polynomial 0xAD93D23594C935A9, its bits reversed.
const POLYNOMIAL: u64 = 0x95AC_9329_AC4B_C9B5;
/// Bytes that are taken at once, each by a table of its own.
const SLICES: usize = 16;

/// `TABLES[n][b]`: what byte `b` comes to with `n` zero bytes behind it.
static TABLES: [[u64; 256]; SLICES] = tables();

const fn tables() -> [[u64; 256]; SLICES] {
    let mut tables = [[0; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < SLICES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

/// The checksum of what `crc` is the checksum of, with `bytes` behind it.
pub fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<SLICES>();
    for chunk in chunks {
        let mut next = 0;
        for (i, byte) in crc.to_le_bytes().into_iter().enumerate() {
            next ^= TABLES[SLICES - 1 - i][(byte ^ chunk[i]) as usize];
        }
        for (i, byte) in chunk.iter().enumerate().skip(8) {
            next ^= TABLES[SLICES - 1 - i][*byte as usize];
        }
        crc = next;
    }
    rest.iter().fold(crc, |crc, byte| crc >> 8 ^ TABLES[0][(crc as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_redis_s() {
        // the value that Redis's own test of it expects
        assert_eq!(crc64(0, b"123456789"), 0xE9C6_D914_C4B8_D9CA);
        assert_eq!(crc64(0, b""), 0);
    }

    #[test]
    fn pieces_come_to_the_same_as_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let slowly = bytes.iter().fold(0, |crc, byte| crc64(crc, &[*byte]));
        for cut in [0, 1, 7, 15, 16, 17, 500, 999, 1000] {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(crc64(crc64(0, head), tail), slowly, "{cut}");
        }
    }
}
