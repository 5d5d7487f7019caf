//! Three hosts with addresses of their own, and a network between them that can be cut.
//!
//! A test makes a network namespace for itself and one for each host, and a bridge between them. Where
//! that is refused, the hosts have loopback addresses instead; it prints which it was.

use super::ports::Ports;
use std::path::Path;
use std::process::{Command, Stdio};

/// Set for the run inside the namespace, where the test is the first process.
const INSIDE: &str = "SHOAL_TEST_NAMESPACE";
/// Makes a namespace with an address, which lasts as long as a process: `$1` its number, `$2` the process.
/// Prints the id of the process that holds it.
const MAKE_NAMESPACE: &str = "
    unshare -n tail --pid=$2 -f /dev/null </dev/null >/dev/null 2>&1 & held=$!
    until [ \"$(readlink /proc/$held/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.05; done
    ip link add shoal$1 type veth peer name eth0 netns $held && ip link set shoal$1 master shoal0 up &&
    nsenter -t $held -n sh -c \"ip link set lo up && ip addr add 10.77.0.$1/24 dev eth0 && ip link set eth0 up\" &&
    echo $held";
const MAKE_BRIDGE: &str = "
    ip link set lo up && ip link add shoal0 type bridge && ip addr add 10.77.0.254/24 dev shoal0 &&
    ip link set shoal0 up";
const CUT: &str = "ip link set shoal$1 $2";

/// Where hosts live: the address of each, and what leads into its namespace.
pub struct Net {
    pub addresses: Vec<String>,
    doors: Vec<Option<String>>,
    pub base: u16,
    _ports: Option<Ports>,
}

impl Net {
    /// Inside a namespace of our own.
    fn bridged() -> Result<Net, String> {
        shell(MAKE_BRIDGE, &[])?;
        let (numbers, us) = (["1", "2", "3"], std::process::id().to_string());
        let held: Result<Vec<_>, _> = numbers.iter().map(|i| shell(MAKE_NAMESPACE, &[i, &us])).collect();
        Ok(Net {
            addresses: numbers.iter().map(|i| format!("10.77.0.{i}")).collect(),
            doors: held?.into_iter().map(|pid| Some(pid.trim().to_owned())).collect(),
            base: 7000,
            _ports: None,
        })
    }

    fn loopback() -> Net {
        let ports = Ports::take();
        Net {
            addresses: (1..=3).map(|i| format!("127.0.{i}.1")).collect(),
            doors: vec![None; 3],
            base: ports.base,
            _ports: Some(ports),
        }
    }

    /// The own port of a host's shard.
    pub fn node(&self, host: usize, shard: u16) -> String {
        format!("{}:{}", self.addresses[host], self.base + 1 + shard)
    }

    /// A program that is to run on a host.
    pub fn command(&self, host: usize, program: &Path) -> Command {
        match &self.doors[host] {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", pid, "-n"]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Whether hosts can be cut off.
    pub fn can_be_cut(&self) -> bool {
        self.doors.iter().all(Option::is_some)
    }

    /// Cuts a host off, or mends that.
    pub fn cut(&self, host: usize, off: bool) {
        let number = (host + 1).to_string();
        shell(CUT, &[&number, if off { "down" } else { "up" }]).expect("a link that can be cut");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for pid in self.doors.iter().flatten() {
            let _ = Command::new("kill").arg(pid).status();
        }
    }
}

fn shell(script: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("sh").args(["-c", script, "sh"]).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Runs the body of the test of this name with three hosts.
pub fn in_namespaces(test: &str, body: impl Fn(&Net)) {
    if std::env::var_os(INSIDE).is_some() {
        let net = Net::bridged().unwrap_or_else(|why| panic!("namespaces: {why}"));
        return body(&net);
    }
    // whether namespaces and bridges are allowed is best seen by making them
    let probe = format!("{MAKE_BRIDGE} && unshare -n true");
    let ways: [&[&str]; 2] = [&["-n"], &["-rn"]];
    let allowed = |way: &&&[&str]| {
        let mut command = Command::new("unshare");
        let status = command.args(**way).args(["sh", "-c", &probe]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let Some(way) = ways.iter().find(allowed) else {
        eprintln!("network namespaces are refused: three hosts on loopback addresses");
        return body(&Net::loopback());
    };
    eprintln!("three hosts in network namespaces of their own");
    let mut command = Command::new("unshare");
    command.args(*way).arg(std::env::current_exe().expect("this test"));
    command.args(["--exact", test, "--nocapture"]);
    let status = command.env(INSIDE, "1").status().expect("unshare runs");
    assert!(status.success(), "it failed in its namespace");
}
