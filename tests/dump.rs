//! Payloads of DUMP between Shoal and the real redis-server, both ways, for every type, every encoding
//! and the sizes at which it changes: each takes what the other gives, and holds the same then.

mod common;

use common::client::Client;
use common::resp::Reply;
use common::server::{Server, Shape};

struct Pair {
    theirs: Client,
    ours: Client,
    compared: usize,
    equal: usize,
}

fn call(client: &mut Client, words: &[&[u8]]) -> Reply {
    client.call(words).unwrap_or_else(|e| panic!("port {}: {e}", client.port))
}

fn dump(client: &mut Client) -> Vec<u8> {
    let reply = call(client, &[b"DUMP", b"k"]);
    reply.body(&reply.node).to_vec()
}

fn restore(client: &mut Client, payload: &[u8]) {
    let reply = call(client, &[b"RESTORE", b"k", b"0", payload, b"REPLACE"]);
    assert_eq!(reply.text(), "OK");
}

/// What the key holds and how.
fn state(client: &mut Client) -> (String, String) {
    let digest = call(client, &[b"DEBUG", b"DIGEST-VALUE", b"k"]).items().remove(0).expect("a digest");
    let encoding = call(client, &[b"OBJECT", b"ENCODING", b"k"]).text();
    (String::from_utf8(digest).expect("hex digits"), encoding)
}

impl Pair {
    /// Fills the key by these commands on both sides and swaps the payloads. `same`: they must be the
    /// same bytes, because nothing in them is in no order, nor compressed.
    fn swap(&mut self, what: &str, same: bool, commands: &[Vec<Vec<u8>>]) {
        for client in [&mut self.theirs, &mut self.ours] {
            call(client, &[b"DEL", b"k"]);
            for words in commands {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let reply = call(client, &words);
                assert!(!reply.is_error(), "{what}: {}", reply.text());
            }
        }
        let before = state(&mut self.theirs);
        assert_eq!(state(&mut self.ours), before, "{what}");
        let (theirs, ours) = (dump(&mut self.theirs), dump(&mut self.ours));
        assert!(!same || theirs == ours, "{what}: {} and {} bytes", theirs.len(), ours.len());
        restore(&mut self.theirs, &ours);
        restore(&mut self.ours, &theirs);
        assert_eq!(state(&mut self.theirs), before, "{what}: redis-server from our payload");
        assert_eq!(state(&mut self.ours), before, "{what}: Shoal from redis-server's payload");
        self.compared += 1;
        self.equal += usize::from(theirs == ours);
    }
}

/// `head` and then the elements, in commands that are not too long.
fn filled(head: &[&str], elements: impl Iterator<Item = Vec<Vec<u8>>>) -> Vec<Vec<Vec<u8>>> {
    let head: Vec<Vec<u8>> = head.iter().map(|word| word.as_bytes().to_vec()).collect();
    let elements: Vec<Vec<Vec<u8>>> = elements.collect();
    elements.chunks(1000).map(|chunk| head.iter().cloned().chain(chunk.concat()).collect()).collect()
}

fn word(text: impl ToString) -> Vec<u8> {
    text.to_string().into_bytes()
}

/// Bytes that do not compress, the same in every run.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Numbers around every bound of every encoding of integers.
fn numbers() -> Vec<i64> {
    let bounds = [7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 62].map(|bits| 1i64 << bits);
    let around = bounds.iter().flat_map(|bound| [bound - 1, *bound, -bound, -bound - 1]);
    around.chain([0, 1, -1, i64::MAX, i64::MIN, 99_999_999_999, -9_999_999_999]).collect()
}

fn strings(pair: &mut Pair) {
    for n in numbers() {
        pair.swap(&format!("SET {n}"), true, &[vec![word("SET"), word("k"), word(n)]]);
    }
    for text in ["", "012", "+1", "-0", "1.5", " 1", "9223372036854775808"] {
        pair.swap(text, true, &[vec![word("SET"), word("k"), word(text)]]);
    }
    for len in [1, 11, 12, 20, 21, 44, 45, 63, 64, 1023, 1024, 1025, 16_383, 16_384, 70_000, 1_000_000] {
        let set = |text: Vec<u8>| vec![vec![word("SET"), word("k"), text]];
        pair.swap(&format!("noise of {len}"), false, &set(noise(len, len as u64)));
        pair.swap(&format!("zeros of {len}"), false, &set(vec![0; len]));
        let words = "the quick brown fox jumps over ".repeat(len / 31 + 1).into_bytes()[..len].to_vec();
        pair.swap(&format!("words of {len}"), false, &set(words));
    }
    let grown =
        [vec![word("SETRANGE"), word("k"), word(300), word("x")], vec![word("APPEND"), word("k"), word(1)]];
    pair.swap("a string that grew", false, &grown);
}

