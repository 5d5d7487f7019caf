//! Every command, with a user who lacks just one thing of what it needs.

use super::*;
use crate::command::acl::{Access, Users};
use crate::command::spec::{Begin, Find, KeySpec, flag, key};
use crate::command::table::{CATALOG, KeyAt};
use crate::command::testing::World;
use crate::resp::args::OwnedArgs;

const TERMS: Terms = Terms { catalog: &CATALOG, all_channels: false };

fn user(rules: &str) -> std::sync::Arc<User> {
    let mut users = Users::default();
    let words: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    users
        .set(b"u", &words, &TERMS)
        .unwrap_or_else(|why| panic!("{rules}: {}", String::from_utf8_lossy(&why)));
    users.get(b"u").expect("it was made").clone()
}

/// Words of the command that have a key wherever its key specs say that there is one.
fn words_of(spec: &Spec) -> Vec<String> {
    let mut words: Vec<String> = spec.name.split('|').map(str::to_owned).collect();
    let least = (spec.arity.unsigned_abs() as usize).max(if spec.arity < 0 { 7 } else { 0 });
    (words.len()..least).for_each(|n| words.push(format!("w{n}")));
    let wanted = |k: &&KeySpec| k.flags & key::NOT_KEY == 0;
    for k in spec.keys.iter().filter(wanted) {
        if let (Begin::Index(at), Find::NumKeys { num, .. }) = (k.begin, k.find) {
            words[(at + num) as usize] = "2".into();
        }
    }
    for (n, k) in spec.keys.iter().filter(wanted).enumerate() {
        if let Begin::Keyword { word, .. } = k.begin {
            words.push(word.into());
            words.extend([format!("x{n}"), format!("y{n}")]);
        }
    }
    // what no key spec can say
    let rest: &[&str] = match spec.name {
        "sort" => &["STORE", "to"],
        "migrate" => {
            return ["migrate", "h", "1", "", "0", "9", "AUTH2", "KEYS", "p", "KEYS", "a", "b"]
                .map(str::to_owned)
                .to_vec();
        }
        "xread" | "xreadgroup" => {
            // streams and ids are as many
            let head = if spec.name == "xread" {
                "xread STREAMS a b 0 0"
            } else {
                "xreadgroup GROUP g c STREAMS a b > >"
            };
            return head.split(' ').map(str::to_owned).collect();
        }
        _ => &[],
    };
    words.extend(rest.iter().map(|word| (*word).to_owned()));
    words
}

/// Rules that allow all keys but one, which is allowed `access`.
fn all_but(args: Args<'_>, keys: &[KeyAt], one: usize, access: &str) -> String {
    let mut rules = "+@all allchannels".to_owned();
    for at in keys.iter().filter(|at| at.index != one) {
        rules += &format!(" ~{}", String::from_utf8_lossy(args.at(at.index)));
    }
    if !access.is_empty() {
        rules += &format!(" {access}~{}", String::from_utf8_lossy(args.at(one)));
    }
    rules
}

#[test]
fn a_key_that_is_not_allowed_denies_any_command() {
    let (mut commands, mut tried) = (0, 0);
    for spec in CATALOG.rows().filter(|spec| table::has_keys(spec)) {
        let words = OwnedArgs::new(words_of(spec));
        let args = words.as_args();
        assert!(spec.arity_fits(args.len()), "{}", spec.name);
        let keys = table::keys_of(spec, args);
        let told = |k: &&KeySpec| k.flags & key::NOT_KEY == 0 && !matches!(k.begin, Begin::Unknown);
        // GEORADIUS has two words for the key to store in
        let specs = spec.keys.iter().filter(told).count().min(2);
        assert!(keys.len() >= specs && !keys.is_empty(), "{}: {keys:?}", spec.name);
        commands += 1;
        for at in &keys {
            let denied = Err(Denied { reason: Reason::Key, index: at.index });
            assert_eq!(may(&user(&all_but(args, &keys, at.index, "")), spec, args), denied, "{}", spec.name);
            let needed = Access::needed(at.flags);
            for (access, granted) in [("%R", Access::READ), ("%W", Access::WRITE), ("%RW", Access::BOTH)] {
                let enough = granted.read >= needed.read && granted.write >= needed.write;
                let wanted = if enough { Ok(()) } else { denied };
                let rules = all_but(args, &keys, at.index, access);
                assert_eq!(may(&user(&rules), spec, args), wanted, "{}: {rules}", spec.name);
                // permissions of two selectors are not added up
                let split = format!("+@all allchannels ({rules}) ({})", all_but(args, &keys, at.index, ""));
                assert_eq!(may(&user(&split), spec, args), wanted, "{}: {split}", spec.name);
            }
            tried += 1;
        }
    }
    assert!(commands > 120 && tried > commands, "{commands} commands with {tried} keys");
}

#[test]
fn a_channel_that_is_not_allowed_denies_any_command() {
    let mut found = Vec::new();
    for spec in CATALOG.rows() {
        let words = OwnedArgs::new(words_of(spec));
        let args = words.as_args();
        let (channels, are_patterns) = channels_of(spec, args);
        let all: Vec<usize> = channels.collect();
        for &one in &all {
            let others = all.iter().filter(|i| **i != one);
            let allowed: String =
                others.map(|i| format!(" &{}", String::from_utf8_lossy(args.at(*i)))).collect();
            let denied = Err(Denied { reason: Reason::Channel, index: one });
            assert_eq!(may(&user(&format!("+@all ~*{allowed}")), spec, args), denied, "{}", spec.name);
            let name = String::from_utf8_lossy(args.at(one)).into_owned();
            for (pattern, fits) in [(name.clone(), true), (format!("{}*", &name[..1]), !are_patterns)] {
                let wanted = if fits { Ok(()) } else { denied };
                let rules = format!("+@all ~*{allowed} &{pattern}");
                // a pattern of another word may match this one as well
                assert_eq!(may(&user(&rules), spec, args), wanted, "{}: {rules}", spec.name);
            }
        }
        if !all.is_empty() {
            found.push(spec.name);
        }
    }
    assert_eq!(found, ["psubscribe", "publish", "spublish", "ssubscribe", "subscribe"]);
}

