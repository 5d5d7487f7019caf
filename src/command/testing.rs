//! A little world to run commands in: one shard's keyspace, one client, time set by hand.

use super::ctx::{Caller, Ctx, Effects};
use super::host::Host;
use super::spec::Run;
use super::table;
pub use super::table::CATALOG;
use crate::cluster::view::View;
use crate::config::Config;
use crate::resp::Reply;
use crate::resp::args::OwnedArgs;
use crate::resp::parse::split_words;
use crate::store::{Clock, Expiry, Hasher, Keyspace, Look, ValueRef};
use crate::util::rng::Rng;

pub struct World {
    pub ks: Box<Keyspace>,
    pub conf: Config,
    pub fx: Effects,
    pub caller: Caller,
    pub host: Host,
    pub view: View,
    /// The shard that executes.
    pub me: usize,
    pub rng: Rng,
    pub now_ms: u64,
    /// What runs comes from a primary, or a log.
    pub obeys: bool,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    /// Sixteen empty databases at a fixed moment; events are collected, nothing is propagated.
    pub fn new() -> World {
        World {
            ks: Keyspace::new(16, Hasher::new(1), 1),
            conf: Config::default(),
            fx: Effects { listening: true, ..Effects::default() },
            caller: Caller {
                id: 1,
                authenticated: true,
                local_ip: "127.0.0.1".into(),
                local: true,
                ..Caller::default()
            },
            host: Host::for_tests(1, table::COUNT),
            view: View::alone(),
            me: 0,
            rng: Rng::new(1),
            now_ms: 1_700_000_000_000,
            obeys: false,
        }
    }

    /// Sets the clock, in unix milliseconds.
    pub fn at(&mut self, ms: u64) -> &mut World {
        self.now_ms = ms;
        self
    }

    pub fn resp3(&mut self, yes: bool) -> &mut World {
        self.caller.resp3 = yes;
        self
    }

    /// Runs a line of words (redis-cli's quoting) and answers its raw reply.
    pub fn run(&mut self, line: &str) -> String {
        let (mut spans, mut words) = (Vec::new(), Vec::new());
        assert!(split_words(line.as_bytes(), &mut spans, &mut words), "unbalanced quotes: {line}");
        let words: Vec<&[u8]> =
            spans.iter().map(|s| &words[s.start as usize..(s.start + s.len) as usize]).collect();
        String::from_utf8_lossy(&self.run_words(&words)).into_owned()
    }

    pub fn run_words(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let args = OwnedArgs::new(words);
        let args = args.as_args();
        let mut out = Vec::new();
        let failed = match table::resolve(args) {
            Err(error) => Err(error),
            Ok(spec) => {
                let Run::Here(handler) = spec.run else { panic!("{} runs above", spec.name) };
                let expiry = if self.obeys { Expiry::Ignore } else { Expiry::Remove };
                let mut ctx = Ctx {
                    ks: &mut self.ks,
                    db: self.caller.db,
                    out: Reply::new(&mut out, self.caller.resp3),
                    clock: Clock { expiry, ..Clock::at(self.now_ms) },
                    now_us: self.now_ms * 1000,
                    conf: &self.conf,
                    rng: &mut self.rng,
                    fx: &mut self.fx,
                    caller: &mut self.caller,
                    host: &self.host,
                    view: &self.view,
                    me: self.me,
                    first_key: None,
                };
                handler(&mut ctx, args)
            }
        };
        if let Err(error) = failed {
            out.clear();
            Reply::new(&mut out, false).error(error.bytes());
        }
        out
    }

    /// Names of the events since the last call, with their keys: `set:a`.
    pub fn events(&mut self) -> Vec<String> {
        let show = |e: super::ctx::Event| format!("{}:{}", e.name, String::from_utf8_lossy(&e.key));
        self.fx.events.drain(..).map(show).collect()
    }

    /// Runs a transcript that `golden/capture.py` wrote: a request, a tab, its raw reply. Returns how
    /// many replies it compared.
    pub fn replay(&mut self, golden: &str) -> usize {
        let mut compared = 0;
        for line in golden.lines().filter(|line| !line.starts_with('#')) {
            if let Some(version) = line.strip_prefix("@resp ") {
                self.resp3(version == "3");
                continue;
            }
            let (request, reply) = line.split_once('\t').expect("a request and its reply");
            self.check(&[(request, reply)]);
            compared += 1;
        }
        compared
    }

    /// OBJECT ENCODING of a key of database 0 that holds a collection.
    pub fn encoding(&mut self, key: &str) -> &'static str {
        let (key, clock) = (self.ks.hasher().key(key.as_bytes()), Clock::at(self.now_ms));
        match self.ks.db_mut(0).find(&key, Look::Peek, &clock).map(|entry| entry.value()) {
            Some(ValueRef::Obj(object)) => object.encoding(),
            _ => "none",
        }
    }

    /// What was propagated instead of commands since the last call, a command a line.
    pub fn propagated(&mut self) -> Vec<String> {
        let show = |words: OwnedArgs| {
            let words: Vec<_> = words.as_args().iter().map(String::from_utf8_lossy).collect();
            words.join(" ")
        };
        self.fx.instead.drain(..).map(show).collect()
    }

    /// Runs lines and compares raw replies; `\r\n` is written `|`.
    pub fn check(&mut self, cases: &[(&str, &str)]) {
        for (line, want) in cases {
            let got = self.run(line).replace("\r\n", "|");
            assert_eq!(got, *want, "{line}");
        }
    }
}
