//! Elements by chance, as SRANDMEMBER, HRANDFIELD and ZRANDMEMBER pick them.

use super::collection::missed;
use super::ctx::Ctx;
use super::error::{Done, ErrReply, NOT_INT, OUT_OF_RANGE};
use crate::limits::RANDOM_REPLY;
use crate::resp::Reply;
use crate::store::Key;
use crate::util::num::parse_i64;
use crate::util::rng::Rng;
use crate::value::{Elem, Limits, Set};

const BAD_COUNT: ErrReply = ErrReply::new(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);

/// How many elements are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Each at most once.
    Distinct(u64),
    /// Exactly so many, an element as often as chance brings it.
    Repeating(u64),
}

impl Count {
    /// A negative number allows repetitions.
    pub fn parse(text: &[u8]) -> Result<Count, ErrReply> {
        let n = parse_i64(text).ok_or(NOT_INT)?;
        match n {
            i64::MIN => Err(BAD_COUNT),
            0.. => Ok(Count::Distinct(n as u64)),
            _ => Ok(Count::Repeating(n.unsigned_abs())),
        }
    }

    /// As [`Count::parse`], of pairs: twice the number must not overflow either.
    pub fn parse_pairs(text: &[u8]) -> Result<Count, ErrReply> {
        let count = Count::parse(text)?;
        match count {
            Count::Distinct(n) | Count::Repeating(n) if n > i64::MAX as u64 / 2 => Err(OUT_OF_RANGE),
            _ => Ok(count),
        }
    }
}

/// Calls `f` with `count` of the items (of which there are `len`, more than `count`), each subset
/// as likely as any other, in the items' order.
pub fn choose<T>(
    items: impl Iterator<Item = T>,
    len: usize,
    count: usize,
    rng: &mut Rng,
    mut f: impl FnMut(T),
) {
    let mut wanted = count;
    for (at, item) in items.enumerate() {
        if wanted == 0 {
            return;
        }
        if rng.below((len - at) as u64) < wanted as u64 {
            f(item);
            wanted -= 1;
        }
    }
}

/// Whether picking `count` distinct ones of `len` again and again until there are enough is cheaper
/// than [`choose`], which looks at them all.
pub fn is_few(count: usize, len: usize) -> bool {
    count * 3 <= len
}

/// Writes `n` picks, each any of the elements. Refuses to go on with a reply that gets enormous, where
/// Redis would go on until it is out of memory.
pub fn repeat(out: &mut Reply<'_>, n: u64, mut pick: impl FnMut(&mut Reply<'_>)) -> Done {
    let mark = out.mark();
    for _ in 0..n {
        pick(out);
        if out.mark() - mark > RANDOM_REPLY {
            return Err(OUT_OF_RANGE);
        }
    }
    Ok(())
}

/// Calls `f` with `n` different elements, fewer than there are, that `draw` finds by and by.
pub fn draw_few<'a, T>(
    n: usize,
    mut draw: impl FnMut() -> Option<(Elem<'a>, T)>,
    mut f: impl FnMut(Elem<'a>, T),
) {
    let mut seen = Set::new();
    while seen.len() < n {
        if let Some((elem, with)) = draw()
            && seen.add_elem(elem, &Limits::default())
        {
            f(elem, with);
        }
    }
}

/// The reply where there is no key.
pub fn pick_nothing(ctx: &mut Ctx<'_>, key: &Key<'_>, count: Option<Count>) {
    missed(ctx, key);
    match count {
        Some(_) => ctx.out.array(0),
        None => ctx.out.null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subset_is_as_likely_as_any_other() {
        let mut rng = Rng::new(3);
        let mut times = [0; 16];
        for _ in 0..60_000 {
            let mut subset = 0;
            choose(0..4, 4, 2, &mut rng, |i| subset |= 1 << i);
            times[subset] += 1;
        }
        for (subset, times) in times.iter().enumerate() {
            let pair = (subset as u32).count_ones() == 2;
            assert_eq!(pair, *times > 0, "{subset:04b}");
            assert!(!pair || (9_000..11_000).contains(times), "{subset:04b} {times}");
        }
    }

    #[test]
    fn counts_stop_where_redis_stops() {
        assert_eq!(Count::parse(b"-3"), Ok(Count::Repeating(3)));
        assert_eq!(Count::parse(b"0"), Ok(Count::Distinct(0)));
        assert_eq!(Count::parse(b"-9223372036854775807"), Ok(Count::Repeating(i64::MAX as u64)));
        assert_eq!(Count::parse(b"-9223372036854775808"), Err(BAD_COUNT));
        assert_eq!(Count::parse(b"1.5"), Err(NOT_INT));
        assert_eq!(Count::parse_pairs(b"-4611686018427387903"), Ok(Count::Repeating(4611686018427387903)));
        assert_eq!(Count::parse_pairs(b"-4611686018427387904"), Err(OUT_OF_RANGE));
    }
}
