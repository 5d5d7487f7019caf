#!/usr/bin/env python3
"""Asks a real redis-server 7.0.15 for what the tests compare with, and writes the files beside this
script: a case a line, its parts set apart by =>, their words quoted as in redis.conf. Usage: capture.py PORT; redis-server must be in the PATH, and PORT and PORT+1 free."""

import os, socket, subprocess, sys, tempfile, time

PORT = int(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))

SETS = [  # one CONFIG SET each, applied in this order to one server
    ["maxmemory", "1gb"], ["MaxMemory", "1k", "maxmemory-policy", "ALLKEYS-lru"],
    ["maxmemory", "1kib"], ["maxmemory", "-1"], ["maxmemory", ""], ["maxmemory", "b"],
    ["maxmemory", "18446744073709551615"], ["maxmemory", "99999999999999999999"],
    ["maxmemory", "0"], ["maxmemory-policy", "lru"], ["maxmemory-clients", "5%"],
    ["maxmemory-clients", "101%"], ["maxmemory-clients", "x%"], ["maxmemory-clients", "-5%"],
    ["maxmemory-clients", "%"], ["maxmemory-clients", "2mb"], ["maxmemory-clients", "05%"],
    ["maxmemory-samples", "0"], ["maxmemory-samples", "+1"], ["maxmemory-samples", " 1"],
    ["maxmemory-samples", "01"], ["maxmemory-samples", "1.5"], ["maxmemory-samples", "7"],
    ["maxmemory-samples", "99999999999999999999"], ["maxmemory-samples", "2147483648"],
    ["hz", "-1"], ["hz", "0"], ["hz", "1000"], ["hz", "10"], ["timeout", "-0"],
    ["proto-max-bulk-len", "1"], ["proto-max-bulk-len", "1mb"], ["proto-max-bulk-len", "abc"],
    ["proto-max-bulk-len", "18446744073709551615"], ["hash-max-listpack-entries", "-1"],
    ["hash-max-ziplist-entries", "12"], ["hash-max-listpack-value", "9223372036854775808"],
    ["client-query-buffer-limit", "1"], ["slowlog-log-slower-than", "-2"],
    ["slowlog-log-slower-than", "-1"], ["list-max-listpack-size", "-5"], ["maxclients", "0"],
    ["maxclients", "-1"], ["appendfsync", "sometimes"], ["appendfsync", "Always"],
    ["loglevel", "loud"], ["oom-score-adj", "maybe"], ["sanitize-dump-payload", "2"],
    ["protected-mode", "1"], ["protected-mode", "YES"], ["protected-mode", "No"],
    ["save", "900 1"], ["save", "900 1 60 1000"], ["save", "900"], ["save", "0 1"],
    ["save", "900 -1"], ["save", "900 x"], ["save", "900  1"], ["save", "900 "], ["save", ""],
    ["save", " "], ["client-output-buffer-limit", "normal 1mb 512kb 10"],
    ["client-output-buffer-limit", "slave 1 2 3 pubsub 4 5 6"],
    ["client-output-buffer-limit", "REPLICA 1gb 1mb 3"],
    ["client-output-buffer-limit", "normal 1 2"], ["client-output-buffer-limit", "master 1 2 3"],
    ["client-output-buffer-limit", "nobody 1 2 3"], ["client-output-buffer-limit", ""],
    ["client-output-buffer-limit", "normal x 2 3"], ["client-output-buffer-limit", "normal 1 2 -3"],
    ["client-output-buffer-limit", "normal 1 2 3x"], ["oom-score-adj-values", "1 2"],
    ["oom-score-adj-values", "0 100 3000"], ["oom-score-adj-values", "0 200 900"],
    ["oom-score-adj-values", "0 200 x"], ["notify-keyspace-events", "KEA"],
    ["notify-keyspace-events", "KEAmn"], ["notify-keyspace-events", "xKg$"],
    ["notify-keyspace-events", "Elshzxetdng$"], ["notify-keyspace-events", "m"],
    ["notify-keyspace-events", "nK"], ["notify-keyspace-events", "KEx?"],
    ["notify-keyspace-events", ""], ["shutdown-on-sigint", "save now"],
    ["shutdown-on-sigint", "force NOW"], ["shutdown-on-sigint", "save nosave"],
    ["shutdown-on-sigint", "later"], ["shutdown-on-sigint", ""], ["shutdown-on-sigterm", "default"],
    ["shutdown-on-sigterm", "default save"], ["latency-tracking-info-percentiles", "50 99.95 100"],
    ["latency-tracking-info-percentiles", "101"], ["latency-tracking-info-percentiles", "-1"],
    ["latency-tracking-info-percentiles", "x"], ["latency-tracking-info-percentiles", "nan"],
    ["latency-tracking-info-percentiles", "1e1"], ["latency-tracking-info-percentiles", "0.1234567"],
    ["latency-tracking-info-percentiles", ""], ["latency-tracking-info-percentiles", "0"],
    ["proc-title-template", "{nope}"], ["proc-title-template", ""], ["proc-title-template", "x{{y"],
    ["proc-title-template", "{title"], ["cluster-announce-hostname", "a_b"],
    ["cluster-announce-hostname", "h" * 256], ["cluster-announce-hostname", "h.example-1"],
    ["replica-announce-port", "65536"], ["replica-announce-port", "65535"], ["port", "70000"],
    ["slave-read-only", "no"], ["slave-read-only", "no", "replica-read-only", "yes"],
    ["dbfilename", "a.rdb"], ["dir", "/tmp"], ["databases", "4"], ["replicaof", "no one"],
    ["unixsocketperm", "700"], ["foo", "1"], ["hz", "5", "foo", "1"], ["foo", "1", "databases", "1"],
    ["databases", "1", "foo", "1"], ["hz", "5", "HZ", "6"], ["hz", "5", "timeout", "x"],
    ["hz", "5", "timeout", "3"], ["requirepass", ""], ["masterauth", "a b\"c"],
    ["masteruser", ""], ["repl-backlog-size", "0"], ["repl-backlog-size", "2mb"],
    ["busy-reply-threshold", "1"], ["lua-time-limit", "2"], ["tls-port", "-1"],
    ["use-exit-on-panic", "maybe"], ["cluster-preferred-endpoint-type", "dns"],
    ["active-expire-effort", "11"], ["rdb-key-save-delay", "-7"], ["enable-debug-command", "yes"],
    ["bind", " ".join(["127.0.0.1"] * 17)], ["io-threads", "2"], ["acl-pubsub-default", "none"],
    ["repl-diskless-load", "always"], ["propagation-error-behavior", "x"], ["appendfilename", "x"],
]

