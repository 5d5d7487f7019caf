//! Long requests: received for themselves, and their value kept as it came.

use super::Rig;
use crate::limits::{LENT_AHEAD, LONG_RECV, LONG_RECV_ONCE, LONG_REQUEST};
use crate::session::Door;

pub fn frame(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// However a pipeline is cut into pieces, and wherever its keys are, it is answered alike; and what is
/// written to a value later stays out of everything else.
#[test]
fn pieces_make_no_difference() {
    let long: Vec<u8> = (0..5 * LONG_REQUEST).map(|i| b'a' + (i % 23) as u8).collect();
    let requests = [
        frame(&[b"SET", b"a", &long]),
        frame(&[b"GET", b"a"]),
        frame(&[b"SET", b"b", &long, b"EX", b"100"]),
        frame(&[b"MSET", b"c", &long, b"d", &long[..LONG_REQUEST]]),
        frame(&[b"SETRANGE", b"a", b"1", b"XYZ"]),
        frame(&[b"GETRANGE", b"a", b"0", b"5"]),
        frame(&[b"APPEND", b"a", b"end"]),
        frame(&[b"GETSET", b"a", &long[1..]]),
        frame(&[b"MGET", b"a", b"b", b"c", b"d"]),
        frame(&[b"SET", b"a", &long[2..]]),
        frame(&[b"RENAME", b"a", b"e"]),
        frame(&[b"STRLEN", b"e"]),
        b"PING\r\n".to_vec(),
    ]
    .concat();
    let mut outcomes = Vec::new();
    for (shards, piece) in
        [(1, usize::MAX), (1, 8192), (1, 1000), (1, LONG_REQUEST + 1), (2, usize::MAX), (2, 8192)]
    {
        let mut rig = Rig::new(shards, false);
        let client = rig.connect(0, Door::Front);
        let replies: String =
            requests.chunks(piece.min(requests.len())).map(|piece| rig.send(client, piece)).collect();
        assert!(rig.shards.iter().all(|shard| shard.fx.long.is_empty()), "a request is kept for nothing");
        assert!(replies.ends_with("+PONG\r\n") && !replies.contains('-'), "{:.200}", replies);
        outcomes.push(replies);
    }
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
}

/// An announced length is a promise: what gets room is in proportion to what has come.
#[test]
fn room_follows_what_has_come() {
    let mut rig = Rig::new(1, false);
    let client = rig.connect(0, Door::Front);
    let head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\n";
    rig.send(client, head);
    let room = |rig: &mut Rig| rig.shards[0].clients.get(client.number).unwrap().pending.capacity();
    assert!(room(&mut rig) <= 2 * crate::limits::KEEP_BUFFER);
    rig.send(client, &[b'x'; 100_000]);
    assert!(room(&mut rig) <= 101_000 * crate::limits::TRUST);
}

/// What is missing of a long request is received into its buffer, a part at a time, and nothing beyond it.
#[test]
fn buffers_are_lent() {
    let mut rig = Rig::new(1, false);
    let client = rig.connect(0, Door::Front);
    let value = vec![b'v'; 2 * LONG_RECV_ONCE + LONG_RECV + LONG_REQUEST];
    let request = frame(&[b"SET", b"k", &value]);
    assert!(rig.shards[0].lend_input(client.number).is_none(), "nothing is known of it");
    let (head, mut rest) = request.split_at(LONG_REQUEST);
    rig.send(client, head);
    let mut parts = 0;
    while !rest.is_empty() {
        let (mut buf, room) = rig.shards[0].lend_input(client.number).expect("it is long");
        assert!(room <= LONG_RECV_ONCE && room <= buf.capacity() - buf.len());
        assert!(rig.shards[0].clients.get(client.number).unwrap().memory() >= buf.capacity());
        let (part, others) = rest.split_at(room);
        buf.extend_from_slice(part);
        rest = others;
        rig.shards[0].take_input(client.number, buf, room);
        assert_eq!(rig.send(client, b""), if rest.is_empty() { "+OK\r\n" } else { "" });
        parts += 1;
    }
    assert_eq!((parts, rest.len()), (3, 0));
    assert_eq!(rig.run(client, "STRLEN k"), format!(":{}|", value.len()));
    // one that is thrown out meanwhile gets nothing more
    rig.send(client, head);
    let (buf, _) = rig.shards[0].lend_input(client.number).expect("it is long");
    rig.shards[0].throw_out(client.number);
    rig.shards[0].take_input(client.number, buf, 1);
    assert_eq!(rig.send(client, b""), "");
    assert!(rig.is_done(client));
}

/// Who sends long requests gets a buffer for the next one before it comes, until a short one comes in its place.
#[test]
fn long_requests_are_waited_for() {
    let mut rig = Rig::new(1, false);
    let client = rig.connect(0, Door::Front);
    let request = frame(&[b"SET", b"k", &vec![b'v'; 2 * LONG_REQUEST]]);
    let (head, rest) = request.split_at(8192);
    rig.send(client, head);
    assert!(rig.shards[0].lend_input(client.number).is_none(), "most of it is there already");
    assert_eq!(rig.send(client, rest), "+OK\r\n");
    // whole, in pieces that know nothing of the length, and with what is missing known
    for pieces in [&request[..], &request[..5]] {
        let mut bytes = &request[..];
        let mut replies = String::new();
        while !bytes.is_empty() {
            let (mut buf, room) = rig.shards[0].lend_input(client.number).expect("a long one is expected");
            assert_eq!(buf.len() + room, request.len());
            let (part, others) = bytes.split_at(room.min(pieces.len()));
            buf.extend_from_slice(part);
            bytes = others;
            rig.shards[0].take_input(client.number, buf, part.len());
            replies += &rig.send(client, b"");
        }
        assert_eq!(replies, "+OK\r\n");
    }
    // what may be lent so is bounded over all clients
    let others: Vec<_> = (0..LENT_AHEAD / request.len() + 2)
        .map(|_| {
            let other = rig.connect(0, Door::Front);
            rig.send(other, head);
            assert_eq!(rig.send(other, rest), "+OK\r\n");
            rig.shards[0].lend_input(other.number)
        })
        .collect();
    let lent: usize = others.iter().flatten().map(|(buf, _)| buf.capacity()).sum();
    assert!(others[0].is_some() && others.last().unwrap().is_none() && lent <= LENT_AHEAD + request.len());
    assert!(rig.shards[0].lend_input(client.number).is_none());
    for (buf, _) in others.into_iter().flatten() {
        rig.shards[0].take_input(u32::MAX, buf, 0);
    }
    let (mut buf, _) = rig.shards[0].lend_input(client.number).expect("there is room again");
    buf.extend_from_slice(b"PING\r\n");
    rig.shards[0].take_input(client.number, buf, 6);
    assert_eq!(rig.send(client, b""), "+PONG\r\n");
    assert_eq!(rig.send(client, head), "");
    assert_eq!(rig.send(client, rest), "+OK\r\n");
    assert!(rig.shards[0].lend_input(client.number).is_none(), "it sends what it likes");
}
