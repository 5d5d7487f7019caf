use super::*;
use crate::command::testing::CATALOG;
use crate::config::Config;
use crate::util::proof::cases;
use proptest::prelude::*;

const TERMS: Terms = Terms { catalog: &CATALOG, all_channels: false };

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn made(rules: &[&[u8]]) -> Result<Users, String> {
    let mut users = Users::default();
    users.set(b"u", rules, &TERMS).map_err(|why| String::from_utf8_lossy(&why).into_owned())?;
    Ok(users)
}

fn described(users: &Users) -> String {
    String::from_utf8_lossy(&users.get(b"u").expect("it was made").describe(&CATALOG)).into_owned()
}

/// What Redis's ACL LIST makes of rules, and what it says to wrong ones.
#[test]
fn rules_come_back_as_they_were_meant() {
    let hash = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";
    for (rules, told) in [
        ("", "off resetchannels -@all".to_owned()),
        ("on nopass ~* &* +@all", "on nopass ~* &* +@all".into()),
        ("ON NoPass AllKeys AllChannels AllCommands", "on nopass ~* &* +@all".into()),
        ("reset", "off sanitize-payload resetchannels -@all".into()),
        ("on nopass ~* &* +@all reset", "off sanitize-payload resetchannels -@all".into()),
        ("skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all".into()),
        (
            ">a >a nopass >b <b >alice",
            "off #2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90 resetchannels -@all"
                .into(),
        ),
        (&format!("#{hash}"), format!("off #{hash} resetchannels -@all")),
        (&format!("#{hash} !{hash}"), "off resetchannels -@all".into()),
        (">a nopass resetpass", "off resetchannels -@all".into()),
        ("%R~a %W~b %rw~c ~d %R~d", "off %R~a %W~b ~c ~d resetchannels -@all".into()),
        ("%R~a %W~a %RW", "off ~a ~ resetchannels -@all".into()),
        ("%RW~* %R~a", "off %RW~* %R~a resetchannels -@all".into()),
        ("~a resetkeys ~b", "off ~b resetchannels -@all".into()),
        ("&a &b &a", "off resetchannels &a &b -@all".into()),
        ("&* resetchannels &c", "off resetchannels &c -@all".into()),
        ("+get +GET -set", "off resetchannels -@all +get".into()),
        ("+@all -get +get", "off resetchannels +@all".into()),
        ("+@all -@string", "off resetchannels +@all -@string".into()),
        ("+@Hash -hget", "off resetchannels -@all +@hash -hget".into()),
        ("+config -config|set", "off resetchannels -@all +config -config|set".into()),
        ("+client|id +client", "off resetchannels -@all +client".into()),
        ("+select|0 +select|1 +SELECT|0", "off resetchannels -@all +select|0 +select|1".into()),
        ("+select|0 +select", "off resetchannels -@all +select".into()),
        ("+debug|Object -debug", "off resetchannels -@all".into()),
        ("()", "off resetchannels -@all (resetchannels -@all)".into()),
        (
            "(~a +get ) ( ~b\t+set &c)",
            "off resetchannels -@all (~a resetchannels -@all +get) (~b resetchannels &c -@all +set)".into(),
        ),
        ("(~a) clearselectors", "off resetchannels -@all".into()),
        ("(\"open +get)", "off resetchannels -@all (resetchannels -@all)".into()),
    ] {
        assert_eq!(described(&made(&words(rules)).expect(rules)), told, "{rules}");
    }
}

