//! Bytes that nobody meant: a primary's that were spoilt, and replicas that talk nonsense.

use super::super::{Client, Rig};
use super::Net;
use crate::session::Door;
use crate::shard::Input;
use crate::shard::moving::{LinkEvent, LinkId, LinkOrder};
use crate::util::rng::Rng;

/// What a primary says to a replica that has nothing: up to the end of its payload, and from there on.
struct Said {
    payload: Vec<u8>,
    stream: Vec<u8>,
    digest: String,
}

/// What there is for a client, as it is.
fn output(rig: &mut Rig, client: Client) -> Vec<u8> {
    let (mut all, now) = (Vec::new(), rig.now);
    loop {
        let shard = &mut rig.shards[0];
        let mut out = Vec::new();
        if shard.take_output(client.number(), &mut out) {
            shard.sent(client.number());
        }
        if out.is_empty() && !shard.has_chores() {
            return all;
        }
        all.append(&mut out);
        shard.chores(now);
    }
}

fn listen(seed: u64) -> Said {
    let mut net = Net::new(1, seed);
    (0..150).for_each(|_| net.write(0));
    let digest = net.run(0, "DEBUG DIGEST");
    let replica = net.rigs[0].connect(0, Door::Own);
    let say = |net: &mut Net, line: &str| {
        let now = net.rigs[0].now;
        net.rigs[0].shards[0].turn(&mut [Input::new(replica.number(), line.as_bytes())], now);
        output(&mut net.rigs[0], replica)
    };
    let mut payload = say(&mut net, "PING\r\n");
    payload.extend(say(&mut net, "REPLCONF listening-port 7\r\n"));
    payload.extend(say(&mut net, "REPLCONF capa eof capa psync2\r\n"));
    payload.extend(say(&mut net, "PSYNC ? -1\r\n"));
    say(&mut net, "REPLCONF ACK 0\r\n");
    (0..60).for_each(|_| net.write(0));
    let stream = output(&mut net.rigs[0], replica);
    assert!(payload.len() > 1000 && stream.len() > 500, "seed {seed}");
    Said { payload, stream, digest }
}

/// A replica with data of its own, and its connection to whoever says he is its primary.
fn deceived(seed: u64) -> (Net, LinkId, String) {
    let mut net = Net::new(1, seed);
    (0..50).for_each(|_| net.write(0));
    let digest = net.run(0, "DEBUG DIGEST");
    assert_eq!(net.run(0, "REPLICAOF 9 1"), "+OK|");
    let link = opened(&mut net);
    (net, link, digest)
}

/// The connection that the shard wants, which stands now.
fn opened(net: &mut Net) -> LinkId {
    let orders: Vec<LinkOrder> = net.rigs[0].shards[0].take_link_orders().collect();
    let found = orders.iter().find_map(|order| match order {
        LinkOrder::Open { link, .. } => Some(*link),
        _ => None,
    });
    let link = found.expect("a connection that is wanted");
    net.tell(0, link, LinkEvent::Opened);
    link
}

/// Says all of it in odd pieces, until the shard hangs up. Whether it did.
fn say(net: &mut Net, link: LinkId, mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(1 + net.rng.below(rest.len() as u64) as usize);
        net.tell(0, link, LinkEvent::Received(piece));
        rest = more;
        let closes = |order| matches!(order, LinkOrder::Close { link: closed } if closed == link);
        if net.rigs[0].shards[0].take_link_orders().any(closes) {
            return true;
        }
    }
    false
}

/// Something is other than it was.
fn spoil(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.below(bytes.len() as u64) as usize;
    let end = (at + 1 + rng.below(20) as usize).min(bytes.len());
    match rng.below(5) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            let junk: Vec<u8> = (0..end - at).map(|_| rng.below(256) as u8).collect();
            bytes.splice(at..at, junk);
        }
    }
}

