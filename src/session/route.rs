//! Where a command runs: a pure function over an immutable view.

use super::state::Door;
use crate::cluster::view::{UNASSIGNED, View};
use crate::command::error::ErrReply;
use crate::slot::Slot;

/// What a shard is, to its router. Changes only with the view.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub me: usize,
    pub shards: usize,
    /// Clients see slots and redirections.
    pub cluster: bool,
}

/// The verdict over a command with keys.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Here,
    Sibling(usize),
    /// Its keys belong to more than one shard, or to more slots than one where that is refused.
    Crossing,
    Refused(ErrReply),
}

pub const CROSSSLOT: ErrReply = ErrReply::new("CROSSSLOT Keys in request don't hash to the same slot");
pub const DOWN: ErrReply = ErrReply::new("CLUSTERDOWN The cluster is down");
pub const UNBOUND: ErrReply = ErrReply::new("CLUSTERDOWN Hash slot not served");

/// Where the owner of `slot` is, for a client that came by `door` to the address `local_ip`.
#[inline]
pub fn of_slot(at: Place, view: &View, door: Door, slot: Slot, local_ip: &str) -> Verdict {
    let owner = view.owner_index(slot);
    if owner == view.local_index(at.me) && (view.ok || !at.cluster) {
        return Verdict::Here;
    }
    elsewhere(at, view, door, slot, local_ip)
}

#[cold]
fn elsewhere(at: Place, view: &View, door: Door, slot: Slot, local_ip: &str) -> Verdict {
    if at.cluster && view.owner_index(slot) == UNASSIGNED {
        return Verdict::Refused(UNBOUND);
    }
    if at.cluster && !view.ok {
        return Verdict::Refused(DOWN);
    }
    let Some(node) = view.owner(slot) else {
        return Verdict::Refused(UNBOUND);
    };
    match (door, node.local) {
        (_, Some(shard)) if shard as usize == at.me => Verdict::Here,
        (Door::Front, Some(shard)) => Verdict::Sibling(shard as usize),
        _ => {
            let ip = if node.ip.is_empty() { local_ip } else { &node.ip };
            Verdict::Refused(ErrReply::owned(format!("MOVED {slot} {ip}:{}", node.port)))
        }
    }
}

/// As [`of_slot`] for a command with several keys. On an own port they must share a slot; a front
/// door also takes slots that one shard owns together.
pub fn of_slots(
    at: Place,
    view: &View,
    door: Door,
    slots: impl IntoIterator<Item = Slot>,
    local_ip: &str,
) -> Verdict {
    let mut slots = slots.into_iter();
    let Some(first) = slots.next() else {
        return Verdict::Here;
    };
    for slot in slots {
        if slot == first {
            continue;
        }
        if at.cluster && door == Door::Own {
            return Verdict::Refused(CROSSSLOT);
        }
        if view.owner_index(slot) != view.owner_index(first) {
            return Verdict::Crossing;
        }
    }
    of_slot(at, view, door, first, local_ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::Node;

    fn view(assigned: bool) -> View {
        let node = |local: Option<u16>, port, ip: &str| Node {
            id: [b'a' + port as u8 % 20; 40],
            ip: ip.into(),
            hostname: String::new(),
            port,
            bus_port: port + 10000,
            config_epoch: 1,
            local,
        };
        let nodes = vec![node(Some(0), 7001, ""), node(Some(1), 7002, ""), node(None, 7003, "10.0.0.3")];
        View::new(1, 1, nodes, move |s| match s {
            _ if !assigned => UNASSIGNED,
            0..=99 => 0,
            100..=199 => 1,
            _ => 2,
        })
    }

    #[test]
    fn verdicts() {
        let at = Place { me: 0, shards: 2, cluster: true };
        let v = view(true);
        let refused = |text: &str| Verdict::Refused(ErrReply::owned(text.into()));
        let cases: &[(Door, &[Slot], Verdict)] = &[
            (Door::Own, &[5], Verdict::Here),
            (Door::Own, &[5, 5], Verdict::Here),
            (Door::Own, &[5, 6], Verdict::Refused(CROSSSLOT)),
            (Door::Own, &[100], refused("MOVED 100 127.0.0.1:7002")),
            (Door::Own, &[300], refused("MOVED 300 10.0.0.3:7003")),
            (Door::Front, &[5, 6], Verdict::Here),
            (Door::Front, &[5, 100], Verdict::Crossing),
            (Door::Front, &[100, 101], Verdict::Sibling(1)),
            (Door::Front, &[300], refused("MOVED 300 10.0.0.3:7003")),
            (Door::Front, &[], Verdict::Here),
        ];
        for (door, slots, want) in cases {
            let got = of_slots(at, &v, *door, slots.iter().copied(), "127.0.0.1");
            assert_eq!(got, *want, "{door:?} {slots:?}");
        }
        assert_eq!(of_slot(at, &view(false), Door::Own, 5, ""), Verdict::Refused(UNBOUND));
    }
}
