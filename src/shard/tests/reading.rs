//! RESTORE of long payloads.

use super::long::frame;
use super::{Client, Input, Rig};
use crate::cluster::view::{Node, View};
use crate::limits::RESTORE_STEP;
use crate::persist::crc64;
use crate::session::Door;
use crate::shard::plane::Letters;
use crate::slot::key_slot;
use std::sync::Arc;

const BUSY: &str = "-BUSYKEY Target key name already exists.\r\n";
const BAD_FRAME: &str = "-ERR DUMP payload version or checksum are wrong\r\n";
const BAD_FORMAT: &str = "-ERR Bad data format\r\n";
const MANY: usize = 20_000;

/// A payload, further words, what another client does meanwhile, the reply, and the steps that are needed.
type Case<'a> = (&'a [u8], &'a [&'a [u8]], &'a str, &'a str, usize);

impl Rig {
    /// What the network would bring, and no turn between.
    fn bring(&mut self, client: Client, bytes: &[u8]) {
        for piece in bytes.chunks(16_000) {
            self.shards[client.shard].turn(&mut [Input::new(client.number, piece)], self.now);
        }
    }

    /// Turns until a client has something; how many.
    fn turns_until(&mut self, client: Client) -> (usize, String) {
        for turns in 0.. {
            let said = self.output(client);
            if !said.is_empty() {
                return (turns, said);
            }
            assert!(self.shards[client.shard].has_chores(), "nothing more comes");
            self.shards[client.shard].chores(self.now);
        }
        unreachable!()
    }
}

/// The payload of a hash, which is made at `key`.
fn payload(rig: &mut Rig, client: Client, key: &str) -> Vec<u8> {
    for from in (0..MANY).step_by(100) {
        let fields: Vec<String> =
            (from..from + 100).map(|i| format!("field:{i} value:{}", i * 7919)).collect();
        assert_eq!(rig.run(client, &format!("HSET {key} {}", fields.join(" "))), ":100|");
    }
    rig.bring(client, &frame(&[b"DUMP", key.as_bytes()]));
    let mut said = Vec::new();
    rig.shards[client.shard].take_output(client.number, &mut said);
    rig.shards[client.shard].sent(client.number);
    let start = said.windows(2).position(|w| w == b"\r\n").expect("a bulk") + 2;
    said[start..said.len() - 2].to_vec()
}

/// A payload with this body.
fn sealed(body: &[u8]) -> Vec<u8> {
    let summed = [body, &10u16.to_le_bytes()].concat();
    let sum = crc64(0, &summed).to_le_bytes();
    [&summed[..], &sum].concat()
}

#[test]
fn a_long_payload_is_read_in_steps() {
    let mut rig = Rig::new(1, false);
    let [client, other] = [0, 0].map(|shard| rig.connect(shard, Door::Own));
    let good = payload(&mut rig, other, "big");
    let body = &good[..good.len() - 10];
    assert!(good.len() > 5 * RESTORE_STEP, "{} bytes", good.len());
    let damaged = [&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat();
    let twice = [body, &body[body.len() - 20..]].concat();
    let steps = good.len() / RESTORE_STEP;
    let cases: [Case<'_>; 6] = [
        (&good, &[], "GET new", "+OK\r\n", 2 * steps),
        (&good, &[], "SET new 1", BUSY, 2 * steps),
        (&good, &[b"REPLACE", b"IDLETIME", b"5"], "SET new 1", "+OK\r\n", 2 * steps),
        (&damaged, &[], "GET new", BAD_FRAME, steps),
        (&sealed(&body[..body.len() - 3]), &[], "GET new", BAD_FORMAT, 2 * steps),
        // what stands behind the value does not matter, as in Redis
        (&sealed(&twice), &[], "GET new", "+OK\r\n", 2 * steps),
    ];
    for (bytes, more, meanwhile, want, least) in cases {
        rig.run(other, "DEL new");
        let request = frame(&[&[&b"RESTORE"[..], b"new", b"0", bytes], more].concat());
        rig.bring(client, &[b"ECHO before\r\n", &request[..]].concat());
        rig.bring(client, b"ECHO behind\r\n");
        assert_eq!(rig.output(client), "$6\r\nbefore\r\n");
        rig.check(other, &[("EXISTS new", ":0|"), ("SET other 1", "+OK|")]);
        rig.run(other, meanwhile);
        let (turns, said) = rig.turns_until(client);
        assert_eq!(said, format!("{want}$6\r\nbehind\r\n"));
        assert!((least..3 * least).contains(&turns), "{want}: {turns} turns of {least}");
        if want == "+OK\r\n" {
            let [new, big] = ["new", "big"].map(|key| rig.run(other, &format!("DEBUG DIGEST-VALUE {key}")));
            assert_eq!(new, big);
        }
        assert!(rig.shards[0].readings.is_empty() && rig.shards[0].fx.read.is_none());
    }
    let stats = rig.run(other, "INFO commandstats");
    assert!(stats.contains("cmdstat_restore:calls=6,"), "each was executed once: {stats}");
}

#[test]
fn what_comes_between_a_payload_and_its_command() {
    let mut rig = Rig::new(2, true);
    // slot 3168 is shard 0's
    let [client, other, front] =
        [(0, Door::Own), (0, Door::Own), (1, Door::Front)].map(|(shard, door)| rig.connect(shard, door));
    let good = payload(&mut rig, other, "{b}big");
    let request = frame(&[b"RESTORE", b"b", b"0", &good]);

    // in a transaction it is queued as it is, and another shard's is sent there as it is
    let in_multi = [b"MULTI\r\n", &request[..], b"EXEC\r\n"].concat();
    rig.bring(client, &in_multi);
    assert_eq!(rig.output(client), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    rig.run(other, "DEL b");
    rig.bring(front, &request);
    rig.settle();
    assert_eq!(rig.output(front), "+OK\r\n");
    rig.run(other, "DEL b");

    // a client that goes takes it along
    rig.bring(client, &request);
    rig.shards[0].chores(rig.now);
    rig.shards[0].close(client.number);
    rig.shards[0].chores(rig.now);
    assert!(rig.shards[0].readings.is_empty());
    rig.check(other, &[("EXISTS b", ":0|")]);

    // the slot goes elsewhere meanwhile
    let client = rig.connect(0, Door::Own);
    rig.bring(client, &request);
    rig.shards[0].chores(rig.now);
    let old = rig.shards[0].view.clone();
    let mut nodes = old.nodes.clone();
    nodes.push(Node { ip: "10.0.0.9".into(), port: 7000, id: [b'f'; 40], ..Node::default() });
    let view =
        View::new(old.version + 1, 3, nodes, |s| if s == key_slot(b"b") { 2 } else { old.owner_index(s) });
    rig.shards[0].letters(Letters { view: Some(Arc::new(view)), ..Letters::default() }, rig.now);
    assert_eq!(rig.turns_until(client).1, format!("-MOVED {} 10.0.0.9:7000\r\n", key_slot(b"b")));
    assert!(rig.shards[0].fx.read.is_none());
}
