//! An admin who works as redis-cli --cluster does, and sometimes gives up halfway.

use super::machine::{BUS, FRONT};
use super::resp::Value;
use super::script::{Addr, Port};
use shoal::slot::Slot;
use std::cell::RefCell;
use std::rc::Rc;

/// A node as a line of CLUSTER NODES shows it.
#[derive(Clone, Debug)]
pub struct Line {
    pub id: String,
    pub addr: Addr,
    flags: String,
    slots: Vec<(Slot, Slot)>,
    migrating: Vec<(Slot, String)>,
    importing: Vec<(Slot, String)>,
}

impl Line {
    fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|f| f == flag)
    }

    fn owns(&self, slot: Slot) -> bool {
        self.slots.iter().any(|(from, to)| (*from..=*to).contains(&slot))
    }

    fn is_well(&self) -> bool {
        !["fail", "fail?", "noaddr", "handshake"].iter().any(|flag| self.has(flag))
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.migrating.is_empty() && self.importing.is_empty()
    }

    /// A master that can be given slots.
    fn serves(&self) -> bool {
        self.has("master") && self.is_well()
    }
}

/// `asked` stands in where the node that answers doesn't know its own address yet.
fn parse(text: &str, asked: &Addr) -> Vec<Line> {
    let number = |word: &str| word.parse::<Slot>().expect("a slot");
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let address = words[1].split('@').next().expect("an address");
        let (ip, port) = address.rsplit_once(':').expect("a port");
        let ip = if ip.is_empty() { &asked.ip } else { ip };
        let (mut slots, mut migrating, mut importing) = (Vec::new(), Vec::new(), Vec::new());
        for word in &words[8..] {
            let open = word.trim_matches(['[', ']']);
            if let Some((slot, id)) = open.split_once("->-") {
                migrating.push((number(slot), id.to_owned()));
            } else if let Some((slot, id)) = open.split_once("-<-") {
                importing.push((number(slot), id.to_owned()));
            } else {
                let (from, to) = word.split_once('-').unwrap_or((word, word));
                slots.push((number(from), number(to)));
            }
        }
        let (id, flags) = (words[0].to_owned(), words[2].to_owned());
        let addr = Addr::new(ip, port.parse().expect("a port"));
        lines.push(Line { id, addr, flags, slots, migrating, importing });
    }
    lines
}

/// CLUSTER NODES of one node.
pub async fn nodes(port: &Port, at: &Addr) -> Vec<Line> {
    let reply = port.call(at, "CLUSTER NODES").await;
    reply.ok().and_then(|value| value.text()).map_or(Vec::new(), |text| parse(&text, at))
}

/// What each of these nodes says of itself.
async fn own_lines(port: &Port, doors: &[Addr]) -> Vec<Line> {
    let mut own = Vec::new();
    for at in doors {
        let lines = nodes(port, at).await;
        own.extend(lines.into_iter().find(|line| line.has("myself")).map(|l| Line { addr: at.clone(), ..l }));
    }
    own
}

/// MIGRATE, by hand: the node that has the key serves nobody meanwhile.
async fn move_key(port: &Port, office: &Office, key: &str, from: &Addr, to: &Addr) -> bool {
    let foreign = [from, to].iter().any(|addr| office.foreign.borrow().contains(addr));
    port.hold(from, true).await;
    let moved = copy_and_delete(port, key, from, to, foreign).await;
    port.hold(from, false).await;
    if moved {
        port.mark("key moved");
    }
    moved
}

