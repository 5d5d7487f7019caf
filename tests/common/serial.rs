//! Whether a history of transactions over lists could have been made by one thing at a time.
//!
//! Every element is appended once, by one transaction. So what was appended to a list, and in which order,
//! can be read off the list at the end; from that and from what was read follows which transaction came
//! before which: who appended before whom, who read what somebody had appended, who read before somebody
//! appended. One that was answered comes before one that began later. Where these rules go round in a
//! circle, there is no order that would explain the history.

use std::collections::HashMap;

/// A list by its number, and its elements.
pub type List = (usize, Vec<u64>);

/// What one client did at once. Reads come before appends.
#[derive(Clone, Debug, Default)]
pub struct Deed {
    pub began: u64,
    /// When it was answered; without an answer it may have happened or not.
    pub ended: Option<u64>,
    pub reads: Vec<List>,
    /// To which list, what, and how long the list was then if that is known.
    pub appends: Vec<(usize, u64, Option<usize>)>,
}

/// Why a history is impossible, given the lists as they are when all is over. Lists that are not there
/// are empty.
pub fn check(deeds: &[Deed], lists: &[List]) -> Result<(), String> {
    let lists: HashMap<usize, &[u64]> = lists.iter().map(|(list, all)| (*list, &all[..])).collect();
    let of = |list: &usize| lists.get(list).copied().unwrap_or_default();
    let writers = writers(deeds)?;
    for (list, all) in &lists {
        for (at, element) in all.iter().enumerate() {
            let (_, place) = writers.get(element).ok_or(format!("{element} of list {list} is nobody's"))?;
            if all[..at].contains(element) {
                return Err(format!("{element} is in list {list} twice"));
            }
            if place.is_some_and(|n| n != at + 1) {
                return Err(format!("{element} was said to be number {place:?} of list {list}: {all:?}"));
            }
        }
    }
    let mut order = Order::new(deeds);
    for (n, deed) in deeds.iter().enumerate() {
        let there = deed.appends.iter().filter(|(list, element, _)| of(list).contains(element)).count();
        if there != deed.appends.len() && (deed.ended.is_some() || there > 0) {
            return Err(format!("{there} of {} appends happened: {deed:?}", deed.appends.len()));
        }
        for (list, seen) in &deed.reads {
            let all = of(list);
            if !all.starts_with(seen) {
                return Err(format!("list {list} was never {seen:?}, it became {all:?}: {deed:?}"));
            }
            let writer = |at: usize| all.get(at).map(|element| writers[element].0);
            if let Some(before) = seen.len().checked_sub(1).and_then(writer) {
                order.before(before, n);
            }
            if let Some(after) = writer(seen.len()) {
                order.before(n, after);
            }
        }
    }
    for all in lists.values() {
        all.windows(2).for_each(|pair| order.before(writers[&pair[0]].0, writers[&pair[1]].0));
    }
    order.is_possible().map_err(|circle| {
        let told: Vec<String> = circle.iter().take(12).map(|n| format!("{:?}", deeds[*n])).collect();
        format!("{} deeds wait for each other:\n{}", circle.len(), told.join("\n"))
    })
}

/// Who appended each element, and where it was said to be.
fn writers(deeds: &[Deed]) -> Result<HashMap<u64, (usize, Option<usize>)>, String> {
    let mut writers = HashMap::new();
    for (n, deed) in deeds.iter().enumerate() {
        for (_, element, place) in &deed.appends {
            if writers.insert(*element, (n, *place)).is_some() {
                return Err(format!("{element} was appended twice"));
            }
        }
    }
    Ok(writers)
}

/// Who comes before whom. Behind the deeds stand the moments at which one was answered, each before the
/// next: a deed comes before the moment of its answer, and the last moment before it began comes before it.
struct Order {
    deeds: usize,
    later: Vec<Vec<usize>>,
}

