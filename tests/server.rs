//! Shoal as its users meet it: a program with a command line, exit codes, ports and clients.

mod common;

use std::process::{Command, Output};
use std::time::Duration;

use common::client::Client;
use common::ports::Ports;
use common::resp::{Reply, encode};
use common::server::{Server, Shape, TempDir, run, shoal_bin, stand_in};
use common::{long, python, wait_for};

const READY: &str = "Ready to accept connections";

/// Runs Shoal with these arguments to its end, which must come by itself.
fn to_its_end(args: &[&str]) -> Output {
    let dir = TempDir::new();
    let mut child = common::server::spawn(Command::new(shoal_bin()).args(args).current_dir(&dir.0), &dir.0);
    let status = wait_for(Duration::from_secs(10), || child.try_wait().expect("a child's state"));
    let Some(status) = status else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("shoal {args:?} did not end; it said:\n{}", common::server::read_log(&dir.0));
    };
    let said = common::server::read_log(&dir.0);
    assert!(!said.contains("panicked at"), "shoal {args:?} panicked:\n{said}");
    Output { status, stdout: said.into_bytes(), stderr: Vec::new() }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_says_when_it_is_ready_and_ends_with_sigterm() {
    for shape in [Shape::Standalone(1), Shape::Standalone(2), Shape::Host(1), Shape::Host(2), Shape::Node] {
        let mut server = Server::shoal(shape, &[]);
        assert!(server.log().trim_end().lines().any(|line| line.ends_with(READY)), "{}", server.log());
        server.client().cmd("SET key value");
        let idle = server.client();
        let status = server.terminate();
        assert_eq!(status.code(), Some(0), "{shape:?}: {status}; it said:\n{}", server.log());
        assert!(!server.log().contains("panicked at"), "{}", server.log());
        drop(idle);
        let again = Client::connect(server.port());
        assert!(again.is_err(), "{shape:?}: the port is still open");
    }
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let first = Server::shoal(Shape::Standalone(1), &[]);
    let port = first.port().to_string();
    let dir = TempDir::new();
    let output = to_its_end(&["--port", &port, "--dir", &dir.0.to_string_lossy(), "--cluster-enabled", "no"]);
    assert!(!output.status.success());
    let text = said(&output);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("in use")).collect();
    assert!(lines.iter().all(|line| line.contains(&port)) && !lines.is_empty(), "no clear line:\n{text}");
    assert!(lines.len() == 1 || stand_in(), "more than one line:\n{text}");
    assert_eq!(first.client().cmd("PING").text(), "PONG");
}

#[test]
fn a_siblings_port_in_use_is_refused_too() {
    if stand_in() {
        return;
    }
    let ports = Ports::take();
    let _holder = std::net::TcpListener::bind(("0.0.0.0", ports.base + 2)).expect("a free port");
    let dir = TempDir::new();
    let port = ports.base.to_string();
    let output = to_its_end(&["--port", &port, "--shards", "2", "--dir", &dir.0.to_string_lossy()]);
    assert!(!output.status.success());
    let taken = (ports.base + 2).to_string();
    let text = said(&output);
    assert!(text.lines().any(|line| line.contains("in use") && line.contains(&taken)), "{text}");
}

#[test]
fn wrong_directives_are_refused() {
    for args in
        [["--nosuchdirective", "1"], ["--port", "abc"], ["--port", "99999999"], ["--maxmemory", "lots"]]
    {
        let output = to_its_end(&args);
        assert!(!output.status.success(), "{args:?} was taken");
        let text = said(&output);
        assert!(text.contains(args[0].trim_start_matches('-')), "{args:?} is not named:\n{text}");
    }
}

#[test]
fn a_wrong_line_of_a_file_is_named() {
    let dir = TempDir::new();
    let path = dir.0.join("wrong.conf");
    std::fs::write(&path, "# fine\nport 0\n\nnosuchdirective yes\n").expect("a file");
    let output = to_its_end(&[&path.to_string_lossy()]);
    assert!(!output.status.success());
    let text = said(&output);
    assert!(text.contains("nosuchdirective") && text.contains('4'), "line 4 is not named:\n{text}");
    let output = to_its_end(&[&dir.0.join("missing.conf").to_string_lossy()]);
    assert!(!output.status.success());
    assert!(said(&output).contains("missing.conf"), "{}", said(&output));
}