#[test]
fn a_payload_that_was_spoilt_changes_nothing() {
    let mut kept = 0;
    for seed in 0..6 {
        let Said { payload, stream, digest } = listen(seed);
        let (mut net, link, own) = deceived(seed + 1);
        assert!(!say(&mut net, link, &[&payload[..], &stream].concat()), "seed {seed}: as it was said");
        assert_ne!(net.run(0, "DEBUG DIGEST"), own);
        for n in 0..100 {
            let (mut net, link, own) = deceived(1000 * seed + n);
            let (mut spoilt, mut rng) = (payload.clone(), Rng::new(1000 * seed + n));
            spoil(&mut spoilt, &mut rng);
            let over = say(&mut net, link, &spoilt);
            let now = net.run(0, "DEBUG DIGEST");
            // what names the stream, and newlines before the payload, may be other without harm
            let whole = !over || spoilt.starts_with(&payload);
            assert!(now == own || now == digest && whole, "seed {seed}, {n}");
            kept += usize::from(now == own);
        }
    }
    assert!(kept > 500, "{kept}");
}

#[test]
fn a_stream_that_was_spoilt_is_not_gone_on_with() {
    let mut ended = 0;
    for seed in 0..6 {
        let Said { payload, stream, .. } = listen(seed);
        for n in 0..100 {
            let what = format!("seed {seed}, {n}");
            let (mut net, link, own) = deceived(1000 * seed + n);
            assert!(!say(&mut net, link, &payload), "{what}");
            assert_ne!(net.run(0, "DEBUG DIGEST"), own, "{what}");
            let (mut spoilt, mut rng) = (stream.clone(), Rng::new(1000 * seed + n));
            (0..1 + rng.below(4)).for_each(|_| spoil(&mut spoilt, &mut rng));
            let over = say(&mut net, link, &spoilt);
            assert!(net.run(0, "DEBUG DIGEST").len() > 40, "{what}");
            if !over {
                continue;
            }
            ended += 1;
            net.rigs[0].pass_ms(2000);
            net.rigs[0].tick();
            let link = opened(&mut net);
            net.tell(0, link, LinkEvent::Received(b"+PONG\r\n+OK\r\n+OK\r\n"));
            let said = net.rigs[0].shards[0].take_link_orders().flat_map(|order| match order {
                LinkOrder::Send { bytes, .. } => bytes.to_vec(),
                _ => Vec::new(),
            });
            let said = String::from_utf8_lossy(&said.collect::<Vec<u8>>()).into_owned();
            assert!(said.ends_with("PSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n"), "{what}: {said}");
        }
    }
    assert!(ended > 100, "{ended}");
}

#[test]
fn replicas_that_talk_nonsense_change_nothing() {
    let words = [
        "PSYNC",
        "SYNC",
        "REPLCONF",
        "ACK",
        "GETACK",
        "capa",
        "eof",
        "psync2",
        "listening-port",
        "ip-address",
        "rdb-only",
        "rdb-filter-only",
        "functions",
        "FAILOVER",
        "?",
        "-1",
        "0",
        "1",
        "99999999999999999999",
        "18446744073709551615",
        "9223372036854775807",
        "*",
        "x",
    ];
    for seed in 0..200 {
        let mut net = Net::new(1, seed);
        (0..40).for_each(|n| drop(net.run(0, &format!("RPUSH l{} {n}", n / 3))));
        let digest = net.run(0, "DEBUG DIGEST");
        let mut replicas: Vec<Client> = (0..3).map(|_| net.rigs[0].connect(0, Door::Own)).collect();
        for _ in 0..60 {
            let n = net.rng.below(3) as usize;
            let first = net.rng.below(3) as usize;
            let mut line = words[first].to_owned();
            for _ in 0..net.rng.below(5) {
                line += " ";
                line += words[net.rng.below(words.len() as u64) as usize];
            }
            let now = net.rigs[0].now;
            let bytes = line + "\r\n";
            net.rigs[0].shards[0].turn(&mut [Input::new(replicas[n].number(), bytes.as_bytes())], now);
            output(&mut net.rigs[0], replicas[n]);
            if net.rigs[0].is_done(replicas[n]) {
                net.rigs[0].shards[0].close(replicas[n].number());
                replicas[n] = net.rigs[0].connect(0, Door::Own);
            }
            if net.rng.below(4) == 0 {
                let ms = net.rng.below(3000);
                net.rigs[0].pass_ms(ms);
                net.rigs[0].tick();
            }
        }
        assert_eq!(net.run(0, "DEBUG DIGEST"), digest, "seed {seed}");
    }
}
