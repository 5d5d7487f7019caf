use super::conf::{About, Said, Wrong};
use super::primary::{Rules, State};
use super::transfer::Transfer;
use super::upstream::{Heard, Terms};
use super::{Backlog, History, Id, Primary, Refusal, Upstream};
use crate::limits::{REPL_CHUNK, REPL_LINE};
use crate::resp::args::OwnedArgs;
use crate::util::rng::Rng;
use bytes::Bytes;
use proptest::prelude::*;

fn id(seed: u64) -> Id {
    Id::random(&mut Rng::new(seed))
}

fn rules() -> Rules {
    Rules {
        backlog: 1000,
        backlog_ttl_ms: 60_000,
        timeout_ms: 10_000,
        ping_every_ms: 5000,
        delay_ms: 3000,
        enough: 2,
        hard: 20_000,
        soft: 10_000,
        soft_ms: 4000,
    }
}

/// `bytes` in pieces of the given lengths, over and over.
fn pieces<'a>(mut bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let n = (*lengths.next()?).clamp(1, bytes.len().max(1)).min(bytes.len());
        let (now, rest) = bytes.split_at(n);
        bytes = rest;
        (n > 0).then_some(now)
    })
}

proptest! {
    #[test]
    fn a_backlog_gives_what_it_was_fed(
        begin in 0u64..1 << 40,
        steps in proptest::collection::vec((0usize..3 * REPL_CHUNK, 1u64..100_000, 0u64..100_000, 1usize..50_000), 1..30),
    ) {
        let (mut backlog, mut all) = (Backlog::at(begin), Vec::new());
        for (n, (len, size, behind, most)) in steps.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 31 + n) as u8).collect();
            all.extend_from_slice(&bytes);
            backlog.feed(&bytes);
            let needed = (begin + all.len() as u64).saturating_sub(behind).max(backlog.first());
            let first = backlog.first();
            backlog.trim(size, needed);
            prop_assert_eq!(backlog.end(), begin + all.len() as u64);
            prop_assert_eq!(backlog.first(), first.max(backlog.end().saturating_sub(size).min(needed)));
            prop_assert!(backlog.memory() as u64 <= backlog.len() + 3 * REPL_CHUNK as u64);
            prop_assert!(!backlog.reaches(backlog.end() + 1) && backlog.reaches(needed));
            let mut read = vec![7];
            let given = backlog.read(needed, most, &mut read);
            let from = (needed - begin) as usize;
            prop_assert_eq!(given, most.min(all.len() - from));
            prop_assert_eq!(&read[1..], &all[from..from + given]);
        }
    }

    #[test]
    fn a_payload_is_found_at_any_split(
        payload in proptest::collection::vec(0u8..3, 1..500),
        rest in proptest::collection::vec(any::<u8>(), 0..100),
        lengths in proptest::collection::vec(1usize..60, 1..10),
        marked: bool,
    ) {
        // a mark that the payload may hold parts of
        let mark = [1; Id::LEN];
        prop_assume!(!marked || !payload.windows(Id::LEN).any(|w| w == mark) && payload.last() != Some(&1));
        let announced = if marked { [&b"EOF:"[..], &mark].concat() } else { payload.len().to_string().into_bytes() };
        let mut transfer = Transfer::announced(&announced).expect("an announcement");
        prop_assert_eq!(transfer.is_marked(), marked);
        let sent = [&payload[..], if marked { &mark } else { &[] }, &rest].concat();
        let (mut got, mut left, mut ended) = (Vec::new(), Vec::new(), false);
        for piece in pieces(&sent, &lengths) {
            let mut input = piece;
            if !ended {
                ended = transfer.take(&mut input, &mut got);
            }
            left.extend_from_slice(input);
        }
        prop_assert!(ended);
        prop_assert_eq!((got, left), (payload, rest));
    }

    #[test]
    fn a_conversation_is_understood_at_any_split(
        lengths in proptest::collection::vec(1usize..50, 1..10),
        marked: bool,
        stream in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let mark = String::from_utf8_lossy(id(3).as_bytes()).into_owned();
        let head = if marked { format!("$EOF:{mark}\r\n") } else { "$7\r\n".to_owned() };
        let said = format!("\n+PONG\r\n+OK\r\n-ERR what\r\n+OK\r\n\n\r\n+FULLRESYNC {} 77\r\n\n{head}payload", id(1));
        let tail = if marked { mark.into_bytes() } else { Vec::new() };
        let said = [said.as_bytes(), &tail, &stream].concat();
        let terms = Terms { password: Some(b"secret".to_vec()), port: 7000, ..Terms::default() };
        let mut upstream = Upstream::new(terms, 0);
        upstream.opened(0);
        let (mut payload, mut got, mut full, mut begun, mut late) = (Vec::new(), Vec::new(), None, 0, false);
        for (n, mut piece) in pieces(&said, &lengths).enumerate() {
            let now = n as u64;
            while !piece.is_empty() {
                match upstream.hear(&mut piece, now) {
                    Heard::More => {}
                    Heard::Full(of) => full = of,
                    Heard::Begins => begun += 1,
                    Heard::Payload(bytes) => payload.extend(bytes),
                    Heard::Whole(bytes) => {
                        payload.extend(bytes);
                        prop_assert!(upstream.is_loading());
                        upstream.in_place(77, now);
                    }
                    Heard::Stream(bytes) => got.extend_from_slice(bytes),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            late |= upstream.is_late(10, now).is_some();
        }
        prop_assert_eq!((full, begun, late), (Some((id(1), 77)), 1, false));
        prop_assert_eq!((&payload[..], got), (&b"payload"[..], stream));
        prop_assert_eq!(upstream.received, 7 + tail.len() as u64);
        let out = String::from_utf8_lossy(&upstream.take_output()).into_owned();
        let words: Vec<&str> = out.split("\r\n").filter(|w| !w.is_empty() && !w.starts_with(['*', '$'])).collect();
        let mut expected = vec!["PING", "AUTH", "secret", "REPLCONF", "listening-port", "7000"];
        expected.extend(["REPLCONF", "capa", "eof", "capa", "psync2", "PSYNC", "?", "-1"]);
        expected.extend(if marked { &["REPLCONF", "ACK", "77"][..] } else { &[] });
        prop_assert_eq!(words, expected);
    }

    #[test]
    fn nonsense_ends_or_is_waited_out(
        parts in proptest::collection::vec((0usize..9, proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        lengths in proptest::collection::vec(1usize..50, 1..5),
    ) {
        let words: [&[u8]; 8] =
            [b"+PONG\r\n", b"+OK\r\n", b"+FULLRESYNC ", b"+CONTINUE", b"$EOF:", b"$12\r\n", b"-ERR\r\n", b"\n"];
        let bytes: Vec<u8> =
            parts.into_iter().flat_map(|(n, junk)| words.get(n).map_or(junk, |word| word.to_vec())).collect();
        let mut upstream = Upstream::new(Terms { resume: Some((id(1), 5)), ..Terms::default() }, 0);
        upstream.opened(0);
        let mut over = 0;
        for mut piece in pieces(&bytes, &lengths) {
            while !piece.is_empty() {
                let before = piece.len();
                match upstream.hear(&mut piece, 1) {
                    Heard::Over(why) => {
                        prop_assert!(!why.is_empty());
                        over += 1;
                    }
                    Heard::Whole(_) => upstream.in_place(0, 1),
                    heard => prop_assert!(over == 0 || heard == Heard::More),
                }
                prop_assert!(piece.len() < before);
            }
        }
        prop_assert!(over <= 1);
    }
}

#[test]
fn what_a_primary_must_not_say() {
    let before = "+PONG\r\n+OK\r\n+OK\r\n";
    let long = format!("+{}", "x".repeat(REPL_LINE));
    let full = format!("+FULLRESYNC {} 5\r\n", id(1));
    for (said, why) in [
        ("-WRONGPASS no\r\n", "Error reply to PING from master: '-WRONGPASS no'"),
        (&*long, "a line without an end"),
        (&*format!("{before}+FULLRESYNC x 5\r\n"), "Master replied with wrong +FULLRESYNC syntax."),
        (&*format!("{before}+FULLRESYNC {} -5\r\n", id(1)), "Master replied with wrong +FULLRESYNC syntax."),
        (&*format!("{before}+CONTINUE {}\r\n", id(1)), "The MASTER goes on where nothing has begun"),
        (
            &*format!("{before}-LOADING it loads\r\n"),
            "Master is currently unable to PSYNC but should be in the future: -LOADING it loads",
        ),
        (&*format!("{before}{full}-ERR broken\r\n"), "MASTER aborted replication with an error: ERR broken"),
        (&*format!("{before}{full}$x\r\n"), "Bad protocol from MASTER: '$x' announces no payload"),
        (&*format!("{before}{full}$0\r\n"), "Bad protocol from MASTER: '$0' announces no payload"),
        (
            &*format!("{before}{full}*1\r\n"),
            "Bad protocol from MASTER, the first byte is not '$' (we received '*1'), are you sure the host and \
             port are right?",
        ),
    ] {
        let mut upstream = Upstream::new(Terms::default(), 0);
        upstream.opened(0);
        let mut input = said.as_bytes();
        let mut last = Heard::More;
        while !input.is_empty() && !matches!(last, Heard::Over(_)) {
            last = upstream.hear(&mut input, 0);
        }
        assert_eq!(last, Heard::Over(why.to_owned()), "{said}");
        assert_eq!(upstream.state(), "connect");
    }
    // what is not understood is asked for in the old way
    let mut upstream = Upstream::new(Terms::default(), 0);
    upstream.opened(0);
    let said = format!("{before}-ERR unknown command\r\n");
    let mut input = said.as_bytes();
    assert_eq!(upstream.hear(&mut input, 0), Heard::Full(None));
    assert!(upstream.take_output().ends_with(b"*1\r\n$4\r\nSYNC\r\n"));
    let mut input = &b"$1\r\nx"[..];
    assert_eq!(upstream.hear(&mut input, 0), Heard::Begins);
    assert_eq!(upstream.hear(&mut input, 0), Heard::Whole(b"x".to_vec()));
    upstream.in_place(0, 0);
    upstream.ack(0);
    assert_eq!((upstream.take_output(), upstream.state()), (Vec::new(), "connected"));
}

#[test]
fn who_may_go_on() {
    use Refusal::*;
    let mut backlog = Backlog::at(100);
    backlog.feed(&[0; 100]);
    let mut history = History { id: id(1), offset: 200, second: Some((id(2), 150)) };
    let (one, two, other) = (id(1).to_string(), id(2).to_string().to_uppercase(), id(3).to_string());
    for (asked, first, answer) in [
        (&*one, 101, Ok(100)),
        (&one, 151, Ok(150)),
        (&one, 201, Ok(200)),
        (&one, 202, Err(Lacking { ahead: true })),
        (&one, 100, Err(Lacking { ahead: false })),
        (&one, 0, Err(Lacking { ahead: false })),
        (&one, i64::MIN, Err(Lacking { ahead: false })),
        (&one, i64::MAX, Err(Lacking { ahead: true })),
        (&two, 120, Ok(119)),
        (&two, 151, Ok(150)),
        (&two, 152, Err(Branched { up_to: 150 })),
        (&two, 5, Err(Lacking { ahead: false })),
        ("?", -1, Err(Unasked)),
        (&other, 150, Err(Stranger)),
        ("", 150, Err(Stranger)),
    ] {
        assert_eq!(history.resume(Some(&backlog), asked.as_bytes(), first), answer, "{asked} {first}");
    }
    assert_eq!(history.resume(None, one.as_bytes(), 200), Err(Lacking { ahead: false }));
    // a replica that becomes a primary has the former stream up to here
    history.branch(id(4));
    assert_eq!((history.id, history.second), (id(4), Some((id(1), 200))));
    assert_eq!(history.resume(Some(&backlog), one.as_bytes(), 201), Ok(200));
    assert_eq!(history.resume(Some(&backlog), two.as_bytes(), 120), Err(Stranger));
    history.begin_anew(id(5));
    assert_eq!(history, History { id: id(5), offset: 200, second: None });
    history.adopt(id(6), 7);
    assert_eq!(history, History { id: id(6), offset: 7, second: None });
}

#[test]
fn replconf() {
    let long = "x".repeat(256);
    let other = |text: &str| Err(Wrong::Other(text.to_owned()));
    for (words, said) in [
        ("listening-port 7000 ip-address 10.0.0.1", Ok(Said::Ok)),
        ("capa eof capa psync2 capa telepathy", Ok(Said::Ok)),
        ("RDB-ONLY 1", Ok(Said::Ok)),
        ("rdb-filter-only functions", Ok(Said::Ok)),
        ("ack 12", Ok(Said::Ack(12))),
        ("ack -12", Ok(Said::Ack(0))),
        ("ack x", Ok(Said::Nothing)),
        ("getack *", Ok(Said::GetAck)),
        ("capa", Err(Wrong::Syntax)),
        ("listening-port x", Err(Wrong::NotANumber)),
        ("rdb-only 2", Err(Wrong::OutOfRange)),
        ("rdb-filter-only keys", other("Unsupported rdb-filter-only option: keys")),
        ("ears 2", other("Unrecognized REPLCONF option: ears")),
        (
            &*format!("ip-address {long}"),
            other("REPLCONF ip-address provided by replica instance is too long: 256 bytes"),
        ),
    ] {
        let args = OwnedArgs::new(std::iter::once("replconf").chain(words.split(' ')));
        assert_eq!(About::default().hear(args.as_args()), said, "{words}");
    }
    let mut about = About::default();
    let args = ["replconf", "listening-port", "5", "capa", "eof", "capa", "psync2", "rdb-filter-only", ""];
    assert_eq!(about.hear(OwnedArgs::new(args).as_args()), Ok(Said::Ok));
    let all =
        About { port: 5, eof: true, psync2: true, no_data: true, no_functions: true, ..About::default() };
    assert_eq!(about, all);
}

fn sent(primary: &mut Primary, client: u32, now_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while primary.fill(client, 10, now_ms, &mut out) {}
    assert!(!primary.has_more(client));
    out
}

#[test]
fn two_replicas_get_one_payload_and_what_came_meanwhile() {
    let (mut p, rules) = (Primary::new(id(1)), rules());
    p.feed(b"nobody wants it");
    assert_eq!((p.history.offset, p.is_fed()), (0, false));
    for client in [3, 5, 6] {
        p.about(client, "10.0.0.9").eof = client != 6;
        p.about(client, "10.0.0.9").psync2 = true;
    }
    assert_eq!((p.count(), p.is_replica(3)), (0, false));
    assert_eq!(p.resume(3, "a", (b"?", -1), 0), Err(Refusal::Unasked));
    p.enlist(3, "a", false, 1000, id(2));
    assert!(p.is_fed() && p.is_replica(3) && !p.wants_payload(&rules, 3999) && p.wants_payload(&rules, 4000));
    p.enlist(6, "a", true, 1500, id(3));
    p.enlist(5, "a", false, 2000, id(3));
    // enough have come
    assert!(p.wants_payload(&rules, 2000));
    assert_eq!((p.history.id, p.count()), (id(2), 3));
    p.feed(b"before");
    let kind = p.wanted().cloned().expect("who waits wants something");
    assert_eq!(p.begin_payload(&kind, b"$EOF:m\r\n", 2000), [3, 5]);
    assert_eq!(p.fail_payload(), [3, 5]);
    p.feed(b"meanwhile");
    assert_eq!(p.chunk(&Bytes::from_static(b"chunk")), [3, 5]);
    let head = format!("+FULLRESYNC {} 6\r\n$EOF:m\r\n", id(2));
    assert_eq!(sent(&mut p, 3, 2100), [head.as_bytes(), b"chunk"].concat());
    assert_eq!(p.payload_taken(), Some(0));
    // a slow one, whose socket takes nothing
    assert_eq!(p.tick(&rules, false, 12_001).lost, [(5, "timed out (full sync)")]);
    p.gone(5, 12_001);
    assert_eq!(p.payload_taken(), Some(13));
    assert_eq!(p.end_payload(), [3]);
    assert_eq!(p.payload_taken(), None);
    assert!(sent(&mut p, 3, 12_002).is_empty());
    assert_eq!(p.list(12_002).map(|(_, s, _)| s).collect::<Vec<_>>(), [State::SendBulk, State::WaitBgsave]);
    // newlines keep the patience of who still waits
    assert_eq!(sent(&mut p, 6, 12_002), b"\n");
    assert_eq!(p.acked_by(0), 0);
    assert!(p.ack(3, 6, 13_000) && !p.ack(3, 7, 13_000));
    let ping = b"*1\r\n$4\r\nPING\r\n";
    assert_eq!(sent(&mut p, 3, 13_000), [&b"meanwhile"[..], ping].concat());
    assert_eq!((p.acked_by(6), p.acked_by(7), p.acked_by(8)), (1, 1, 0));
    assert_eq!((p.good(10_000, 23_999), p.good(9_000, 23_000)), (1, 0));
    // it comes back, and goes on
    p.gone(3, 14_000);
    p.feed(b"more");
    p.about(3, "b").psync2 = true;
    let first = p.history.offset as i64 - 3;
    assert_eq!(p.resume(3, "b", (id(2).as_bytes(), first), 15_000), Ok(()));
    assert_eq!(sent(&mut p, 3, 15_000), format!("+CONTINUE {}\r\nmore", id(2)).into_bytes());
}

#[test]
fn who_lags_behind_or_is_silent_is_lost() {
    let (mut p, rules) = (Primary::new(id(1)), rules());
    p.open_backlog();
    for client in [1, 2] {
        assert_eq!(p.resume(client, "a", (id(1).as_bytes(), 1), 0), Ok(()));
    }
    p.feed(&[7; 10_001]);
    assert_eq!(sent(&mut p, 2, 0).len(), "+CONTINUE\r\n".len() + 10_001);
    assert!(p.tick(&rules, true, 1000).lost.is_empty());
    assert!(p.tick(&rules, true, 4900).lost.is_empty());
    assert_eq!(p.tick(&rules, true, 6000).lost, [(1, "lags behind for too long")]);
    // what the slow one needs is kept
    assert_eq!(p.backlog().map(Backlog::first), Some(0));
    p.feed(&[7; 10_000]);
    let why = "lags behind by more than its output buffer may hold";
    assert_eq!(p.tick(&rules, true, 7000).lost, [(1, why), (2, "")][..1]);
    p.gone(1, 7000);
    sent(&mut p, 2, 7000);
    assert!(p.tick(&rules, true, 8000).lost.is_empty());
    assert_eq!(p.backlog().map(Backlog::len), Some(1000));
    assert_eq!(p.tick(&rules, true, 11_000).lost, [(2, "timed out (streaming sync)")]);
    p.gone(2, 11_000);
    assert!(!p.tick(&rules, true, 71_000).forget && p.tick(&rules, true, 72_001).forget);
    p.close_backlog(id(2));
    assert_eq!((p.history.id, p.is_fed()), (id(2), false));
}