#[test]
fn wrong_rules_are_refused_and_change_nothing() {
    let bad_hash = Wrong::BadHash.to_string();
    for (rules, at, why) in [
        ("nonsense", "nonsense", "Syntax error".to_owned()),
        ("+", "+", Wrong::UnknownCommand.to_string()),
        ("+nosuch", "+nosuch", Wrong::UnknownCommand.to_string()),
        ("-nosuch", "-nosuch", Wrong::UnknownCommand.to_string()),
        ("+@nosuch", "+@nosuch", Wrong::UnknownCommand.to_string()),
        ("+@all|x", "+@all|x", Wrong::UnknownCommand.to_string()),
        ("+config|nosuch", "+config|nosuch", Wrong::UnknownCommand.to_string()),
        ("+config|get|x", "+config|get|x", Wrong::ArgOfSubcommand.to_string()),
        ("+get|a|b", "+get|a|b", Wrong::UnknownCommand.to_string()),
        ("+select|", "+select|", Wrong::Syntax.to_string()),
        ("-select|0", "-select|0", Wrong::UnknownCommand.to_string()),
        ("~* ~a", "~a", Wrong::KeysAfterAll.to_string()),
        ("allkeys %R~a", "%R~a", Wrong::KeysAfterAll.to_string()),
        ("&* &a", "&a", Wrong::ChannelsAfterAll.to_string()),
        ("%~a", "%~a", "Syntax error".into()),
        ("%RR~a", "%RR~a", "Syntax error".into()),
        ("%X~a", "%X~a", "Syntax error".into()),
        ("~a\tb", "~a\tb", "Syntax error".into()),
        ("<a", "<a", Wrong::NoSuchPassword.to_string()),
        ("#12", "#12", bad_hash.clone()),
        (&format!("#{}", "G".repeat(64)), &format!("#{}", "G".repeat(64)), bad_hash),
        ("(&* &a)", "(&* &a)", Wrong::ChannelsAfterAll.to_string()),
        (")", ")", "Syntax error".into()),
    ] {
        let mut users = made(&words("on ~k +get")).unwrap();
        let before = described(&users);
        let mut all = words("off");
        all.extend(words(rules));
        let error = users.set(b"u", &all, &TERMS).unwrap_err();
        let told = format!("Error in ACL SETUSER modifier '{at}': {why}");
        assert_eq!(String::from_utf8_lossy(&error), told);
        assert_eq!(described(&users), before, "{rules}");
    }
    let open = made(&words("on (~a +get")).unwrap_err();
    assert_eq!(open, "Unmatched parenthesis in acl selector starting at '(~a'.");
}

/// Categories are told as such, wherever one begins.
#[test]
fn every_category_is_its_own_shortest_description() {
    for (bit, name) in crate::command::spec::acl::CATEGORIES {
        // nothing can be told of a category of which there is no command
        let empty = !CATALOG.rows().any(|spec| spec.acl & bit != 0);
        for (rules, rule) in [(format!("+@all -{name}"), "-"), (format!("-@all +{name}"), "+")] {
            let told = described(&made(&words(&rules)).unwrap());
            let all = if rule == "-" { "+@all" } else { "-@all" };
            let wanted = if empty { all.to_owned() } else { format!("{all} {rule}{name}") };
            assert_eq!(told, format!("off resetchannels {wanted}"));
        }
    }
}

#[test]
fn passwords_admit() {
    let users = made(&words("on >one >two")).unwrap();
    for (user, password, fits) in [
        ("u", "one", true),
        ("u", "two", true),
        ("u", "", false),
        ("v", "one", false),
        ("default", "x", true),
    ] {
        let found = users.authenticate(user.as_bytes(), password.as_bytes());
        assert_eq!(found.is_some(), fits, "{user} {password}");
    }
    assert!(made(&words("off nopass")).unwrap().authenticate(b"u", b"x").is_none());
    let mut users = Users::default();
    users.require(b"secret");
    assert!(users.authenticate(b"default", b"secret").is_some());
    assert!(users.authenticate(b"default", b"other").is_none());
    users.require(b"");
    assert!(users.the_default().takes_any_password());
}

