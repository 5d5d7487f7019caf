//! CLUSTER, as far as it is read from the view (the rest asks the plane); READONLY, READWRITE and ASKING.
//!
//! An own port answers for its node; the front door for the node of the shard that took the client.

use super::ctx::Ctx;
use super::error::{Done, ErrReply, NOT_INT};
use super::help;
use crate::cluster::conf;
use crate::cluster::view::{BusCounts, Node, NodeIndex, UNASSIGNED, View};
use crate::cluster::wire::{flag, kind};
use crate::config::types::EndpointType;
use crate::resp::Args;
use crate::slot::{SLOTS, Slot, key_slot};
use crate::util::num::parse_i64;
use std::fmt::Write;

const DISABLED: ErrReply = ErrReply::new("ERR This instance has cluster support disabled");

const HELP: &[&str] = &[
    "ADDSLOTS <slot> [<slot> ...]",
    "    Assign slots to current node.",
    "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Assign slots which are between <start-slot> and <end-slot> to current node.",
    "BALANCE [PLAN|DRYRUN|APPLY]",
    "    List the handoffs that make this host's shards equally busy, tell how busy each shard",
    "    is and would be, or make them (Shoal only).",
    "BUMPEPOCH",
    "    Advance the cluster config epoch.",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return number of failure reports for <node-id>.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "DELSLOTS <slot> [<slot> ...]",
    "    Delete slots information from current node.",
    "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Delete slots information which are between <start-slot> and <end-slot> from current node.",
    "FAILOVER [FORCE|TAKEOVER]",
    "    Promote current replica node to being a master.",
    "FORGET <node-id>",
    "    Remove a node from the cluster.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "FLUSHSLOTS",
    "    Delete current node own slots information.",
    "HANDOFF <slot|from-to> [<slot|from-to> ...] <node-id> [...]",
    "    Give slots to other shards of this host, at once (Shoal only).",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MEET <ip> <port> [<bus-port>]",
    "    Connect nodes into a working cluster.",
    "MYID",
    "    Return the node id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    "    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICATE <node-id>",
    "    Configure current node as replica to <node-id>.",
    "RESET [HARD|SOFT]",
    "    Reset current node (default: soft).",
    "SET-CONFIG-EPOCH <epoch>",
    "    Set config epoch of current node.",
    "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
    "    Set slot state.",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SAVECONFIG",
    "    Force saving cluster configuration on disk.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SLOT-STATS (SLOTSRANGE <start> <end>|ORDERBY <metric> [LIMIT <limit>] [ASC|DESC])",
    "    Return what the slots of this node hold and cost.",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "LINKS",
    "    Return information about all network links between this node and its peers.",
    "    Output format is an array where each array element is a map containing attributes of a link",
];

fn enabled(ctx: &Ctx<'_>) -> Done {
    if ctx.host.cluster { Ok(()) } else { Err(DISABLED) }
}

/// Where clients find a node: a node of this host that has no address of its own yet listens where
/// the client has reached us.
fn ip_of<'n>(ctx: &'n Ctx<'_>, node: &'n Node) -> &'n str {
    if node.ip.is_empty() { &ctx.caller.local_ip } else { &node.ip }
}

/// ASKING: the router knows by it that the next command was sent here by an ASK.
pub fn asking(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.out.ok();
    Ok(())
}

/// READONLY
pub fn readonly(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.caller.readonly = true;
    ctx.out.ok();
    Ok(())
}

/// READWRITE
pub fn readwrite(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.caller.readonly = false;
    ctx.out.ok();
    Ok(())
}

/// CLUSTER KEYSLOT key
pub fn cluster_keyslot(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.out.int(key_slot(args.at(2)) as i64);
    Ok(())
}

/// CLUSTER COUNTKEYSINSLOT slot: this shard's share of it.
pub fn cluster_countkeysinslot(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    enabled(ctx)?;
    let slot = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let slot = as_slot(slot).ok_or(ErrReply::new("ERR Invalid slot"))?;
    ctx.out.int(ctx.ks.db(0).slot_len(slot) as i64);
    Ok(())
}

/// CLUSTER GETKEYSINSLOT slot count: this shard's share of it.
pub fn cluster_getkeysinslot(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    enabled(ctx)?;
    let slot = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let count = parse_i64(args.at(3)).ok_or(NOT_INT)?;
    let (Some(slot), Ok(count)) = (as_slot(slot), usize::try_from(count)) else {
        return Err(ErrReply::new("ERR Invalid slot or number of keys"));
    };
    let keys = ctx.ks.db(0).keys_in_slot(slot, count);
    ctx.out.array(keys.len());
    for key in keys {
        ctx.out.bulk(key);
    }
    Ok(())
}

