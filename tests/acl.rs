//! Users of a host: one change reaches all shards, files and restarts keep them, and what they are denied is told.

mod common;

use common::client::Client;
use common::server::{Server, Shape};
use common::wait_for;
use std::net::TcpListener;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// A key of each shard of a host of two.
fn keys(server: &Server) -> [String; 2] {
    let mut clients = [server.own_client(0), server.own_client(1)];
    [0, 1].map(|shard| {
        let own = |n: &u32| !clients[shard].cmd(&format!("GET k:{n}")).text().contains("MOVED");
        format!("k:{}", (0..).find(own).expect("some key is its own"))
    })
}

/// A reply; of an array, all that is in it, with blanks between.
fn said(client: &mut Client, command: &str) -> String {
    let reply = client.cmd(command);
    if !reply.raw.starts_with(b"*") {
        return reply.text();
    }
    let raw = String::from_utf8_lossy(&reply.raw).into_owned();
    let told = raw.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with(['*', '$']));
    told.map(|line| line.trim_start_matches(['+', '-', ':'])).collect::<Vec<_>>().join(" ")
}

/// Whether the other end has hung up.
fn is_cut_off(client: &mut Client) -> bool {
    client.call(&["PING"]).is_err()
}

fn login(mut client: Client, user: &str) -> Client {
    assert_eq!(said(&mut client, &format!("AUTH {user} pw")), "OK");
    client
}

/// SETUSER on one shard holds on the other with the next command, whatever door clients came by.
#[test]
fn a_change_reaches_all_shards_at_once() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let keys = keys(&server);
    let mut admins = [server.client(), server.own_client(0), server.own_client(1)];
    assert_eq!(said(&mut admins[1], "ACL SETUSER u on >pw ~* &* +@all"), "OK");
    let mut users: Vec<Client> = (0..6)
        .map(|n| {
            login(
                match n % 3 {
                    0 => server.client(),
                    1 => server.own_client(0),
                    _ => server.own_client(1),
                },
                "u",
            )
        })
        .collect();
    for round in 0..30 {
        let admin = &mut admins[round % 3];
        for (rule, get, allowed) in [
            ("-get", "GET", false),
            ("+get", "GET", true),
            ("resetkeys ~none", "SET", false),
            ("~*", "GET", true),
        ] {
            let rule = if rule == "~*" { "allkeys" } else { rule };
            assert_eq!(said(admin, &format!("ACL SETUSER u {rule}")), "OK");
            for client in &mut users {
                for key in &keys {
                    let words = if get == "GET" { format!("GET {key}") } else { format!("SET {key} v") };
                    let reply = said(client, &words);
                    assert_eq!(reply.contains("NOPERM"), !allowed, "{rule}: {words}: {reply}");
                }
            }
        }
    }
    // who is deleted is gone, and is nobody's user when the name is given again
    assert_eq!(said(&mut admins[2], "ACL DELUSER u"), "1");
    assert_eq!(said(&mut admins[0], "ACL SETUSER u on >pw +@all ~*"), "OK");
    users.iter_mut().for_each(|client| assert!(is_cut_off(client)));
    let left = said(&mut admins[0], "CLIENT LIST");
    assert!(!left.contains("user=u "), "{left}");
}

/// A command is asked for where its client is, and not again where its keys are.
#[test]
fn forwarded_and_borrowed_commands_are_denied_as_others() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let [a, b] = keys(&server);
    let mut admin = server.client();
    let rules = format!("on >pw ~{a} %R~{b} +@all resetchannels &ch");
    assert_eq!(said(&mut admin, &format!("ACL SETUSER u {rules}")), "OK");
    assert_eq!(said(&mut admin, &format!("MSET {a} 1 {b} 2")), "OK");
    for client in &mut [login(server.client(), "u"), login(server.client(), "u")] {
        let denied = "NOPERM this user has no permissions to access one of the keys used as arguments";
        assert_eq!(said(client, &format!("MGET {a} {b}")), "1 2");
        for words in [
            format!("MSET {a} 1 {b} 2"),
            format!("DEL {a} {b}"),
            format!("SET {b} x"),
            format!("RENAME {a} {b}"),
            format!("SUNIONSTORE {b} {a}"),
            format!("MGET {a} other"),
            "WATCH other".to_owned(),
        ] {
            assert_eq!(said(client, &words), denied, "{words}");
        }
        assert_eq!(said(client, "MULTI"), "OK");
        assert_eq!(said(client, &format!("SET {a} 1")), "QUEUED");
        assert_eq!(said(client, &format!("GET {b}")), "QUEUED");
        assert_eq!(said(client, "EXEC"), "OK 2");
        assert_eq!(said(client, "MULTI"), "OK");
        assert_eq!(said(client, &format!("GET {a}")), "QUEUED");
        assert_eq!(said(client, &format!("SET {b} 1")), denied);
        assert!(said(client, "EXEC").starts_with("EXECABORT"));
        assert_eq!(
            said(client, "PUBLISH other x"),
            "NOPERM this user has no permissions to access one of the channels used as arguments"
        );
    }
    // rules that change before EXEC, on a transaction that borrows from the other shard
    let mut client = login(server.client(), "u");
    assert_eq!(said(&mut client, "MULTI"), "OK");
    for words in [format!("GET {a}"), format!("GET {b}")] {
        assert_eq!(said(&mut client, &words), "QUEUED");
    }
    assert_eq!(said(&mut admin, &format!("ACL SETUSER u resetkeys ~{a}")), "OK");
    let reply = said(&mut client, "EXEC");
    assert!(
        reply.starts_with("1 NOPERM ACLs rules changed")
            && reply.ends_with("no permission to touch the specified keys"),
        "{reply}"
    );
}