#[test]
fn who_is_made_again_is_somebody_else() {
    let mut users = made(&words("on")).unwrap();
    let first = users.get(b"u").unwrap().id;
    users.set(b"u", &words("off"), &TERMS).unwrap();
    assert_eq!(users.get(b"u").unwrap().id, first);
    assert!(users.delete(b"u") && !users.delete(b"u") && !users.delete(b"default"));
    users.set(b"u", &[], &TERMS).unwrap();
    assert_ne!(users.get(b"u").unwrap().id, first);
    let again = file::read(&users, "f", b"user u on\nuser default off\n", &TERMS).unwrap();
    assert_ne!(again.get(b"u").unwrap().id, users.get(b"u").unwrap().id);
    assert_eq!(again.the_default().id, users.the_default().id);
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let before = made(&words("on ~k +get")).unwrap();
    let text = b"user alice on allcommands allkeys &* >alice\n\n  user bob -@all  +@set +acl ~set* (+get ~rw*) on \n";
    let users = file::read(&before, "f", text, &TERMS).unwrap();
    let names: Vec<&[u8]> = users.iter().map(|user| &user.name[..]).collect();
    assert_eq!(names, [&b"alice"[..], b"bob", b"default"]);
    let written = file::written(&users, &CATALOG);
    let text = String::from_utf8_lossy(&written).into_owned();
    assert!(
        text.contains("\nuser bob on ~set* resetchannels -@all +@set +acl (~rw* resetchannels -@all +get)\n"),
        "{text}"
    );
    assert!(text.ends_with("\nuser default on nopass ~* &* +@all\n"), "{text}");
    assert_eq!(file::written(&file::read(&users, "f", &written, &TERMS).unwrap(), &CATALOG), written);

    let end = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    for (text, errors) in [
        ("users a on", "f:1 should start with user keyword followed by the username. "),
        ("\nuser", "f:2 should start with user keyword followed by the username. "),
        ("user a\tb on", "'f:1: username 'a\tb' contains invalid characters. "),
        ("user a on\nuser a off", "WARNING: Duplicate user 'a' found on line 2. "),
        (
            "user a +nosuch +none",
            "f:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. f:1: Error in applying operation '+none': Unknown command or category name in ACL. ",
        ),
        ("user a wrong wronger\nuser b odd", "f:1: Syntax error. f:2: Syntax error. "),
        ("user a (+get", "f:1: Unmatched parenthesis in selector definition."),
    ] {
        let error = file::read(&before, "f", text.as_bytes(), &TERMS).unwrap_err();
        assert_eq!(String::from_utf8_lossy(&error), format!("{errors}{end}"), "{text}");
    }
}

