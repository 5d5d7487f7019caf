//! Where a command runs: a pure function over an immutable view.

use super::state::Door;
use crate::cluster::view::{Node, NodeIndex, View};
use crate::command::error::ErrReply;
use crate::command::spec::{Run, Spec, Verb, flag, key};
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
    /// The node whose keys this shard holds a copy of.
    pub copies: Option<NodeIndex>,
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
    /// A sibling sent it here by [`Verdict::Ask`].
    pub asking: bool,
    /// READONLY was said.
    pub readonly: bool,
}

impl Visitor<'_> {
    /// MIGRATE carries keys over in an open slot, wherever they are; and what a master still has of a slot that
    /// is another's, where Redis says MOVED and nothing but DEL by hand would help: so redis-cli's fix can bring
    /// together what two owners of a slot have.
    fn moves_keys(&self) -> bool {
        matches!(self.spec.run, Run::Above(Verb::Migrate))
    }

    /// What its keys name are channels: they are not looked for, and their replicas serve them.
    fn names_channels(&self) -> bool {
        self.spec.keys.iter().any(|k| k.flags & key::NOT_KEY != 0)
    }

    /// ASKING is for the next command only.
    fn may_ask(&self) -> bool {
        self.asking || self.spec.has(flag::ASKING) || self.before.is_some_and(|spec| spec.name == "asking")
    }
}

/// The verdict over a command with keys.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Here,
    Sibling(usize),
    /// To a sibling that is importing the slot, as ASKING.
    Ask(usize),
    /// Its keys belong to more than one shard, or to more slots than one where that is refused.
    Crossing,
    /// The slot is on its way to or from this shard, or keys of it were left here: [`open`] decides by which
    /// of the keys are here.
    Open(Slot),
    Refused(ErrReply),
}

/// Which keys of a command are there. Those in slots of this node that are not open count as here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    pub here: usize,
    pub missing: usize,
    /// They are not all the same.
    pub several: bool,
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
            Some(_) => Verdict::Open(slot),
            None if who.may_ask() && view.importing(at.me, slot).is_some() => Verdict::Open(slot),
            None => Verdict::Here,
        },
        _ if (who.may_ask() || own && who.moves_keys()) && view.importing(at.me, slot).is_some() => {
            Verdict::Open(slot)
        }
        Some(shard) if !own => Verdict::Sibling(shard as usize),
        _ if own && who.moves_keys() && at.copies.is_none() => Verdict::Open(slot),
        _ if own && is_copied(at, view, who, slot) => Verdict::Here,
        _ => moved(view, who, slot),
    }
}

fn moved(view: &View, who: Visitor<'_>, slot: Slot) -> Verdict {
    let Some(node) = view.owner(slot) else { return Verdict::Refused(UNBOUND) };
    Verdict::Refused(redirection("MOVED", slot, view.endpoint(node, who.local_ip), node))
}

/// Whether this shard holds a replica of the slot, and may be read by this client.
fn is_copied(at: Place, view: &View, who: Visitor<'_>, slot: Slot) -> bool {
    at.copies == Some(view.owner_index(slot))
        && (who.readonly || who.names_channels())
        && !who.spec.has(flag::WRITE)
}

/// Why no key is served at all.
fn is_down(at: Place, view: &View, who: Visitor<'_>) -> Option<ErrReply> {
    match view.ok || !at.cluster {
        true => None,
        false if who.names_channels() => (!view.pubsubshard_when_down).then_some(DOWN),
        false if !view.reads_when_down => Some(DOWN),
        false => who.spec.has(flag::WRITE).then_some(DOWN_FOR_WRITES),
    }
}

/// Where a command for the open slot `slot` runs, now that its keys were looked for. Channels stay
/// where they are until the slot has moved.
pub fn open(at: Place, view: &View, who: Visitor<'_>, slot: Slot, found: Found) -> Verdict {
    let ours = view.owner_index(slot) == view.local_index(at.me);
    if who.moves_keys() && found.here == 0 && !ours && view.importing(at.me, slot).is_none() {
        return moved(view, who, slot);
    }
    if who.moves_keys() || who.names_channels() {
        return Verdict::Here;
    }
    // a mark that is left from when the slot was ours means nothing while it is another's
    match view.migrating(at.me, slot).filter(|_| ours) {
        _ if found.missing == 0 => Verdict::Here,
        Some(_) if found.here > 0 => Verdict::Refused(UNSTABLE),
        Some(to) => match &view.nodes[to as usize] {
            Node { local: Some(shard), .. } if who.door == Door::Front => Verdict::Ask(*shard as usize),
            to => Verdict::Refused(redirection("ASK", slot, view.endpoint(to, who.local_ip), to)),
        },
        None if found.several => Verdict::Refused(UNSTABLE),
        None => Verdict::Here,
    }
}

