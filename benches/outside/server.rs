//! Servers under measurement: each a process of its own, pinned to cores, on 127.0.0.1.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::resp;

/// How long a server may take to start, to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ports that a server may use, front door and shards, and how far above them its bus ports are.
const BLOCK: u16 = 8;
const BUS: u16 = 10_000;
/// Where blocks of ports begin and end: the bus ports, too, stay below the range of outgoing connections.
const FIRST: u16 = 22_000;
const LAST: u16 = 22_700;
static NEXT: AtomicU16 = AtomicU16::new(FIRST);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Shoal,
}

/// How it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    Standalone,
    /// Owns all slots; Shoal as a host that forms its own cluster.
    Cluster,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Redis => "redis-server",
            Kind::Shoal => "shoal",
        }
    }

    /// `SHOAL_BIN`, or the release binary that cargo built with this bench.
    fn program(self) -> PathBuf {
        match (self, std::env::var_os("SHOAL_BIN")) {
            (Kind::Redis, _) => "redis-server".into(),
            (Kind::Shoal, Some(path)) => path.into(),
            (Kind::Shoal, None) => env!("CARGO_BIN_EXE_shoal").into(),
        }
    }

    fn arguments(self, mode: Mode, shards: usize) -> Vec<String> {
        let words = match (self, mode) {
            (Kind::Redis, Mode::Standalone) => "--save  --appendonly no".into(),
            (Kind::Redis, Mode::Cluster) => "--save  --appendonly no --cluster-enabled yes".into(),
            (Kind::Shoal, Mode::Standalone) => format!("--save  --shards {shards} --cluster-enabled no"),
            (Kind::Shoal, Mode::Cluster) => format!("--save  --shards {shards}"),
        };
        words.split(' ').map(str::to_owned).collect()
    }
}

/// A running server, or the processes of a cluster. Ended when dropped, and its directory removed.
pub struct Server {
    processes: Vec<Child>,
    dir: PathBuf,
    base: u16,
    kind: Kind,
    mode: Mode,
    shards: usize,
}

impl Server {
    /// Starts a server on these cores (a list as taskset takes it) and waits until it serves. Redis in
    /// several shards is a cluster of as many processes.
    pub fn start(kind: Kind, mode: Mode, shards: usize, cores: &str) -> Result<Server, String> {
        let base = free_block()?;
        let dir = std::env::temp_dir().join(format!("shoal-bench-{}-{base}", std::process::id()));
        let processes = if kind == Kind::Redis { shards as u16 } else { 1 };
        let mut server = Server { processes: Vec::new(), dir, base, kind, mode, shards };
        for i in 0..processes {
            server.launch(base + i, cores)?;
        }
        server.wait(|server| server.ports().iter().all(|&port| says(port, &["PING"], "+PONG")))?;
        if kind == Kind::Redis && mode == Mode::Cluster {
            server.join_up()?;
        }
        Ok(server)
    }

    fn launch(&mut self, port: u16, cores: &str) -> Result<(), String> {
        self.launch_with(port, cores, &[])
    }