#[test]
fn a_configuration_declares_users() {
    let declared = |text: &str| {
        let source = crate::config::Source::File { name: "c", text: text.as_bytes() };
        let loaded = crate::config::parse(&[source], &mut |_| Ok(Vec::new())).unwrap();
        file::declared(&loaded.config, &Terms::new(&CATALOG, &loaded.config))
    };
    let line = |users: &Users, name: &str| {
        String::from_utf8_lossy(&users.get(name.as_bytes()).unwrap().describe(&CATALOG)).into_owned()
    };
    let users = declared("user default on nopass ~* +@all -flushdb\nuser a (+get ~a b) on").unwrap_err();
    assert!(
        users.contains("line 2") && users.contains("Error in user declaration '(+get ~a b)': Syntax error"),
        "{users}"
    );
    let users = declared(
        "acl-pubsub-default allchannels\nuser default on nopass ~* +@all -flushdb\nuser a (+get ~a) on",
    )
    .unwrap();
    assert_eq!(line(&users, "default"), "on nopass sanitize-payload ~* &* +@all -flushdb");
    assert_eq!(line(&users, "a"), "on &* -@all (~a &* -@all +get)");
    let users = declared("requirepass alice").unwrap();
    let hash = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";
    assert_eq!(line(&users, "default"), format!("on #{hash} ~* &* +@all"));
    for (text, why) in [
        ("user a on\nuser a off", "Error in user declaration 'a': Duplicate user found."),
        ("user a +nosuch", "Error in user declaration '+nosuch': Unknown command or category name in ACL"),
        ("user a (+get", "Unmatched parenthesis"),
        ("user \"a b\" on", "Spaces not allowed in ACL usernames"),
        ("user a on\naclfile x", "define either an ACL file or declare users directly"),
    ] {
        let error = declared(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    assert!(declared("aclfile x").is_ok());
    assert_eq!(Config::default().users, []);
}

#[test]
fn channels_that_are_kept_disturb_nobody() {
    let user = |rules: &str| made(&words(rules)).unwrap().get(b"u").unwrap().clone();
    for (before, after, kept) in [
        ("&a &b", "&a &b &c", true),
        ("&a &b", "&a", false),
        ("&a", "(&a)", true),
        ("(&a) (&b)", "&b", false),
        ("&*", "&a", false),
        ("&*", "(&*)", true),
        ("&a", "&*", true),
        ("on", "off", true),
    ] {
        assert_eq!(user(after).keeps_channels_of(&user(before)), kept, "{before} -> {after}");
    }
    let u = user("&news:* (&x)");
    for (name, pattern, fits) in [
        ("news:1", false, true),
        ("news:*", true, true),
        ("news:1", true, false),
        ("x", false, true),
        ("y", false, false),
    ] {
        assert_eq!(u.may_hear(name.as_bytes(), pattern), fits, "{name}");
    }
}

/// A word of ACL SETUSER that a line can hold.
fn rule() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = CATALOG.rows().map(|spec| spec.name).collect();
    let categories: Vec<&'static str> =
        crate::command::spec::acl::CATEGORIES.iter().map(|(_, name)| *name).collect();
    let first_args = ["select", "debug", "get"];
    prop_oneof![
        (any::<bool>(), proptest::sample::select(names))
            .prop_map(|(add, name)| format!("{}{name}", if add { '+' } else { '-' })),
        (any::<bool>(), proptest::sample::select(categories))
            .prop_map(|(add, name)| format!("{}{name}", if add { '+' } else { '-' })),
        (proptest::sample::select(first_args.to_vec()), "[a-z0-9]{1,3}")
            .prop_map(|(name, arg)| format!("+{name}|{arg}")),
        proptest::sample::select(vec![
            "on",
            "off",
            "nopass",
            "resetpass",
            "+@all",
            "-@all",
            "allkeys",
            "resetkeys",
            "allchannels",
            "resetchannels",
            "reset",
            "sanitize-payload",
            "skip-sanitize-payload",
            "clearselectors",
        ])
        .prop_map(str::to_owned),
        "~[a-z*?]{0,3}",
        "%(R|W|RW)~[a-z*]{0,3}",
        "&[a-z*]{0,3}",
        ">[a-z]{0,3}",
    ]
}

/// Rules, some of them in parentheses.
fn rules() -> impl Strategy<Value = Vec<String>> {
    let selector = proptest::collection::vec(rule(), 0..4).prop_map(|rules| format!("({})", rules.join(" ")));
    proptest::collection::vec(prop_oneof![4 => rule(), 1 => selector], 0..12)
}

proptest! {
    #![proptest_config(cases(256))]

    /// A user's line makes the same user again; rules that contradict others are left out first.
    #[test]
    fn a_line_makes_the_same_user(rules in rules()) {
        let mut users = Users::default();
        for rule in &rules {
            let _ = users.set(b"u", &[rule.as_bytes()], &TERMS);
        }
        if users.get(b"u").is_none() {
            return Ok(());
        }
        let line = users.get(b"u").unwrap().describe(&CATALOG);
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        users.set(b"v", &words, &TERMS).unwrap();
        let (u, v) = (users.get(b"u").unwrap(), users.get(b"v").unwrap());
        prop_assert_eq!(v.describe(&CATALOG), line.clone());
        prop_assert_eq!(u.is_unrestricted(), v.is_unrestricted());
        for (a, b) in u.selectors().iter().zip(v.selectors()) {
            prop_assert_eq!((&a.keys, &a.channels, a.all_keys, a.all_channels), (&b.keys, &b.channels, b.all_keys, b.all_channels));
            for spec in CATALOG.rows() {
                for first in [None, Some(&b"0"[..]), Some(b"a")] {
                    prop_assert_eq!(a.allows_command(spec, first), b.allows_command(spec, first), "{}", spec.name);
                }
            }
        }
        // and so does a file
        let text = file::written(&users, &CATALOG);
        let read = file::read(&users, "f", &text, &TERMS).unwrap();
        prop_assert_eq!(file::written(&read, &CATALOG), text);
    }

    #[test]
    fn any_bytes_are_rules_or_are_refused(
        words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..6),
        signs in proptest::collection::vec(proptest::sample::select(b"~%&+-><#!()@|\0".to_vec()), 6),
    ) {
        let words: Vec<Vec<u8>> = words.into_iter().zip(signs).map(|(word, sign)| [&[sign][..], &word].concat()).collect();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut users = Users::default();
        let _ = users.set(b"u", &words, &TERMS);
        let text = file::written(&users, &CATALOG);
        let _ = file::read(&users, "f", &text, &TERMS);
        let _ = file::read(&users, "f", &words.join(&b' '), &TERMS);
    }
}

#[test]
fn names_are_looked_up_without_regard_to_case() {
    assert_eq!((CATALOG.find)(b"Config|GET").map(|spec| spec.name), Some("config|get"));
    assert_eq!(rules::category(b"SortedSet"), Some(crate::command::spec::acl::SORTEDSET));
    assert_eq!(rules::category(b"all"), None);
}