/// A script may do what its user may, on whatever shard its keys are.
#[test]
fn scripts_do_what_their_users_may() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let keys = keys(&server);
    let mut admin = server.client();
    assert_eq!(
        said(&mut admin, "ACL SETUSER u on >pw ~k:* %R~r:* -@all +eval +fcall +get +acl|whoami &ch"),
        "OK"
    );
    let library = "#!lua name=lib\nredis.register_function('put', function(k, a) return redis.call('SET', k[1], a[1]) end)";
    assert_eq!(admin.call(&["FUNCTION", "LOAD", library]).expect("a reply").text(), "lib");
    let run = |client: &mut Client, code: &str, key: &str| {
        client.call(&["EVAL", code, "1", key, "x"]).expect("a reply").text()
    };
    for key in &keys {
        assert_eq!(said(&mut admin, &format!("SET {key} here")), "OK");
        let mut user = login(server.client(), "u");
        for (code, starts) in [
            ("return redis.call('GET', KEYS[1])", "here"),
            (
                "return redis.call('SET', KEYS[1], 'x')",
                "ERR The user executing the script can't run this command",
            ),
            (
                "return redis.call('GET', 'no:' .. KEYS[1])",
                "ERR The user executing the script can't access at least one",
            ),
            (
                "return redis.call('SORT', KEYS[1])",
                "ERR The user executing the script can't run this command",
            ),
            (
                "return redis.call('PUBLISH', 'other', 'x')",
                "ERR The user executing the script can't run this command",
            ),
            ("return tostring(redis.acl_check_cmd('GET', KEYS[1]))", "true"),
            ("return tostring(redis.acl_check_cmd('SET', KEYS[1], 'x'))", "false"),
            (
                "return redis.pcall('SET', KEYS[1], 'x').err",
                "ERR The user executing the script can't run this command",
            ),
        ] {
            let reply = run(&mut user, code, key);
            assert!(reply.starts_with(starts), "{code}: {reply}");
        }
        let reply = said(&mut user, &format!("FCALL put 1 {key} x"));
        assert!(reply.contains("can't run this command"), "{reply}");
        assert_eq!(said(&mut admin, &format!("GET {key}")), "here");
    }
    let log = said(&mut admin, "ACL LOG");
    assert!(log.contains("lua") && log.contains("user=u"), "{log}");
    assert_eq!(said(&mut admin, "ACL SETUSER u +set +publish"), "OK");
    for key in &keys {
        let mut user = login(server.client(), "u");
        assert_eq!(run(&mut user, "return redis.call('SET', KEYS[1], ARGV[1])", key), "OK");
        assert_eq!(said(&mut admin, &format!("GET {key}")), "x");
        let reply = run(&mut user, "return redis.call('PUBLISH', 'other', 'x')", key);
        assert!(reply.starts_with("ERR The user executing the script can't publish"), "{reply}");
    }
}