fn as_slot(n: i64) -> Option<Slot> {
    usize::try_from(n).ok().filter(|&n| n < SLOTS).map(|n| n as Slot)
}

/// CLUSTER MYID
pub fn cluster_myid(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.out.bulk(&ctx.view.local_node(ctx.me).id);
    Ok(())
}

/// CLUSTER MYSHARDID: a master and its replicas have it in common.
pub fn cluster_myshardid(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.out.bulk(&ctx.view.local_node(ctx.me).shard_id);
    Ok(())
}

/// CLUSTER INFO
pub fn cluster_info(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    let view = ctx.view;
    let (mut ok, mut suspected, mut failed) = (0, 0, 0);
    for owner in (0..SLOTS as Slot).filter_map(|slot| view.owner(slot)) {
        match owner.flags {
            flags if flags & flag::FAIL != 0 => failed += 1,
            flags if flags & flag::PFAIL != 0 => suspected += 1,
            _ => ok += 1,
        }
    }
    let mut text = format!(
        "cluster_state:{}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{ok}\r\n\
         cluster_slots_pfail:{suspected}\r\ncluster_slots_fail:{failed}\r\ncluster_known_nodes:{}\r\n\
         cluster_size:{}\r\ncluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\n",
        if view.ok { "ok" } else { "fail" },
        view.assigned(),
        view.nodes.len(),
        view.size(),
        view.current_epoch,
        view.epoch_of(view.local_node(ctx.me)),
    );
    let none = BusCounts::default();
    let counts = view.counts.iter().find(|(shard, _)| *shard as usize == ctx.me).map_or(&none, |(_, c)| c);
    packets(&mut text, "sent", &counts.sent);
    packets(&mut text, "received", &counts.received);
    let _ = write!(text, "total_cluster_links_buffer_limit_exceeded:{}\r\n", counts.exceeded);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What went over the bus, by type and in all.
fn packets(out: &mut String, way: &str, counts: &[u64]) {
    for (name, n) in kind::NAMES.iter().zip(counts).filter(|(_, n)| **n > 0) {
        let _ = write!(out, "cluster_stats_messages_{name}_{way}:{n}\r\n");
    }
    let _ = write!(out, "cluster_stats_messages_{way}:{}\r\n", counts.iter().sum::<u64>());
}

/// CLUSTER NODES
pub fn cluster_nodes(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    let mut text = String::new();
    for (index, slots) in ctx.view.slots().into_iter().enumerate() {
        let node = &ctx.view.nodes[index];
        let mut line = ctx.view.line(index as NodeIndex, ctx.me, ip_of(ctx, node));
        line.slots = slots;
        conf::render_node(&line, &mut text);
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// CLUSTER SLOTS
pub fn cluster_slots(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    let view = ctx.view;
    let ranges = ranges(view);
    ctx.out.array(ranges.len());
    for (from, to, owner) in ranges {
        // replicas that have data, and are well
        let serving =
            |at: &NodeIndex| !view.nodes[*at as usize].failed() && view.nodes[*at as usize].offset != 0;
        let replicas: Vec<NodeIndex> = view.replicas(owner).filter(serving).collect();
        ctx.out.array(3 + replicas.len());
        ctx.out.int(from as i64);
        ctx.out.int(to as i64);
        for at in [owner].into_iter().chain(replicas) {
            endpoint(ctx, &view.nodes[at as usize]);
        }
    }
    Ok(())
}

/// All slots that have an owner, in inclusive ranges.
fn ranges(view: &View) -> Vec<(Slot, Slot, NodeIndex)> {
    let mut out: Vec<(Slot, Slot, NodeIndex)> = Vec::new();
    for slot in 0..SLOTS as Slot {
        let owner = view.owner_index(slot);
        match out.last_mut() {
            Some((_, to, last)) if *last == owner && *to + 1 == slot => *to = slot,
            _ if owner == UNASSIGNED => {}
            _ => out.push((slot, slot, owner)),
        }
    }
    out
}

/// A node in CLUSTER SLOTS: its preferred endpoint, its port, its id, and what else is known.
fn endpoint(ctx: &mut Ctx<'_>, node: &Node) {
    let kind = ctx.conf.cluster_preferred_endpoint_type;
    let ip = ip_of(ctx, node).to_owned();
    ctx.out.array(4);
    match kind {
        EndpointType::Ip => ctx.out.bulk(ip.as_bytes()),
        EndpointType::Hostname if node.hostname.is_empty() => ctx.out.bulk(b"?"),
        EndpointType::Hostname => ctx.out.bulk(node.hostname.as_bytes()),
        EndpointType::Unknown => ctx.out.null(),
    }
    ctx.out.int(node.port as i64);
    ctx.out.bulk(&node.id);
    let ip = (kind != EndpointType::Ip).then_some(("ip", ip.as_str()));
    let named = kind != EndpointType::Hostname && !node.hostname.is_empty();
    let name = named.then_some(("hostname", node.hostname.as_str()));
    ctx.out.map(ip.iter().chain(&name).count());
    for (key, value) in ip.iter().chain(&name) {
        ctx.out.bulk(key.as_bytes());
        ctx.out.bulk(value.as_bytes());
    }
}

/// CLUSTER SHARDS
pub fn cluster_shards(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    let view = ctx.view;
    let masters = || view.nodes.iter().enumerate().filter(|(_, node)| node.is_master());
    ctx.out.array(masters().count());
    for (index, _) in masters() {
        let ranges = view.ranges(index as NodeIndex);
        ctx.out.map(2);
        ctx.out.bulk(b"slots");
        ctx.out.array(ranges.len() * 2);
        for (from, to) in ranges {
            ctx.out.int(from as i64);
            ctx.out.int(to as i64);
        }
        let replicas: Vec<NodeIndex> = view.replicas(index as NodeIndex).collect();
        ctx.out.bulk(b"nodes");
        ctx.out.array(1 + replicas.len());
        for at in [index as NodeIndex].into_iter().chain(replicas) {
            details(ctx, &view.nodes[at as usize]);
        }
    }
    Ok(())
}

/// A node in CLUSTER SHARDS.
fn details(ctx: &mut Ctx<'_>, node: &Node) {
    let ip = ip_of(ctx, node).to_owned();
    let endpoint = match ctx.conf.cluster_preferred_endpoint_type {
        EndpointType::Ip => ip.as_str(),
        EndpointType::Hostname if node.hostname.is_empty() => "?",
        EndpointType::Hostname => &node.hostname,
        EndpointType::Unknown => "",
    };
    ctx.out.map(7 + !node.hostname.is_empty() as usize);
    ctx.out.bulk(b"id");
    ctx.out.bulk(&node.id);
    ctx.out.bulk(b"port");
    ctx.out.int(node.port as i64);
    ctx.out.bulk(b"ip");
    ctx.out.bulk(ip.as_bytes());
    ctx.out.bulk(b"endpoint");
    ctx.out.bulk(endpoint.as_bytes());
    if !node.hostname.is_empty() {
        ctx.out.bulk(b"hostname");
        ctx.out.bulk(node.hostname.as_bytes());
    }
    ctx.out.bulk(b"role");
    ctx.out.bulk(if node.is_replica() { b"replica" } else { b"master" });
    ctx.out.bulk(b"replication-offset");
    ctx.out.int(node.offset as i64);
    ctx.out.bulk(b"health");
    let health: &[u8] = match node.failed() {
        true => b"fail",
        false if node.is_replica() && node.offset == 0 => b"loading",
        false => b"online",
    };
    ctx.out.bulk(health);
}

/// CLUSTER REPLICAS id, CLUSTER SLAVES id
pub fn cluster_replicas(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    enabled(ctx)?;
    let view = ctx.view;
    let Some(master) = view.nodes.iter().position(|node| node.id == args.at(2)) else {
        let id = String::from_utf8_lossy(args.at(2));
        return Err(ErrReply::owned(format!("ERR Unknown node {id}")));
    };
    if view.nodes[master].is_replica() {
        return Err(ErrReply::new("ERR The specified node is not a master"));
    }
    let replicas: Vec<NodeIndex> = view.replicas(master as NodeIndex).collect();
    ctx.out.array(replicas.len());
    for at in replicas {
        let mut text = String::new();
        conf::render_node(&view.line(at, ctx.me, ip_of(ctx, &view.nodes[at as usize])), &mut text);
        ctx.out.bulk(text.trim_end().as_bytes());
    }
    Ok(())
}

/// CLUSTER HELP
pub fn cluster_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    enabled(ctx)?;
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::OpenSlot;
    use crate::command::testing::World;
    use crate::store::{Clock, Ttl};

    fn world() -> World {
        let node = |id, ip: &str, port, local| Node {
            id: [id; 40],
            ip: ip.into(),
            hostname: String::new(),
            port,
            bus_port: port + 10000,
            config_epoch: port as u64 - 6999,
            local,
            ..Node::default()
        };
        let mut w = World::new();
        w.host.cluster = true;
        let nodes = vec![node(b'a', "", 7000, Some(0)), node(b'b', "10.0.0.2", 7001, None)];
        w.view = View::new(1, 5, nodes, |slot| match slot {
            0..=99 | 200 => 0,
            100..=199 => 1,
            _ => UNASSIGNED,
        });
        w
    }

    fn id(byte: u8) -> String {
        String::from_utf8(vec![byte; 40]).unwrap()
    }

    #[test]
    fn describes_the_view() {
        let (a, b) = (id(b'a'), id(b'b'));
        let mut w = world();
        let nodes = format!(
            "{a} 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-99 200\n\
             {b} 10.0.0.2:7001@17001 master - 0 0 2 connected 100-199\n"
        );
        w.check(&[
            ("CLUSTER NODES", &format!("${}|{nodes}|", nodes.len())),
            ("CLUSTER MYID", &format!("$40|{a}|")),
            (
                "CLUSTER SLOTS",
                &format!(
                    "*3|*3|:0|:99|*4|$9|127.0.0.1|:7000|$40|{a}|*0|*3|:100|:199|*4|$8|10.0.0.2|:7001|$40|{b}|*0|\
                     *3|:200|:200|*4|$9|127.0.0.1|:7000|$40|{a}|*0|"
                ),
            ),
            ("CLUSTER REPLICAS x", "-ERR Unknown node x|"),
            (&format!("CLUSTER REPLICAS {b}"), "*0|"),
        ]);
        let info = w.run("CLUSTER INFO");
        for line in
            ["cluster_state:fail", "cluster_slots_assigned:201", "cluster_size:2", "cluster_current_epoch:5"]
        {
            assert!(info.contains(&format!("{line}\r\n")), "{line} in {info}");
        }
        let shards = w.resp3(true).run("CLUSTER SHARDS").replace("\r\n", "|");
        let first = format!(
            "*2|%2|$5|slots|*4|:0|:99|:200|:200|$5|nodes|*1|%7|$2|id|$40|{a}|$4|port|:7000|$2|ip|$9|127.0.0.1|\
             $8|endpoint|$9|127.0.0.1|$4|role|$6|master|$18|replication-offset|:0|$6|health|$6|online|%2|"
        );
        assert!(shards.starts_with(&first), "{shards}");
        let shard_id = w.run("CLUSTER MYSHARDID");
        assert_eq!((shard_id.len(), w.run("CLUSTER MYSHARDID")), (47, shard_id.clone()));
    }

    #[test]
    fn describes_replicas_failures_and_open_slots() {
        let (a, b, c) = (id(b'a'), id(b'b'), id(b'c'));
        let mut w = world();
        let mut nodes = w.view.nodes.clone();
        nodes[1].flags |= flag::FAIL;
        (nodes[1].ping_sent, nodes[1].pong_received, nodes[1].linked) = (5, 4, false);
        let (port, bus_port) = (7002, 17002);
        let replica = Node { id: [b'c'; 40], ip: "10.0.0.3".into(), port, bus_port, ..Node::default() };
        nodes.push(Node { flags: flag::REPLICA, master: Some(0), offset: 9, ..replica });
        w.view = View::new(2, 5, nodes, |slot| if slot < 100 { 0 } else { 1 });
        let open = |slot, importing| OpenSlot { shard: 0, slot, importing, peer: 1 };
        w.view.open = vec![open(7, false), open(300, true)];
        w.view.ok = false;
        let mut counts = BusCounts::default();
        (counts.sent[0], counts.sent[2], counts.received[1]) = (3, 1, 2);
        w.view.counts = vec![(0, counts)];
        let nodes = w.run("CLUSTER NODES");
        for line in [
            format!("{a} 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-99 [7->-{b}] [300-<-{b}]\n"),
            format!("{b} 10.0.0.2:7001@17001 master,fail - 5 4 2 disconnected 100-16383\n"),
            format!("{c} 10.0.0.3:7002@17002 slave {a} 0 0 1 connected\n"),
        ] {
            assert!(nodes.contains(&line), "{line} in {nodes}");
        }
        let info = w.run("CLUSTER INFO");
        for line in ["slots_ok:100", "slots_fail:16284", "known_nodes:3", "stats_messages_ping_sent:3"] {
            assert!(info.contains(&format!("cluster_{line}\r\n")), "{line} in {info}");
        }
        assert!(info.contains("cluster_stats_messages_sent:4\r\ncluster_stats_messages_pong_received:2\r\n"));
        let replica = format!("{c} 10.0.0.3:7002@17002 slave {a} 0 0 1 connected");
        w.check(&[
            (&format!("CLUSTER REPLICAS {a}"), &format!("*1|${}|{replica}|", replica.len())),
            (&format!("CLUSTER REPLICAS {c}"), "-ERR The specified node is not a master|"),
        ]);
        let slots = w.run("CLUSTER SLOTS").replace("\r\n", "|");
        let first = format!(
            "*2|*4|:0|:99|*4|$9|127.0.0.1|:7000|$40|{a}|*0|*4|$8|10.0.0.3|:7002|$40|{c}|*0|*3|:100|:16383|"
        );
        assert!(slots.starts_with(&first), "{slots}");
        let shards = w.run("CLUSTER SHARDS").replace("\r\n", "|");
        assert!(shards.starts_with("*2|*4|$5|slots|*2|:0|:99|$5|nodes|*2|*14|"), "{shards}");
        for part in ["$7|replica|$18|replication-offset|:9|$6|health|$6|online|", "$6|health|$4|fail|"] {
            assert!(shards.contains(part), "{part} in {shards}");
        }
    }

    #[test]
    fn endpoints_as_preferred() {
        let mut w = world();
        w.view.nodes[1].hostname = "b.example".into();
        w.conf.cluster_preferred_endpoint_type = EndpointType::Hostname;
        let slots = w.run("CLUSTER SLOTS").replace("\r\n", "|");
        assert!(
            slots.contains("|:99|*4|$1|?|:7000|") && slots.contains("|*2|$2|ip|$9|127.0.0.1|"),
            "{slots}"
        );
        assert!(slots.contains("|:199|*4|$9|b.example|:7001|"), "{slots}");
        w.conf.cluster_preferred_endpoint_type = EndpointType::Ip;
        assert!(w.run("CLUSTER SLOTS").contains("*2\r\n$8\r\nhostname\r\n$9\r\nb.example\r\n"));
        assert!(w.run("CLUSTER NODES").contains("10.0.0.2:7001@17001,b.example master"));
        w.conf.cluster_preferred_endpoint_type = EndpointType::Unknown;
        assert!(w.run("CLUSTER SLOTS").contains("*4\r\n$-1\r\n:7000"));
    }

    #[test]
    fn keys_of_slots() {
        let mut w = world();
        for name in ["{foo}1", "{foo}2", "bar"] {
            let key = w.ks.hasher().key(name.as_bytes());
            w.ks.db_mut(0).set_str(&key, b"v", Ttl::Clear, &Clock::at(0));
        }
        w.check(&[
            ("CLUSTER KEYSLOT foo", ":12182|"),
            ("CLUSTER COUNTKEYSINSLOT 12182", ":2|"),
            ("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot|"),
            ("CLUSTER COUNTKEYSINSLOT x", "-ERR value is not an integer or out of range|"),
            ("CLUSTER GETKEYSINSLOT 5061 10", "*1|$3|bar|"),
            ("CLUSTER GETKEYSINSLOT 12182 0", "*0|"),
            ("CLUSTER GETKEYSINSLOT 12182 -1", "-ERR Invalid slot or number of keys|"),
            ("CLUSTER GETKEYSINSLOT -1 1", "-ERR Invalid slot or number of keys|"),
        ]);
        assert!(w.run("CLUSTER GETKEYSINSLOT 12182 1").starts_with("*1\r\n$6\r\n{foo}"));
    }

    #[test]
    fn nothing_without_a_cluster() {
        let mut w = World::new();
        for line in ["CLUSTER INFO", "CLUSTER KEYSLOT a", "CLUSTER HELP", "READONLY", "READWRITE", "ASKING"] {
            w.check(&[(line, "-ERR This instance has cluster support disabled|")]);
        }
        w.host.cluster = true;
        w.check(&[("READONLY", "+OK|"), ("ASKING", "+OK|")]);
        assert!(w.caller.readonly);
        w.check(&[("READWRITE", "+OK|")]);
        assert!(!w.caller.readonly);
    }
}