GETS = [  # one CONFIG GET each, of a fresh server, sorted by name in the answer
    ["maxmemory"], ["MAXmemory"], ["max*"], ["MAX[CM]*"], ["*ziplist*"], ["maxmemory", "MAXMEMORY"],
    ["maxmemory*", "maxmemory"], ["use-exit*"], ["use-exit-on-panic"], ["nothing"], ["n?thing"],
    ["hz", "slave-read-only", "replica-read-only"], ["h[a-z]"], ["[^a-y]*"], ["save", ""], ["\\hz"],
]

FILES = [  # a configuration text each
    "foo 1", "port 1 2", "port", "port x", "port 70000", "PORT 0\nhz 5\nhz 7", "maxmemory 1kib",
    "# comment\n\n   \n  hz   20  ", "hz \"5\"", "hz '6'", "hz \"5", "hz 5\"6\"7", "hz 5 # six",
    "save 900 1\nsave 60 5", "save 900", "save \"\"", "save 900 1\nsave \"\"\nsave 60 5", "save",
    "save \"900 1 60 2\"", "save 0 1", "bind 127.0.0.1 ::1", "bind \"127.0.0.1 ::1\"", "bind \"\"",
    "bind", "bind \"127.0.0.1", "client-output-buffer-limit normal 1 2 3",
    "client-output-buffer-limit replica 1mb 2mb 3\nclient-output-buffer-limit pubsub 1 1 1",
    "client-output-buffer-limit normal 1 2", "client-output-buffer-limit nobody 1 2 3",
    "client-output-buffer-limit", "oom-score-adj-values 1 2", "notify-keyspace-events KEA",
    "notify-keyspace-events K E", "notify-keyspace-events Q", "slaveof 127.0.0.1 1",
    "replicaof 127.0.0.1", "replicaof 127.0.0.1 99999", "replicaof no one",
    "cluster-enabled yes\nreplicaof 127.0.0.1 1", "shutdown-on-sigint now force",
    "shutdown-on-sigint", "shutdown-on-sigint save nosave", "rename-command NOPE x",
    "rename-command", "user", "loadmodule", "sentinel monitor a 127.0.0.1 1 1", "sentinel",
    "list-max-ziplist-entries 5", "list-max-ziplist-entries 5 6", "lua-replicate-commands yes",
    "mod.opt", "hz 9999", "hz 0", "latency-tracking-info-percentiles 50 75",
    "latency-tracking-info-percentiles \"\"", "latency-tracking-info-percentiles 200",
    "requirepass \"a\\x62\\n\"", "appenddirname a/b", "appendfilename \"\"", "dbfilename a/b",
    "unixsocketperm 700", "unixsocketperm 999", "unixsocketperm 1000", "appendonly maybe",
    "maxmemory-policy x", "databases 0", "include /no/such/file", "include a b", "include",
    "include /no/such/*.conf\nhz 11", "activerehashing yes no", "supervised never",
    "maxmemory-clients 10%", "list-max-listpack-size -3\nset-max-intset-entries 3",
    "tls-auth-clients optional", "repl-ping-slave-period 4", "hash-max-ziplist-entries 4",
    "aclfile \"\"", "io-threads 129", "syslog-facility local8", "hz 5\r\ntimeout 6\r",
]

