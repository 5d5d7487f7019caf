//! What CLUSTER's subcommands answer: texts as redis-server 7.0.15 gives them.

use super::joining::created;
use super::net::Net;

#[test]
fn answers_of_an_empty_node() {
    let mut net = Net::of(80, &[2], false);
    let nobody = "0".repeat(40);
    let (me, unknown) = (net.id(0, 0), format!("ERR Unknown node {nobody}"));
    let cases: &[(&str, &str)] = &[
        ("meet 1.2.3.4 x", "ERR Invalid TCP base port specified: x"),
        ("meet 1.2.3.4 7000 x", "ERR Invalid TCP bus port specified: x"),
        ("meet 1.2.3 7000", "ERR Invalid node address specified: 1.2.3:7000"),
        ("meet 1.2.3.4 0", "ERR Invalid node address specified: 1.2.3.4:0"),
        ("meet 1.2.3.4 60000", "ERR Invalid node address specified: 1.2.3.4:60000"),
        ("meet 1.2.3.4", "ERR unknown subcommand or wrong number of arguments for 'meet'. Try CLUSTER HELP."),
        (&format!("forget {nobody}"), &unknown),
        (&format!("forget {me}"), "ERR I tried hard but I can't forget myself..."),
        ("addslots x", "ERR Invalid or out of range slot"),
        ("addslots 1 16384", "ERR Invalid or out of range slot"),
        ("addslots -1", "ERR Invalid or out of range slot"),
        ("addslots 1 2 1", "ERR Slot 1 specified multiple times"),
        ("delslots 1", "ERR Slot 1 is already unassigned"),
        ("addslots 1 2", "OK"),
        ("addslots 3 2", "ERR Slot 2 is already busy"),
        ("addslotsrange 10 9", "ERR start slot number 10 is greater than end slot number 9"),
        ("addslotsrange 10 11 12", "ERR wrong number of arguments for 'cluster|addslotsrange' command"),
        ("addslotsrange 10 20 15 30", "ERR Slot 15 specified multiple times"),
        ("addslotsrange 10 20 30 40", "OK"),
        ("delslotsrange 15 20 30 35", "OK"),
        ("delslots 16", "ERR Slot 16 is already unassigned"),
        ("bumpepoch", "BUMPED 1"),
        ("bumpepoch", "STILL 1"),
        ("set-config-epoch 5", "ERR Node config epoch is already non-zero"),
        ("set-config-epoch -5", "ERR Invalid config epoch specified: -5"),
        ("set-config-epoch x", "ERR value is not an integer or out of range"),
        ("setslot 16384 stable", "ERR Invalid or out of range slot"),
        (&format!("setslot 3 migrating {me}"), "ERR I'm not the owner of hash slot 3"),
        (&format!("setslot 1 importing {me}"), "ERR I'm already the owner of hash slot 1"),
        (&format!("setslot 1 migrating {nobody}"), &format!("ERR I don't know about node {nobody}")),
        (&format!("setslot 3 importing {nobody}"), &format!("ERR I don't know about node {nobody}")),
        (&format!("setslot 1 node {nobody}"), &unknown),
        ("setslot 1 stable", "OK"),
        (
            "setslot 1 stable now",
            "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
        ),
        ("setslot 1 nonsense", "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"),
        (&format!("replicate {me}"), "ERR Can't replicate myself"),
        (&format!("replicate {nobody}"), &unknown),
        (&format!("replicas {nobody}"), &unknown),
        (&format!("slaves {me}"), ""),
        (&format!("count-failure-reports {nobody}"), &unknown),
        (&format!("count-failure-reports {me}"), "0"),
        ("failover", "ERR You should send CLUSTER FAILOVER to a replica"),
        ("failover nonsense", "ERR syntax error"),
        ("reset nonsense", "ERR syntax error"),
        ("links", "0"),
        ("saveconfig", "OK"),
        ("nonsense", "ERR unknown subcommand or wrong number of arguments for 'nonsense'. Try CLUSTER HELP."),
        ("flushslots", "OK"),
    ];
    for (line, want) in cases {
        assert_eq!(net.cli(0, 0, line), *want, "{line}");
    }
    assert_eq!(net.cli_with(0, 0, "flushslots", 1), "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
    assert_eq!(net.view(0, 0).assigned(), 0);
    net.ok(0, 0, "addslots 9");
    assert_eq!(net.cli(0, 1, "addslots 9"), "ERR Slot 9 is already busy", "a stranger's, but on this host");
    net.ok(0, 1, "set-config-epoch 7");
    assert_eq!(net.view(0, 1).current_epoch, 7);
}

#[test]
fn answers_in_a_cluster() {
    let mut net = created(81, &[2, 1]);
    let (first, second, other) = (net.id(0, 0), net.id(0, 1), net.id(1, 0));
    let keys = "ERR Can't assign hashslot 0 to a different node while I still hold keys for this hash slot.";
    assert_eq!(net.cli_with(0, 0, &format!("setslot 0 node {other}"), 3), keys);
    let cases = [
        (
            format!("replicate {other}"),
            "ERR To set a master the node must be empty and without assigned slots.",
        ),
        (
            "set-config-epoch 9".into(),
            "ERR The user can assign a config epoch only when the node does not know any other node.",
        ),
        // it is the sibling's to give
        (format!("setslot 0 node {other}"), "OK"),
    ];
    for (line, want) in cases {
        assert_eq!(net.cli(0, 1, &line), want, "{line}");
    }
    assert_eq!(net.view(0, 0).owner(0).map(|node| node.id()), Some(first.as_str()));
    assert_eq!((net.cli(0, 0, "links"), net.cli(1, 0, "links")), ("2".into(), "4".into()));
    let spare = net.add_host(1, false, |_| {});
    net.ok(spare, 0, "meet 10.0.0.1 7001");
    net.until(10_000, "all", |net| net.converged(4));
    net.ok(spare, 0, &format!("replicate {second}"));
    let replica = net.id(spare, 0);
    net.until(5000, "a replica", |net| {
        net.shards().into_iter().all(|(h, l)| net.view(h, l).nodes.iter().any(|node| node.is_replica()))
    });
    let cases = [
        (0, format!("replicate {replica}"), "ERR I can only replicate a master, not a replica."),
        (0, format!("replicas {replica}"), "ERR The specified node is not a master"),
        (0, format!("setslot 0 migrating {replica}"), "ERR Target node is not a master"),
        (0, format!("setslot 0 node {replica}"), "ERR Target node is not a master"),
        (spare, "setslot 0 stable".into(), "ERR Please use SETSLOT only with masters."),
        (spare, format!("forget {second}"), "ERR Can't forget my master!"),
    ];
    for (h, line, want) in cases {
        assert_eq!(net.cli(h, 0, &line), want, "{line}");
    }
    let lines = net.cli(1, 0, &format!("replicas {second}"));
    assert!(lines.starts_with(&format!("{replica} 10.0.0.3:7001@17001 slave {second} 0 ")), "{lines}");
    assert!(lines.ends_with(" connected"), "{lines}");
    net.kill(0);
    net.run(4000);
    assert_eq!(
        net.cli(spare, 0, "failover"),
        "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE"
    );
    let reports: u64 =
        net.cli(spare, 0, &format!("count-failure-reports {first}")).parse().expect("a number");
    assert!(reports <= 1, "of the one other master");
}
