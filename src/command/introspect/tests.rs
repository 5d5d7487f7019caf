//! Replies against those of redis-server 7.0.15, in RESP3 and as text: `"bulk"`, `:integer`, `+simple`,
//! `_` null, `*[array]`, `~[set]`, `%[map]`. Only our subcommands are in there, sorted by name.

use super::*;
use crate::resp::args::OwnedArgs;

const INFO: &str = include_str!("info.golden");
const DOCS: &str = include_str!("docs.golden");
const KEYS: &str = include_str!("keys.golden");

/// What 7.0.15 has not, or has otherwise.
const NEWER: [&str; 9] = [
    "client|no-touch",
    "client|setinfo",
    "cluster|balance",
    "cluster|handoff",
    "cluster|myshardid",
    "cluster|slot-stats",
    "waitaof",
    "zrank",
    "zrevrank",
];

/// The text of one RESP value; returns the bytes after it.
fn show<'a>(resp: &'a [u8], out: &mut String) -> &'a [u8] {
    let end = resp.windows(2).position(|w| w == b"\r\n").expect("a whole line");
    let (line, rest) = (std::str::from_utf8(&resp[..end]).unwrap(), &resp[end + 2..]);
    let n = || line[1..].parse::<usize>().unwrap();
    match resp[0] {
        b'$' if line == "$-1" => *out += "_",
        b'$' => {
            *out += &format!("{:?}", std::str::from_utf8(&rest[..n()]).unwrap());
            assert_eq!(&rest[n()..n() + 2], b"\r\n");
            return &rest[n() + 2..];
        }
        b'*' | b'~' | b'%' => {
            let count = if resp[0] == b'%' { 2 * n() } else { n() };
            *out += &format!("{}[", resp[0] as char);
            let mut rest = rest;
            for i in 0..count {
                *out += if i > 0 { " " } else { "" };
                rest = show(rest, out);
            }
            *out += "]";
            return rest;
        }
        _ => *out += line,
    }
    rest
}

/// What `write` replies, as text.
fn shown(resp3: bool, write: impl FnOnce(&mut Reply<'_>)) -> String {
    let (mut bytes, mut text) = (Vec::new(), String::new());
    write(&mut Reply::new(&mut bytes, resp3));
    assert!(show(&bytes, &mut text).is_empty(), "one reply and nothing after it");
    text
}

/// RESP3 text as RESP2 would have it.
fn downgraded(text: &str) -> String {
    text.replace("~[", "*[").replace("%[", "*[")
}

/// The row, without subcommands that 7.0.15 does not have.
fn as_redis_has_it(spec: &'static Spec) -> Spec {
    let subs: Vec<Spec> = spec.subs.iter().filter(|s| !NEWER.contains(&s.name)).copied().collect();
    Spec { subs: subs.leak(), ..*spec }
}

#[test]
fn info_is_redis_s() {
    let ours = table::all().filter(|s| !NEWER.contains(&s.name));
    let mut ours: Vec<&Spec> = ours.collect();
    ours.sort_by_key(|s| s.name);
    assert_eq!(ours.len(), INFO.lines().count());
    for (spec, redis) in ours.into_iter().zip(INFO.lines()) {
        let spec = as_redis_has_it(spec);
        assert_eq!(shown(true, |out| info(out, &spec)), redis);
        assert_eq!(shown(false, |out| info(out, &spec)), downgraded(redis));
    }
}

#[test]
fn docs_are_redis_s_apart_from_the_prose() {
    let without_prose = |spec: &Spec| Spec { summary: "-", complexity: "", ..*spec };
    for redis in DOCS.lines() {
        let name = redis.split('"').nth(1).unwrap();
        let mut spec = without_prose(&as_redis_has_it(table::lookup_full(name.as_bytes()).unwrap()));
        spec.subs = spec.subs.iter().map(without_prose).collect::<Vec<_>>().leak();
        let write = |out: &mut Reply<'_>| {
            out.array(2);
            out.bulk(name.as_bytes());
            docs(out, &spec);
        };
        assert_eq!(shown(true, write), redis);
        assert_eq!(shown(false, write), downgraded(redis));
    }
}

#[test]
fn keys_are_redis_s() {
    for line in KEYS.lines() {
        let (command, redis) = line.split_once(" => ").unwrap();
        let command = OwnedArgs::new(command.split(' '));
        let reply = shown(true, |out| {
            if let Err(e) = keys_and_flags(out, command.as_args()) {
                out.error(e.bytes());
            }
        });
        assert_eq!(reply, redis, "{line}");
    }
}

#[test]
fn several_names_and_unknown_ones() {
    let names = OwnedArgs::new(["GET", "nosuch", "get|x", "Config|Get", "config|get|x", "config|", "|", ""]);
    let text = shown(true, |out| named_infos(out, names.as_args()));
    let get = INFO.lines().find(|l| l.starts_with("*[\"get\"")).unwrap();
    assert!(text.starts_with(&format!("*[{get} _ _ *[\"config|get\" :-3 ")), "{text}");
    assert!(text.ends_with(" _ _ _ _]"), "{text}");
    let text = shown(true, |out| named_docs(out, names.as_args()));
    assert!(text.starts_with("%[\"get\" %[\"summary\" "), "{text}");
    assert!(text.contains(" \"config|get\" %[\"summary\" ") && !text.contains("nosuch"), "{text}");
    assert_eq!(shown(true, |out| named_docs(out, OwnedArgs::new(["nosuch"]).as_args())), "%[]");
}

#[test]
fn without_names_all_commands_are_told() {
    let none = OwnedArgs::new([""; 0]);
    let all = shown(true, all_infos);
    assert_eq!(shown(true, |out| named_infos(out, none.as_args())), all);
    let docs = shown(true, |out| named_docs(out, none.as_args()));
    let list = shown(true, |out| list(out, none.as_args()).unwrap());
    for spec in table::rows() {
        let name = format!("{:?}", spec.name);
        assert!(list.contains(&name) && all.contains(&name) && docs.contains(&name), "{name}");
    }
    assert_eq!(list.matches('"').count(), 2 * table::COUNT);
}

fn listed(args: &[&str]) -> Result<String, ErrReply> {
    let args = OwnedArgs::new(args);
    let mut done = Ok(());
    let text = shown(false, |out| {
        done = list(out, args.as_args());
        if done.is_err() {
            out.null();
        }
    });
    done.map(|()| text)
}

#[test]
fn lists_are_filtered() {
    let list = |kind, value| listed(&["filterBy", kind, value]).unwrap();
    assert_eq!(list("pattern", "GE?"), "*[\"get\"]");
    assert_eq!(list("PATTERN", "slowlog*L*"), r#"*["slowlog|help" "slowlog|len"]"#);
    assert_eq!(list("aclcat", "Connection").matches("client|").count(), 18);
    assert_eq!(list("aclcat", "@set"), "*[]");
    assert_eq!(list("aclcat", "scripting").matches('"').count(), 2 * 21);
    assert_eq!(list("module", "json"), "*[]");
    let set = list("aclcat", "set");
    assert!(set.contains("\"sort\"") && set.contains("\"sadd\"") && !set.contains("\"set\""), "{set}");
    for wrong in
        [&["x"][..], &["filterby"], &["filterby", "pattern"], &["filterby", "x", "y"], &["x", "pattern", "y"]]
    {
        assert_eq!(listed(wrong), Err(SYNTAX));
    }
    assert_eq!(listed(&["filterby", "pattern", "a", "filterby", "pattern", "b"]), Err(SYNTAX));
}