ARGS = [  # a command line each
    ["--hz", "5"], ["--hz 5"], ["--hz", "5", "--timeout", "6"], ["--hz 5", "--timeout", "6"],
    ["--save", ""], ["--save"], ["--save", "--hz", "5"], ["--save", "900", "1", "60", "2"],
    ["--save", "900 1"], ["--save", "900", "1", "--save", "60", "2"], ["--requirepass", "--secret"],
    ["--timeout", "--hz", "5"], ["--timeout"], ["--hz", "5", "6"], ["--HZ", "5"], ["--foo", "1"],
    ["--bind", "127.0.0.1", "::1"], ["--bind", "127.0.0.1 ::1"], ["--masterauth", "a b\"c\\"],
    ["--client-output-buffer-limit", "normal", "1", "2", "3"], ["--loglevel", "verbose", "--hz", "7"],
    ["--oom-score-adj-values", "1", "2", "3"], ["--shutdown-on-sigint", "now", "force"],
    ["--shutdown-on-sigint", "now force", "--shutdown-on-sigterm", "nosave"], ["--port"],
    ["--hz \"5\""], ["--hz '5", "--timeout", "5"], ["--", "hz", "5"], ["hz", "5"], ["-x", "5"],
    ["--sentinel"[:6] + "x"], ["--proc-title-template", "--{title} x"], ["--save", "--save", ""],
]

REWRITES = [  # a file, then CONFIG SETs, then the file after CONFIG REWRITE
    ("", []), ("", [["hz", "20"]]), ("# mine\n\n\n\nhz 10\n# end", [["hz", "20"]]),
    ("hz 20\ntimeout 5\n", [["hz", "10"]]), ("save 900 1\nsave 60 5\nsave 1 1\n", [["save", "900 1"]]),
    ("save 900 1\n", [["save", ""]]), ("maxmemory 1gb\n", [["maxmemory", "1500k"]]),
    ("slave-read-only no\n", []), ("slave-read-only no\nreplica-read-only yes\n", []),
    ("client-output-buffer-limit pubsub 1 1 1\n", []),
    ("bind 127.0.0.1\nhz 5\n", []), ("hz 5\nhz 6\nhz 7\n", []),
    ("list-max-ziplist-entries 5\nhz 11\n", []), ("masterauth \"a b\"\n", [["masterauth", ""]]),
    ("", [["notify-keyspace-events", "KEA"], ["latency-tracking-info-percentiles", ""]]),
    ("", [["oom-score-adj-values", "1 2 3"], ["maxmemory-clients", "5%"], ["maxclients", "50"]]),
    ("appendfilename \"my file.aof\"\nunixsocketperm 700\n", []),
    ("# Generated by CONFIG REWRITE\nhz 12\n", [["timeout", "3"]]),
    ("rename-command KEYS \"\"\nloglevel debug\n", [["shutdown-on-sigterm", "now nosave"]]),
]