#[test]
fn a_file_and_the_command_line_go_together() {
    let dir = TempDir::new();
    let path = dir.0.join("some.conf");
    std::fs::write(&path, "timeout 77\nmaxmemory 100mb\nsave \"\"\n").expect("a file");
    let ports = Ports::take();
    let (file, port) = (path.to_string_lossy().into_owned(), ports.base.to_string());
    let mut command = Command::new(shoal_bin());
    command.args([&file, "--port", &port, "--timeout", "88", "--dir"]).arg(&dir.0);
    let mut child = common::server::spawn(&mut command, &dir.0);
    let client = wait_for(Duration::from_secs(20), || Client::connect(ports.base).ok());
    let mut answers = Vec::new();
    if let Some(mut client) = client {
        answers = vec![client.cmd("CONFIG GET timeout"), client.cmd("CONFIG GET maxmemory")];
    }
    let _ = child.kill();
    let _ = child.wait();
    let values: Vec<Option<Vec<u8>>> = answers.iter().map(|reply| reply.items()[1].clone()).collect();
    assert_eq!(values, [Some(b"88".to_vec()), Some(b"104857600".to_vec())]);
}

#[test]
fn version_help_and_check_config_only_speak() {
    let version = to_its_end(&["--version"]);
    assert!(version.status.success(), "{}", said(&version));
    if stand_in() {
        return;
    }
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")), "{}", said(&version));
    let help = to_its_end(&["--help"]);
    assert!(help.status.success());
    for word in ["--shards", "--port", "--check-config", "--version"] {
        assert!(said(&help).contains(word), "{word} is not in the help:\n{}", said(&help));
    }
    let ports = Ports::take();
    let port = ports.base.to_string();
    let good = to_its_end(&["--port", &port, "--maxmemory", "10mb", "--check-config"]);
    assert!(good.status.success(), "{}", said(&good));
    assert!(!said(&good).contains(READY));
    let bad = to_its_end(&["--port", &port, "--maxmemory", "lots", "--check-config"]);
    assert!(!bad.status.success(), "{}", said(&bad));
}

#[test]
fn info_names_the_process() {
    let server = Server::shoal(Shape::Standalone(1), &[]);
    let info = server.client().cmd("INFO server").text();
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {name} in:\n{info}"))
    };
    assert_eq!(field("process_id"), server.pid().to_string());
    assert_eq!(field("tcp_port"), server.port().to_string());
    assert!(field("redis_version").starts_with("7."));
}

#[test]
fn a_classic_node_starts_without_slots() {
    let server = Server::shoal(Shape::Node, &[]);
    let mut client = server.client();
    assert!(client.cmd("CLUSTER INFO").text().contains("cluster_state:fail"));
    assert_eq!(client.cmd("SET key value").text(), "CLUSTERDOWN Hash slot not served");
}

/// Writes all requests from a thread of its own, so that neither side waits for the other.
fn pipeline(client: &mut Client, requests: Vec<Vec<u8>>) -> Vec<Reply> {
    let count = requests.len();
    let bytes = requests.concat();
    let mut writer = client.stream.try_clone().expect("a second handle");
    let thread = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes));
    let replies = (0..count).map(|i| client.read().unwrap_or_else(|e| panic!("reply {i}: {e}"))).collect();
    thread.join().expect("the writer").expect("all is written");
    replies
}

fn front_door_or_stand_in() -> Server {
    // the stand-in has no front door; as a standalone server it takes any keys just so
    Server::shoal(if stand_in() { Shape::Standalone(1) } else { Shape::Host(2) }, &[])
}

#[test]
fn replies_keep_their_order_over_two_shards() {
    let server = front_door_or_stand_in();
    let mut client = server.client();
    let rounds = if long() { 200_000 } else { 20_000 };
    let mut requests = Vec::new();
    for i in 0..rounds {
        let (key, value) = (format!("key:{}", i % 1000), i.to_string());
        requests.push(encode(&["SET", &key, &value]));
        requests.push(encode(&["GET", &key]));
        requests.push(encode(&["ECHO", &value]));
    }
    let replies = pipeline(&mut client, requests);
    for (i, three) in replies.chunks(3).enumerate() {
        let want = i.to_string();
        let got = [three[0].text(), three[1].text(), three[2].text()];
        assert_eq!(got, ["OK", &want, &want], "at request {i}");
    }
}

#[test]
fn errors_and_large_values_keep_their_places() {
    let server = front_door_or_stand_in();
    let mut client = server.client();
    let large = "x".repeat(300_000);
    let mut requests = Vec::new();
    for i in 0..300 {
        let key = format!("key:{i}");
        requests.push(encode(&["SET", &key, &large]));
        requests.push(encode(&["LPUSH", &key, "wrong type"]));
        requests.push(encode(&["NOSUCH", &key]));
        requests.push(encode(&["STRLEN", &key]));
        requests.push(encode(&["GET", &key]));
        requests.push(encode(&["DEL", &key]));
    }
    let replies = pipeline(&mut client, requests);
    for six in replies.chunks(6) {
        let texts: Vec<String> = six.iter().map(Reply::text).collect();
        assert_eq!(texts[0], "OK");
        assert!(texts[1].starts_with("WRONGTYPE") && texts[2].starts_with("ERR unknown command"));
        assert_eq!(texts[3], "300000");
        assert!(texts[4] == large);
        assert_eq!(texts[5], "1");
    }
}

