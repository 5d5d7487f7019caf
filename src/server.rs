//! Plans cores, binds ports, starts the shards and joins them at shutdown.

mod data;
mod ending;
mod plane;
mod users;

use crate::cluster::view::{Node, NodeId, UNASSIGNED, View, even_share};
use crate::command::acl::{Register, Users};
use crate::command::host::{Host, Renames};
use crate::command::table;
use crate::config::{Config, Invocation, Loaded, Source, Topology, from_args, parse};
use crate::limits;
use crate::net::aof::tool;
use crate::net::doors::{Doors, Ports};
use crate::net::executor::{Core, Event, Phase, Plan, Running, Shared};
use crate::net::outside::{self, Premises};
use crate::net::{self, clock, listen, log::Log, mailbox::Post};
use crate::session::Door;
use crate::shard::Setup;
use crate::store::Hasher;
use crate::util::rng::Rng;
use plane::{BusPorts, PlaneAtWork};
use socket2::Socket;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

/// Runs the program with these arguments, its own name left out.
pub fn run(args: &[String]) -> ExitCode {
    match from_args(args) {
        Invocation::Help(text) | Invocation::Version(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Invocation::CheckRdb { path } => match net::check::rdb(&path, &path, |line| println!("{line}")) {
            Some(_) => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        },
        Invocation::CheckConfig { file, stdin, overrides } => {
            match load(file.as_deref(), stdin, &overrides) {
                Ok(loaded) => {
                    loaded.notices.iter().for_each(|n| println!("{n}"));
                    println!("{}: OK", file.as_deref().unwrap_or("configuration"));
                    ExitCode::SUCCESS
                }
                Err(why) => fail(&why),
            }
        }
        Invocation::Wrong(text) => fail(&text),
        Invocation::CheckAof { path, fix, until } => match tool::run(&tool::Request { path, fix, until }) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
        Invocation::Serve { file, stdin, overrides } => {
            match load(file.as_deref(), stdin, &overrides).and_then(|loaded| serve(loaded, file)) {
                Ok(code) => code,
                Err(why) => fail(&why),
            }
        }
    }
}

/// Tells the log why it ends: whoever has started it looks there or at the terminal, and is told once where both are
/// the same. What is left to say.
fn logged(to_file: bool) -> impl Fn(String) -> String + Copy {
    move |why| {
        why.lines().for_each(|line| tracing::warn!("{line}"));
        if to_file { why } else { String::new() }
    }
}

/// Says why it ends, if nobody has yet.
fn fail(why: &str) -> ExitCode {
    if !why.is_empty() {
        eprintln!("{why}");
    }
    ExitCode::FAILURE
}

fn load(file: Option<&str>, stdin: bool, overrides: &str) -> Result<Loaded, String> {
    let cant = |name: &str, e: std::io::Error| format!("Fatal error, can't open config file '{name}': {e}");
    let text = match file {
        Some(name) => Some(std::fs::read(name).map_err(|e| cant(name, e))?),
        None => None,
    };
    let mut piped = Vec::new();
    if stdin {
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut piped).map_err(|e| cant("-", e))?;
    }
    let mut sources = Vec::new();
    if let (Some(name), Some(text)) = (file, &text) {
        sources.push(Source::File { name, text });
    }
    if stdin {
        sources.push(Source::Stdin(&piped));
    }
    sources.push(Source::CommandLine(overrides));
    let loaded = parse(&sources, &mut net::files::include).map_err(|e| e.to_string())?;
    users::declared(&loaded.config)?;
    renames(&loaded.config)?;
    Ok(loaded)
}

/// What `rename-command` lines come to.
fn renames(conf: &Config) -> Result<Renames, String> {
    Renames::new(&conf.renames, &table::CATALOG).map_err(|e| e.to_string())
}

