//! Which clients are there: ids by shard, for those who name each other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct Roll {
    /// One a shard: the client's number by its id.
    shards: Vec<Mutex<HashMap<u64, u32>>>,
}

impl Roll {
    pub fn new(shards: usize) -> Roll {
        Roll { shards: (0..shards).map(|_| Mutex::default()).collect() }
    }

    fn of(&self, shard: usize) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of the `n`th client, from 0, that `shard` has accepted. No two of a host have the same.
    pub fn id(&self, shard: usize, n: u64) -> u64 {
        n * self.shards.len() as u64 + shard as u64 + 1
    }

    pub fn enter(&self, shard: usize, id: u64, client: u32) {
        self.of(shard).insert(id, client);
    }

    pub fn leave(&self, shard: usize, id: u64) {
        self.of(shard).remove(&id);
    }

    /// The shard and the number of the client with this id.
    pub fn find(&self, id: u64) -> Option<(usize, u32)> {
        let shard = (id.checked_sub(1)? % self.shards.len().max(1) as u64) as usize;
        let client = *self.shards.get(shard)?.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?;
        Some((shard, client))
    }
}

#[cfg(test)]
mod tests {
    use super::Roll;

    #[test]
    fn ids_lead_to_clients() {
        let roll = Roll::new(3);
        let ids: Vec<u64> =
            (0..2).flat_map(|n| (0..3).map(move |shard| (shard, n))).map(|(s, n)| roll.id(s, n)).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
        roll.enter(1, 5, 77);
        assert_eq!((roll.find(5), roll.find(4), roll.find(0)), (Some((1, 77)), None, None));
        roll.leave(1, 5);
        assert_eq!(roll.find(5), None);
    }
}