#[test]
fn commands_of_many_keys_span_the_shards() {
    let server = front_door_or_stand_in();
    let mut client = server.client();
    let keys: Vec<String> = (0..200).map(|i| format!("key:{i}")).collect();
    let with = |name: &str, keys: &[String]| {
        let mut args = vec![name.to_owned()];
        args.extend_from_slice(keys);
        args
    };
    let pairs: Vec<String> = keys.iter().flat_map(|key| [key.clone(), format!("value of {key}")]).collect();
    let mut call = |args: Vec<String>| client.call(&args).expect("a reply");
    assert_eq!(call(with("MSET", &pairs)).text(), "OK");
    let values = call(with("MGET", &keys)).items();
    let want: Vec<_> = keys.iter().map(|key| Some(format!("value of {key}").into_bytes())).collect();
    assert_eq!(values, want);
    assert_eq!(call(vec!["DBSIZE".into()]).int(), 200);
    assert_eq!(call(with("EXISTS", &keys)).int(), 200);
    assert_eq!(call(with("TOUCH", &keys)).int(), 200);
    assert_eq!(call(with("MSETNX", &pairs)).int(), 0);
    assert_eq!(call(with("DEL", &keys[..50])).int(), 50);
    assert_eq!(call(with("UNLINK", &keys)).int(), 150);
    assert_eq!(call(with("MSETNX", &pairs)).int(), 1);
    assert_eq!(call(vec!["KEYS".into(), "*".into()]).items().len(), 200);
    assert_eq!(call(vec!["FLUSHALL".into()]).text(), "OK");
    assert_eq!(call(vec!["DBSIZE".into()]).int(), 0);
}

#[test]
fn many_clients_at_once_see_their_own_writes() {
    let server = front_door_or_stand_in();
    let port = server.port();
    let client_thread = |id: usize| {
        std::thread::spawn(move || {
            let mut client = Client::connect(port).expect("a connection");
            for i in 0..500 {
                let (key, value) = (format!("client:{id}:{}", i % 7), format!("{id}-{i}"));
                assert_eq!(client.call(&["SET", &key, &value]).expect("a reply").text(), "OK");
                assert_eq!(client.call(&["GET", &key]).expect("a reply").text(), value);
                client.call(&["INCR", "shared"]).expect("a reply");
            }
        })
    };
    let threads: Vec<_> = (0..16).map(client_thread).collect();
    for thread in threads {
        thread.join().expect("a client");
    }
    assert_eq!(server.client().cmd("GET shared").text(), (16 * 500).to_string());
}

#[test]
fn own_ports_redirect_to_the_sibling() {
    if stand_in() {
        return;
    }
    let server = Server::shoal(Shape::Host(2), &[]);
    let mut shards = [server.own_client(0), server.own_client(1)];
    let mut front = server.client();
    let mut owned = [0, 0];
    for i in 0..200 {
        let key = format!("key:{i}");
        let slot = front.cmd(&format!("CLUSTER KEYSLOT {key}")).int();
        let replies = shards.each_mut().map(|shard| shard.cmd(&format!("SET {key} {i}")).text());
        let owner = usize::from(replies[1] == "OK");
        let other = 1 - owner;
        owned[owner] += 1;
        assert_eq!(replies[owner], "OK");
        let moved = format!("MOVED {slot} 127.0.0.1:{}", server.own_port(owner as u16));
        assert_eq!(replies[other], moved, "{key}");
        assert_eq!(front.cmd(&format!("GET {key}")).text(), i.to_string());
    }
    assert!(owned[0] > 50 && owned[1] > 50, "slots are not shared out: {owned:?}");
    for shard in &mut shards {
        assert_eq!(shard.cmd("MGET a b").text(), "CROSSSLOT Keys in request don't hash to the same slot");
        assert!(shard.cmd("CLUSTER INFO").text().contains("cluster_state:ok"));
        assert_eq!(shard.cmd("CLUSTER SLOTS").node.items.len(), 2);
    }
    let sizes = shards.each_mut().map(|shard| shard.cmd("DBSIZE").int());
    assert_eq!(sizes[0] + sizes[1], front.cmd("DBSIZE").int());
}

