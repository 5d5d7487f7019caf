//! Server processes: Shoal under test and the real redis-server beside it.
//!
//! `SHOAL_BIN` names the program under test; without it, the one that cargo built with the tests.
//! When its file name is `redis-server`, the real one stands in for Shoal, which proves the tests.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::client::Client;
use super::ports::Ports;
use super::wait_for;

const START: Duration = Duration::from_secs(20);
static NEXT_DIR: AtomicUsize = AtomicUsize::new(0);

/// The program under test.
pub fn shoal_bin() -> PathBuf {
    let path = match std::env::var_os("SHOAL_BIN") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_shoal")),
    };
    if path.components().count() > 1 { Path::new(env!("CARGO_MANIFEST_DIR")).join(path) } else { path }
}

/// Whether the real redis-server stands in for Shoal.
pub fn stand_in() -> bool {
    shoal_bin().file_name().is_some_and(|name| name == "redis-server")
}

/// The shapes in which a server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `--cluster-enabled no`, with so many shards.
    Standalone(usize),
    /// A host that forms its own cluster, with so many shards: front door at `port()`.
    Host(usize),
    /// A classic cluster node that owns nothing yet.
    Node,
}

/// A running server. It is killed when dropped and its directory is removed.
pub struct Server {
    pub child: Child,
    pub dir: TempDir,
    pub ports: Ports,
    shape: Shape,
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
}

impl Server {
    /// The real redis-server. One that is missing fails the test in one line.
    pub fn redis(shape: Shape) -> Server {
        Server::redis_with(shape, &[])
    }

    /// The real redis-server with further arguments.
    pub fn redis_with(shape: Shape, more: &[&str]) -> Server {
        let server = Server::launch("redis-server", Path::new("redis-server"), shape, more);
        if !matches!(shape, Shape::Standalone(_)) {
            server.own_all_slots();
        }
        server
    }

    /// Shoal in this shape with further arguments.
    pub fn shoal(shape: Shape, more: &[&str]) -> Server {
        let server = Server::launch("shoal", &shoal_bin(), shape, more);
        if stand_in() && matches!(shape, Shape::Host(_)) {
            server.own_all_slots();
        }
        server
    }

    fn launch(name: &'static str, program: &Path, shape: Shape, more: &[&str]) -> Server {
        let ports = Ports::take();
        let dir = TempDir::new();
        let real = program.file_name().is_some_and(|name| name == "redis-server");
        let mut args = vec!["--port".to_owned(), ports.base.to_string()];
        args.extend(shape_args(shape, real));
        args.extend(more.iter().map(|arg| arg.to_string()));
        let program = program.to_owned();
        let child = spawn(Command::new(&program).arg("--dir").arg(&dir.0).args(&args), &dir.0);
        let mut server = Server { child, dir, ports, shape, name, program, args };
        server.wait_ready();
        server
    }

    /// Starts it again where it was, once it has ended, with these arguments behind its own.
    pub fn start_again(&mut self, more: &[&str]) {
        let _ = self.child.wait();
        let free = || TcpListener::bind(("127.0.0.1", self.port())).is_ok().then_some(());
        assert!(wait_for(START, free).is_some(), "port {} stays in use", self.port());
        let mut command = Command::new(&self.program);
        self.child = spawn(command.arg("--dir").arg(&self.dir.0).args(&self.args).args(more), &self.dir.0);
        self.wait_ready();
    }

