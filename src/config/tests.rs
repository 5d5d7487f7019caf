//! Against a real redis-server 7.0.15: golden/*.txt hold what it answered, golden/capture.py asks
//! it again. A line is a case, its parts set apart by `=>`.

use super::*;
use crate::config::args::Invocation;
use crate::config::types::{ProtectedAction, ReplicaOf};
use crate::util::proof;
use proptest::prelude::*;

type Words = Vec<Vec<u8>>;

/// The cases of a golden file: each the words of its parts.
fn cases(golden: &str) -> Vec<Vec<Words>> {
    let cut = |line: &str| {
        let words = split::words(line.as_bytes()).expect("a golden line is well quoted");
        words.split(|w| w == b"=>").map(<[Vec<u8>]>::to_vec).collect()
    };
    golden.lines().map(cut).collect()
}

fn pairs(words: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// No file is there but those whose text is in the name.
fn no_files(pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    if pattern.contains('*') {
        return Ok(Vec::new());
    }
    Err(format!("Fatal error, can't open config file '{pattern}': No such file or directory"))
}

fn load(file: &str) -> Result<Loaded, ParseError> {
    parse(&[Source::File { name: "", text: file.as_bytes() }], &mut no_files)
}

/// Values of `config` that aren't a fresh server's, by name; the port and directory of the
/// captured server left out, and so are directives that redis-server 7.0 doesn't have.
fn changed(config: &Config) -> Vec<(String, String)> {
    let fresh = Config::default();
    let mut out: Vec<(String, String)> = (config.get(&["*"]).into_iter().zip(fresh.get(&["*"])))
        .filter(|(now, fresh)| now != fresh && now.0 != b"port" && now.0 != b"dir")
        .map(|(now, _)| (text(&now.0), text(&now.1)))
        .collect();
    out.sort();
    out
}

#[test]
fn config_get_of_a_fresh_server_is_redis_servers() {
    let config = Config::default();
    let cases = cases(include_str!("golden/defaults.txt"));
    assert!(cases.len() > 190);
    let mut known = Vec::new();
    for case in &cases {
        let (name, value) = (&case[0][0], &case[1][0]);
        let got = config.get(&[name]);
        assert_eq!(got.len(), 1, "{} is missing", text(name));
        known.push(text(name));
        // The captured server ran on a port and in a directory of its own, and it forks: huge pages
        // cost it more than they give.
        if name != b"port" && name != b"dir" && name != b"disable-thp" {
            assert_eq!(text(&got[0].1), text(value), "{}", text(name));
        }
    }
    let mut ours: Vec<String> = config.get(&["*"]).iter().map(|(name, _)| text(name)).collect();
    ours.retain(|name| !known.contains(name));
    ours.sort();
    // Shoal's own six, what 7.2 added, and what Valkey 8 did.
    let expect = [
        "cluster-announce-human-nodename",
        "cluster-host-links",
        "cluster-slot-stats-enabled",
        "cores",
        "join",
        "locale-collate",
        "mode",
        "set-max-listpack-entries",
        "set-max-listpack-value",
        "shard-balance",
        "shards",
    ];
    assert_eq!(ours, expect);
}

#[test]
fn config_get_patterns() {
    // `[^a-y]*` finds nothing of ours either; 7.2's and our own names match none of the patterns.
    for case in cases(include_str!("golden/get.txt")) {
        let mut got = Config::default().get(&case[0]);
        got.sort();
        let got: Vec<Vec<u8>> = got.into_iter().flat_map(|(name, value)| [name, value]).collect();
        let show = |words: &[Vec<u8>]| words.iter().map(|w| text(w)).collect::<Vec<_>>();
        assert_eq!(show(&got), show(&case[1]), "{:?}", show(&case[0]));
    }
}

#[test]
fn config_set_replies_and_leaves_what_redis_does() {
    let mut config = Config::default();
    for case in cases(include_str!("golden/set.txt")) {
        let [set, reply, after] = &case[..] else { panic!("three parts") };
        let label = set.iter().map(|w| text(w)).collect::<Vec<_>>().join(" ");
        let got = match config.set(&pairs(set), Caller::default()) {
            Ok(_) => "+OK".to_owned(),
            Err(error) => format!("-{error}"),
        };
        assert_eq!(got, text(&reply[0]), "{label}");
        for (name, value) in pairs(after).into_iter().filter(|(name, _)| name != b"port" && name != b"dir") {
            assert_eq!(text(&config.get(&[name])[0].1), text(&value), "{label}");
        }
    }
    // Where everything stands after all that, every value goes back in.
    config.enable_protected_configs = ProtectedAction::Yes;
    reads_its_own(&config);
}

/// What GET shows, SET takes, and nothing changes.
fn reads_its_own(config: &Config) {
    for row in TABLE.iter().filter(|row| !row.has(table::IMMUTABLE)) {
        for name in [Some(row.name), row.alias].into_iter().flatten() {
            let mut again = config.clone();
            let set = again.set(&[(name, row.show(config))], Caller::default());
            assert!(set.is_ok_and(|changed| changed.is_empty()), "{name}");
            assert_eq!(again, *config, "{name}");
        }
    }
}

#[test]
fn every_default_is_accepted_back() {
    let open = Config { enable_protected_configs: ProtectedAction::Yes, ..Config::default() };
    reads_its_own(&open);
}

#[test]
fn protected_directives_and_loading() {
    let mut config = Config::default();
    let local = Caller { local: true, loading: false };
    for (who, caller, allowed) in [
        (ProtectedAction::No, local, false),
        (ProtectedAction::Local, local, true),
        (ProtectedAction::Local, Caller::default(), false),
        (ProtectedAction::Yes, Caller::default(), true),
    ] {
        config.enable_protected_configs = who;
        assert_eq!(config.set(&[("dbfilename", "x.rdb")], caller).is_ok(), allowed, "{who:?} {caller:?}");
    }
    let loading = Caller { local: true, loading: true };
    assert_eq!(config.set(&[("appendonly", "yes")], loading).unwrap_err(), ConfigError::Loading);
    assert!(config.set(&[("hz", "20")], loading).is_ok());
    assert_eq!(ConfigError::Loading.to_string(), "LOADING Redis is loading the dataset in memory");
}

#[test]
fn a_failed_pair_leaves_all_others_alone() {
    let mut config = Config::default();
    let before = config.clone();
    assert!(config.set(&[("hz", "20"), ("timeout", "9"), ("save", "1")], Caller::default()).is_err());
    assert_eq!(config, before);
    let changed = config.set(&[("hz", "20"), ("timeout", "0")], Caller::default()).unwrap();
    assert_eq!(changed.iter().map(|row| row.name).collect::<Vec<_>>(), ["hz"]);
    let failed = ConfigError::failed("port", "Unable to listen on this port. Check server logs.");
    let expect = "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this \
                  port. Check server logs.";
    assert_eq!(failed.to_string(), expect);
}

/// Compares a reading with what redis-server said about it: `changed name value ...`, or
/// `error line line ...`, its line numbers `shift` higher.
fn compare(label: &str, got: Result<Loaded, ParseError>, expect: &[Vec<u8>], shift: usize) {
    let rest = &expect[1..];
    match (expect[0].as_slice(), got) {
        (b"changed", Ok(loaded)) => {
            let expect: Vec<(String, String)> =
                pairs(rest).into_iter().map(|(n, v)| (text(&n), text(&v))).collect();
            let mut expect: Vec<_> = expect.into_iter().filter(|(n, _)| n != "port").collect();
            expect.sort();
            assert_eq!(changed(&loaded.config), expect, "{label}");
        }
        (b"error", Err(error)) => {
            let mut lines: Vec<String> = Vec::new();
            if let Some(at) = &error.at {
                lines.push(format!("Reading the configuration file, at line {}", at.line + shift));
                lines.push(format!(">>> '{}'", text(&at.text)));
            }
            lines.push(error.reason.clone());
            assert_eq!(lines, rest.iter().map(|w| text(w)).collect::<Vec<_>>(), "{label}");
        }
        (_, got) => panic!("{label}: {got:?}"),
    }
}

#[test]
fn files_read_as_redis_reads_them() {
    for case in cases(include_str!("golden/file.txt")) {
        let file = text(&case[0][0]);
        let got = load(&file);
        match file.as_str() {
            // redis-server fails when it finds nothing to listen on, later than here.
            "bind \"\"" | "bind" => assert!(got.unwrap().config.bind.0.is_empty()),
            // The command table is another room's.
            "rename-command NOPE x" => assert_eq!(got.unwrap().config.renames[0].from, b"NOPE"),
            // redis-server logs this one, without file and line.
            "include /no/such/file" => assert_eq!(
                got.unwrap_err().reason,
                "Fatal error, can't open config file '/no/such/file': No such file or directory"
            ),
            _ => compare(&file, got, &case[1], 0),
        }
    }
}

#[test]
fn command_lines_read_as_redis_reads_them() {
    for case in cases(include_str!("golden/args.txt")) {
        let mut args: Vec<String> = vec!["--port".into(), "7777".into()];
        args.extend(case[0].iter().map(|w| text(w)));
        let Invocation::Serve { file: None, stdin: false, overrides } = from_args(&args) else {
            panic!("{args:?}");
        };
        // A host of its own is no server of redis-server's kind: pin the mode that is.
        let mode = Source::File { name: "", text: b"mode standalone" };
        let got = parse(&[mode, Source::CommandLine(&overrides)], &mut no_files).map(|mut loaded| {
            loaded.config.mode = types::Mode::Auto;
            loaded
        });
        // redis-server puts an empty line between the file and the options.
        compare(&args.join(" "), got, &case[1], 1);
    }
}

#[test]
fn an_error_is_shown_in_redis_shape() {
    let file = Source::File { name: "/etc/a.conf", text: b"hz 5\n  foo \"x\"  " };
    let error = parse(&[file], &mut no_files).unwrap_err();
    let expect = format!(
        "\n*** FATAL CONFIG FILE ERROR (Shoal {}) ***\n\
         Reading the configuration file, at line 2 (/etc/a.conf)\n\
         >>> 'foo \"x\"'\nBad directive or wrong number of arguments\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(error.to_string(), expect);
}

#[test]
fn includes_nest_and_end() {
    let mut files = |pattern: &str| match pattern {
        "a" => Ok(vec![("a".to_owned(), b"hz 20\ninclude b".to_vec())]),
        "b" => Ok(vec![("b1".to_owned(), b"timeout 5".to_vec()), ("b2".to_owned(), b"hz x".to_vec())]),
        "self" => Ok(vec![("self".to_owned(), b"include self".to_vec())]),
        "ok" => Ok(vec![("ok".to_owned(), b"save 1 1\nhz 30".to_vec())]),
        other => Err(other.to_owned()),
    };
    let mut read = |text: &str| parse(&[Source::File { name: "m", text: text.as_bytes() }], &mut files);
    let error = read("include a").unwrap_err();
    assert_eq!(error.at.map(|at| (at.file, at.line)), Some(("b2".to_owned(), 1)));
    assert_eq!(read("include self").unwrap_err().reason, "Too many nested includes");
    let config = read("save 2 2\nhz 5\ninclude ok\nsave 3 3").unwrap().config;
    assert_eq!((config.hz, config.save.0.len()), (30, 3));
}

#[test]
fn what_the_process_is() {
    let run = |file: Option<&str>, line: &str| {
        let file = file.map(|text| Source::File { name: "f", text: text.as_bytes() });
        let sources: Vec<Source<'_>> = file.into_iter().chain([Source::CommandLine(line)]).collect();
        let config = parse(&sources, &mut no_files).map_err(|e| e.reason)?.config;
        Ok((config.topology, config.cluster_enabled, config.shard_count(8)))
    };
    let contradiction = Err("mode and cluster-enabled contradict each other".to_owned());
    for (file, line, expect) in [
        (None, "", Ok((Topology::Host, true, 8))),
        (None, "port 7000", Ok((Topology::Host, true, 8))),
        (None, "shards 3", Ok((Topology::Host, true, 3))),
        (None, "cluster-enabled yes", Ok((Topology::Cluster, true, 8))),
        (None, "cluster-enabled yes\nport 7000", Ok((Topology::Cluster, true, 1))),
        (None, "cluster-enabled yes\nport 7000\nshards 4", Ok((Topology::Cluster, true, 4))),
        (None, "cluster-enabled no", Ok((Topology::Standalone, false, 8))),
        (Some(""), "", Ok((Topology::Standalone, false, 1))),
        (Some("cluster-enabled yes"), "", Ok((Topology::Cluster, true, 1))),
        (Some("mode host"), "", Ok((Topology::Host, true, 8))),
        (Some("mode cluster\nshards 2"), "", Ok((Topology::Cluster, true, 2))),
        (None, "mode standalone", Ok((Topology::Standalone, false, 8))),
        (None, "mode host\ncluster-enabled no", contradiction.clone()),
        (None, "mode standalone\ncluster-enabled yes", contradiction),
    ] {
        assert_eq!(run(file, line), expect, "{file:?} {line}");
    }
}

#[test]
fn own_directives() {
    let config = load("cores 0-2,6,1\njoin a.example:7000 ::1:7001\nshards 4").unwrap().config;
    assert_eq!(config.cores.list(), [0, 1, 2, 6]);
    assert_eq!(config.join.0, [("a.example".to_owned(), 7000), ("::1".to_owned(), 7001)]);
    assert_eq!(text(&config.get(&["join"])[0].1), "a.example:7000 ::1:7001");
    for bad in
        ["cores 3-1", "cores x", "cores 1,,2", "cores 5000", "join a", "join a:0", "join :1", "shards -1"]
    {
        assert!(load(bad).is_err(), "{bad}");
    }
}

#[test]
fn directives_without_effect_are_told() {
    let loaded = load("io-threads 4\nactivedefrag no\nloadmodule x.so\nhz 5").unwrap();
    let notices: Vec<String> = loaded.notices.iter().map(Notice::to_string).collect();
    let expect = [
        "configuration, line 1: io-threads has no effect: every shard does its own I/O: see shards",
        "configuration, line 3: loadmodule has no effect: modules are not supported",
    ];
    assert_eq!(notices, expect);
}

#[test]
fn other_rooms_lines_are_kept() {
    let loaded = load("user alice on \">a b\"\nrename-command KEYS \"\"\nuser bob off").unwrap();
    let users: Vec<Vec<String>> =
        loaded.config.users.iter().map(|u| u.words.iter().map(|w| text(w)).collect()).collect();
    assert_eq!(users, [vec!["alice", "on", ">a b"], vec!["bob", "off"]]);
    let rename = &loaded.config.renames[0];
    assert_eq!((rename.from.as_slice(), rename.to.as_slice(), rename.at.line), (&b"KEYS"[..], &b""[..], 2));
}

#[test]
fn secrets_stay_out_of_debug() {
    let config = load("requirepass hunter2\nmasterauth hunter2\ntls-key-file-pass hunter2").unwrap().config;
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.requirepass.bytes(), b"hunter2");
}

#[test]
fn rewrite_writes_what_redis_writes() {
    let users = [b"default on nopass ~* &* +@all".to_vec()];
    for case in cases(include_str!("golden/rewrite.txt")) {
        let [original, sets, expect] = &case[..] else { panic!("three parts") };
        let (original, expect) = (&original[0], text(&expect[0]));
        let sources =
            [Source::File { name: "", text: original }, Source::CommandLine("port 7777\ndir /data")];
        let mut config = parse(&sources, &mut no_files).unwrap().config;
        config.set(&pairs(sets), Caller::default()).unwrap();
        let got = text(&rewrite(original, &config, &users, false));
        // Added lines come in the order of a hash table there, in the table's order here.
        let parts = |all: &str| {
            let (kept, added) = all.split_once(rewrite::SIGNATURE).unwrap_or((all, ""));
            let mut added: Vec<String> = added.lines().map(str::to_owned).collect();
            added.sort();
            (kept.to_owned(), added)
        };
        assert_eq!(parts(&got), parts(&expect), "{}", text(original));
        // The new file says the same, and so does the one after it.
        let mut now = got;
        for _ in 0..2 {
            let file = Source::File { name: "", text: now.as_bytes() };
            let again = parse(&[file], &mut no_files).unwrap().config;
            assert_eq!(again.get(&["*"]), config.get(&["*"]), "{now}");
            now = text(&rewrite(now.as_bytes(), &again, &users, false));
        }
    }
}

#[test]
fn rewrite_of_a_cluster_node_and_of_an_acl_file() {
    let mut config = load("cluster-enabled yes\naclfile users.acl").unwrap().config;
    config.replicaof = ReplicaOf(Some(("10.0.0.1".into(), 6379)));
    let original = b"cluster-enabled yes\nuser x on\nreplicaof 1.1.1.1 1\nuser default on";
    let got = text(&rewrite(original, &config, &[b"default on".to_vec()], false));
    assert!(
        !got.contains("replicaof") && !got.contains("user ") && got.contains("aclfile \"users.acl\""),
        "{got}"
    );
    assert!(got.starts_with("cluster-enabled yes\n\n"), "{got}");
}

#[test]
fn live_changes_are_counted_and_can_be_taken_back() {
    let live = Live::new(Config::default());
    let (old, generation) = (live.snapshot(), live.generation());
    live.set(&[("hz", "10")], Caller::default(), |_, _, _| Ok(())).unwrap();
    assert_eq!(live.generation(), generation, "nothing changed");
    let changed = live.set(&[("hz", "20")], Caller::default(), |old, new, changed| {
        assert_eq!((old.hz, new.hz, changed[0].name), (10, 20, "hz"));
        Ok(())
    });
    assert_eq!(changed.unwrap().len(), 1);
    assert_eq!((old.hz, live.snapshot().hz), (10, 20));
    assert_ne!(live.generation(), generation);
    let generation = live.generation();
    let error = ConfigError::failed("hz", "no");
    let failed = live.set(&[("hz", "30")], Caller::default(), |_, _, _| Err(error.clone()));
    assert_eq!(failed.unwrap_err(), error);
    assert_eq!((live.snapshot().hz, live.generation()), (20, generation));
    live.update(|config| config.replicaof = ReplicaOf(Some(("h".into(), 1))));
    assert_eq!(text(&live.snapshot().get(&["slaveof"])[0].1), "h 1");
}

#[test]
fn shoal_conf_has_every_directive_at_its_default() {
    let file = include_str!("../../tuning/shoal.conf");
    let loaded = load(file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.notices, []);
    assert_eq!(loaded.config, Config::default());
    let named = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let given: Vec<String> = file.lines().filter(|l| !l.starts_with('#')).filter_map(named).collect();
    for row in TABLE {
        assert!(given.iter().any(|name| name == row.name), "{} is missing", row.name);
    }
    for word in ["include", "rename-command", "user", "loadmodule"] {
        assert!(file.contains(&format!("# {word} ")), "{word} is not explained");
    }
    assert!(file.lines().all(|line| line.chars().count() <= 100));
}

/// Lines of real directives and of noise, whole and cut.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
    let word = prop_oneof![
        prop::sample::select(vec![
            "yes",
            "no",
            "0",
            "-1",
            "18446744073709551616",
            "1gb",
            "\"",
            "'",
            "\"\\x4",
            "#",
            "",
            "normal",
            "include",
            "loopback",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    let name = prop_oneof![4 => prop::sample::select(names).prop_map(|name| name.as_bytes().to_vec()), 1 => word.clone()];
    let line = (name, prop::collection::vec(word, 0..5)).prop_map(|(name, words)| {
        let mut line = name;
        words.iter().for_each(|word| {
            line.push(b' ');
            line.extend(word);
        });
        line.push(b'\n');
        line
    });
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(proof::cases(500))]

    /// Whatever a file or a command line says, it is taken or an error; what is taken has values to show.
    #[test]
    fn hostile_files_are_taken_or_refused(text in lines(), is_file: bool) {
        let line = String::from_utf8_lossy(&text).replace('\n', " --");
        let source = match is_file {
            true => Source::File { name: "some.conf", text: &text },
            false => Source::CommandLine(&line),
        };
        if let Ok(loaded) = parse(&[source], &mut no_files) {
            prop_assert!(loaded.config.get(&["*"]).len() > 200);
        }
    }
}
