//! An admin who works as redis-cli --cluster does, and sometimes gives up halfway.

use super::machine::{BUS, FRONT};
use super::resp::Value;
use super::script::{Addr, Port};
use shoal::cluster::slots::SlotSet;
use shoal::slot::Slot;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How long MIGRATE may hear nothing of its target.
const MIGRATE_MS: u64 = 600;

/// A node as a line of CLUSTER NODES shows it.
#[derive(Clone, Debug)]
pub struct Line {
    pub id: String,
    pub addr: Addr,
    master: String,
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

    /// A replica that is well.
    pub fn copies(&self) -> bool {
        self.has("slave") && self.is_well()
    }

    pub fn follows(&self, master: &Line) -> bool {
        self.master == master.id
    }

    /// A master that can be given slots.
    pub fn serves(&self) -> bool {
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
        let (id, flags, master) = (words[0].to_owned(), words[2].to_owned(), words[3].to_owned());
        let addr = Addr::new(ip, port.parse().expect("a port"));
        lines.push(Line { id, addr, master, flags, slots, migrating, importing });
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

/// Moves keys from one node to another. What is there already is overwritten if the mover is `sure`.
async fn move_keys(
    port: &Port,
    office: &Office,
    keys: &[String],
    (from, to): (&Addr, &Addr),
    sure: bool,
) -> bool {
    let foreign = [from, to].iter().any(|addr| office.foreign.borrow().contains(addr));
    if !foreign {
        return migrate(port, keys, (from, to), sure).await;
    }
    for key in keys {
        port.hold(from, true).await;
        let moved = copy_and_delete(port, key, from, to).await;
        port.hold(from, false).await;
        if !moved {
            return false;
        }
        port.mark("key moved");
    }
    true
}

/// MIGRATE: nobody is held up, and no key is ever nowhere.
async fn migrate(port: &Port, keys: &[String], (from, to): (&Addr, &Addr), sure: bool) -> bool {
    // one key that is named in its place, or several behind KEYS
    let place = if let [key] = keys { key } else { "" };
    let (port_there, patience) = (to.port.to_string(), MIGRATE_MS.to_string());
    let mut words = vec!["MIGRATE", &to.ip, &port_there, place, "0", &patience];
    words.extend(sure.then_some("REPLACE"));
    if place.is_empty() {
        words.push("KEYS");
        words.extend(keys.iter().map(String::as_str));
    }
    let words: Vec<Vec<u8>> = words.into_iter().map(|word| word.as_bytes().to_vec()).collect();
    let reply = port.call_raw(from, vec![words]).await.map(|mut replies| replies.pop().expect("a reply"));
    match reply {
        Ok(Value::Status(_)) => {
            port.mark("key moved by MIGRATE");
            true
        }
        Ok(_) => {
            port.mark("MIGRATE failed");
            false
        }
        Err(_) => false,
    }
}

fn line(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

/// What MIGRATE does, where one of the two is no Shoal host: the node that has the key serves nobody
/// meanwhile.
async fn copy_and_delete(port: &Port, key: &str, from: &Addr, to: &Addr) -> bool {
    let asking = || line(&[b"ASKING"]);
    let key = key.as_bytes();
    let read = vec![asking(), line(&[b"GET", key])];
    let Some(found) = port.call_raw(from, read).await.ok().and_then(|mut r| r.pop()) else { return false };
    let value = match found {
        Value::Bulk(Some(value)) => value,
        // gone meanwhile
        Value::Bulk(None) => return true,
        _ => return false,
    };
    let written = port.call_raw(to, vec![asking(), line(&[b"SET", key, &value])]).await;
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
        // one by one, or as many as there are
        let most = 1 + port.below(keys.len());
        for some in keys.chunks(most) {
            if left < some.len() || !move_keys(port, office, some, (&from.addr, &to.addr), true).await {
                return false;
            }
            left -= some.len();
        }
    }
    if left == 0 {
        return false;
    }
    let node = set("NODE", &to.id);
    office.note_giving(slot, &from.id, &to.id);
    let given = port.ok(&to.addr, &node).await && port.ok(&from.addr, &node).await;
    office.giving.borrow_mut().retain(|(s, ..)| *s != slot);
    if !given {
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
    /// Slots whose targets are told that they own them, and whose sources not yet: with source and target.
    pub giving: RefCell<Vec<(Slot, String, String)>>,
    /// Slots that may belong to nobody: see [`Office::note_giving`].
    pub crossed: RefCell<SlotSet>,
    /// Nodes that are being taken out: nobody moves slots to them or from them any more.
    pub leaving: Rc<RefCell<Vec<Addr>>>,
    /// Somebody has a replica take over: no slot is moved until it has.
    pub still: Cell<bool>,
    /// He leaves things half done now and then.
    pub careless: bool,
}

impl Office {
    pub fn somebody(&self, port: &Port) -> Addr {
        let doors = self.doors.borrow();
        doors[port.below(doors.len())].clone()
    }

    pub fn keeps(&self, line: &Line) -> bool {
        !self.leaving.borrow().contains(&line.addr)
    }

    /// Whoever is at work on a slot now comes to an end with it.
    pub async fn await_moves(&self, port: &Port) {
        let mut begun = self.busy.borrow().clone();
        while !begun.is_empty() {
            port.sleep(50).await;
            begun.retain(|slot| self.busy.borrow().contains(slot));
        }
    }

    /// Two moves side by side, of which one takes from a node what the other gives it: that node takes a new epoch
    /// for what it gets while it still claims what it gives, and may win that back just before it is told to
    /// let it go. Then each of both says that it is the other's, by Redis's rules, and it needs a hand.
    fn note_giving(&self, slot: Slot, from: &str, to: &str) {
        let mut giving = self.giving.borrow_mut();
        let mut crossed = self.crossed.borrow_mut();
        for (other, source, target) in giving.iter() {
            if target == from {
                crossed.insert(slot);
            }
            if source == to {
                crossed.insert(*other);
            }
        }
        giving.push((slot, from.to_owned(), to.to_owned()));
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
        if masters.len() < 2 || office.still.get() || office.busy.borrow().contains(&slot) {
            continue;
        }
        let (Some(from), to) = (owner, masters[port.below(masters.len())]) else { continue };
        // a master that gave its last slot away would be one no more
        let last = from.slots.len() == 1 && from.slots[0].0 == from.slots[0].1;
        if from.id == to.id || last {
            continue;
        }
        if from.addr.ip == to.addr.ip && port.below(4) > 0 {
            hand_over(&port, &office, slot, from, to).await;
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
        if (!moved || open) && port.below(2) == 0 && fix_slot(&port, &office, slot, false).await {
            office.open.borrow_mut().retain(|s| *s != slot);
        }
        office.busy.borrow_mut().retain(|busy| *busy != slot);
    }
}

/// CLUSTER HANDOFF, of this slot and perhaps of all that its node has and nobody is at work on: it is done
/// as a whole, or not at all.
async fn hand_over(port: &Port, office: &Office, slot: Slot, from: &Line, to: &Line) {
    let free = |slot: &Slot| !office.busy.borrow().contains(slot) && !office.open.borrow().contains(slot);
    let mut slots: Vec<Slot> = vec![slot];
    if port.below(3) == 0 {
        slots.extend(office.slots.iter().copied().filter(|other| *other != slot && from.owns(*other)));
    }
    slots.retain(free);
    if slots.is_empty() {
        return;
    }
    office.busy.borrow_mut().extend(&slots);
    let words: Vec<String> = slots.iter().map(Slot::to_string).collect();
    let door = if port.below(2) == 0 { from.addr.clone() } else { front(&from.addr.ip) };
    let reply = port.call(&door, &format!("CLUSTER HANDOFF {} {}", words.join(" "), to.id)).await;
    match reply {
        Ok(value) if value.is_ok() => port.mark("slots handed to a sibling"),
        Ok(_) => port.mark("handoff refused"),
        Err(_) => {}
    }
    office.busy.borrow_mut().retain(|busy| !slots.contains(busy));
}

/// `redis-cli --cluster fix`, for one slot: whether it is closed everywhere then. `adopts` when the bus has
/// had its time to find an owner.
pub async fn fix_slot(port: &Port, office: &Office, slot: Slot, adopts: bool) -> bool {
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
    if adopts && owners.is_empty() {
        adopt(port, slot, &importing).await;
    }
    // none, or several: the bus has to settle that first
    let [owner] = owners[..] else { return false };
    let moving = migrating.iter().find(|line| line.id == owner.id);
    let target = importing.iter().find(|line| line.id != owner.id);
    if let (Some(&from), Some(&to)) = (moving, target) {
        let done = move_slot(port, office, slot, (from, to), &own, usize::MAX).await;
        match done {
            true => port.mark("open slot fixed"),
            false => serve(port, slot, to, owner).await,
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
                false => move_keys(port, office, &[key], (&line.addr, &owner.addr), false).await,
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

/// A node with Redis's rules that imports a slot believes nobody that claims it. When it knows no owner,
/// or has seen the one that it knew become a replica, the slot is unassigned in its table, and it serves
/// none of the keys that it has in it, nor takes any; then redis-cli sets the owner by hand, and tries
/// again.
async fn serve(port: &Port, slot: Slot, importer: &Line, owner: &Line) {
    let table = nodes(port, &importer.addr).await;
    if !table.is_empty() && !table.iter().any(|line| line.owns(slot)) {
        let set = format!("CLUSTER SETSLOT {slot} NODE {}", owner.id);
        if port.ok(&importer.addr, &set).await {
            port.mark("slot served again by hand");
        }
    }
}

/// A slot that no node says is its own, for who had it last has forgotten that in a crash, goes to the node
/// that has most of its keys.
async fn find_owner(port: &Port, slot: Slot, own: &[Line]) {
    let lines: Vec<&Line> = own.iter().collect();
    let Some(to) = holder(port, slot, &lines).await else { return };
    if port.ok(&to.addr, &format!("CLUSTER SETSLOT {slot} NODE {}", to.id)).await {
        let _ = port.call(&to.addr, "CLUSTER BUMPEPOCH").await;
        port.mark("slot that nobody claims given an owner");
    }
}

/// Nodes that import a slot from each other, for one of them has forgotten in a crash that it was there
/// already, believe nobody that claims it, and claim it not. redis-cli gives it to who has most of its keys.
async fn adopt(port: &Port, slot: Slot, importing: &[&Line]) {
    if let Some(to) = holder(port, slot, importing).await
        && port.ok(&to.addr, &format!("CLUSTER SETSLOT {slot} NODE {}", to.id)).await
    {
        port.mark("slot without an owner adopted");
    }
}

/// The one of these masters that has most keys of a slot.
async fn holder<'a>(port: &Port, slot: Slot, lines: &[&'a Line]) -> Option<&'a Line> {
    let mut most: Option<(usize, &Line)> = None;
    for line in lines.iter().filter(|line| line.serves()) {
        let keys = keys_in(port, &line.addr, slot).await?.len();
        if most.is_none_or(|(count, _)| count < keys) {
            most = Some((keys, line));
        }
    }
    most.map(|(_, line)| line)
}

fn line_of(text: &str) -> Vec<Vec<u8>> {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Rounds of fixing until slots without an owner are given one: some node timeouts.
const PATIENCE: usize = 30;

/// Closes every open slot. What nobody claims is given an owner when moves have crossed, or a crash may have made
/// nodes forget what was theirs: SETSLOT is answered when it is in the file, not on the disk, as with Redis.
pub async fn fix(port: Rc<Port>, office: Rc<Office>, forgot: bool) {
    let (mut quiet, mut rounds) = (0, 0);
    // nothing open twice in a row: an answer may be older than what another node has just been told
    while quiet < 2 {
        rounds += 1;
        let doors = office.doors.borrow().clone();
        let own = own_lines(&port, &doors).await;
        let mut open: Vec<Slot> = own
            .iter()
            .flat_map(|line| line.migrating.iter().chain(&line.importing))
            .map(|(s, _)| *s)
            .collect();
        open.sort_unstable();
        open.dedup();
        let mut lost = SlotSet::new();
        if own.len() == doors.len() {
            lost = if forgot { SlotSet::all() } else { office.crossed.borrow().clone() };
            own.iter().flat_map(|line| &line.slots).for_each(|(from, to)| {
                (*from..=*to).for_each(|slot| _ = lost.remove(slot));
            });
            open.iter().for_each(|slot| _ = lost.remove(*slot));
        }
        let done = open.is_empty() && lost.is_empty() && own.len() == doors.len();
        quiet = if done { quiet + 1 } else { 0 };
        for slot in lost.iter().filter(|_| rounds > PATIENCE) {
            find_owner(&port, slot, &own).await;
        }
        for slot in open {
            fix_slot(&port, &office, slot, rounds > PATIENCE).await;
        }
        port.sleep(100).await;
    }
}

/// `redis-cli --cluster create`: slots shared evenly among the first ones, epochs that differ, everybody meets
/// the first.
pub async fn create(port: Rc<Port>, nodes: Vec<Addr>, masters: usize) {
    for (n, at) in nodes.iter().enumerate() {
        if n < masters {
            let (from, to) = shoal::cluster::view::even_share(n, masters);
            assert!(port.ok(at, &format!("CLUSTER ADDSLOTSRANGE {from} {to}")).await, "slots for {at:?}");
        }
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
        // nor does redis-cli reshard while a slot is open: a node that gives its last slot away becomes a
        // replica, and forgets what it has imported
        if !office.open.borrow().is_empty() || !line.importing.is_empty() {
            return;
        }
        let lines = nodes(&port, at).await;
        let others: Vec<&Line> =
            lines.iter().filter(|other| other.serves() && !leaving.contains(&other.addr)).collect();
        let Some(&to) = others.first() else { return };
        // few by now: who leaves has never had many
        for slot in line.slots.iter().flat_map(|(from, to)| *from..=*to) {
            while office.still.get() {
                port.sleep(50).await;
            }
            office.busy.borrow_mut().push(slot);
            let moved = move_slot(&port, &office, slot, (line, to), &lines, usize::MAX).await;
            office.busy.borrow_mut().retain(|busy| *busy != slot);
            if !moved {
                office.open.borrow_mut().push(slot);
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
            part(&port, other, &[&id]).await;
            let _ = port.call(other, &format!("CLUSTER FORGET {id}")).await;
        }
        let _ = port.call(at, "CLUSTER RESET").await;
    }
    *done.borrow_mut() = true;
}

/// No node forgets its own master: a replica of one that leaves is given another.
async fn part(port: &Port, at: &Addr, gone: &[&str]) {
    let lines = nodes(port, at).await;
    let bereft = lines.iter().any(|line| line.has("myself") && gone.contains(&line.master.as_str()));
    let other = lines.iter().find(|line| line.serves() && !gone.contains(&line.id.as_str()));
    if let Some(other) = other.filter(|_| bereft) {
        let _ = port.call(at, &format!("CLUSTER REPLICATE {}", other.id)).await;
    }
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
        let lines = nodes(&port, at).await;
        let gone: Vec<&str> = lines.iter().filter(|l| !ids.contains(&l.id)).map(|l| l.id.as_str()).collect();
        part(&port, at, &gone).await;
        for line in &lines {
            if !ids.contains(&line.id) && !line.has("handshake") {
                let _ = port.call(at, &format!("CLUSTER FORGET {}", line.id)).await;
            }
        }
    }
}