/// MOVED or ASK, to a node by its [`View::endpoint`].
pub fn redirection(word: &str, slot: Slot, endpoint: &str, node: &Node) -> ErrReply {
    ErrReply::owned(format!("{word} {slot} {endpoint}:{}", node.port))
}

/// As [`of_slot`] for a command with several keys. On an own port they must share a slot; a front
/// door also takes slots that one shard owns together.
pub fn of_slots(
    at: Place,
    view: &View,
    who: Visitor<'_>,
    slots: impl IntoIterator<Item = Slot, IntoIter: Clone>,
) -> Verdict {
    let mut slots = slots.into_iter();
    let all = slots.clone();
    let Some(first) = slots.next() else {
        return Verdict::Here;
    };
    let mut mixed = false;
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
        mixed = true;
    }
    match of_slot(at, view, who, first) {
        Verdict::Here if mixed && !at.calm => {
            let open = all.clone().find(|slot| view.migrating(at.me, *slot).is_some());
            open.map_or(Verdict::Here, Verdict::Open)
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    mod rules;

    use super::*;
    use crate::cluster::view::{OpenSlot, UNASSIGNED};
    use crate::command::spec::KeySpec;
    use crate::command::table;
    use crate::config::types::EndpointType;
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
        let (spec, before) = (spec(command), before.map(spec));
        Visitor { door, local_ip: "127.0.0.1", spec, before, asking: false, readonly: false }
    }

    /// SSUBSCRIBE and its like: what its keys name are channels.
    fn channels(door: Door) -> Visitor<'static> {
        let get = who(door, "get", None);
        let keys: Vec<KeySpec> =
            get.spec.keys.iter().map(|k| KeySpec { flags: key::NOT_KEY, ..*k }).collect();
        let spec = Spec { name: "spublish", keys: keys.leak(), flags: flag::PUBSUB, ..*get.spec };
        Visitor { spec: Box::leak(Box::new(spec)), ..get }
    }

    #[test]
    fn redirections_name_what_is_preferred() {
        let at = Place { me: 0, shards: 2, cluster: true, calm: true, copies: None };
        let mut v = view(true);
        v.nodes[2].hostname = "c.example".into();
        let cases = [
            (EndpointType::Ip, "127.0.0.1", "10.0.0.3"),
            (EndpointType::Hostname, "?", "c.example"),
            (EndpointType::Unknown, "", ""),
        ];
        for (preferred, sibling, foreign) in cases {
            v.preferred = preferred;
            let own = who(Door::Own, "get", None);
            assert_eq!(of_slot(at, &v, own, 100), refused(&format!("MOVED 100 {sibling}:7002")));
            assert_eq!(of_slot(at, &v, own, 300), refused(&format!("MOVED 300 {foreign}:7003")));
        }
    }

    fn refused(text: &str) -> Verdict {
        Verdict::Refused(ErrReply::owned(text.into()))
    }

    fn place(v: &View) -> Place {
        Place { me: 0, shards: 2, cluster: true, calm: v.is_calm(0), copies: None }
    }

    #[test]
    fn verdicts() {
        let v = view(true);
        let at = place(&v);
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
        let at = place(&v);
        for (slots, door) in [(&[5, 5], Door::Own), (&[100, 100], Door::Own), (&[5, 100], Door::Front)] {
            let get = || of_slots(at, &v, who(door, "get", None), slots.iter().copied());
            assert_eq!(get(), Verdict::Refused(DOWN), "{slots:?}");
        }
        assert_eq!(of_slot(at, &v, channels(Door::Own), 5), Verdict::Here);
        v.pubsubshard_when_down = false;
        assert_eq!(of_slot(at, &v, channels(Door::Own), 5), Verdict::Refused(DOWN));
        v.reads_when_down = true;
        assert_eq!(of_slot(at, &v, who(Door::Own, "get", None), 5), Verdict::Here);
        assert_eq!(of_slot(at, &v, who(Door::Own, "set", None), 5), Verdict::Refused(DOWN_FOR_WRITES));
    }

    #[test]
    fn replicas_are_read_by_who_says_readonly() {
        let v = view(true);
        let at = Place { copies: Some(2), ..place(&v) };
        let moved = || refused("MOVED 300 10.0.0.3:7003");
        let of =
            |door, command, readonly| of_slot(at, &v, Visitor { readonly, ..who(door, command, None) }, 300);
        assert_eq!(of(Door::Own, "get", true), Verdict::Here);
        assert_eq!(of(Door::Own, "get", false), moved());
        assert_eq!(of(Door::Own, "set", true), moved());
        assert_eq!(of(Door::Front, "get", true), moved());
        assert_eq!(of_slot(at, &v, channels(Door::Own), 300), Verdict::Here);
        let other = Visitor { readonly: true, ..who(Door::Own, "get", None) };
        assert_eq!(of_slot(at, &v, other, 100), refused("MOVED 100 127.0.0.1:7002"), "another's slot");
    }

    #[test]
    fn what_is_left_of_a_slot_may_leave() {
        let v = view(true);
        let moved = || refused("MOVED 300 10.0.0.3:7003");
        for (door, copies, here, want) in [
            (Door::Own, None, 1, Verdict::Here),
            (Door::Own, None, 0, moved()),
            (Door::Own, Some(2), 1, moved()),
            (Door::Front, None, 1, moved()),
        ] {
            let (at, who) = (Place { copies, ..place(&v) }, who(door, "migrate", None));
            let verdict = match of_slot(at, &v, who, 300) {
                Verdict::Open(slot) => open(at, &v, who, slot, Found { here, missing: 1, several: true }),
                verdict => verdict,
            };
            assert_eq!(verdict, want, "{door:?} {copies:?} {here}");
        }
    }

    /// Every state of a slot on its way, for every kind of command and with every part of its keys
    /// here. Slot 5 is ours, 100 the sibling's, 300 another host's.
    #[test]
    fn slots_on_their_way() {
        use Verdict::{Ask, Here, Sibling};
        let open_slot = |slot, importing, peer| OpenSlot { shard: 0, slot, importing, peer };
        let mut v = view(true);
        // to others, from them, one that is ours already, and one that was to leave and is to come back
        v.open = vec![open_slot(5, false, 2), open_slot(6, false, 1), open_slot(302, false, 2)];
        v.open.extend([100, 300, 7, 302].map(|slot| open_slot(slot, true, 2)));
        v.open.sort_unstable();
        assert!(!v.is_calm(0) && v.is_calm(1));
        let at = place(&v);
        let all = |n| Found { here: n, missing: 0, several: n > 1 };
        let none = |n| Found { here: 0, missing: n, several: n > 1 };
        let some = Found { here: 1, missing: 1, several: true };
        let twice_none = Found { here: 0, missing: 2, several: false };
        let again = || Verdict::Refused(UNSTABLE);
        let moved = || refused("MOVED 300 10.0.0.3:7003");
        let [own, front] = [Door::Own, Door::Front].map(|door| who(door, "mget", None));
        let asked = who(Door::Own, "mget", Some("asking"));
        let relayed = Visitor { asking: true, ..front };
        let cases = [
            (own, 5, all(1), Here),
            (own, 5, all(2), Here),
            (own, 5, none(1), refused("ASK 5 10.0.0.3:7003")),
            (own, 5, none(2), refused("ASK 5 10.0.0.3:7003")),
            (own, 5, some, again()),
            (own, 6, none(1), refused("ASK 6 127.0.0.1:7002")),
            (asked, 5, none(1), refused("ASK 5 10.0.0.3:7003")),
            (front, 5, all(2), Here),
            (front, 5, none(1), refused("ASK 5 10.0.0.3:7003")),
            (front, 5, some, again()),
            (front, 6, all(1), Here),
            (front, 6, none(2), Ask(1)),
            (front, 6, some, again()),
            (who(Door::Own, "migrate", None), 5, none(1), Here),
            (who(Door::Front, "migrate", None), 6, some, Here),
            (channels(Door::Own), 5, none(1), Here),
            (own, 300, all(1), moved()),
            (who(Door::Own, "mget", Some("mget")), 300, all(1), moved()),
            (asked, 300, all(1), Here),
            (asked, 300, none(1), Here),
            (asked, 300, twice_none, Here),
            (asked, 300, none(2), again()),
            (asked, 300, some, again()),
            (asked, 301, all(1), refused("MOVED 301 10.0.0.3:7003")),
            (asked, 302, none(1), Here),
            (who(Door::Own, "migrate", None), 300, none(1), Here),
            (who(Door::Front, "migrate", None), 300, none(1), moved()),
            (channels(Door::Own), 300, none(1), moved()),
            (front, 300, all(1), moved()),
            (front, 100, all(1), Sibling(1)),
            (relayed, 100, none(1), Here),
            (relayed, 100, some, again()),
            (own, 100, none(1), refused("MOVED 100 127.0.0.1:7002")),
            (own, 7, none(2), Here),
            (asked, 7, none(2), again()),
            (own, 8, none(2), Here),
        ];
        for (who, slot, found, want) in cases {
            let verdict = match of_slot(at, &v, who, slot) {
                Verdict::Open(slot) => open(at, &v, who, slot, found),
                verdict => verdict,
            };
            let name = who.spec.name;
            assert_eq!(verdict, want, "{name} by {:?} in {slot}: {found:?} {:?}", who.door, who.asking);
        }
        // a front door's command over several slots is as open as one of them
        assert_eq!(of_slots(at, &v, front, [8, 5, 9]), Verdict::Open(5));
        assert_eq!(of_slots(at, &v, front, [5, 9]), Verdict::Open(5));
        assert_eq!(of_slots(at, &v, front, [8, 9]), Here);
    }
}