/// Which core each shard runs on.
fn plan_cores(conf: &Config) -> Result<Vec<usize>, String> {
    let allowed = net::allowed_cores();
    let chosen = conf.cores.list();
    if let Some(missing) = chosen.iter().find(|c| !allowed.contains(c)) {
        return Err(format!(
            "There is no core {missing} for this process: it may use {allowed:?}. Mend --cores."
        ));
    }
    let cores = if chosen.is_empty() { &allowed[..] } else { chosen };
    Ok((0..conf.shard_count(cores.len())).map(|shard| cores[shard % cores.len()]).collect())
}

fn plan_ports(conf: &Config, shards: usize) -> Result<Ports, String> {
    let single = conf.topology == Topology::Standalone || (conf.topology == Topology::Cluster && shards == 1);
    if single {
        let own = if conf.topology == Topology::Cluster { vec![conf.port] } else { Vec::new() };
        let front = (conf.topology == Topology::Standalone).then_some(conf.port);
        return Ok(Ports { front, own });
    }
    let highest = conf.port as usize + shards + 10_000;
    if highest > u16::MAX as usize {
        return Err(format!(
            "Port {} is too high for {shards} shards: shard ports follow it and bus ports are 10000 above. Choose a --port below {}.",
            conf.port,
            u16::MAX as usize - 10_000 - shards
        ));
    }
    Ok(Ports { front: Some(conf.port), own: (1..=shards as u16).map(|i| conf.port + i).collect() })
}

fn random_id(rng: &mut Rng) -> NodeId {
    std::array::from_fn(|_| b"0123456789abcdef"[rng.below(16) as usize])
}

/// What a standalone server's shards begin with, and keep: all slots shared evenly.
fn first_view(conf: &Config, shards: usize) -> View {
    let node = |i| Node { port: conf.port, local: Some(i as u16), ..Node::default() };
    let shares: Vec<_> = (0..shards).map(|i| even_share(i, shards)).collect();
    let owner = |slot| {
        shares.iter().position(|&(from, to)| (from..=to).contains(&slot)).map_or(UNASSIGNED, |i| i as u16)
    };
    View::new(1, 0, (0..shards).map(node).collect(), owner)
}

/// Draws `maxclients` down to what the limit of open files allows; says so.
fn fit_clients(conf: &mut Config, shards: usize) -> Result<Option<String>, String> {
    let nodes = if conf.topology == Topology::Standalone { 0 } else { shards };
    let Err(possible) = net::allow_files(conf.maxclients as u64, shards, nodes) else { return Ok(None) };
    if possible == 0 {
        return Err("The limit of open files is too low for this server to start. Mend `ulimit -n`.".into());
    }
    let wanted = std::mem::replace(&mut conf.maxclients, possible as u32);
    Ok(Some(format!(
        "maxclients has been reduced from {wanted} to {possible} to compensate for a low limit of open files. If you \
         need more clients, raise `ulimit -n`."
    )))
}

/// All sockets are bound before any shard starts.
fn bind(conf: &Config, ports: &Ports, shards: usize) -> Result<(Doors, Option<(Socket, Door)>), String> {
    let has_port = conf.port != 0 && !conf.bind.0.is_empty();
    if !has_port && conf.unixsocket.is_empty() {
        return Err("Configured to not listen anywhere, exiting.".into());
    }
    let doors = Doors::open(conf, ports.clone(), shards)?;
    if conf.unixsocket.is_empty() {
        return Ok((doors, None));
    }
    let backlog = conf.tcp_backlog.min(i32::MAX as u32) as i32;
    let door = if ports.front.is_some() { Door::Front } else { Door::Own };
    let unix = listen::unix(&conf.unixsocket, conf.unixsocketperm, backlog)?;
    Ok((doors, Some((unix, door))))
}