impl Order {
    fn new(deeds: &[Deed]) -> Order {
        let mut moments: Vec<u64> = deeds.iter().filter_map(|deed| deed.ended).collect();
        moments.sort_unstable();
        moments.dedup();
        let mut order = Order { deeds: deeds.len(), later: vec![Vec::new(); deeds.len() + moments.len()] };
        let node = |index: usize| deeds.len() + index;
        (1..moments.len()).for_each(|i| order.later[node(i - 1)].push(node(i)));
        for (n, deed) in deeds.iter().enumerate() {
            if let Some(i) = deed.ended.and_then(|ended| moments.binary_search(&ended).ok()) {
                order.later[n].push(node(i));
            }
            if let Some(i) = moments.partition_point(|moment| *moment < deed.began).checked_sub(1) {
                order.later[node(i)].push(n);
            }
        }
        order
    }

    fn before(&mut self, first: usize, second: usize) {
        if first != second {
            self.later[first].push(second);
        }
    }

    /// Those deeds that can't be put in order.
    fn is_possible(&self) -> Result<(), Vec<usize>> {
        let mut waits_for = vec![0usize; self.later.len()];
        self.later.iter().flatten().for_each(|n| waits_for[*n] += 1);
        let mut ready: Vec<usize> = (0..waits_for.len()).filter(|n| waits_for[*n] == 0).collect();
        while let Some(n) = ready.pop() {
            for &next in &self.later[n] {
                waits_for[next] -= 1;
                if waits_for[next] == 0 {
                    ready.push(next);
                }
            }
        }
        let left: Vec<usize> = (0..self.deeds).filter(|n| waits_for[*n] > 0).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    }
}

mod the_checker {
    use super::{Deed, check};

    fn deed(began: u64, ended: u64, reads: &[(usize, &[u64])], appends: &[(usize, u64)]) -> Deed {
        let reads = reads.iter().map(|(list, seen)| (*list, seen.to_vec())).collect();
        let appends = appends.iter().map(|(list, element)| (*list, *element, None)).collect();
        Deed { began, ended: (ended > 0).then_some(ended), reads, appends }
    }

    #[test]
    fn tells_what_can_be_from_what_cannot() {
        let both = || deed(1, 9, &[], &[(0, 1), (1, 1001)]);
        let lists = [(0, vec![1, 2]), (1, vec![1001])];
        let second = || deed(1, 9, &[(0, &[1])], &[(0, 2)]);
        let cases: [(&str, Vec<Deed>, bool); 9] = [
            ("one after the other", vec![both(), second()], true),
            ("read in between", vec![both(), second(), deed(1, 9, &[(0, &[1]), (1, &[1001])], &[])], true),
            ("half of the first", vec![both(), second(), deed(1, 9, &[(0, &[1]), (1, &[])], &[])], false),
            ("never like this", vec![both(), second(), deed(1, 9, &[(0, &[2])], &[])], false),
            (
                "old news",
                vec![both(), deed(1, 3, &[(0, &[1])], &[(0, 2)]), deed(4, 5, &[(0, &[1])], &[])],
                false,
            ),
            (
                "news",
                vec![both(), deed(1, 3, &[(0, &[1])], &[(0, 2)]), deed(4, 5, &[(0, &[1, 2])], &[])],
                true,
            ),
            ("it was not alone", vec![both(), deed(1, 9, &[(0, &[])], &[(0, 2)])], false),
            ("lost", vec![both(), second(), deed(1, 9, &[], &[(0, 3)])], false),
            ("unanswered", vec![both(), second(), deed(1, 0, &[], &[(0, 3), (1, 4)])], true),
        ];
        for (name, deeds, possible) in cases {
            assert_eq!(check(&deeds, &lists).is_ok(), possible, "{name}");
        }
        assert!(check(&[both()], &[(0, vec![1])]).is_err(), "a half");
        assert!(check(&[both(), second()], &[(0, vec![1, 2]), (1, vec![1001, 7])]).is_err(), "nobody's");
        // two that each read before the other appended
        let skew = [deed(1, 9, &[(0, &[])], &[(1, 1)]), deed(1, 9, &[(1, &[])], &[(0, 2)])];
        assert!(check(&skew, &[(0, vec![2]), (1, vec![1])]).is_err());
    }
}
