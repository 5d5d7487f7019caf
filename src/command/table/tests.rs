use super::*;
use crate::command::spec::{Begin, Find, Join, KeySpec, Legacy, Route, Run, acl, flag, key};

use crate::resp::args::OwnedArgs;

fn mixed_case(name: &str) -> String {
    let flip = |(i, c): (usize, char)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c };
    name.chars().enumerate().map(flip).collect()
}

#[test]
fn every_command_is_found_in_any_case() {
    for spec in all() {
        for name in [spec.name.to_string(), spec.name.to_uppercase(), mixed_case(spec.name)] {
            assert_eq!(lookup(name.as_bytes()).map(|s| s.id), Some(spec.id), "{name}");
        }
        for sub in spec.subs {
            let word = sub.name.strip_prefix(spec.name).and_then(|s| s.strip_prefix('|')).expect(sub.name);
            for word in [word.to_string(), word.to_uppercase(), mixed_case(word)] {
                assert_eq!(lookup_sub(spec, word.as_bytes()).map(|s| s.id), Some(sub.id), "{word}");
                let full = format!("{}|{word}", mixed_case(spec.name));
                assert_eq!(lookup_full(full.as_bytes()).map(|s| s.id), Some(sub.id), "{full}");
                assert!(lookup(full.as_bytes()).is_none(), "{full}");
            }
        }
    }
}

/// Changing any one byte to any other gives no command, or another one of exactly that name.
#[test]
fn near_misses_are_not_found() {
    for spec in all() {
        let name = spec.name.as_bytes();
        let check = |near: &[u8]| {
            let found = lookup(near).map(|s| s.name.to_ascii_lowercase());
            let named =
                all().find(|s| s.name.as_bytes().eq_ignore_ascii_case(near)).map(|s| s.name.to_string());
            assert_eq!(found, named, "{near:?}");
        };
        for at in 0..name.len() {
            for byte in 0..=255 {
                let mut near = name.to_vec();
                near[at] = byte;
                check(&near);
            }
            check(&[&name[..at], &name[at + 1..]].concat());
            check(&[&name[..at], b"x", &name[at..]].concat());
        }
        check(&[name, b"\0"].concat());
        check(&[name, name].concat());
        check(&[b"\0", name].concat());
    }
    for none in [&b""[..], b"\0", b"x", b"GETT", &[b'g'; 16], &[b'g'; 17], &[0; 9], &[0; 4096]] {
        assert!(lookup(none).is_none(), "{none:?}");
    }
    assert!(lookup_sub(lookup(b"config").unwrap(), b"").is_none());
    assert!(lookup_sub(lookup(b"get").unwrap(), b"x").is_none());
}

#[test]
fn eight_bytes_fold_as_one_does() {
    for byte in 0..=255u8 {
        let folded = lower(u64::from_le_bytes([byte, 0, b'Z', byte, 255, b'a', byte, byte])).to_le_bytes();
        let b = byte.to_ascii_lowercase();
        assert_eq!(folded, [b, 0, b'z', b, 255, b'a', b, b]);
    }
}

/// The index answers almost every hit at its first probe.
#[test]
fn index_is_shallow() {
    let probes = |spec: &Spec| {
        let (head, tail) = ends(spec.name.as_bytes());
        (0..).position(|i| INDEX[(home(head, tail) + i) % INDEX_SIZE].id == spec.id).unwrap() + 1
    };
    assert!(all().map(probes).sum::<usize>() * 2 <= COMMANDS * 3);
    assert!(all().map(probes).max() <= Some(6));
    for hot in ["get", "set"] {
        assert_eq!(probes(lookup(hot.as_bytes()).unwrap()), 1, "{hot}");
    }
}

#[test]
fn ids_are_dense() {
    assert_eq!(rows().count(), COUNT);
    assert_eq!(all().len(), COMMANDS);
    for (id, spec) in rows().enumerate() {
        assert_eq!(spec.id as usize, id);
        assert_eq!(by_id(spec.id).name, spec.name);
    }
    let through_parents: Vec<u16> = all().flat_map(|s| s.subs).map(|s| s.id).collect();
    assert_eq!(through_parents, (COMMANDS as u16..COUNT as u16).collect::<Vec<_>>());
}

#[test]
fn rows_are_sorted_and_unique() {
    for list in GROUPS.into_iter().chain(all().map(|s| s.subs)) {
        assert!(list.is_sorted_by(|a, b| a.name < b.name), "{:?}", list.first().map(|s| s.name));
    }
    let mut names: Vec<&str> = rows().map(|s| s.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), COUNT);
}