fn line(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

/// DUMP and RESTORE, or GET and SET where one of the two is no Shoal host.
async fn copy_and_delete(port: &Port, key: &str, from: &Addr, to: &Addr, foreign: bool) -> bool {
    let asking = || line(&[b"ASKING"]);
    let key = key.as_bytes();
    let read: &[u8] = if foreign { b"GET" } else { b"DUMP" };
    let read = vec![asking(), line(&[read, key])];
    let Some(found) = port.call_raw(from, read).await.ok().and_then(|mut r| r.pop()) else { return false };
    let value = match found {
        Value::Bulk(Some(value)) => value,
        // gone meanwhile
        Value::Bulk(None) => return true,
        _ => return false,
    };
    let write = match foreign {
        true => line(&[b"SET", key, &value]),
        false => line(&[b"RESTORE", key, b"0", &value, b"REPLACE"]),
    };
    let written = port.call_raw(to, vec![asking(), write]).await;
    if !written.is_ok_and(|replies| replies[1].is_ok()) {
        return false;
    }
    let del = vec![asking(), line(&[b"DEL", key])];
    port.call_raw(from, del).await.is_ok_and(|replies| replies[1].error().is_none())
}

async fn keys_in(port: &Port, at: &Addr, slot: Slot) -> Option<Vec<String>> {
    let reply = port.call(at, &format!("CLUSTER GETKEYSINSLOT {slot} 10")).await.ok()?;
    reply.error().is_none().then(|| reply.texts())
}

/// Moves a slot from one node to another; whether it came to an end. `steps` is after how many keys the
/// admin loses patience.
async fn move_slot(
    port: &Port,
    office: &Office,
    slot: Slot,
    (from, to): (&Line, &Line),
    others: &[Line],
    steps: usize,
) -> bool {
    let set = |what: &str, id: &str| format!("CLUSTER SETSLOT {slot} {what} {id}");
    if !port.ok(&to.addr, &set("IMPORTING", &from.id)).await {
        return false;
    }
    if !port.ok(&from.addr, &set("MIGRATING", &to.id)).await {
        return false;
    }
    let mut left = steps;
    loop {
        let Some(keys) = keys_in(port, &from.addr, slot).await else { return false };
        if keys.is_empty() {
            break;
        }
        for key in keys {
            if left == 0 || !move_key(port, office, &key, &from.addr, &to.addr).await {
                return false;
            }
            left -= 1;
        }
    }
    if left == 0 {
        return false;
    }
    let node = set("NODE", &to.id);
    if !port.ok(&to.addr, &node).await || !port.ok(&from.addr, &node).await {
        return false;
    }
    for other in others.iter().filter(|line| line.serves() && line.id != from.id && line.id != to.id) {
        // who isn't reached hears of it by the bus
        let _ = port.call(&other.addr, &node).await;
    }
    true
}

/// What admins share.
pub struct Office {
    /// All nodes' own ports.
    pub doors: Rc<RefCell<Vec<Addr>>>,
    /// Slots that may be moved.
    pub slots: Vec<Slot>,
    /// Addresses of nodes that are no Shoal hosts.
    pub foreign: Rc<RefCell<Vec<Addr>>>,
    /// Slots that some admin is at work on, and those that were left open.
    pub busy: Rc<RefCell<Vec<Slot>>>,
    pub open: Rc<RefCell<Vec<Slot>>>,
    /// Nodes that are being taken out: nobody moves slots to them or from them any more.
    pub leaving: Rc<RefCell<Vec<Addr>>>,
    /// He leaves things half done now and then.
    pub careless: bool,
}

impl Office {
    fn somebody(&self, port: &Port) -> Addr {
        let doors = self.doors.borrow();
        doors[port.below(doors.len())].clone()
    }

    fn keeps(&self, line: &Line) -> bool {
        !self.leaving.borrow().contains(&line.addr)
    }

    /// Whoever is at work on a slot now comes to an end with it.
    async fn await_moves(&self, port: &Port) {
        let mut begun = self.busy.borrow().clone();
        while !begun.is_empty() {
            port.sleep(50).await;
            begun.retain(|slot| self.busy.borrow().contains(slot));
        }
    }

    fn mark_move(&self, port: &Port, from: &Line, to: &Line) {
        port.mark("slot moved");
        let foreign = self.foreign.borrow();
        if from.addr.ip == to.addr.ip {
            port.mark("slot moved between siblings");
        }
        if foreign.contains(&from.addr) {
            port.mark("slot moved from a foreign node");
        }
        if foreign.contains(&to.addr) {
            port.mark("slot moved to a foreign node");
        }
    }
}

/// Moves slots to and fro until he is told to stop.
pub async fn mover(port: Rc<Port>, office: Rc<Office>) {
    while !port.stopping.get() {
        let pause = 10 + port.below(300) as u64;
        port.sleep(pause).await;
        let lines = nodes(&port, &office.somebody(&port)).await;
        let slot = office.slots[port.below(office.slots.len())];
        let masters: Vec<&Line> = lines.iter().filter(|line| line.serves() && office.keeps(line)).collect();
        let owner = masters.iter().copied().find(|line| line.owns(slot));
        if masters.len() < 2 || office.busy.borrow().contains(&slot) {
            continue;
        }
        let (Some(from), to) = (owner, masters[port.below(masters.len())]) else { continue };
        // a master that gave its last slot away would be one no more
        let last = from.slots.len() == 1 && from.slots[0].0 == from.slots[0].1;
        if from.id == to.id || last {
            continue;
        }
        let steps = if office.careless && port.below(8) == 0 { port.below(3) } else { usize::MAX };
        office.busy.borrow_mut().push(slot);
        // redis-cli refuses to reshard while a slot is open
        let open = office.open.borrow().contains(&slot);
        let moved = open || move_slot(&port, &office, slot, (from, to), &lines, steps).await;
        match moved {
            _ if open => {}
            true => office.mark_move(&port, from, to),
            false => {
                port.mark("admin gave up a move");
                office.open.borrow_mut().push(slot);
            }
        }
        if (!moved || open) && port.below(2) == 0 && fix_slot(&port, &office, slot).await {
            office.open.borrow_mut().retain(|s| *s != slot);
        }
        office.busy.borrow_mut().retain(|busy| *busy != slot);
    }
}

/// `redis-cli --cluster fix`, for one slot: whether it is closed everywhere then.
pub async fn fix_slot(port: &Port, office: &Office, slot: Slot) -> bool {
    let doors = office.doors.borrow().clone();
    let own = own_lines(port, &doors).await;
    if own.len() < doors.len() {
        return false;
    }
    let importing: Vec<&Line> =
        own.iter().filter(|line| line.importing.iter().any(|(s, _)| *s == slot)).collect();
    let migrating: Vec<&Line> =
        own.iter().filter(|line| line.migrating.iter().any(|(s, _)| *s == slot)).collect();
    if importing.is_empty() && migrating.is_empty() {
        return true;
    }
    let owners: Vec<&Line> = own.iter().filter(|line| line.owns(slot)).collect();
    // none, or several: the bus has to settle that first
    let [owner] = owners[..] else { return false };
    let moving = migrating.first().filter(|line| line.id == owner.id);
    let target = importing.iter().find(|line| line.id != owner.id);
    if let (Some(&from), Some(&to)) = (moving, target) {
        let done = move_slot(port, office, slot, (from, to), &own, usize::MAX).await;
        if done {
            port.mark("open slot fixed");
        }
        return done && importing.len() == 1;
    }
    for line in importing.iter().filter(|line| line.id != owner.id) {
        let Some(keys) = keys_in(port, &line.addr, slot).await else { return false };
        let there = keys_in(port, &owner.addr, slot).await;
        for key in keys {
            // what the owner has is what was served last
            let newer = there.as_ref().is_some_and(|there| there.contains(&key));
            let fixed = match newer {
                true => {
                    let del = vec![line_of("ASKING"), line_of(&format!("DEL {key}"))];
                    port.call_raw(&line.addr, del).await.is_ok()
                }
                false => move_key(port, office, &key, &line.addr, &owner.addr).await,
            };
            if !fixed {
                serve(port, slot, line, owner).await;
                return false;
            }
        }
    }
    let mut closed = true;
    for line in importing.iter().chain(&migrating) {
        closed &= port.ok(&line.addr, &format!("CLUSTER SETSLOT {slot} STABLE")).await;
    }
    if closed {
        port.mark("open slot fixed");
    }
    closed
}

/// Who imports a slot believes nobody that claims it. When it has seen the owner that it knew become a
/// replica, the slot is unassigned in its table, and it serves none of the keys that it has in it; then
/// redis-cli sets the owner by hand, and tries again.
async fn serve(port: &Port, slot: Slot, importer: &Line, owner: &Line) {
    let table = nodes(port, &importer.addr).await;
    if !table.is_empty() && !table.iter().any(|line| line.owns(slot)) {
        let set = format!("CLUSTER SETSLOT {slot} NODE {}", owner.id);
        if port.ok(&importer.addr, &set).await {
            port.mark("slot served again by hand");
        }
    }
}

fn line_of(text: &str) -> Vec<Vec<u8>> {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Closes every open slot.
pub async fn fix(port: Rc<Port>, office: Rc<Office>) {
    let mut quiet = 0;
    // nothing open twice in a row: an answer may be older than what another node has just been told
    while quiet < 2 {
        let doors = office.doors.borrow().clone();
        let own = own_lines(&port, &doors).await;
        let mut open: Vec<Slot> = own
            .iter()
            .flat_map(|line| line.migrating.iter().chain(&line.importing))
            .map(|(s, _)| *s)
            .collect();
        open.sort_unstable();
        open.dedup();
        quiet = if open.is_empty() && own.len() == doors.len() { quiet + 1 } else { 0 };
        for slot in open {
            fix_slot(&port, &office, slot).await;
        }
        port.sleep(100).await;
    }
}

/// `redis-cli --cluster create`: slots shared evenly, epochs that differ, everybody meets the first.
pub async fn create(port: Rc<Port>, nodes: Vec<Addr>) {
    let count = nodes.len();
    for (n, at) in nodes.iter().enumerate() {
        let (from, to) = shoal::cluster::view::even_share(n, count);
        assert!(port.ok(at, &format!("CLUSTER ADDSLOTSRANGE {from} {to}")).await, "slots for {at:?}");
        assert!(port.ok(at, &format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1)).await, "an epoch for {at:?}");
    }
    for at in &nodes[1..] {
        meet(&port, at, &nodes[0]).await;
    }
}

/// `redis-cli --cluster add-node`
pub async fn meet(port: &Port, new: &Addr, old: &Addr) -> bool {
    let line = format!("CLUSTER MEET {} {} {}", old.ip, old.port, old.port + BUS);
    port.ok(new, &line).await
}

/// Whether `old` has `new` in its table for good.
pub async fn knows(port: &Port, old: &Addr, new: &Addr) -> bool {
    let lines = nodes(port, old).await;
    lines.iter().any(|line| line.addr == *new && !line.has("handshake"))
}

/// Takes a host out: its slots go to others, every other node forgets its nodes, and they forget all.
pub async fn remove(port: Rc<Port>, office: Rc<Office>, leaving: Vec<Addr>, done: Rc<RefCell<bool>>) {
    // redis-cli looks whether a node is empty and forgets it then: nobody may reshard meanwhile
    office.leaving.borrow_mut().extend(leaving.iter().cloned());
    office.await_moves(&port).await;
    for at in &leaving {
        let own = own_lines(&port, std::slice::from_ref(at)).await;
        let Some(line) = own.first() else { return };
        let lines = nodes(&port, at).await;
        let others: Vec<&Line> =
            lines.iter().filter(|other| other.serves() && !leaving.contains(&other.addr)).collect();
        let Some(&to) = others.first() else { return };
        // few by now: who leaves has never had many
        for slot in line.slots.iter().flat_map(|(from, to)| *from..=*to) {
            if !move_slot(&port, &office, slot, (line, to), &lines, usize::MAX).await {
                return;
            }
        }
    }
    for at in &leaving {
        let own = own_lines(&port, std::slice::from_ref(at)).await;
        let Some(line) = own.first().filter(|line| line.is_empty()) else { return };
        let id = line.id.clone();
        office.doors.borrow_mut().retain(|door| door != at);
        let doors = office.doors.borrow().clone();
        for other in &doors {
            // once for each node, reached or not: who missed it is told again in the end
            let _ = port.call(other, &format!("CLUSTER FORGET {id}")).await;
        }
        let _ = port.call(at, "CLUSTER RESET").await;
    }
    *done.borrow_mut() = true;
}

/// The host's front door, for clients.
pub fn front(ip: &str) -> Addr {
    Addr::new(ip, FRONT)
}

/// Makes sure that everybody knows these nodes and nobody else: who was removed while somebody could not
/// be told, and who came while nobody listened.
pub async fn tidy(port: Rc<Port>, office: Rc<Office>, ids: Vec<String>) {
    let doors = office.doors.borrow().clone();
    // a handshake that broke off halfway leaves one that knows all and is known to nobody
    for at in &doors {
        for other in doors.iter().filter(|other| *other != at) {
            if !knows(&port, other, at).await {
                meet(&port, at, other).await;
            }
        }
    }
    port.sleep(2000).await;
    for at in &doors {
        for line in nodes(&port, at).await {
            if !ids.contains(&line.id) && !line.has("handshake") {
                let _ = port.call(at, &format!("CLUSTER FORGET {}", line.id)).await;
            }
        }
    }
}
