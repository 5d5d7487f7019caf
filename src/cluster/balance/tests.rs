use super::*;
use crate::slot::{SLOTS, key_slot};
use crate::util::proof::cases;
use crate::util::rng::Rng;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn costs(of: &[(usize, u64)]) -> Vec<SlotCost> {
    let cost = |(slot, (shard, cost)): (usize, &(usize, u64))| SlotCost {
        slot: slot as Slot,
        shard: *shard,
        cost: *cost,
        rests: false,
    };
    of.iter().enumerate().map(cost).collect()
}

#[test]
fn plans() {
    // (slots as shard and cost), moves as (slot, to), costs afterwards
    type Case<'a> = (&'a [(usize, u64)], &'a [(Slot, usize)], &'a [u64]);
    let cases: &[Case<'_>] = &[
        (&[(0, 50), (0, 30), (0, 20), (1, 0)], &[(0, 1)], &[50, 50]),
        (&[(0, 50), (1, 50)], &[], &[50, 50]),
        (&[], &[], &[0, 0]),
        // a slot hotter than a share stays, and the others leave it
        (&[(0, 500), (0, 30), (0, 20), (1, 0)], &[(1, 1), (2, 1)], &[500, 50]),
        // what is left of a difference is no reason to move
        (&[(0, 10), (0, 1000), (1, 1000)], &[], &[1010, 1000]),
        (&[(0, 40), (0, 40), (0, 40), (1, 0), (2, 0)], &[(2, 1), (1, 2)], &[40, 40, 40]),
    ];
    for (slots, moves, after) in cases {
        let plan = plan(after.len(), &costs(slots), 100);
        let got: Vec<(Slot, usize)> = plan.moves.iter().map(|m| (m.slot, m.to)).collect();
        assert_eq!((&got[..], &plan.after[..]), (*moves, *after), "{slots:?}");
    }
    let mut resting = costs(&[(0, 50), (0, 30), (0, 20), (1, 0)]);
    resting[0].rests = true;
    assert_eq!(plan(2, &resting, 100).after, [50, 50]);
    assert_eq!(plan(2, &resting, 1).moves.len(), 1);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_plan_only_helps(
        shards in 2usize..9,
        raw in prop::collection::vec((0usize..9, 0u64..1_000_000, any::<bool>()), 0..300),
        most in 0usize..400,
    ) {
        let slots: Vec<SlotCost> = raw
            .iter()
            .enumerate()
            .map(|(i, (shard, cost, rests))| SlotCost {
                slot: i as Slot, shard: shard % shards, cost: *cost, rests: *rests && i % 3 == 0,
            })
            .collect();
        let plan = plan(shards, &slots, most);
        prop_assert!(plan.moves.len() <= most);
        let mut owner: BTreeMap<Slot, usize> = slots.iter().map(|s| (s.slot, s.shard)).collect();
        let share = plan.before.iter().sum::<u64>() / shards as u64;
        for m in &plan.moves {
            let slot = &slots[m.slot as usize];
            prop_assert!(!slot.rests && slot.cost <= share && m.from != m.to);
            prop_assert_eq!(owner.insert(m.slot, m.to), Some(slot.shard), "each slot moves once, from its owner");
        }
        let mut after = vec![0; shards];
        slots.iter().for_each(|s| after[owner[&s.slot]] += s.cost);
        prop_assert_eq!(&after, &plan.after);
        let max = |of: &[u64]| of.iter().copied().max().unwrap_or(0);
        prop_assert!(max(&plan.after) <= max(&plan.before));
        prop_assert_eq!(plan.clone(), super::plan(shards, &slots, most));
    }
}

/// Nanoseconds of a GET: what the shard of a release build takes for one of a pipeline of 64, and what
/// one costs that comes alone. `cargo bench --bench compare` measures both.
const GET_NS: [u64; 2] = [245, 5_300];

/// Keys by Zipf's law over 4 shards; rates are measured second by second, with noise. Within a minute the
/// busiest shard has at most 1.2 of the mean, and no slot moves twice within a minute.
#[test]
fn zipf_is_even_within_a_minute() {
    const KEYS: usize = 1_000_000;
    const SHARDS: usize = 4;
    let mut weights = vec![0.0; SLOTS];
    for rank in 1..=KEYS {
        weights[key_slot(format!("key:{:012}", rank * 7919 % KEYS).as_bytes()) as usize] +=
            1.0 / (rank as f64).powf(0.99);
    }
    let sum: f64 = weights.iter().sum();
    for (seed, ns) in (0..8).zip(GET_NS.into_iter().cycle()) {
        let mut rng = Rng::new(seed);
        // the hottest slots may be anywhere: as they come, or all with the first shard
        let mut weights = weights.clone();
        let turn = rng.below(SLOTS as u64) as usize;
        match seed % 4 {
            0 | 1 => weights.rotate_left(turn),
            _ => weights.sort_by(|a, b| b.total_cmp(a)),
        }
        let per_second = 0.5e9 / ns as f64;
        let mut owner: Vec<usize> = (0..SLOTS).map(|s| s * SHARDS / SLOTS).collect();
        let mut moved = vec![0u64; SLOTS];
        let mut rates = vec![0.0; SLOTS];
        let mut balancer = Balancer::default();
        let cost = |slot: usize| weights[slot] / sum * per_second * ns as f64;
        let busy = |owner: &[usize]| {
            let mut busy = [0u64; SHARDS];
            (0..SLOTS).for_each(|s| busy[owner[s]] += cost(s) as u64);
            unevenness(&busy)
        };
        assert!(busy(&owner) > if seed % 4 < 2 { 1.0 } else { 2.5 });
        for second in 1..=300u64 {
            let now = second * 1000;
            for (slot, rate) in rates.iter_mut().enumerate() {
                let noise = 0.7 + rng.unit() * 0.6;
                *rate += (cost(slot) * noise - *rate) / (1.0 + crate::limits::LOAD_MEMORY_MS as f64 / 1000.0);
            }
            if !balancer.is_due(now) {
                continue;
            }
            let slots: Vec<SlotCost> = (0..SLOTS)
                .map(|s| SlotCost {
                    slot: s as Slot,
                    shard: owner[s],
                    cost: rates[s] as u64,
                    rests: rests(moved[s], now),
                })
                .collect();
            for m in balancer.look(SHARDS, &slots).map_or(Vec::new(), |plan| plan.moves) {
                let slot = m.slot as usize;
                assert!(moved[slot] == 0 || now - moved[slot] >= 60_000, "slot {slot} moves twice");
                (owner[slot], moved[slot]) = (m.to, now);
            }
            if second >= 60 {
                assert!(busy(&owner) <= 1.2, "{} after {second} s, seed {seed}", busy(&owner));
            }
        }
    }
}