#[test]
fn rows_make_sense() {
    for spec in rows() {
        let name = spec.name;
        let words = 1 + name.matches('|').count();
        assert!(spec.arity.unsigned_abs() as usize >= words, "{name}: arity");
        assert!(!name.contains(|c: char| !(c.is_ascii_lowercase() || "|_-".contains(c))), "{name}");
        assert!(!spec.summary.is_empty() && !spec.since.is_empty() && !spec.group.is_empty(), "{name}");
        assert!(spec.subs.iter().all(|s| s.subs.is_empty() && s.group == spec.group), "{name}: subs");
        assert_eq!(matches!(spec.run, Run::Sub), !spec.subs.is_empty() && name != "command", "{name}: run");
        assert!(!spec.has(flag::WRITE) || !spec.has(flag::READONLY), "{name}: flags");
        assert_eq!(spec.acl & acl::FAST != 0, spec.has(flag::FAST), "{name}: fast");
        assert_eq!(spec.acl & acl::SLOW != 0, !spec.has(flag::FAST), "{name}: slow");
        assert_eq!(spec.acl & acl::WRITE != 0, spec.has(flag::WRITE), "{name}: write");
        let keyed = matches!(spec.route, Route::Keys | Route::Channels | Route::Away | Route::Split { .. });
        assert!(spec.route == Route::Home || keyed != spec.keys.is_empty(), "{name}: route");
        let writes = spec.keys.iter().any(|k| k.flags & (key::RW | key::OW | key::RM) != 0);
        assert!(!writes || spec.has(flag::WRITE | flag::MAY_REPLICATE), "{name}: writes keys");
    }
}

/// What the first arguments that arity allows must hold, key specs must not reach beyond.
#[test]
fn key_specs_are_in_range() {
    for spec in rows() {
        // PFMERGE alone may have no source
        let least = spec.arity.unsigned_abs() as i32 + (spec.name == "pfmerge") as i32;
        // channels are found by name, and there may be none
        for k in spec.keys.iter().filter(|k| k.flags & key::NOT_KEY == 0) {
            let one = key::RO | key::RW | key::OW | key::RM;
            assert_eq!((k.flags & one).count_ones(), 1, "{}: one kind of access", spec.name);
            let Begin::Index(first) = k.begin else { continue };
            assert!(first > 0 && first < least, "{}: begin", spec.name);
            match k.find {
                Find::Range { last: last @ 0.., step, .. } => {
                    assert!(first + last < least && step > 0, "{}", spec.name)
                }
                Find::Range { last, step, .. } => assert!(least + last >= first && step > 0, "{}", spec.name),
                Find::NumKeys { num, first: key, step } => {
                    assert!(first + num < least && first + key <= least && step > 0, "{}", spec.name)
                }
                Find::Unknown => {}
            }
        }
        assert!((spec.legacy.first as i32) < least || spec.route == Route::Channels, "{}", spec.name);
    }
}

/// A split command's keys start at 1 and stand `step` apart, or its arguments could not be split.
#[test]
fn routes_fit_their_keys() {
    for spec in all() {
        if let Route::Split { step, .. } = spec.route {
            let expected = Legacy { first: 1, last: -1, step: step as i16 };
            assert_eq!(spec.legacy, expected, "{}", spec.name);
        }
    }
    let route = |name: &str| lookup_full(name.as_bytes()).unwrap().route;
    assert_eq!(route("mget"), Route::Split { step: 1, join: Join::Places });
    assert_eq!(route("mset"), Route::Split { step: 2, join: Join::Ok });
    assert_eq!(route("msetnx"), Route::Keys, "all or nothing cannot be split");
    assert_eq!(route("unlink"), Route::Split { step: 1, join: Join::Sum });
    assert_eq!(route("object|freq"), Route::Keys);
    assert_eq!(route("cluster|keyslot"), Route::Local);
    assert_eq!(route("cluster|countkeysinslot"), Route::All(Join::Sum));
    assert_eq!(route("randomkey"), Route::All(Join::Any));
    assert_eq!(route("scan"), Route::Cursor);
}

/// Commands of later releases are unknown, not half there.
#[test]
fn later_commands_are_absent() {
    assert!(lookup(b"xackdel").is_none());
    for name in ["client|what", "cluster|what"] {
        assert!(lookup_full(name.as_bytes()).is_none(), "{name}");
    }
}

#[test]
fn first_key_is_the_first_of_all_keys() {
    let cases = [
        ("get a", Some(1)),
        ("mset a 1 b 2", Some(1)),
        ("sort a by b store c", Some(1)),
        ("zunionstore d 2 a b", Some(1)),
        ("zunion 2 a b", Some(2)),
        ("lmpop 1 a left", Some(2)),
        ("sintercard 0 a", None),
        ("sintercard x a", None),
        ("object encoding a", Some(2)),
        ("georadius a 0 0 1 m store b", Some(1)),
        ("bitop or d a", Some(2)),
        ("pfmerge a", Some(1)),
        ("pfselftest", None),
        ("ping", None),
        ("scan 0", None),
    ];
    for (line, first) in cases {
        let args = OwnedArgs::new(line.split(' '));
        let spec = resolve(args.as_args()).unwrap();
        assert_eq!(first_key_index(spec, args.as_args()), first, "{line}");
        assert_eq!(keys_of(spec, args.as_args()).first().map(|k| k.index), first, "{line}");
    }
}