/// Those who listen to what is no longer for them are cut off, on every shard; others hear on.
#[test]
fn listeners_lose_what_they_may_no_longer_hear() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let mut admin = server.client();
    assert_eq!(said(&mut admin, "ACL SETUSER u on >pw +@all resetchannels &a &b* &s"), "OK");
    let doors = |server: &Server| vec![server.client(), server.own_client(0), server.own_client(1)];
    let listen = |words: &str| -> Vec<Client> {
        let mut clients: Vec<Client> = doors(&server).into_iter().map(|client| login(client, "u")).collect();
        for client in &mut clients {
            client.cmd(words);
        }
        clients
    };
    let (mut by_name, mut by_pattern, mut kept) =
        (listen("SUBSCRIBE b1"), listen("PSUBSCRIBE b*"), listen("SUBSCRIBE a"));
    assert_eq!(said(&mut admin, "ACL SETUSER u &c"), "OK");
    assert_eq!(said(&mut admin, "ACL SETUSER u resetchannels &a &b* &s &d"), "OK");
    for client in by_name.iter_mut().chain(&mut by_pattern).chain(&mut kept) {
        assert!(!is_cut_off(client), "nothing was taken from it");
    }
    assert_eq!(said(&mut admin, "ACL SETUSER u resetchannels &a"), "OK");
    by_name.iter_mut().chain(&mut by_pattern).for_each(|client| assert!(is_cut_off(client)));
    kept.iter_mut().for_each(|client| assert!(!is_cut_off(client)));
}

#[test]
fn clients_are_found_by_their_user() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let mut admin = server.client();
    for user in ["u", "v"] {
        assert_eq!(said(&mut admin, &format!("ACL SETUSER {user} on >pw +@all ~*")), "OK");
    }
    let mut us: Vec<Client> = (0..4).map(|_| login(server.client(), "u")).collect();
    let mut v = login(server.client(), "v");
    let listed = |admin: &mut Client, user: &str| {
        said(admin, "CLIENT LIST").matches(&format!(" user={user} ")).count()
    };
    assert_eq!((listed(&mut admin, "u"), listed(&mut admin, "v")), (4, 1));
    assert!(said(&mut admin, "CLIENT INFO").contains(" user=default "));
    assert_eq!(said(&mut admin, "CLIENT KILL USER nobody"), "ERR No such user 'nobody'");
    assert_eq!(said(&mut admin, "CLIENT KILL USER u"), "4");
    us.iter_mut().for_each(|client| assert!(is_cut_off(client)));
    assert!(!is_cut_off(&mut v));
}

/// The log is the host's, and has who, what, where and how often; INFO counts.
#[test]
fn denials_are_logged_and_counted() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let [a, b] = keys(&server);
    let mut admin = server.client();
    assert_eq!(
        said(&mut admin, "ACL SETUSER u on >pw ~none +get +publish +multi +exec +auth resetchannels"),
        "OK"
    );
    let mut clients = [login(server.client(), "u"), login(server.own_client(0), "u")];
    for client in &mut clients {
        client.cmd("SET x y");
        client.cmd(&format!("GET {a}"));
        client.cmd("PUBLISH ch x");
    }
    let mut other = server.client();
    other.cmd("AUTH u wrong");
    other.cmd("HELLO 2 AUTH u wrong");
    clients[0].cmd("MULTI");
    clients[0].cmd(&format!("GET {b}"));
    let log = said(&mut admin, "ACL LOG");
    for (count, reason, context, object) in [
        (2, "command", "toplevel", "set"),
        (2, "key", "toplevel", a.as_str()),
        (2, "channel", "toplevel", "ch"),
        (1, "auth", "toplevel", "AUTH"),
        (1, "auth", "toplevel", "HELLO"),
        (1, "key", "multi", b.as_str()),
    ] {
        let entry =
            format!("count {count} reason {reason} context {context} object {object} username u age-seconds");
        assert!(log.contains(&entry), "{entry} in {log}");
    }
    assert!(log.contains("client-info id=") && log.contains(" user=u "), "{log}");
    let info = said(&mut admin, "INFO stats");
    for figure in ["auth:2", "cmd:2", "key:3", "channel:2"] {
        assert!(info.contains(&format!("acl_access_denied_{figure}\r\n")), "{figure} in {info}");
    }
    assert_eq!(said(&mut admin, "CONFIG SET acllog-max-len 3"), "OK");
    clients[1].cmd("GET another");
    assert_eq!(said(&mut admin, "ACL LOG").matches("count ").count(), 3);
    assert_eq!(said(&mut admin, "ACL LOG 1").matches("count ").count(), 1);
    assert_eq!(said(&mut server.own_client(1), "ACL LOG RESET"), "OK");
    assert_eq!(said(&mut admin, "ACL LOG"), "");
}