#[test]
fn a_command_that_is_not_allowed_is_denied() {
    for spec in CATALOG.rows() {
        let words = OwnedArgs::new(words_of(spec));
        let args = words.as_args();
        let denied = Err(Denied { reason: Reason::Command, index: 0 });
        let lacking = if spec.has(flag::NO_AUTH) { Ok(()) } else { denied };
        assert_eq!(may(&user(&format!("+@all ~* &* -{}", spec.name)), spec, args), lacking, "{}", spec.name);
        assert_eq!(may(&user("~* &*"), spec, args), lacking, "{}", spec.name);
        for rules in
            [format!("~* &* +{}", spec.name), format!("on (~* &* +{})", spec.name), "~* &* +@all".into()]
        {
            assert_eq!(may(&user(&rules), spec, args), Ok(()), "{}: {rules}", spec.name);
        }
    }
    let (select, words) = (table::lookup(b"select").unwrap(), OwnedArgs::new(["select", "0"]));
    assert_eq!(may(&user("+select|0"), select, words.as_args()), Ok(()));
    assert!(may(&user("+select|1"), select, words.as_args()).is_err());
}

/// Of several reasons the one is told that is nearest to being none.
#[test]
fn the_reason_is_of_the_selector_that_allows_most() {
    let (mget, words) = (table::lookup(b"mget").unwrap(), OwnedArgs::new(["mget", "key", "other", "third"]));
    for (rules, reason, index) in [
        ("+get", Reason::Command, 0),
        ("+mget ~key (+mget ~key ~other)", Reason::Key, 3),
        ("+mget ~key ~other (+mget)", Reason::Key, 3),
        ("(+mget) (+get ~*)", Reason::Key, 1),
    ] {
        assert_eq!(may(&user(rules), mget, words.as_args()), Err(Denied { reason, index }), "{rules}");
    }
}

#[test]
fn sort_by_other_keys_is_for_who_may_read_all() {
    let (sort, words) = (table::lookup(b"sort").unwrap(), OwnedArgs::new(["sort", "list", "by", "v*"]));
    for (rules, all) in [
        ("(+sort ~list)", false),
        ("(+sort ~list ~v*)", false),
        ("(+sort ~list %W~*)", false),
        ("(+sort ~list %R~*)", true),
        ("+sort ~*", true),
        ("+sort ~list (+get ~*)", false),
    ] {
        assert_eq!(reads_everything(&user(rules), sort, words.as_args()), all, "{rules}");
    }
}

#[test]
fn commands_about_users() {
    let mut w = World::new();
    w.check(&[
        ("ACL USERS", "*1|$7|default|"),
        ("ACL WHOAMI", "$-1|"),
        ("ACL SETUSER \"a b\"", "-ERR Usernames can't contain spaces or null characters|"),
        ("ACL SETUSER a on ~k +get", "+OK|"),
        ("ACL LIST", "*2|$37|user a on ~k resetchannels -@all +get|$34|user default on nopass ~* &* +@all|"),
        ("ACL DRYRUN a get k", "+OK|"),
        ("ACL DRYRUN a get j", "$50|This user has no permissions to access the 'j' key|"),
    ]);
    assert_eq!(w.fx.aside.take(), Some(Aside::Configured));
    let before = w.host.live.generation();
    w.check(&[("ACL DELUSER a b", ":1|"), ("ACL GETUSER a", "$-1|")]);
    assert!(w.host.live.generation() > before, "siblings look again");
    for bits in [1, 4, 5, 256, 4096] {
        let reply = w.run(&format!("ACL GENPASS {bits}"));
        let digits = (bits as usize).div_ceil(4);
        assert_eq!(reply, format!("${digits}\r\n{}\r\n", "5a".repeat(digits)[..digits].to_owned()));
    }
}

#[test]
fn a_file_of_users_is_loaded_and_saved() {
    let mut w = World::new();
    let none = "-ERR This Redis instance is not configured to use an ACL file.";
    assert!(w.run("ACL LOAD").starts_with(none) && w.run("ACL SAVE").starts_with(none));
    w.conf.aclfile = "users.acl".into();
    w.check(&[
        ("ACL LOAD", "-ERR Error loading ACLs, opening file 'users.acl': No such file or directory|"),
        ("ACL SETUSER eve on >eve +get allkeys", "+OK|"),
        ("ACL SAVE", "+OK|"),
        ("ACL SETUSER eve off", "+OK|"),
        ("ACL LOAD", "+OK|"),
    ]);
    assert!(w.host.registers.users.snapshot().get(b"eve").unwrap().is_on());
    w.host.outside.write("users.acl", b"user eve wrong\n").unwrap();
    assert!(w.run("ACL LOAD").starts_with("-ERR users.acl:1: Syntax error. WARNING: ACL errors detected"));
    assert!(w.host.registers.users.snapshot().get(b"eve").unwrap().is_on());
    w.conf.aclfile = "/readonly/users.acl".into();
    assert!(w.run("ACL SAVE").starts_with("-ERR There was an error trying to save the ACLs."));
}
