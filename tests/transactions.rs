//! Transactions and waits of many clients, over sockets: one thing at a time, and nothing left behind.

mod common;
#[path = "common/serial.rs"]
mod history;

use std::time::{Duration, Instant};

use common::client::Client;
use common::resp::{Node, Reply};
use common::server::{Server, Shape, stand_in};
use history::{Deed, List, check};
use shoal::util::rng::Rng;

const CLIENTS: u64 = 12;
const LISTS: usize = 16;
const TIME: Duration = Duration::from_secs(2);

fn numbers(reply: &Reply, list: &Node) -> Vec<u64> {
    let number = |node: &Node| {
        let text = std::str::from_utf8(reply.body(node)).expect("digits");
        text.parse().expect("a number")
    };
    list.items.iter().map(number).collect()
}

fn list(n: usize) -> String {
    format!("list{n}")
}

/// The answers to a transaction's commands; `None` when WATCH has stopped it.
fn transact(client: &mut Client, reads: &[usize], appends: &[(usize, u64)]) -> Option<Reply> {
    let mut text = "MULTI\r\n".to_owned();
    reads.iter().for_each(|l| text += &format!("LRANGE {} 0 -1\r\n", list(*l)));
    appends.iter().for_each(|(l, e)| text += &format!("RPUSH {} {e}\r\n", list(*l)));
    client.send((text + "EXEC\r\n").as_bytes()).expect("it is sent");
    let mut replies: Vec<Reply> =
        (0..reads.len() + appends.len() + 2).map(|_| client.read().expect("an answer")).collect();
    let exec = replies.pop().expect("the last of several");
    assert!(!exec.is_error() && replies.iter().all(|reply| !reply.is_error()), "{exec:?} {replies:?}");
    (!exec.node.null).then_some(exec)
}

/// What one client does until the time is over; those that WATCH stopped are counted.
fn act(port: u16, seed: u64, began: Instant) -> (Vec<Deed>, usize) {
    let mut client = Client::connect(port).expect("a connection");
    let mut rng = Rng::new(seed);
    let now = || began.elapsed().as_nanos() as u64;
    let (mut deeds, mut stopped, mut next) = (Vec::new(), 0, seed * 1_000_000_000);
    while began.elapsed() < TIME {
        let mut lists = |most: u64| {
            let n = 1 + rng.below(most);
            let mut lists: Vec<usize> = (0..n).map(|_| rng.below(LISTS as u64) as usize).collect();
            lists.sort_unstable();
            lists.dedup();
            lists
        };
        let (mut reads, written) = (lists(3), lists(3));
        let guards = written.len() == 1;
        let mut element = || {
            next += 1;
            next
        };
        let appends: Vec<(usize, u64)> = written.into_iter().map(|list| (list, element())).collect();
        let mut deed = Deed::default();
        if guards {
            reads.truncate(1);
            assert_eq!(client.cmd(&format!("WATCH {}", list(reads[0]))).text(), "OK");
            let seen = client.cmd(&format!("LRANGE {} 0 -1", list(reads[0])));
            deed.reads = vec![(reads[0], numbers(&seen, &seen.node))];
            reads.clear();
        }
        deed.began = now();
        let Some(exec) = transact(&mut client, &reads, &appends) else {
            stopped += 1;
            continue;
        };
        deed.ended = Some(now());
        let (seen, places) = exec.node.items.split_at(reads.len());
        deed.reads.extend(reads.iter().zip(seen).map(|(l, node)| (*l, numbers(&exec, node))));
        let place = |node: &Node| {
            let text = std::str::from_utf8(exec.body(node)).expect("digits");
            text.parse().expect("a length")
        };
        deed.appends = appends.iter().zip(places).map(|((l, e), node)| (*l, *e, Some(place(node)))).collect();
        deeds.push(deed);
    }
    (deeds, stopped)
}

#[test]
fn many_clients_make_a_history_that_can_be() {
    if stand_in() {
        return;
    }
    for shape in [Shape::Standalone(4), Shape::Host(4)] {
        let server = Server::shoal(shape, &[]);
        let (port, began) = (server.port(), Instant::now());
        let actors: Vec<_> =
            (1..=CLIENTS).map(|seed| std::thread::spawn(move || act(port, seed, began))).collect();
        let (mut deeds, mut stopped) = (Vec::new(), 0);
        for actor in actors {
            let (done, more) = actor.join().expect("a client got its answers");
            deeds.extend(done);
            stopped += more;
        }
        let mut client = server.client();
        let lists: Vec<List> = (0..LISTS)
            .map(|n| {
                let all = client.cmd(&format!("LRANGE {} 0 -1", list(n)));
                (n, numbers(&all, &all.node))
            })
            .collect();
        println!("{shape:?}: {} transactions, {stopped} that WATCH stopped", deeds.len());
        check(&deeds, &lists).unwrap_or_else(|why| panic!("{shape:?}: {why}"));
        assert!(deeds.len() > 100, "{shape:?}: {} transactions", deeds.len());
        assert!(!server.log().contains("panicked at"), "{}", server.log());
    }
}

/// Elements that one client pushes reach those that wait, wherever these came in; a wait ends in time.
#[test]
fn waits_over_sockets() {
    for shape in [Shape::Standalone(1), Shape::Standalone(2), Shape::Host(2)] {
        if stand_in() && matches!(shape, Shape::Host(_)) {
            continue;
        }
        let server = Server::shoal(shape, &[]);
        let began = Instant::now();
        assert!(server.client().cmd("BLPOP nothing 0.05").node.null);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(49), "{shape:?}: {took:?}");
        let port = server.port();
        let waiting: Vec<_> = (0..6)
            .map(|n| {
                std::thread::spawn(move || {
                    let mut client = Client::connect(port).expect("a connection");
                    (0..20)
                        .map(|_| client.cmd(&format!("BLPOP a{n} b c 8")).items()[1].clone())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut pusher = server.client();
        for n in 0..120 {
            assert!(!pusher.cmd(&format!("RPUSH {} e{n}", ["b", "c"][n % 2])).is_error());
        }
        let mut got: Vec<_> =
            waiting.into_iter().flat_map(|one| one.join().expect("it was served")).collect();
        got.sort();
        let mut want: Vec<_> = (0..120).map(|n| Some(format!("e{n}").into_bytes())).collect();
        want.sort();
        assert_eq!(got, want, "{shape:?}");
        assert!(pusher.cmd("INFO clients").text().contains("blocked_clients:0\r\n"));
    }
}
