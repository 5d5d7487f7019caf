//! Every state against Redis's rules, told anew from cluster.c's getNodeByQuery: what an own port says to a
//! command whose keys are all in one slot.

use super::super::*;
use super::{channels, refused, view, who};
use crate::cluster::view::{OpenSlot, UNASSIGNED};

/// All that the answer rests on.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// None, this node, its sibling, another host.
    owner: NodeIndex,
    /// To or from which node the slot is open here.
    migrating: Option<NodeIndex>,
    importing: Option<NodeIndex>,
    kind: Kind,
    asking: bool,
    readonly: bool,
    /// Whose replica this node is.
    copies: Option<NodeIndex>,
    ok: bool,
    reads_when_down: bool,
    channels_when_down: bool,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Migrate,
    /// RESTORE-ASKING: it asks by itself.
    Asks,
    Channel,
}

const ME: NodeIndex = 0;
const SLOT: Slot = 5;

impl Case {
    fn visitor(&self, kinds: &[(Kind, Visitor<'static>)], asking: &'static Spec) -> Visitor<'static> {
        let who = kinds.iter().find(|(kind, _)| *kind == self.kind).expect("all are there").1;
        Visitor { before: self.asking.then_some(asking), readonly: self.readonly, ..who }
    }

    fn view(&self) -> View {
        let base = view(true);
        let owner = |slot| if slot == SLOT { self.owner } else { base.owner_index(slot) };
        let mut view = View::new(1, 1, base.nodes.clone(), owner);
        let open = |importing, peer: Option<NodeIndex>| {
            peer.map(|peer| OpenSlot { shard: 0, slot: SLOT, importing, peer })
        };
        view.open.extend(open(false, self.migrating).into_iter().chain(open(true, self.importing)));
        view.open.sort_unstable();
        (view.ok, view.reads_when_down) = (self.ok, self.reads_when_down);
        view.pubsubshard_when_down = self.channels_when_down;
        view
    }

    /// What Redis says; but MIGRATE of what a master still has of a slot that is another's.
    fn told(&self, nodes: &[Node]) -> Verdict {
        let to = |word, node: NodeIndex| {
            let node = &nodes[node as usize];
            refused(&format!(
                "{word} {SLOT} {}:{}",
                if node.ip.is_empty() { "127.0.0.1" } else { &node.ip },
                node.port
            ))
        };
        let writes = matches!(self.kind, Kind::Write | Kind::Asks | Kind::Migrate);
        let leaves = self.owner == ME && self.migrating.is_some();
        let comes = !leaves && self.importing.is_some();
        let channel = self.kind == Kind::Channel;
        // channels are not looked for
        let missing = (leaves || comes) && !channel && self.found.missing > 0;
        let here = (leaves || comes) && !channel && self.found.here > 0;
        if self.owner == UNASSIGNED {
            return Verdict::Refused(UNBOUND);
        }
        if !self.ok {
            match channel {
                true if !self.channels_when_down => return Verdict::Refused(DOWN),
                false if !self.reads_when_down => return Verdict::Refused(DOWN),
                false if writes => return Verdict::Refused(DOWN_FOR_WRITES),
                _ => {}
            }
        }
        if self.kind == Kind::Migrate && (leaves || comes) {
            return Verdict::Here;
        }
        if leaves && missing {
            return match here {
                true => Verdict::Refused(UNSTABLE),
                false => to("ASK", self.migrating.expect("it leaves")),
            };
        }
        if comes && (self.asking || self.kind == Kind::Asks) {
            return match self.found.several && missing {
                true => Verdict::Refused(UNSTABLE),
                false => Verdict::Here,
            };
        }
        if (self.readonly || channel) && !writes && self.copies == Some(self.owner) {
            return Verdict::Here;
        }
        let leftover = self.kind == Kind::Migrate && self.found.here > 0 && self.copies.is_none();
        if self.owner == ME || leftover { Verdict::Here } else { to("MOVED", self.owner) }
    }
}

fn cases() -> Vec<Case> {
    let both = [false, true];
    let found = |here, missing, several| Found { here, missing, several };
    let founds = [
        (1, 0, false),
        (0, 1, false),
        (2, 0, true),
        (0, 2, true),
        (1, 1, true),
        (0, 2, false),
        (2, 0, false),
    ];
    let mut cases = vec![Case {
        owner: ME,
        migrating: None,
        importing: None,
        kind: Kind::Read,
        asking: false,
        readonly: false,
        copies: None,
        ok: true,
        reads_when_down: false,
        channels_when_down: false,
        found: Found::default(),
    }];
    let mut vary = |change: &dyn Fn(&Case) -> Vec<Case>| cases = cases.iter().flat_map(change).collect();
    vary(&|c| [UNASSIGNED, ME, 1, 2].map(|owner| Case { owner, ..*c }).to_vec());
    vary(&|c| [None, Some(1), Some(2)].map(|migrating| Case { migrating, ..*c }).to_vec());
    vary(&|c| [None, Some(1), Some(2)].map(|importing| Case { importing, ..*c }).to_vec());
    vary(&|c| {
        let kinds = [Kind::Read, Kind::Write, Kind::Migrate, Kind::Asks, Kind::Channel];
        kinds.map(|kind| Case { kind, ..*c }).to_vec()
    });
    vary(&|c| both.map(|asking| Case { asking, ..*c }).to_vec());
    vary(&|c| both.map(|readonly| Case { readonly, ..*c }).to_vec());
    vary(&|c| [None, Some(1), Some(2)].map(|copies| Case { copies, ..*c }).to_vec());
    vary(&|c| both.map(|ok| Case { ok, ..*c }).to_vec());
    vary(&|c| both.map(|reads_when_down| Case { reads_when_down, ..*c }).to_vec());
    vary(&|c| both.map(|channels_when_down| Case { channels_when_down, ..*c }).to_vec());
    vary(&|c| {
        founds.map(|(here, missing, several)| Case { found: found(here, missing, several), ..*c }).to_vec()
    });
    // only the owner of a slot gives it away, and nobody gets what is his own from himself
    cases.retain(|c| c.migrating.is_none() || c.owner == ME);
    cases
}

#[test]
fn every_state_is_as_redis_has_it() {
    let of = |command| who(Door::Own, command, None);
    let kinds = [
        (Kind::Read, of("mget")),
        (Kind::Write, of("set")),
        (Kind::Migrate, of("migrate")),
        (Kind::Asks, of("restore-asking")),
        (Kind::Channel, channels(Door::Own)),
    ];
    let asking = of("asking").spec;
    let cases = cases();
    assert!(cases.len() > 30_000, "{} are not all", cases.len());
    for case in cases {
        let view = case.view();
        let at = Place { me: 0, shards: 2, cluster: true, calm: view.is_calm(0), copies: case.copies };
        let who = case.visitor(&kinds, asking);
        let said = match of_slot(at, &view, who, SLOT) {
            Verdict::Open(slot) => open(at, &view, who, slot, case.found),
            verdict => verdict,
        };
        assert_eq!(said, case.told(&view.nodes), "{case:?}");
    }
}