/// For the commands of later releases: MIGRATE's `KEYS`, XREAD's `STREAMS`.
#[test]
fn keywords_begin_key_specs() {
    let begin_last = |begin, last, flags| {
        let find = Find::Range { last, step: 1, limit: 0 };
        KeySpec { begin, find, flags, notes: "" }
    };
    let keys = |k: KeySpec, line: &str| {
        let args = OwnedArgs::new(line.split(' '));
        let spec = Spec { keys: vec![k].leak(), ..*lookup(b"get").unwrap() };
        keys_of(&spec, args.as_args()).iter().map(|k| k.index).collect::<Vec<_>>()
    };
    let forward = begin_last(Begin::Keyword { word: "STREAMS", from: 1 }, -1, key::RO);
    assert_eq!(keys(forward, "xread count 1 streams a b"), [4, 5]);
    assert_eq!(keys(forward, "xread count 1"), [0; 0]);
    assert_eq!(keys(forward, "xread count 1 streams"), [0; 0]);
    let half = Find::Range { last: -1, step: 1, limit: 2 };
    assert_eq!(keys(KeySpec { find: half, ..forward }, "xread streams a b 0 0"), [2, 3]);
    let backward = begin_last(Begin::Keyword { word: "KEYS", from: -2 }, -1, key::RW);
    assert_eq!(keys(backward, "migrate host port keys x keys a b"), [6, 7]);
    assert_eq!(keys(backward, "migrate keys"), [0; 0]);
    let incomplete = KeySpec { flags: key::RW | key::INCOMPLETE, ..backward };
    assert_eq!(keys(incomplete, "migrate host port keys a b"), [0; 0]);
    let not_key = KeySpec { flags: key::NOT_KEY, ..backward };
    assert_eq!(keys(not_key, "migrate host port keys a b"), [0; 0]);
}

fn refusal<T: AsRef<[u8]>>(words: &[T]) -> String {
    let args = OwnedArgs::new(words);
    resolve(args.as_args())
        .err()
        .map_or_else(|| "fine".into(), |e| String::from_utf8_lossy(e.bytes()).into_owned())
}

/// Texts as redis-server 7.0.15 sends them.
#[test]
fn refusals_are_redis_s() {
    let unknown =
        |name: &str, shown: &str| format!("ERR unknown command '{name}', with args beginning with: {shown}");
    assert_eq!(refusal(&["foo"]), unknown("foo", ""));
    assert_eq!(refusal(&["foo", "a", "b"]), unknown("foo", "'a' 'b' "));
    assert_eq!(refusal(&["", "a"]), unknown("", "'a' "));
    assert_eq!(refusal(&["config|get", "x"]), unknown("config|get", "'x' "));
    assert_eq!(refusal(&["foo", "a\0b", "c"]), unknown("foo", "'a' 'c' "));
    assert_eq!(refusal(&["fo\0o", "c"]), unknown("fo", "'c' "));
    let (x, y) = ("x".repeat(200), "y".repeat(200));
    assert_eq!(
        refusal(&[&x[..], &x[..100], &y[..100], "z"]),
        unknown(&x[..128], &format!("'{}' '{}' ", &x[..100], &y[..25]))
    );
    assert_eq!(refusal(&["foo", &x[..124], "y"]), unknown("foo", &format!("'{}' 'y' ", &x[..124])));
    assert_eq!(refusal(&["foo", &x[..125], "y", "z"]), unknown("foo", &format!("'{}' ", &x[..125])));

    assert_eq!(refusal(&["client"]), "ERR wrong number of arguments for 'client' command");
    assert_eq!(refusal(&["Client", "Id", "x"]), "ERR wrong number of arguments for 'client|id' command");
    assert_eq!(refusal(&["GET"]), "ERR wrong number of arguments for 'get' command");
    assert_eq!(refusal(&["ping", "a", "b", "c"]), "fine", "PING counts its arguments itself");
    assert_eq!(refusal(&["client", "NoSuch"]), "ERR unknown subcommand 'NoSuch'. Try CLIENT HELP.");
    assert_eq!(refusal(&["ClIent", &x]), format!("ERR unknown subcommand '{}'. Try CLIENT HELP.", &x[..128]));
    assert_eq!(refusal(&["cluster", "a\0b"]), "ERR unknown subcommand 'a'. Try CLUSTER HELP.");
    assert_eq!(refusal(&["config", "get|x"]), "ERR unknown subcommand 'get|x'. Try CONFIG HELP.");
    for fine in [&["command"][..], &["GET", "a"], &["cOmmand", "Count"], &["mset", "a", "1"], &["debug", "x"]]
    {
        assert_eq!(refusal(fine), "fine");
    }
}