fn serve(loaded: Loaded, file: Option<String>) -> Result<ExitCode, String> {
    let mut conf = loaded.config;
    let file =
        file.map(|f| std::fs::canonicalize(&f).map_or(f, |p| p.display().to_string())).unwrap_or_default();
    let cores = plan_cores(&conf)?;
    let shards = cores.len();
    let ports = plan_ports(&conf, shards)?;
    net::check_ring()?;
    let few_files = fit_clients(&mut conf, shards)?;
    std::env::set_current_dir(&conf.dir).map_err(|e| format!("Can't chdir to '{}': {e}", conf.dir))?;
    let log = Log::open(&conf.logfile, conf.loglevel).map_err(|e| format!("Can't open the log file: {e}"))?;
    let logged = logged(!conf.logfile.is_empty());
    let users = users::load(&conf).map_err(logged)?;
    let renames = renames(&conf).map_err(logged)?;
    let (doors, unix) = bind(&conf, &ports, shards).map_err(logged)?;
    let doors = Arc::new(doors);
    let bus = BusPorts::bind(&conf, &ports).map_err(logged)?;
    if conf.daemonize {
        net::daemonize()?;
    }
    greet(&conf, &cores);
    loaded.notices.iter().for_each(|n| tracing::info!("{n}"));
    few_files.iter().for_each(|n| tracing::warn!("{n}"));
    net::oom::apply(&conf).unwrap_or_else(|why| tracing::warn!("{why}"));
    if !conf.pidfile.is_empty() {
        let _ = std::fs::write(&conf.pidfile, format!("{}\n", std::process::id()));
    }

    net::heap::leave_purging_to_caller();
    if conf.disable_thp {
        net::disable_huge_pages();
    }
    let mut rng = Rng::new(clock::seed());
    crate::value::set_hash_seed(rng.next_u64());
    let host = Arc::new(new_host(&conf, (shards, &ports), file, doors.clone(), (users, renames), &mut rng));
    let (events, inbox) = channel();
    let at_work = start_cores(&host, &cores, (doors, unix, bus), &events, &mut rng)?;
    watch_signals(events)?;
    let loads = data::begin(&host, &at_work)?;
    // who is served finds it said that the host serves
    let ready = || announce(&conf, &cores, &ports, &at_work.views);
    if !loads {
        ready();
    }
    at_work.threads.iter().for_each(Running::go);
    outside::publish_base(&host);
    let serves = !loads || data::wait(&host, &at_work, &inbox)?;
    if loads && serves {
        ready();
        at_work.shared.cleared.fetch_add(1, Ordering::Release);
    }
    let code = match serves {
        true => ending::wait(&inbox, &log, &host, &at_work),
        false => ExitCode::SUCCESS,
    };
    if let Some(plane) = at_work.plane {
        plane.stop();
    }
    at_work.shared.phase.end();
    for thread in at_work.threads {
        thread.join()?;
    }
    for left in [&conf.pidfile, &conf.unixsocket].into_iter().filter(|path| !path.is_empty()) {
        let _ = std::fs::remove_file(left);
    }
    tracing::warn!("Shoal is now ready to exit, bye bye...");
    Ok(code)
}

/// A started host.
struct AtWork {
    plane: Option<PlaneAtWork>,
    /// What each shard begins with.
    views: Vec<Arc<View>>,
    shared: Arc<Shared>,
    threads: Vec<Running>,
}