class Link:
    def __init__(self, port):
        for _ in range(100):
            try:
                self.s = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
        self.f = self.s.makefile("rb")

    def call(self, *args):
        out = b"*%d\r\n" % len(args)
        for a in args:
            a = a.encode()
            out += b"$%d\r\n%s\r\n" % (len(a), a)
        self.s.sendall(out)
        return self.read()

    def read(self):
        line = self.f.readline()[:-2].decode()
        kind, rest = line[0], line[1:]
        if kind == "*":
            return [self.read() for _ in range(int(rest))]
        if kind == "$":
            return self.f.read(int(rest) + 2)[:-2].decode()
        return line


def serve(args, cwd):
    return subprocess.Popen(["redis-server", *args], cwd=cwd, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


def pairs(flat):
    return sorted(map(list, zip(flat[::2], flat[1::2])))


def changed(link, fresh):
    return [p for p in pairs(link.call("CONFIG", "GET", "*")) if p not in fresh]


def outcome(args, cwd, fresh):
    """The values that differ from a fresh server's, or standard error's lines behind the banner."""
    p = serve([*args], cwd)
    time.sleep(0.25)
    if p.poll() is not None:
        err = p.stderr.read().decode().strip().split("\n")
        return {"error": err[1:] if err[0].startswith("***") else ["?"]}
    link = Link(PORT)
    password = "--secret" if "--secret" in args else "ab\n"
    link.call("AUTH", password)
    got = {"changed": changed(link, fresh)}
    p.kill()
    p.wait()
    return got


def quote(text):
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"%s"' % "".join(named.get(c, c) for c in text)


def part(words):
    """One side of a row: quoted words, lists opened up."""
    if isinstance(words, str):
        return quote(words)
    if isinstance(words, dict):
        words = [[kind, rest] for kind, rest in words.items()]
    return " ".join(filter(None, map(part, words)))


def write(name, data):
    with open(os.path.join(HERE, name), "w") as f:
        f.writelines(" => ".join(map(part, row)) + "\n" for row in data)


with tempfile.TemporaryDirectory() as cwd:
    base = ["--port", str(PORT)]
    p = serve(base, cwd)
    link = Link(PORT)
    hidden = ["use-exit-on-panic", "lua-enable-deprecated-api", "rdb-key-save-delay", "key-load-delay",
              "watchdog-period", "loading-process-events-interval-bytes"]
    fresh = pairs(link.call("CONFIG", "GET", "*"))
    write("defaults.txt", fresh + pairs(link.call("CONFIG", "GET", *hidden)))
    write("get.txt", [[g, pairs(link.call("CONFIG", "GET", *g))] for g in GETS])
    rows = []
    for s in SETS:
        reply = link.call("CONFIG", "SET", *s)
        rows.append([s, reply, pairs(link.call("CONFIG", "GET", *s[::2]))])
    write("set.txt", rows)
    p.kill()
    p.wait()

    rows = []
    for text in FILES:
        # The port comes from a line of its own at the end, so that the text's lines count from 1.
        path = os.path.join(cwd, "x.conf")
        with open(path, "w", newline="") as f:
            f.write(text)
        rows.append([text, outcome([path, *base], cwd, fresh)])
    write("file.txt", rows)
    write("args.txt", [[a, outcome([*base, *a], cwd, fresh)] for a in ARGS])

    rows = []
    for text, sets in REWRITES:
        path = os.path.join(cwd, "r.conf")
        with open(path, "w") as f:
            f.write(text)
        p = serve([path, *base], cwd)
        link = Link(PORT)
        for s in sets:
            assert link.call("CONFIG", "SET", *s) == "+OK", s
        assert link.call("CONFIG", "REWRITE") == "+OK"
        with open(path) as f:
            after = f.read().replace(cwd, "/data").replace("port %d" % PORT, "port 7777")
        rows.append([text, sets, after])
        p.kill()
        p.wait()
    write("rewrite.txt", rows)