    fn launch_with(&mut self, port: u16, cores: &str, more: &[&str]) -> Result<(), String> {
        let dir = self.dir.join(port.to_string());
        let said = |e: io::Error| format!("{}: {e}", dir.display());
        std::fs::create_dir_all(&dir).map_err(said)?;
        let log = File::create(dir.join("log")).map_err(said)?;
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(self.kind.program());
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(&dir);
        command.args(self.kind.arguments(self.mode, self.shards)).args(more);
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(said)?).stderr(log);
        // SAFETY: prctl is async-signal-safe, and touches only the new process.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        self.processes.push(command.spawn().map_err(|e| format!("can't run taskset (util-linux): {e}"))?);
        Ok(())
    }

    /// Lets others that want the same cores go first, as far as `nice` (1 to 19) says.
    pub fn stand_back(&self, nice: i32) -> Result<(), String> {
        for process in &self.processes {
            let tasks = format!("/proc/{}/task", process.id());
            for task in std::fs::read_dir(&tasks).map_err(|e| format!("{tasks}: {e}"))?.flatten() {
                let Some(id) = task.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
                // SAFETY: a priority is set, and no memory is touched.
                let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, id, nice) };
                if set != 0 {
                    return Err(format!("setpriority: {}", io::Error::last_os_error()));
                }
            }
        }
        Ok(())
    }

    /// Kills it and starts it again where it was, with further arguments; waits until it serves. Of
    /// servers of one process.
    pub fn restart(&mut self, cores: &str, more: &[&str]) -> Result<(), String> {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.processes.clear();
        // the kernel takes a ring's sockets down some time after the process has ended
        let end = Instant::now() + PATIENCE;
        while TcpListener::bind(("127.0.0.1", self.base)).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.launch_with(self.base, cores, more)?;
        self.wait(|server| says(server.port(), &["PING"], "+PONG"))
    }

    /// Shares the slots out between the processes and makes them one cluster.
    fn join_up(&mut self) -> Result<(), String> {
        let ports = self.ports();
        for (i, port) in ports.iter().enumerate() {
            let (from, to) = shoal::cluster::view::even_share(i, self.shards);
            let (from, to) = (from.to_string(), to.to_string());
            let meet = ports[0].to_string();
            let done = says(*port, &["CLUSTER", "ADDSLOTSRANGE", &from, &to], "+OK")
                && says(*port, &["CLUSTER", "MEET", "127.0.0.1", &meet], "+OK");
            if !done {
                return Err(format!("redis-server on port {port} joins no cluster"));
            }
        }
        let known = format!("cluster_known_nodes:{}", ports.len());
        self.wait(|server| {
            server.ports().iter().all(|&port| {
                let info = ask(port, &["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains(&known)
            })
        })
    }

    fn wait(&mut self, up: impl Fn(&Server) -> bool) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && self.processes.iter_mut().all(|p| matches!(p.try_wait(), Ok(None))) {
            std::thread::sleep(Duration::from_millis(20));
            if up(self) {
                return Ok(());
            }
        }
        let log = std::fs::read(self.dir.join(self.base.to_string()).join("log")).unwrap_or_default();
        Err(format!("{} did not start; it said:\n{}", self.kind.name(), String::from_utf8_lossy(&log)))
    }

    /// The port that a load is sent to: a cluster node's own, a standalone server's only one.
    pub fn port(&self) -> u16 {
        self.ports()[0]
    }

    /// The port of each node.
    pub fn ports(&self) -> Vec<u16> {
        let shards = self.shards as u16;
        match (self.kind, self.mode) {
            (Kind::Shoal, Mode::Cluster) => (0..shards).map(|shard| self.own_port(shard)).collect(),
            (Kind::Shoal, Mode::Standalone) => vec![self.base],
            (Kind::Redis, _) => (0..shards).map(|i| self.base + i).collect(),
        }
    }

    /// The port that all shards share.
    pub fn front_door(&self) -> u16 {
        self.base
    }

    /// Shard `i`'s own port, when this is Shoal as a cluster.
    pub fn own_port(&self, shard: u16) -> u16 {
        self.base + 1 + shard
    }

    /// CPU nanoseconds that all its threads have used, as the scheduler counts them.
    pub fn cpu_ns(&self) -> u64 {
        self.processes.iter().map(|process| cpu_ns(process.id())).sum()
    }

    /// Resident bytes.
    pub fn resident(&self) -> u64 {
        self.processes.iter().map(|process| resident(process.id())).sum()
    }

    /// The first of its processes.
    pub fn pid(&self) -> u32 {
        self.processes[0].id()
    }

    /// Error replies so far.
    pub fn errors(&self) -> Result<u64, String> {
        let mut sum = 0;
        for port in self.ports() {
            let stats = ask(port, &["INFO", "stats"]).map_err(|e| format!("port {port}: {e}"))?;
            let line = stats.lines().find_map(|line| line.strip_prefix("total_error_replies:"));
            let figure: Option<u64> = line.and_then(|n| n.trim().parse().ok());
            sum += figure.ok_or_else(|| format!("no total_error_replies in {stats}"))?;
        }
        Ok(sum)
    }
}

fn cpu_ns(pid: u32) -> u64 {
    let tasks = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&tasks).unwrap_or_else(|e| panic!("{tasks}: {e}"));
    let used = |thread: std::fs::DirEntry| -> Option<u64> {
        let line = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse().ok()
    };
    // a thread that ends in between has no file any more
    threads.filter_map(|thread| used(thread.ok()?)).sum()
}

fn resident(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no VmRSS in {path}")) * 1024
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_block() -> Result<u16, String> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let base = NEXT.fetch_add(BLOCK, Ordering::Relaxed);
        if base > LAST {
            return Err(format!("no free ports from {FIRST} to {LAST}"));
        }
        if (base..base + BLOCK).all(|port| free(port) && free(port + BUS)) {
            return Ok(base);
        }
    }
}

fn says(port: u16, words: &[&str], reply: &str) -> bool {
    ask(port, words).is_ok_and(|said| said.starts_with(reply))
}

/// One command on a connection of its own, and the reply as it came.
pub fn ask(port: u16, words: &[&str]) -> io::Result<String> {
    ask_on(&mut TcpStream::connect(("127.0.0.1", port))?, words)
}

/// One command on a blocking connection, and the reply as it came.
pub fn ask_on(stream: &mut TcpStream, words: &[&str]) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut request = Vec::new();
    resp::put(&mut request, &words);
    stream.write_all(&request)?;
    let mut reply = Vec::new();
    let mut chunk = [0; 4096];
    while resp::reply_len(&reply).is_none() {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => reply.extend_from_slice(&chunk[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