fn collections(pair: &mut Pair) {
    let push = |elements: Vec<Vec<u8>>| filled(&["RPUSH", "k"], elements.into_iter().map(|e| vec![e]));
    pair.swap("a list of numbers", false, &push(numbers().into_iter().map(word).collect()));
    for len in [0, 1, 63, 64, 4095, 4096, 8180, 8192, 20_000] {
        pair.swap(
            &format!("a list with an element of {len}"),
            len < 4,
            &push(vec![noise(len, 5), word("x")]),
        );
    }
    for count in [1, 2, 127, 128, 129, 5000, 70_000] {
        pair.swap(
            &format!("a list of {count}"),
            false,
            &push((0..count).map(|i| word(format!("e{i}"))).collect()),
        );
    }
    let adds = |members: Vec<Vec<u8>>| filled(&["SADD", "k"], members.into_iter().map(|m| vec![m]));
    for n in [1i64 << 15, 1 << 31, 1 << 62] {
        pair.swap(&format!("integers to {n}"), true, &adds(vec![word(n - 1), word(-n), word(1)]));
        pair.swap(&format!("integers from {n}"), true, &adds(vec![word(n), word(-n), word(1)]));
    }
    for count in [1, 511, 512, 513, 3000] {
        pair.swap(&format!("{count} integers"), false, &adds((0..count).map(|i| word(i * 7)).collect()));
        pair.swap(
            &format!("{count} members"),
            false,
            &adds((0..count).map(|i| word(format!("m{i}"))).collect()),
        );
    }
    let sets =
        |fields: Vec<(Vec<u8>, Vec<u8>)>| filled(&["HSET", "k"], fields.into_iter().map(|(f, v)| vec![f, v]));
    for len in [0, 1, 63, 64, 65, 254, 255, 256, 5000] {
        let fields = vec![(noise(len, 1), word("v")), (word("f"), noise(len, 2))];
        pair.swap(&format!("fields and values of {len}"), false, &sets(fields));
    }
    for count in [1, 511, 512, 513, 5000] {
        let fields = (0..count).map(|i| (word(format!("f{i}")), word(i))).collect();
        pair.swap(&format!("{count} fields"), false, &sets(fields));
    }
}

fn sorted_sets(pair: &mut Pair) {
    let adds = |members: Vec<(Vec<u8>, Vec<u8>)>| {
        filled(&["ZADD", "k"], members.into_iter().map(|(s, m)| vec![s, m]))
    };
    let scores = [
        "0",
        "-0",
        "1",
        "-1",
        "1.5",
        "0.1",
        "1e300",
        "-1e-300",
        "inf",
        "-inf",
        "3.14159265358979",
        "9007199254740993",
        "5e-324",
        "1e17",
        "123456789012345678",
    ];
    for long in ["", &"m".repeat(70)] {
        let members = scores.iter().map(|score| (word(score), word(format!("{long}{score}")))).collect();
        pair.swap(&format!("scores{long}"), false, &adds(members));
    }
    for len in [0, 1, 64, 65, 300] {
        pair.swap(&format!("a member of {len}"), false, &adds(vec![(word(1), noise(len, 3))]));
    }
    for count in [1, 127, 128, 129, 5000] {
        let members = (0..count).map(|i| (word(i % 50), word(format!("m{i}")))).collect();
        pair.swap(&format!("{count} members by score"), false, &adds(members));
    }
}

fn streams(pair: &mut Pair) {
    let line = |text: &str| text.split(' ').map(word).collect::<Vec<_>>();
    for (entries, len) in [(0, 1), (1, 0), (3, 63), (99, 64), (100, 5), (101, 5), (400, 30), (20, 4096)] {
        let add = |n: usize| {
            let mut words = line(&format!("XADD k {}-{n} field {n} other", n / 7));
            words.push(noise(len, n as u64));
            if n % 10 == 9 {
                words.extend(line("more 1"));
            }
            words
        };
        let mut commands =
            vec![line("XGROUP CREATE k g 0 MKSTREAM"), line("XGROUP CREATE k 77 $ ENTRIESREAD 0")];
        commands.extend((1..=entries).map(add));
        pair.swap(&format!("a stream of {entries} with {len}"), false, &commands);
        for end in [
            "XDEL k 0-1 0-3 1-8 14-99",
            "XTRIM k MAXLEN 150",
            "XTRIM k MINID 3",
            "XSETID k 999-9 ENTRIESADDED 5000",
        ] {
            commands.push(line(end));
            pair.swap(&format!("a stream of {entries} with {len}, and {end}"), false, &commands);
        }
        // who reads is written with the time
        let before = (pair.compared, pair.equal);
        commands.push(line("XREADGROUP GROUP g c COUNT 50 STREAMS k >"));
        commands.push(line("XREADGROUP GROUP g d COUNT 5 STREAMS k >"));
        commands.push(line("XGROUP CREATECONSUMER k g idle"));
        pair.swap(&format!("a stream of {entries} with {len} that is read"), false, &commands);
        (pair.compared, pair.equal) = before;
    }
}

/// With `rdbcompression no` a payload depends on the value alone, and where elements have an order it
/// is the same byte for byte.
fn uncompressed(pair: &mut Pair) {
    for client in [&mut pair.theirs, &mut pair.ours] {
        assert_eq!(client.cmd("CONFIG SET rdbcompression no").text(), "OK");
    }
    let before = (pair.compared, pair.equal);
    strings(pair);
    sorted_sets(pair);
    streams(pair);
    assert_eq!(pair.compared - before.0, pair.equal - before.1, "payloads without compression differ");
    collections(pair);
    for client in [&mut pair.theirs, &mut pair.ours] {
        assert_eq!(client.cmd("CONFIG SET rdbcompression yes").text(), "OK");
    }
}

#[test]
fn payloads_are_taken_both_ways() {
    let debug = ["--enable-debug-command", "yes"];
    let theirs = Server::redis_with(Shape::Standalone(1), &debug);
    let ours = Server::shoal(Shape::Standalone(1), &debug);
    let mut pair = Pair { theirs: theirs.client(), ours: ours.client(), compared: 0, equal: 0 };
    strings(&mut pair);
    collections(&mut pair);
    sorted_sets(&mut pair);
    streams(&mut pair);
    uncompressed(&mut pair);
    println!("{} payloads swapped, {} of them the same bytes", pair.compared, pair.equal);
}