/// What SAVE writes is what a start and LOAD read; a file that is wrong changes nothing.
#[test]
fn a_file_keeps_users_over_restarts() {
    let mut server = Server::shoal(Shape::Standalone(1), &[]);
    server.terminate();
    let path = server.dir.0.join("users.acl");
    std::fs::write(
        &path,
        "user default on nopass ~* &* +@all\nuser bob on >pw -@all +@set +acl ~set* (+get ~rw*)\n",
    )
    .unwrap();
    server.start_again(&["--aclfile", "users.acl", "--shards", "2"]);
    let mut bob = login(server.client(), "bob");
    assert_eq!(said(&mut bob, "SADD set:1 a"), "1");
    assert_eq!(said(&mut bob, "GET rw1"), "");
    assert!(said(&mut bob, "GET set:1").contains("NOPERM"));
    let mut admin = server.client();
    assert_eq!(said(&mut admin, "ACL SETUSER eve on >pw +get allkeys"), "OK");
    assert_eq!(said(&mut admin, "ACL SAVE"), "OK");
    let before = said(&mut admin, "ACL LIST");
    assert_eq!(said(&mut admin, "ACL SETUSER eve -get"), "OK");
    assert_eq!(said(&mut admin, "ACL SETUSER mallory on nopass +@all ~*"), "OK");
    // LOAD ends everybody's connection but the default user's
    assert_eq!(said(&mut admin, "ACL LOAD"), "OK");
    assert_eq!(said(&mut admin, "ACL LIST"), before);
    assert!(is_cut_off(&mut bob));
    assert_eq!(said(&mut login(server.client(), "eve"), "GET x"), "");

    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&good[..], b"user eve off\nuser default off\n"].concat()).unwrap();
    let refused = said(&mut admin, "ACL LOAD");
    assert!(
        refused.contains("Duplicate user 'eve' found on line 4")
            && refused.contains("Duplicate user 'default'"),
        "{refused}"
    );
    assert_eq!(said(&mut admin, "ACL LIST"), before);
    std::fs::write(&path, good).unwrap();
    server.terminate();
    server.start_again(&["--aclfile", "users.acl", "--shards", "2"]);
    assert_eq!(said(&mut server.client(), "ACL LIST"), before);
}

/// `user` lines of the configuration hold from the first connection on, and REWRITE keeps what has become of them.
#[test]
fn the_configuration_declares_users_and_keeps_them() {
    let mut server = Server::shoal(Shape::Standalone(1), &[]);
    server.terminate();
    let conf = server.dir.0.join("shoal.conf");
    let port = server.port();
    let dir = server.dir.0.display().to_string();
    std::fs::write(
        &conf,
        format!("port {port}\ndir {dir}\nsave \"\"\nshards 2\nuser default on nopass ~* &* +@all -flushdb\nuser bob on >pw +@read (+set ~w*)\n"),
    )
    .unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(common::server::shoal_bin());
        common::server::spawn(command.args(args), &server.dir.0)
    };
    let file = conf.display().to_string();
    let started = |file: &str| {
        let free = || TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(());
        assert!(wait_for(SOON, free).is_some(), "the port stays in use");
        let child = run(&[file]);
        let up = wait_for(SOON, || Client::connect(port).ok()?.call(&["PING"]).ok());
        assert!(up.is_some(), "it starts");
        child
    };
    let mut child = started(&file);
    let mut admin = server.client();
    assert!(
        said(&mut admin, "FLUSHDB")
            .starts_with("NOPERM this user has no permissions to run the 'flushdb' command")
    );
    assert_eq!(said(&mut admin, "ACL SETUSER carol on >pw +get ~c*"), "OK");
    let before = said(&mut admin, "ACL LIST");
    assert_eq!(said(&mut admin, "CONFIG REWRITE"), "OK");
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&conf).unwrap();
    assert!(text.contains("\nuser carol on #") && text.matches("\nuser ").count() == 3, "{text}");
    let mut child = started(&file);
    assert_eq!(said(&mut server.client(), "ACL LIST"), before);
    child.kill().unwrap();
    child.wait().unwrap();

    let number = port.to_string();
    for (args, why) in [
        (&["--user", "foo", "--user", "foo"][..], "Duplicate user"),
        (&["--user", "foo", "wrong"], "Error in user declaration 'wrong': Syntax error"),
        (&["--user", "foo", "on", "--aclfile", "x"], "but not both"),
        (&["--aclfile", "nosuch"], "Error loading ACLs, opening file 'nosuch': No such file or directory"),
    ] {
        let args = [&["--port", &number, "--dir", &dir], args].concat();
        let mut child = run(&args);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{args:?}");
        assert!(server.log().contains(why), "{args:?}: {}", server.log());
    }
}

