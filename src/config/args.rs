//! The command line: `shoal [FILE|-] [--name value ...]...`, in every form that redis-server takes.

use super::split;
use super::table::TABLE;
use clap::{Arg, Command};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run. The sources are read in this order: the file, standard input, the overrides.
    Serve {
        file: Option<String>,
        stdin: bool,
        overrides: String,
    },
    /// Read the configuration as `Serve` would, report, and end.
    CheckConfig {
        file: Option<String>,
        stdin: bool,
        overrides: String,
    },
    /// Read an RDB file, say whether it is good, and end.
    CheckRdb {
        path: String,
    },
    /// Check append-only files: redis-check-aof.
    CheckAof {
        path: String,
        fix: bool,
        /// Unix seconds; 0 is no bound.
        until: i64,
    },
    /// Print this text and end well.
    Help(String),
    Version(String),
    /// Print this text and end badly.
    Wrong(String),
}

/// Reads the arguments, the program's name left out.
///
/// Options become configuration lines that stand after the file's: `--port 7000` is `port "7000"`.
/// An option takes all that follows up to the next `--`, but at least one argument, even one that
/// begins with `--` itself; only a bare `--save` takes none and means `--save ""`. An argument may
/// hold name and value at once. What is wrong in the values comes out when the lines are read.
pub fn from_args(args: &[String]) -> Invocation {
    if let Some(first) = args.first() {
        match first.as_str() {
            "-h" | "--help" => return Invocation::Help(command().render_long_help().to_string()),
            "-v" | "-V" | "--version" => return Invocation::Version(command().render_version()),
            _ => {}
        }
    }
    if let [option, path] = args
        && option == "--check-rdb"
    {
        return Invocation::CheckRdb { path: path.clone() };
    }
    if let Some(at) = args.iter().position(|arg| arg == "--check-aof") {
        return check_aof(&[&args[..at], &args[at + 1..]].concat());
    }
    if let Some(at) = args.iter().position(|arg| arg == "--check-config") {
        let rest = [&args[..at], &args[at + 1..]].concat();
        let (file, stdin, overrides) = sources(&rest);
        return Invocation::CheckConfig { file, stdin, overrides };
    }
    let (file, stdin, overrides) = sources(args);
    Invocation::Serve { file, stdin, overrides }
}

const CHECK_AOF: &str = "Usage: shoal --check-aof [--fix|--truncate-to-timestamp TIMESTAMP] FILE|MANIFEST";

fn check_aof(args: &[String]) -> Invocation {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (path, fix, until) = match words[..] {
        [path] => (path, false, Some(0)),
        ["--fix", path] | [path, "--fix"] => (path, true, Some(0)),
        ["--truncate-to-timestamp", time, path] | [path, "--truncate-to-timestamp", time] => {
            (path, false, time.parse().ok())
        }
        _ => ("", false, None),
    };
    match until {
        Some(until) if !path.starts_with("--") => Invocation::CheckAof { path: path.to_owned(), fix, until },
        _ => Invocation::Wrong(CHECK_AOF.to_owned()),
    }
}

/// The file, whether standard input is read, and the options as configuration lines.
fn sources(args: &[String]) -> (Option<String>, bool, String) {
    let mut stdin = false;
    let file = args.first().filter(|first| !first.starts_with('-')).cloned();
    let mut lines = Vec::new();
    // Whether the option before has a value, so that the next `--` starts another one.
    let mut complete = true;
    for (i, arg) in args.iter().enumerate().skip(usize::from(file.is_some())) {
        let next = args.get(i + 1);
        if arg == "-" && (i == 0 || next.is_none()) {
            stdin = true;
        } else if let Some(option) = arg.strip_prefix("--").filter(|_| complete) {
            if !lines.is_empty() {
                lines.push(b'\n');
            }
            lines.extend_from_slice(option.as_bytes());
            lines.push(b' ');
            complete = split::words(arg.as_bytes()).is_none_or(|words| words.len() != 1);
            let bare = next.is_none_or(|next| next.starts_with("--"));
            if !complete && bare && option.eq_ignore_ascii_case("save") {
                lines.extend_from_slice(b"\"\"");
                complete = true;
            } else if !complete && bare && option.eq_ignore_ascii_case("sentinel") {
                complete = true;
            }
        } else {
            split::quote(arg.as_bytes(), &mut lines);
            lines.push(b' ');
            complete = true;
        }
    }
    // Quoting escapes all that isn't ASCII; what stands unquoted came from a String.
    (file, stdin, String::from_utf8_lossy(&lines).into_owned())
}

const MODES: &str = "\
Modes:
  shoal                                 a whole cluster on this host: slots split over the shards
  shoal --cluster-enabled yes ...       cluster node(s) without slots, for any Redis Cluster tool
  shoal FILE, shoal --cluster-enabled no
                                        one server without slots, as redis-server is

Ports, when there is more than one shard in a cluster: `port` is the front door, which serves every
slot; shard I has `port`+1+I as its own; every own port has its cluster bus 10000 above it.

