//! Listening sockets: bound before any core starts, so that a port in use is one clear line.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Sockets for one port, one for each core that shall accept there: the kernel spreads connections
/// over them. Addresses that start with `-` may be missing on this machine.
pub fn tcp(bind: &[String], port: u16, backlog: i32, cores: usize) -> Result<Vec<Vec<Socket>>, String> {
    let mut per_core: Vec<Vec<Socket>> = (0..cores).map(|_| Vec::new()).collect();
    let mut bound = 0;
    for text in bind {
        let (optional, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let ip: IpAddr = match text {
            "*" => [0, 0, 0, 0].into(),
            "::*" => [0u16; 8].into(),
            text => resolve(text)?,
        };
        match tcp_on(SocketAddr::new(ip, port), backlog, cores) {
            Ok(sockets) => {
                per_core.iter_mut().zip(sockets).for_each(|(list, s)| list.push(s));
                bound += 1;
            }
            Err(e) if optional && is_missing(&e) => {}
            Err(e) => return Err(explain(&format!("{text}:{port}"), port, &e)),
        }
    }
    if bound == 0 && !bind.is_empty() {
        return Err(format!("No address to listen on for port {port}: mend the `bind` directive"));
    }
    Ok(per_core)
}

/// The addresses by which others reach what listens on these, in their shortest form.
pub fn addresses(bind: &[String]) -> Vec<String> {
    let mut all: Vec<IpAddr> = Vec::new();
    for text in bind.iter().map(|text| text.strip_prefix('-').unwrap_or(text)) {
        match text {
            "*" => all.extend(interfaces().filter(IpAddr::is_ipv4)),
            "::*" => all.extend(interfaces().filter(IpAddr::is_ipv6)),
            text => all.extend(resolve(text)),
        }
    }
    all.sort_unstable();
    all.dedup();
    all.iter().map(IpAddr::to_string).collect()
}

fn interfaces() -> impl Iterator<Item = IpAddr> {
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(address)
}

fn resolve(text: &str) -> Result<IpAddr, String> {
    use std::net::ToSocketAddrs;
    let mut found =
        (text, 0u16).to_socket_addrs().map_err(|e| format!("Can't resolve bind address '{text}': {e}"))?;
    found.next().map(|a| a.ip()).ok_or_else(|| format!("bind address '{text}' has no address"))
}

fn is_missing(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ENOPROTOOPT)
    )
}

fn explain(what: &str, port: u16, e: &io::Error) -> String {
    let hint = match e.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            format!("port {port} is already in use: stop what listens there or choose another --port")
        }
        Some(libc::EACCES) => "ports below 1024 need the capability CAP_NET_BIND_SERVICE".into(),
        Some(libc::EADDRNOTAVAIL) => "this machine has no such address: mend the `bind` directive".into(),
        _ => e.to_string(),
    };
    format!(
        "Could not create server TCP listening socket {what}: bind: {e}: {hint}\nFailed listening on port {port} \
         (TCP), aborting."
    )
}

fn tcp_on(addr: SocketAddr, backlog: i32, cores: usize) -> io::Result<Vec<Socket>> {
    let open = |shared: bool| -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if shared {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&addr.into())?;
        Ok(socket)
    };
    if cores > 1 {
        // a shared port would let a second process of this user in: ask once without sharing
        let probe = open(false)?;
        probe.listen(1)?;
    }
    let sockets = (0..cores).map(|_| open(cores > 1)).collect::<io::Result<Vec<_>>>()?;
    sockets.iter().try_for_each(|s| s.listen(backlog))?;
    Ok(sockets)
}

/// A unix socket at `path`, replacing a stale one. `mode` 0 leaves the permissions alone.
pub fn unix(path: &str, mode: u32, backlog: i32) -> Result<Socket, String> {
    use std::os::unix::fs::PermissionsExt;
    let open = || -> io::Result<Socket> {
        if Path::new(path).exists() {
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        if mode != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        socket.listen(backlog)?;
        Ok(socket)
    };
    open().map_err(|e| format!("Failed opening Unix socket {path}: bind: {e}"))
}

/// What CLIENT LIST shows for an end of a connection.
pub fn show(addr: io::Result<SockAddr>, unix_path: &str) -> String {
    match addr.ok().and_then(|a| a.as_socket()) {
        Some(SocketAddr::V4(v4)) => v4.to_string(),
        // connections to a v6 socket come with brackets in Rust's form and without in Redis's
        Some(SocketAddr::V6(v6)) => format!("{}:{}", v6.ip(), v6.port()),
        None => format!("{unix_path}:0"),
    }
}

/// Whether the other end is on this machine.
pub fn is_local(addr: &io::Result<SockAddr>) -> bool {
    match addr.as_ref().ok().and_then(|a| a.as_socket()) {
        Some(addr) => {
            addr.ip().is_loopback()
                || matches!(addr.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()))
        }
        None => true,
    }
}
