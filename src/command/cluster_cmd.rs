//! CLUSTER, as far as it is read from the view; READONLY, READWRITE and ASKING.
//!
//! An own port answers for its node; the front door for the node of the shard that took the client.

use super::ctx::Ctx;
use super::error::{Done, ErrReply, NOT_INT};
use super::help;
use crate::cluster::view::{Node, NodeIndex, UNASSIGNED, View};
use crate::config::types::EndpointType;
use crate::resp::Args;
use crate::slot::{SLOTS, Slot, key_slot};
use crate::util::num::parse_i64;
use crate::util::rng::Rng;
use std::fmt::Write;

const DISABLED: ErrReply = ErrReply::new("ERR This instance has cluster support disabled");

const HELP: &[&str] = &[
    "ADDSLOTS <slot> [<slot> ...]",
    "    Assign slots to current node.",
    "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Assign slots which are between <start-slot> and <end-slot> to current node.",
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

/// ASKING
pub fn asking(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.caller.asking = true;
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
    let master = &ctx.view.local_node(ctx.me).id;
    let seed = master.chunks(8).fold(0u64, |h, c| {
        let mut word = [0; 8];
        word[..c.len()].copy_from_slice(c);
        h.rotate_left(17) ^ u64::from_le_bytes(word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    let mut rng = Rng::new(seed);
    let id: String = (0..3).map(|_| format!("{:016x}", rng.next_u64())).collect();
    ctx.out.bulk(&id.as_bytes()[..40]);
    Ok(())
}

/// CLUSTER INFO
pub fn cluster_info(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    let view = ctx.view;
    let assigned = view.assigned();
    let text = format!(
        "cluster_state:{}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{assigned}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\n\
         cluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n",
        if view.ok { "ok" } else { "fail" },
        view.nodes.len(),
        view.size(),
        view.current_epoch,
        view.local_node(ctx.me).config_epoch,
    );
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// CLUSTER NODES
pub fn cluster_nodes(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    let mut text = String::new();
    for index in 0..ctx.view.nodes.len() {
        describe(ctx, index as NodeIndex, &mut text);
        text.push('\n');
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// A node's line: `id ip:port@bus[,hostname] flags master ping pong epoch link slots...`.
fn describe(ctx: &Ctx<'_>, index: NodeIndex, out: &mut String) {
    let node = &ctx.view.nodes[index as usize];
    let (id, ip, port, bus) = (node.id(), ip_of(ctx, node), node.port, node.bus_port);
    let host = if node.hostname.is_empty() { String::new() } else { format!(",{}", node.hostname) };
    let flags = if index == ctx.view.local_index(ctx.me) { "myself,master" } else { "master" };
    let epoch = node.config_epoch;
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("writing to memory succeeds");
    put(format_args!("{id} {ip}:{port}@{bus}{host} {flags} - 0 0 {epoch} connected"));
    for (from, to) in ctx.view.ranges(index) {
        match from == to {
            true => put(format_args!(" {from}")),
            false => put(format_args!(" {from}-{to}")),
        }
    }
}

/// CLUSTER SLOTS
pub fn cluster_slots(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    let view = ctx.view;
    let ranges = ranges(view);
    ctx.out.array(ranges.len());
    for (from, to, owner) in ranges {
        ctx.out.array(3);
        ctx.out.int(from as i64);
        ctx.out.int(to as i64);
        endpoint(ctx, &view.nodes[owner as usize]);
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
    ctx.out.array(view.nodes.len());
    for (index, node) in view.nodes.iter().enumerate() {
        let ranges = view.ranges(index as NodeIndex);
        ctx.out.map(2);
        ctx.out.bulk(b"slots");
        ctx.out.array(ranges.len() * 2);
        for (from, to) in ranges {
            ctx.out.int(from as i64);
            ctx.out.int(to as i64);
        }
        ctx.out.bulk(b"nodes");
        ctx.out.array(1);
        details(ctx, node);
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
    ctx.out.bulk(b"master");
    ctx.out.bulk(b"replication-offset");
    ctx.out.int(0);
    ctx.out.bulk(b"health");
    ctx.out.bulk(b"online");
}

/// CLUSTER LINKS: siblings share their memory and have none between them.
pub fn cluster_links(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    enabled(ctx)?;
    ctx.out.array(0);
    Ok(())
}

/// CLUSTER REPLICAS id: every node that is known is a master without any.
pub fn cluster_replicas(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    enabled(ctx)?;
    if !ctx.view.nodes.iter().any(|node| node.id == args.at(2)) {
        let id = String::from_utf8_lossy(args.at(2));
        return Err(ErrReply::owned(format!("ERR Unknown node {id}")));
    }
    ctx.out.array(0);
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
            ("CLUSTER LINKS", "*0|"),
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
        assert!(w.caller.readonly && w.caller.asking);
        w.check(&[("READWRITE", "+OK|")]);
        assert!(!w.caller.readonly);
    }
}