fn run_python(script: &str, port: u16) {
    let output = run(Command::new(python()).args(["-c", script, &port.to_string()]));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!err.contains("No module named 'redis'"), "redis-py is missing: tests/run installs it");
    assert!(output.status.success(), "{out}{err}");
}

const PYTHON_COMMANDS: &str = "
r.flushall()
assert r.ping()
for i in range(500):
    assert r.set(f'key:{i}', i)
assert [r.get(f'key:{i}') for i in range(500)] == [str(i).encode() for i in range(500)]
assert r.mset({f'{{tag}}{i}': i for i in range(50)})
assert r.mget([f'{{tag}}{i}' for i in range(50)]) == [str(i).encode() for i in range(50)]
r.rpush('list', *range(10)); assert r.lrange('list', -2, -1) == [b'8', b'9']
r.hset('hash', mapping={'a': 1, 'b': 2}); assert r.hgetall('hash') == {b'a': b'1', b'b': b'2'}
r.sadd('set', 'x', 'y'); assert r.smembers('set') == {b'x', b'y'}
r.zadd('zset', {'a': 1.5, 'b': 2}); assert r.zrange('zset', 0, -1, withscores=True) in ([(b'a', 1.5), (b'b', 2.0)], [[b'a', 1.5], [b'b', 2.0]])
r.set('ttl', 1, ex=100); assert 98 <= r.ttl('ttl') <= 100
assert len(list(r.scan_iter('key:*', count=100))) == 500
p = r.pipeline(transaction=False)
for i in range(500): p.incr(f'key:{i}')
assert p.execute() == [i + 1 for i in range(500)]
assert r.delete('list') == 1 and not r.exists('list')
try:
    r.lpush('hash', 1); raise SystemExit('no error for a wrong type')
except redis.exceptions.ResponseError as e:
    assert 'WRONGTYPE' in str(e), e
";

#[test]
fn redis_py_works_through_the_front_door() {
    let server = front_door_or_stand_in();
    let head = "import redis, sys\nfor protocol in (2, 3):\n r = redis.Redis(port=int(sys.argv[1]), protocol=protocol)\n";
    let body: String = PYTHON_COMMANDS.lines().map(|line| format!(" {line}\n")).collect();
    run_python(&format!("{head}{body} assert r.dbsize() == 554, r.dbsize()\n"), server.port());
}

#[test]
fn redis_py_cluster_finds_every_shard() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let nodes = if stand_in() { 1 } else { 2 };
    let head = "import redis, sys\nr = redis.cluster.RedisCluster(host='127.0.0.1', port=int(sys.argv[1]))\n";
    let tail = format!("assert len(r.get_primaries()) == {nodes}, r.get_nodes()\n");
    let script = format!("{head}{PYTHON_COMMANDS}{tail}").replace("transaction=False", "");
    run_python(&script, server.own_port(0));
}

#[test]
fn the_redis_crates_cluster_client_works() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let url = format!("redis://127.0.0.1:{}/", server.own_port(0));
    let client = redis::cluster::ClusterClient::new(vec![url]).expect("a client");
    let mut connection = client.get_connection().expect("a connection");
    for i in 0..500 {
        let key = format!("key:{i}");
        redis::cmd("SET").arg(&key).arg(i).query::<()>(&mut connection).expect("SET");
        let value: i64 = redis::cmd("INCR").arg(&key).query(&mut connection).expect("INCR");
        assert_eq!(value, i + 1);
    }
    let total: i64 = redis::cmd("DBSIZE").query(&mut connection).expect("DBSIZE");
    assert_eq!(total, 500);
}

fn benchmark(port: u16, more: &[&str]) {
    let requests = if long() { "100000" } else { "3000" };
    let port = port.to_string();
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &port, "-n", requests, "-c", "20", "-r", "1000", "-q"]).args(more);
    let output = run(&mut command);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    for word in ["ERR", "rror", "WARNING", "MOVED"] {
        assert!(!text.contains(word), "redis-benchmark {more:?} says {word}:\n{text}");
    }
    for test in ["PING_INLINE", "SET", "GET", "LPUSH", "SPOP", "ZPOPMIN", "LRANGE_600", "MSET"] {
        assert!(text.contains(test), "{test} was not run:\n{text}");
    }
}

#[test]
fn redis_benchmarks_default_tests_see_no_error() {
    let server = front_door_or_stand_in();
    benchmark(server.port(), &[]);
    benchmark(server.port(), &["-P", "16"]);
    if stand_in() {
        return; // the tool wants two nodes at least
    }
    let host = Server::shoal(Shape::Host(2), &[]);
    benchmark(host.own_port(0), &["--cluster"]);
}