/// Nothing is asked of connections that were there before a password, and everything of those that come.
#[test]
fn the_default_user_and_requirepass_are_one() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let mut old = server.own_client(1);
    let mut admin = server.client();
    assert_eq!(said(&mut admin, "CONFIG SET requirepass pw"), "OK");
    assert_eq!(said(&mut old, "PING"), "PONG");
    let mut new = server.own_client(1);
    assert_eq!(said(&mut new, "PING"), "NOAUTH Authentication required.");
    assert_eq!(said(&mut new, "AUTH pw"), "OK");
    assert_eq!(said(&mut admin, "ACL SETUSER default off"), "OK");
    assert_eq!(said(&mut old, "PING"), "PONG");
    assert!(said(&mut server.client(), "AUTH pw").starts_with("WRONGPASS"));
    assert_eq!(said(&mut admin, "ACL SETUSER default on nopass"), "OK");
    assert_eq!(said(&mut server.own_client(0), "PING"), "PONG");
}

#[test]
fn commands_have_the_names_that_the_configuration_gives_them() {
    let words = "--appendonly yes --rename-command CONFIG hush --rename-command FLUSHALL EMPTY --rename-command GET fetch \
                 --rename-command SET put";
    let mut args: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
    let at = args.iter().position(|word| *word == "EMPTY").expect("it is there");
    args[at] = "";
    let mut server = Server::shoal(Shape::Host(2), &args);
    let mut client = server.client();
    assert_eq!(said(&mut client, "ACL SETUSER u on >pw ~* +get"), "OK");
    for (command, reply) in [
        ("CONFIG GET port", "ERR unknown command 'CONFIG', with args beginning with: 'GET' 'port' "),
        ("HUSH GET timeout", "timeout 0"),
        ("hush nosuch", "ERR unknown subcommand 'nosuch'. Try CONFIG HELP."),
        ("hush", "ERR wrong number of arguments for 'config' command"),
        ("FLUSHALL", "ERR unknown command 'FLUSHALL', with args beginning with: "),
        ("put a 1", "OK"),
        ("put b 2", "OK"),
        ("put c 3", "OK"),
        ("set a 2", "ERR unknown command 'set', with args beginning with: 'a' '2' "),
        ("get a", "ERR unknown command 'get', with args beginning with: 'a' "),
        ("MULTI", "OK"),
        ("fetch a", "QUEUED"),
        ("fetch b", "QUEUED"),
        ("EXEC", "1 2"),
        ("MULTI", "OK"),
        ("fetch a", "QUEUED"),
        ("get a", "ERR unknown command 'get', with args beginning with: 'a' "),
        ("EXEC", "EXECABORT Transaction discarded because of previous errors."),
        ("AUTH u pw", "OK"),
        ("fetch c", "3"),
        ("put c 4", "NOPERM this user has no permissions to run the 'set' command"),
    ] {
        assert_eq!(said(&mut client, command), reply, "{command}");
    }
    server.terminate();
    server.start_again(&[]);
    let mut client = server.client();
    assert_eq!(["a", "b", "c"].map(|key| said(&mut client, &format!("fetch {key}"))), ["1", "2", "3"]);
    assert_eq!(said(&mut client, "GET a"), "ERR unknown command 'GET', with args beginning with: 'a' ");
}

/// A replica logs in as its `masteruser`, and what it is sent is nobody's command: its own users' rules do not touch it.
#[test]
fn a_replicas_link_has_no_user_of_its_own() {
    let primary = Server::shoal(Shape::Standalone(1), &["--repl-diskless-sync-delay", "0"]);
    let mut there = primary.client();
    assert_eq!(said(&mut there, "ACL SETUSER copy on >pw +psync +replconf +ping"), "OK");
    assert_eq!(said(&mut there, "ACL SETUSER default resetpass >secret"), "OK");
    assert_eq!(said(&mut there, "SET before 1"), "OK");
    let port = primary.port().to_string();
    let replica = Server::shoal(
        Shape::Standalone(1),
        &["--replicaof", "127.0.0.1", &port, "--masteruser", "copy", "--masterauth", "pw"],
    );
    let mut here = replica.client();
    assert_eq!(said(&mut here, "ACL SETUSER default -@all +get +ping +acl"), "OK");
    assert_eq!(said(&mut there, "SET after 2"), "OK");
    for (key, value) in [("before", "1"), ("after", "2")] {
        let copied = || (said(&mut here, &format!("GET {key}")) == value).then_some(());
        assert!(wait_for(SOON, copied).is_some(), "{key}");
    }
    assert!(said(&mut here, "SET a b").starts_with("NOPERM"));
}