Examples:
  shoal --shards 4 --port 7000
  shoal /etc/shoal/shoal.conf --appendonly yes --save \"\"
  shoal --port 7000 --cluster-enabled yes --cluster-config-file nodes-7000.conf
  shoal /etc/redis/redis.conf --maxmemory 2gb --bind 127.0.0.1 ::1
  echo 'maxmemory 128mb' | shoal -
  shoal --check-config /etc/shoal/shoal.conf";

/// What clap shows; the overrides are too free for it to parse.
fn command() -> Command {
    let names = format!(
        "Any directive of redis.conf ({} are known); it stands after the file's lines and wins",
        TABLE.len()
    );
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("shoal")
        .bin_name("shoal")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Redis-Cluster-compatible in-memory data store: every core a cluster master")
        .override_usage("shoal [FILE] [--DIRECTIVE VALUE...]... [-]\n       shoal --check-config [FILE] ...\n       shoal --check-rdb FILE")
        .disable_version_flag(true)
        .arg(Arg::new("FILE").help("A redis.conf or shoal.conf; - reads standard input"))
        .arg(Arg::new("directive").long("DIRECTIVE").value_name("VALUE...").help(names))
        .arg(option("shards", "N", "Shards to run; 0, the default, is one a core, or one with a FILE"))
        .arg(option("cores", "LIST", "CPUs to run on, such as 0-3,6; all by default"))
        .arg(option("join", "HOST:PORT...", "Nodes of a cluster to meet at start"))
        .arg(option("mode", "MODE", "auto, host, cluster or standalone: see below"))
        .arg(option("check-aof", "FILE", "Check an append-only file or a manifest, and end; --fix mends it"))
        .arg(option("check-config", "FILE", "Read the configuration, report what is wrong, and end"))
        .arg(option("check-rdb", "FILE", "Read an RDB file, report what is wrong, and end"))
        .arg(Arg::new("version").short('v').long("version").help("Print the version").num_args(0))
        .after_help(MODES)
        .max_term_width(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Invocation {
        from_args(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn forms_of_the_command_line() {
        type Case = (&'static [&'static str], Option<&'static str>, bool, &'static str);
        let cases: &[Case] = &[
            (&[], None, false, ""),
            (&["a.conf"], Some("a.conf"), false, ""),
            (&["-"], None, true, ""),
            (&["--port", "7000", "--appendonly", "yes"], None, false, "port \"7000\" \nappendonly \"yes\" "),
            (&["a.conf", "--loglevel", "verbose", "-"], Some("a.conf"), true, "loglevel \"verbose\" "),
            (&["a.conf", "-", "--port", "1"], Some("a.conf"), false, "\"-\" \nport \"1\" "),
            (&["--port 7000"], None, false, "port 7000 "),
            (&["--port 7000", "--hz", "5"], None, false, "port 7000 \nhz \"5\" "),
            (&["--save", ""], None, false, "save \"\" "),
            (&["--save"], None, false, "save \"\""),
            (&["--SAVE", "--hz", "5"], None, false, "SAVE \"\"\nhz \"5\" "),
            (&["--save", "900", "1", "60", "2"], None, false, "save \"900\" \"1\" \"60\" \"2\" "),
            (&["--save", "900 1"], None, false, "save \"900 1\" "),
            (&["--requirepass", "--secret"], None, false, "requirepass \"--secret\" "),
            (&["--port", "--hz", "5"], None, false, "port \"--hz\" \"5\" "),
            (&["--sentinel", "--hz", "5"], None, false, "sentinel \nhz \"5\" "),
            (&["--dir", "a b\"c"], None, false, "dir \"a b\\\"c\" "),
            (&["--requirepass", "é"], None, false, "requirepass \"\\xc3\\xa9\" "),
        ];
        for (args, file, stdin, overrides) in cases {
            let expect = Invocation::Serve {
                file: file.map(str::to_owned),
                stdin: *stdin,
                overrides: (*overrides).to_owned(),
            };
            assert_eq!(run(args), expect, "{args:?}");
        }
    }

    #[test]
    fn help_shows_usage_modes_and_own_options() {
        let Invocation::Help(help) = run(&["--help"]) else { panic!("no help") };
        for part in ["Usage: shoal [FILE]", "Modes:", "--shards <N>", "--cores", "--join", "--check-config"] {
            assert!(help.contains(part), "{part} in\n{help}");
        }
        assert!(help.lines().all(|l| l.chars().count() <= 100), "{help}");
        assert_eq!(run(&["-h"]), Invocation::Help(help));
    }

    #[test]
    fn version_and_check() {
        let expect = format!("shoal {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run(&["--version"]), Invocation::Version(expect.clone()));
        assert_eq!(run(&["-v"]), Invocation::Version(expect));
        let check = Invocation::CheckConfig {
            file: Some("a.conf".into()),
            stdin: false,
            overrides: "hz \"5\" ".into(),
        };
        assert_eq!(run(&["--check-config", "a.conf", "--hz", "5"]), check);
    }
}
