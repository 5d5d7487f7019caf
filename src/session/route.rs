//! Where a command runs: a pure function over an immutable view.

use super::state::Door;
use crate::cluster::view::{Node, View};
use crate::command::error::ErrReply;
use crate::command::spec::{Spec, flag};
use crate::slot::Slot;

/// What a shard is, to its router. Changes only with the view.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub me: usize,
    pub shards: usize,
    /// Clients see slots and redirections.
    pub cluster: bool,
    /// All slots of the shard are simply served; see [`View::is_calm`].
    pub calm: bool,
}

/// Who asks, and by which command.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    pub door: Door,
    /// The address of ours that it came to.
    pub local_ip: &'a str,
    pub spec: &'static Spec,
    /// The command before this one.
    pub before: Option<&'static Spec>,
}

impl Visitor<'_> {
    /// ASKING is for the next command only; some need it not.
    fn is_asking(&self) -> bool {
        self.spec.has(flag::ASKING) || self.before.is_some_and(|spec| spec.name == "asking")
    }
}

/// The verdict over a command with keys.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Here,
    Sibling(usize),
    /// Its keys belong to more than one shard, or to more slots than one where that is refused.
    Crossing,
    /// The slot is on its way to or from this shard: it depends on which of the keys are here.
    Open(Slot),
    Refused(ErrReply),
}

pub const CROSSSLOT: ErrReply = ErrReply::new("CROSSSLOT Keys in request don't hash to the same slot");
pub const DOWN: ErrReply = ErrReply::new("CLUSTERDOWN The cluster is down");
pub const DOWN_FOR_WRITES: ErrReply =
    ErrReply::new("CLUSTERDOWN The cluster is down and only accepts read commands");
pub const UNBOUND: ErrReply = ErrReply::new("CLUSTERDOWN Hash slot not served");
pub const UNSTABLE: ErrReply = ErrReply::new("TRYAGAIN Multiple keys request during rehashing of slot");

/// Where the owner of `slot` is.
#[inline]
pub fn of_slot(at: Place, view: &View, who: Visitor<'_>, slot: Slot) -> Verdict {
    let owner = view.owner_index(slot);
    if owner == view.local_index(at.me) && at.calm {
        return Verdict::Here;
    }
    elsewhere(at, view, who, slot)
}

#[cold]
fn elsewhere(at: Place, view: &View, who: Visitor<'_>, slot: Slot) -> Verdict {
    let Some(node) = view.owner(slot) else {
        return Verdict::Refused(UNBOUND);
    };
    if let Some(error) = is_down(at, view, who) {
        return Verdict::Refused(error);
    }
    let own = who.door == Door::Own;
    match node.local {
        Some(shard) if shard as usize == at.me => match view.migrating(at.me, slot) {
            Some(_) if own => Verdict::Open(slot),
            _ => Verdict::Here,
        },
        _ if own && who.is_asking() && view.importing(at.me, slot).is_some() => Verdict::Open(slot),
        Some(shard) if !own => Verdict::Sibling(shard as usize),
        _ => Verdict::Refused(redirection("MOVED", slot, node, who.local_ip)),
    }
}

/// Why no key is served at all.
fn is_down(at: Place, view: &View, who: Visitor<'_>) -> Option<ErrReply> {
    match view.ok || !at.cluster {
        true => None,
        false if !view.reads_when_down => Some(DOWN),
        false => who.spec.has(flag::WRITE).then_some(DOWN_FOR_WRITES),
    }
}

/// MOVED or ASK: to a node of this host that has no address of its own yet, by the one that the
/// client came to.
pub fn redirection(word: &str, slot: Slot, node: &Node, local_ip: &str) -> ErrReply {
    let ip = if node.ip.is_empty() { local_ip } else { &node.ip };
    ErrReply::owned(format!("{word} {slot} {ip}:{}", node.port))
}

