//! How many nodes Redis's radix tree would have: XINFO tells it.

use super::id::Id;

/// Bytes of a key.
const KEY: usize = 16;

/// Nodes of a radix tree with these keys, which are sorted: one at the end of each, one wherever keys part,
/// and one for every stretch of bytes in between.
pub(super) fn nodes(ids: impl Iterator<Item = Id>) -> usize {
    // depths at which the path to the latest key has forked
    let mut forks: Vec<usize> = Vec::new();
    let (mut count, mut latest) = (0, None::<[u8; KEY]>);
    for key in ids.map(Id::to_bytes) {
        count += 1;
        let Some(before) = latest.replace(key) else { continue };
        let depth = before.iter().zip(&key).take_while(|(a, b)| a == b).count();
        let mut child = KEY;
        while let Some(fork) = forks.pop_if(|fork| *fork > depth) {
            count += usize::from(child > fork + 1);
            child = fork;
        }
        count += usize::from(child > depth + 1);
        if forks.last() != Some(&depth) {
            forks.push(depth);
            count += 1;
        }
    }
    let mut child = KEY;
    while let Some(fork) = forks.pop() {
        count += usize::from(child > fork + 1);
        child = fork;
    }
    count + 1 - usize::from(latest.is_some() && child == 0)
}
