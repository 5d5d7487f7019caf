//! Clients of a cluster that write, and check what they wrote, for as long as a test wants.

use super::server::{TempDir, run};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The python that has redis-py: `tests/run` makes it.
pub fn python() -> PathBuf {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    match std::env::var_os("SHOAL_PYTHON") {
        Some(path) => PathBuf::from(path),
        None if made.exists() => made,
        None => PathBuf::from("python3"),
    }
}

/// redis-py's cluster client: unique values, counters that only grow by one, several keys at once.
const WRITER: &str = r#"
import os, random, sys
from redis.cluster import RedisCluster
r = RedisCluster(host='127.0.0.1', port=int(sys.argv[1]))
stop, seed = sys.argv[2], 7
random.seed(seed)
seen, counts, n = {}, {}, 0
while not os.path.exists(stop):
    n += 1
    key = f'py:{random.randrange(4000)}'
    r.set(key, n)
    seen[key] = str(n).encode()
    other = random.choice(list(seen)) if n % 50 == 0 else key
    got = r.get(other)
    assert got == seen[other], (other, got, seen[other])
    counter = f'count:{random.randrange(1000)}'
    counts[counter] = counts.get(counter, 0) + 1
    got = r.incr(counter)
    assert got == counts[counter], (counter, got, counts[counter])
    if n % 5 == 0:
        tag = f'{{t{random.randrange(300)}}}'
        pair = {f'{tag}a': str(n), f'{tag}b': str(-n)}
        assert r.mset_nonatomic(pair)
        got = r.mget_nonatomic(list(pair))
        assert got == [v.encode() for v in pair.values()], (tag, got, n)
for key, value in seen.items():
    got = r.get(key)
    assert got == value, (key, got, value)
for key, value in counts.items():
    got = r.get(key)
    assert got == str(value).encode(), (key, got, value)
print(n)
"#;

/// A redis-py client and redis-benchmark --cluster, both at work.
pub struct Load {
    dir: TempDir,
    writer: Option<Child>,
    stop: Arc<AtomicBool>,
    bench: Option<JoinHandle<()>>,
}

impl Load {
    pub fn start(port: u16) -> Load {
        let dir = TempDir::new();
        let mut writer = Command::new(python());
        writer.args(["-c", WRITER, &port.to_string()]).arg(dir.0.join("stop"));
        writer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let writer = writer.spawn().expect("python starts");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let bench = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                benchmark(port);
            }
        });
        Load { dir, writer: Some(writer), stop, bench: Some(bench) }
    }

    /// Nobody has failed yet.
    pub fn check(&self) {
        assert!(self.bench.as_ref().is_some_and(|bench| !bench.is_finished()), "redis-benchmark failed");
    }

    /// Ends both, lets what was written be checked once more; how often the one wrote.
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.bench.take().expect("it runs").join().expect("redis-benchmark is content");
        std::fs::write(self.dir.0.join("stop"), "").expect("a file");
        let output = self.writer.take().expect("it runs").wait_with_output().expect("python ends");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!err.contains("No module named 'redis'"), "redis-py is missing: tests/run installs it");
        assert!(output.status.success(), "{err}");
        out.trim().parse().expect("a number")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(mut writer) = self.writer.take() {
            let _ = writer.kill();
            let _ = writer.wait();
        }
        if let Some(bench) = self.bench.take() {
            let _ = bench.join();
        }
    }
}

fn benchmark(port: u16) {
    let port = port.to_string();
    let how = ["--cluster", "-p", &port, "-t", "set,get,incr,lpush", "-n", "5000", "-r", "20000", "-c", "8"];
    let output = run(Command::new("redis-benchmark").args(how).args(["-P", "2", "-q", "-e"]));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // it does not know of nodes that had no slots when it began
    let surprised = said.contains("could not find node with ID");
    assert!(output.status.success() || surprised, "{said}");
    let other =
        |line: &&str| line.contains("Error from server") && !line.contains("MOVED") && !line.contains("ASK");
    assert_eq!(said.lines().find(other), None);
}