/// As [`of_slot`] for a command with several keys. On an own port they must share a slot; a front
/// door also takes slots that one shard owns together.
pub fn of_slots(at: Place, view: &View, who: Visitor<'_>, slots: impl IntoIterator<Item = Slot>) -> Verdict {
    let mut slots = slots.into_iter();
    let Some(first) = slots.next() else {
        return Verdict::Here;
    };
    for slot in slots {
        if slot == first {
            continue;
        }
        if at.cluster && who.door == Door::Own {
            // a first key that nobody serves is told before
            let unbound = view.owner(first).is_none();
            return Verdict::Refused(if unbound { UNBOUND } else { CROSSSLOT });
        }
        if view.owner_index(slot) != view.owner_index(first) {
            return is_down(at, view, who).map_or(Verdict::Crossing, Verdict::Refused);
        }
    }
    of_slot(at, view, who, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::{OpenSlot, UNASSIGNED};
    use crate::command::table;
    use crate::resp::args::OwnedArgs;

    fn view(assigned: bool) -> View {
        let node = |local: Option<u16>, port, ip: &str| Node {
            id: [b'a' + port as u8 % 20; 40],
            ip: ip.into(),
            hostname: String::new(),
            port,
            bus_port: port + 10000,
            config_epoch: 1,
            local,
            ..Node::default()
        };
        let nodes = vec![node(Some(0), 7001, ""), node(Some(1), 7002, ""), node(None, 7003, "10.0.0.3")];
        View::new(1, 1, nodes, move |s| match s {
            _ if !assigned => UNASSIGNED,
            0..=99 => 0,
            100..=199 => 1,
            _ => 2,
        })
    }

    fn who(door: Door, command: &str, before: Option<&str>) -> Visitor<'static> {
        let spec = |name: &str| table::find(OwnedArgs::new([name]).as_args()).expect("a command");
        Visitor { door, local_ip: "127.0.0.1", spec: spec(command), before: before.map(spec) }
    }

    fn refused(text: &str) -> Verdict {
        Verdict::Refused(ErrReply::owned(text.into()))
    }

    #[test]
    fn verdicts() {
        let at = Place { me: 0, shards: 2, cluster: true, calm: true };
        let v = view(true);
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
            let got = of_slots(at, &v, who(*door, "get", None), slots.iter().copied());
            assert_eq!(got, *want, "{door:?} {slots:?}");
        }
        let own = who(Door::Own, "get", None);
        assert_eq!(of_slot(at, &view(false), own, 5), Verdict::Refused(UNBOUND));
        assert_eq!(of_slots(at, &view(false), own, [5, 6]), Verdict::Refused(UNBOUND));
    }

    #[test]
    fn a_cluster_that_is_down() {
        let mut v = view(true);
        v.ok = false;
        let at = Place { me: 0, shards: 2, cluster: true, calm: v.is_calm(0) };
        for (slots, door) in [(&[5, 5], Door::Own), (&[100, 100], Door::Own), (&[5, 100], Door::Front)] {
            let get = || of_slots(at, &v, who(door, "get", None), slots.iter().copied());
            assert_eq!(get(), Verdict::Refused(DOWN), "{slots:?}");
        }
        v.reads_when_down = true;
        assert_eq!(of_slot(at, &v, who(Door::Own, "get", None), 5), Verdict::Here);
        assert_eq!(of_slot(at, &v, who(Door::Own, "set", None), 5), Verdict::Refused(DOWN_FOR_WRITES));
    }

    #[test]
    fn slots_on_their_way() {
        let mut v = view(true);
        let open = |slot, importing, peer| OpenSlot { shard: 0, slot, importing, peer };
        v.open = vec![open(5, false, 2), open(300, true, 2)];
        let at = Place { me: 0, shards: 2, cluster: true, calm: v.is_calm(0) };
        assert!(!at.calm && v.is_calm(1));
        let verdict = |slot, before| of_slot(at, &v, who(Door::Own, "get", before), slot);
        assert_eq!([verdict(5, None), verdict(6, None)], [Verdict::Open(5), Verdict::Here]);
        assert_eq!(verdict(300, None), refused("MOVED 300 10.0.0.3:7003"));
        assert_eq!(verdict(300, Some("get")), refused("MOVED 300 10.0.0.3:7003"));
        assert_eq!(verdict(300, Some("asking")), Verdict::Open(300));
        assert_eq!(verdict(301, Some("asking")), refused("MOVED 301 10.0.0.3:7003"));
        assert_eq!(of_slot(at, &v, who(Door::Front, "get", None), 5), Verdict::Here);
    }
}