/// Starts the plane, and one core a shard. They stand until they are told to go.
fn start_cores(
    host: &Arc<Host>,
    cores: &[usize],
    (doors, mut unix, bus): (Arc<Doors>, Option<(Socket, Door)>, Option<BusPorts>),
    events: &Sender<Event>,
    rng: &mut Rng,
) -> Result<AtWork, String> {
    let shards = cores.len();
    let conf = host.live.snapshot();
    let (letters, bells) = plane::letterboxes(if bus.is_some() { shards } else { 0 })?;
    let shared = Arc::new(Shared {
        post: Post::new(shards, limits::MAILBOX),
        siblings: (0..shards).map(|_| OnceLock::new()).collect(),
        phase: Phase::default(),
        doors,
        letters,
        loaded: AtomicUsize::new(0),
        settled: AtomicUsize::new(0),
        cleared: AtomicUsize::new(0),
    });
    let (views, mut plane) = match bus {
        None => {
            let view = Arc::new(first_view(&conf, shards));
            ((0..shards).map(|_| view.clone()).collect(), None)
        }
        Some(bus) => {
            let lines = (&shared, bells);
            let (views, plane) = PlaneAtWork::start(host, bus, lines, events.clone(), rng.next_u64())?;
            (views, Some(plane))
        }
    };
    let hash_seed = rng.next_u64();
    let mut threads = Vec::new();
    for (me, &core) in cores.iter().enumerate() {
        let plan = Plan {
            setup: Setup {
                me,
                shards,
                host: host.clone(),
                view: views[me].clone(),
                hasher: Hasher::new(hash_seed),
                databases: if host.cluster { 1 } else { conf.databases as usize },
                seed: rng.next_u64(),
                ticks: clock::ticks(),
            },
            shared: shared.clone(),
            // the first core's
            unix: unix.take(),
            unix_path: conf.unixsocket.clone(),
            events: events.clone(),
            plane: plane.as_mut().and_then(PlaneAtWork::line),
        };
        threads.push(Core::start(plan, core)?);
    }
    Ok(AtWork { plane, views, shared, threads })
}

fn new_host(
    conf: &Config,
    (shards, ports): (usize, &Ports),
    config_file: String,
    doors: Arc<Doors>,
    (users, renames): (Users, Renames),
    rng: &mut Rng,
) -> Host {
    users::tell_of_disabled(&users);
    let id = random_id(rng);
    let (os, system_memory) = outside::machine();
    let mut host = Host {
        run_id: String::from_utf8_lossy(&id).into_owned(),
        pid: std::process::id(),
        started_us: clock::now().unix_us,
        executable: std::env::current_exe().map_or_else(|_| "shoal".into(), |p| p.display().to_string()),
        config_file,
        cluster: conf.topology != Topology::Standalone,
        own_ports: ports.own.clone(),
        ticks_per_us: clock::ticks().per_us,
        os,
        system_memory,
        renames,
        ..Host::new(conf.clone(), shards, table::COUNT, Box::new(Premises(doors)))
    };
    host.registers.users = Register::new(users);
    host
}

/// The first lines of the log.
fn greet(conf: &Config, cores: &[usize]) {
    tracing::info!("Shoal {}: {} shard(s) on core(s) {cores:?}", env!("CARGO_PKG_VERSION"), cores.len());
    tracing::info!("Port: {}, PID: {}", conf.port, std::process::id());
}

fn announce(conf: &Config, cores: &[usize], ports: &Ports, views: &[Arc<View>]) {
    let shards = cores.len();
    for (shard, core) in cores.iter().enumerate().filter(|_| conf.topology != Topology::Standalone) {
        let view = &views[shard];
        let slots: Vec<String> =
            view.ranges(view.local_index(shard)).iter().map(|(from, to)| format!("{from}-{to}")).collect();
        let slots = if slots.is_empty() { "none".into() } else { slots.join(" ") };
        tracing::info!("shard {shard}: core {core}, port {}, slots {slots}", ports.own[shard]);
    }
    if let Some(front) = ports.front.filter(|_| shards > 1 || conf.topology == Topology::Host) {
        tracing::info!("front door: port {front}, for clients that don't speak cluster");
    }
    let dir = std::env::current_dir().map_or_else(|_| conf.dir.clone(), |d| d.display().to_string());
    tracing::info!("files: {dir}");
    tracing::info!("Ready to accept connections");
}

fn watch_signals(events: Sender<Event>) -> Result<(), String> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    // a file that may grow no further is an error of the write, not the end
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(|e| format!("Can't handle signals: {e}"))?;
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|e| format!("Can't handle signals: {e}"))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::ReopenLog } else { Event::Signal(signal) };
            if events.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}