    /// The other kind of server where this one was, in what it has left.
    pub fn change_places(&mut self, other: &Server) {
        (self.program, self.name) = (other.program.clone(), other.name);
        self.args = other.args.clone();
        self.args[1] = self.port().to_string();
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait_ready(&mut self) {
        let all: Vec<u16> = self.all_ports();
        let up = wait_for(START, || {
            let gone = self.child.try_wait().expect("a child's state").is_some();
            let up = all.iter().all(|port| {
                let reply = Client::connect(*port).and_then(|mut c| c.call(&["PING"]));
                reply.is_ok_and(|r| r.raw == b"+PONG\r\n")
            });
            (gone || up).then_some(up && !gone)
        });
        if up != Some(true) {
            panic!("{} did not start on ports {all:?}; it said:\n{}", self.name, self.log());
        }
    }

    fn own_all_slots(&self) {
        let mut client = self.client();
        assert_eq!(client.cmd("CLUSTER ADDSLOTSRANGE 0 16383").text(), "OK");
        let ok = wait_for(START, || client.cmd("CLUSTER INFO").text().contains("state:ok").then_some(()));
        assert!(ok.is_some(), "redis-server does not come up as a cluster of its own");
    }

    fn all_ports(&self) -> Vec<u16> {
        match self.shape {
            Shape::Host(shards) if !self.is_real() => {
                (self.ports.base..=self.ports.base + shards as u16).collect()
            }
            _ => vec![self.ports.base],
        }
    }

    fn is_real(&self) -> bool {
        self.name == "redis-server" || stand_in()
    }

    /// The port that clients are given: the front door, or the only port.
    pub fn port(&self) -> u16 {
        self.ports.base
    }

    /// Shard `i`'s own port. A stand-in has one port only.
    pub fn own_port(&self, shard: u16) -> u16 {
        if self.is_real() { self.ports.base } else { self.ports.base + 1 + shard }
    }

    pub fn client(&self) -> Client {
        Server::connect(self.port())
    }

    pub fn own_client(&self, shard: u16) -> Client {
        Server::connect(self.own_port(shard))
    }

    fn connect(port: u16) -> Client {
        Client::connect(port).unwrap_or_else(|e| panic!("no connection to port {port}: {e}"))
    }

    /// What the server wrote to stdout and stderr so far.
    pub fn log(&self) -> String {
        read_log(&self.dir.0)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in bytes.
    pub fn rss(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a VmRSS line");
        let kib: u64 = line.split_whitespace().nth(1).expect("a figure").parse().expect("a number");
        kib * 1024
    }

    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("a child's state").is_none()
    }

    /// SIGTERM, and the exit status that follows.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = libc::pid_t::try_from(self.pid()).expect("a pid");
        // SAFETY: a signal to a child that is not yet reaped; no memory is touched.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        let status = wait_for(START, || self.child.try_wait().expect("a child's state"));
        status.unwrap_or_else(|| panic!("{} ignores SIGTERM; it said:\n{}", self.name, self.log()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- the last that {} on port {} said:\n{}", self.name, self.port(), tail.join("\n"));
        }
    }
}

fn shape_args(shape: Shape, real: bool) -> Vec<String> {
    let text = match (shape, real) {
        (Shape::Standalone(_), true) => "--save|".to_owned(),
        (Shape::Standalone(shards), false) => format!("--save||--shards|{shards}|--cluster-enabled|no"),
        (Shape::Host(_) | Shape::Node, true) => "--save||--cluster-enabled|yes".to_owned(),
        (Shape::Host(shards), false) => format!("--save||--shards|{shards}"),
        (Shape::Node, false) => "--save||--shards|1|--cluster-enabled|yes".to_owned(),
    };
    text.split('|').map(str::to_owned).collect()
}

/// Starts `command` with its output in `dir/server.log`. The process dies with the test.
pub fn spawn(command: &mut Command, dir: &Path) -> Child {
    let log = File::create(dir.join("server.log")).expect("a log file");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file handle")).stderr(log);
    // SAFETY: prctl is async-signal-safe, and touches only the new process.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            let program = command.get_program().to_string_lossy().into_owned();
            panic!("cannot start {program}: {e}{}", install_hint(&program))
        }
    }
}

/// Runs a program that comes with Redis, to its end.
pub fn run(command: &mut Command) -> std::process::Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|e| panic!("cannot run {program}: {e}{}", install_hint(&program)))
}

fn install_hint(program: &str) -> &'static str {
    match program {
        "redis-server" => " (apt-get install redis-server)",
        "redis-sentinel" => " (apt-get install redis-sentinel)",
        "redis-benchmark" | "redis-cli" => " (apt-get install redis-tools)",
        _ => "",
    }
}

pub fn read_log(dir: &Path) -> String {
    let bytes = std::fs::read(dir.join("server.log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A directory of a server's own, removed when dropped.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        let turn = NEXT_DIR.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("shoal-test-{}-{turn}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
