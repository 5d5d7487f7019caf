//! Rare things that were seen to happen. A mark that no seed hits is a branch that nothing proves.

use std::collections::BTreeMap;

/// Every mark; each must be hit by some seed of a run, the [`RARE`] ones of a long run.
pub const ALL: &[&str] = &[
    "ASK followed",
    "CLUSTERDOWN answered",
    "FAIL by majority",
    "FAIL taken back",
    "MIGRATE failed",
    "MIGRATE's link broke",
    "MOVED followed",
    "PFAIL taken back",
    "TRYAGAIN answered",
    "UPDATE sent",
    "WAIT acknowledged",
    "admin gave up a move",
    "client lost its answer",
    "clock jumped",
    "command over several shards",
    "core stalled until it was not spoken for",
    "crash lost a save",
    "crash of a host with keys",
    "crash while exporting",
    "crash while importing",
    "dirty slot dropped",
    "election won",
    "epochs collided",
    "forgotten node kept out",
    "handoff refused",
    "host added",
    "host removed",
    "key moved",
    "key moved by MIGRATE",
    "keys under way to a sibling",
    "link replayed",
    "minority heard it is back, and waited",
    "one way partition",
    "open slot fixed",
    "process stopped and went on",
    "replica got everything",
    "replica lacked what its master had acknowledged",
    "replica took over by consent",
    "replica took over by force",
    "replica was elected",
    "replica was given another master",
    "replica went on where it was",
    "replica's link broke",
    "slot claimed twice at one epoch",
    "slot lost to a newer epoch",
    "slot moved",
    "slot moved between siblings",
    "slot moved from a foreign node",
    "slot moved to a foreign node",
    "slot served again by hand",
    "slot that nobody claims given an owner",
    "slot without an owner adopted",
    "slots handed to a sibling",
    "vote granted",
    "vote refused",
    "woke up as the owner of what others own",
];

/// What hundreds of seeds may not show.
const RARE: &[&str] =
    &["slot served again by hand", "slot that nobody claims given an owner", "slot without an owner adopted"];

#[derive(Clone, Default)]
pub struct Marks(BTreeMap<&'static str, u64>);

impl Marks {
    pub fn hit(&mut self, mark: &'static str) {
        assert!(ALL.binary_search(&mark).is_ok(), "{mark} is a mark, and in order");
        *self.0.entry(mark).or_default() += 1;
    }

    pub fn add(&mut self, other: &Marks) {
        other.0.iter().for_each(|(mark, hits)| *self.0.entry(mark).or_default() += hits);
    }

    pub fn missing(&self, long: bool) -> Vec<&'static str> {
        let wanted = |mark: &&str| long || !RARE.contains(mark);
        ALL.iter().copied().filter(wanted).filter(|mark| !self.0.contains_key(mark)).collect()
    }

    /// A table of all marks and how often each was hit.
    pub fn table(&self) -> String {
        let hits = |mark: &str| self.0.get(mark).copied().unwrap_or(0);
        ALL.iter().map(|mark| format!("{:>9}  {mark}\n", hits(mark))).collect()
    }
}
