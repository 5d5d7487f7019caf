//! A server that is ended in every way and started again, in one directory.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::client::Client;
use super::ports::Ports;
use super::server::{TempDir, read_log, run, shoal_bin, spawn};
use super::wait_for;

/// How long a server may take to come up, and to end.
pub const START: Duration = Duration::from_secs(20);

/// A host that is killed and started again, in one directory.
pub struct Host {
    pub ports: Ports,
    pub dir: TempDir,
    pub child: Option<Child>,
}

impl Host {
    pub fn new() -> Host {
        Host { ports: Ports::take(), dir: TempDir::new(), child: None }
    }

    pub fn start(&mut self, program: &Path, args: &str) {
        self.launch(program, args);
        self.see_up();
    }

    /// Waits until it serves.
    pub fn see_up(&mut self) {
        let port = self.ports.base;
        let up = wait_for(START, || {
            let gone = self.child.as_mut().is_some_and(|c| c.try_wait().expect("a child's state").is_some());
            let reply = Client::connect(port).and_then(|mut c| c.call(&["PING"]));
            (gone || reply.is_ok_and(|r| r.raw == b"+PONG\r\n")).then_some(!gone)
        });
        assert_eq!(up, Some(true), "it did not start; it said:\n{}", read_log(&self.dir.0));
    }

    pub fn launch(&mut self, program: &Path, args: &str) {
        let mut command = Command::new(program);
        command.current_dir(&self.dir.0).args([
            "--port",
            &self.ports.base.to_string(),
            "--appendonly",
            "yes",
        ]);
        command.args(["--enable-debug-command", "yes", "--save", ""]).args(args.split_whitespace());
        self.child = Some(spawn(&mut command, &self.dir.0));
    }

    pub fn shoal(&mut self, args: &str) {
        self.start(&shoal_bin(), args);
    }

    /// Starts the program where it must not come up; what it said.
    pub fn refuses(&mut self, args: &str) -> String {
        self.launch(&shoal_bin(), args);
        let child = self.child.as_mut().expect("it was launched");
        let ended = wait_for(START, || child.try_wait().expect("a child's state"));
        assert!(ended.is_some_and(|status| !status.success()), "it came up, or hangs");
        self.child = None;
        self.see_port_free();
        read_log(&self.dir.0)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.ports.base).expect("a connection")
    }

    /// kill -9
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child to kill");
            child.wait().expect("a child's end");
            self.see_port_free();
        }
    }

    /// The kernel takes a ring's sockets down some time after the process has ended.
    pub fn see_port_free(&self) {
        let free = || TcpListener::bind(("0.0.0.0", self.ports.base)).ok().map(drop);
        assert!(wait_for(START, free).is_some(), "its port stays taken");
    }

    pub fn end(&mut self) {
        let _ = self.client().call(&["SHUTDOWN", "NOSAVE"]);
        self.wait_end();
    }

    /// Waits until it has ended by itself.
    pub fn wait_end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = wait_for(START, || child.try_wait().expect("a child's state"));
            assert!(ended.is_some(), "it does not end");
            self.see_port_free();
        }
    }

    pub fn digest(&self) -> String {
        self.client().cmd("DEBUG DIGEST").text()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Has a checking tool look at every log.
    pub fn check_logs(&self, program: &str) {
        let folder = std::fs::read_dir(self.path("")).expect("the directory of logs");
        let manifests: Vec<PathBuf> = folder
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "manifest"))
            .collect();
        assert!(!manifests.is_empty());
        for manifest in manifests {
            let mut command = Command::new(program);
            if program != "redis-check-aof" {
                command.arg("--check-aof");
            }
            let output = run(command.arg(&manifest));
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && said.contains("All AOF files and manifest are valid"),
                "{program}: {said}"
            );
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.0.join("appendonlydir").join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- it said:\n{}", read_log(&self.dir.0));
        }
        self.kill();
    }
}

/// Some of everything.
pub fn fill(client: &mut Client, n: usize) {
    for i in 0..n {
        for line in [
            format!("SET s{i} value{i}"),
            format!("SET n{i} {i}"),
            format!("SET t{i} x EX {}", 1000 + i),
            format!("RPUSH l{i} a b {i}"),
            format!("SADD i{i} 1 2 {i}"),
            format!("SADD m{i} a b {i}"),
            format!("HSET h{i} f 1 g {i}"),
            format!("ZADD z{i} 1.5 a {i} b"),
            format!("XADD x{i} {i}-1 a {i} b x"),
            format!("XADD x{i} * a {i} b y"),
            format!("XGROUP CREATE x{i} g 0"),
            format!("XREADGROUP GROUP g c COUNT 1 STREAMS x{i} >"),
        ] {
            let reply = client.cmd(&line);
            assert!(!reply.raw.starts_with(b"-"), "{line}: {}", reply.text());
        }
    }
}
