//! Full synchronization of replicas: the data as it is at one moment, to all who wait for it.
//!
//! A snapshot's chunks go to the replicas' sockets as they come, between a mark that was announced and that
//! mark again. Who doesn't know marks, or where `repl-diskless-sync` is off, has it announced by its length:
//! so it is written to a file first, and read from there. There is one payload at a time; who comes too late
//! for it waits for the next.

use crate::command::rdb::{Use, facts};
use crate::limits::{REPL_WINDOW, SAVE_SYNC};
use crate::persist::crc64;
use crate::persist::rdb::{put_aux, put_begin, put_end};
use crate::repl::conf::About;
use crate::repl::history::Id;
use crate::shard::Shard;
use crate::shard::snapshot::{FilePlan, Form, Purpose, Seal};
use bytes::Bytes;
use std::io::Read;

/// A payload that goes to sockets as it is made.
pub(super) struct Payload {
    /// What ends it.
    mark: Id,
    /// The checksum of what there is of it.
    sum: Option<u64>,
}

impl Payload {
    /// What stands behind the data.
    fn tail(&self) -> Vec<u8> {
        let mut tail = self.sum.unwrap_or(0).to_le_bytes().to_vec();
        tail.extend_from_slice(self.mark.as_bytes());
        tail
    }

    fn add(&mut self, bytes: &[u8]) {
        self.sum = self.sum.map(|sum| crc64(sum, bytes));
    }
}

/// A payload that is read from its file.
pub(super) struct Spool {
    file: Box<dyn Read + Send>,
    left: u64,
    name: String,
}

impl Shard {
    /// Begins a payload if somebody has waited for one long enough, and none is in the making.
    pub(super) fn begin_payload_if_due(&mut self) {
        let (rules, now) = (self.repl_rules(), self.now.ms());
        if self.repl.primary.wants_payload(&rules, now) && !self.is_making_payload() {
            let Some(kind) = self.repl.primary.wanted().cloned() else { return };
            if kind.no_data {
                return self.send_empty_payload(&kind);
            }
            match self.marks(&kind) {
                true => self.want_snapshot(Purpose::Replicas, None, Vec::new()),
                false => {
                    let (temporary, target) = (self.place(self.now).temporary("repl"), self.spool_name());
                    let sync_every = self.conf.rdb_save_incremental_fsync.then_some(SAVE_SYNC);
                    let plan =
                        FilePlan { temporary, target, sync_every, seal: Seal::of_rdb(self.conf.rdbchecksum) };
                    let head = self.payload_head();
                    self.want_snapshot(Purpose::Spool, Some(plan), head);
                }
            }
        }
    }

    /// Whether a payload of this kind ends in a mark.
    fn marks(&self, kind: &About) -> bool {
        kind.eof && (self.conf.repl_diskless_sync || kind.no_data || kind.no_functions)
    }

    fn spool_name(&self) -> String {
        self.place(self.now).temporary("replicas")
    }

    /// Whether a payload is in the making, or wanted.
    fn is_making_payload(&self) -> bool {
        self.repl.spool.is_some() || self.wants_snapshot(|p| matches!(p, Purpose::Replicas | Purpose::Spool))
    }

    /// What an RDB file for replicas begins with.
    fn payload_head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        put_begin(&mut head);
        facts(&self.place(self.now), Use::Data).iter().for_each(|(k, v)| put_aux(k, v.as_bytes(), &mut head));
        self.position().facts().iter().for_each(|(k, v)| put_aux(k, v.as_bytes(), &mut head));
        head
    }

    fn new_payload(&mut self) -> Payload {
        Payload { mark: Id::random(&mut self.rng), sum: self.conf.rdbchecksum.then_some(0) }
    }

    /// The snapshot for replicas begins here: so does the stream for those who wait. How many bytes they
    /// get before it; `None` when nobody waits any more.
    pub(in crate::shard) fn payload_begins(&mut self, purpose: Purpose) -> Option<u64> {
        self.feed_replicas();
        self.stream.reselect();
        let kind = self.repl.primary.wanted().cloned()?;
        let mut head = Vec::new();
        if purpose == Purpose::Replicas {
            let mut payload = self.new_payload();
            let mut facts = self.payload_head();
            if !kind.no_functions {
                self.put_libraries(Form::Rdb, &mut facts);
            }
            payload.add(&facts);
            head.extend_from_slice(format!("$EOF:{}\r\n", payload.mark).as_bytes());
            head.extend_from_slice(&facts);
            self.repl.payload = Some(payload);
        }
        let begun = self.repl.primary.begin_payload(&kind, &head, self.now.ms());
        tracing::info!(
            "Starting a snapshot for SYNC with target: {}",
            if purpose == Purpose::Replicas { "replicas sockets" } else { "disk" }
        );
        begun.iter().for_each(|client| self.pump(*client));
        self.repl.news = true;
        (!begun.is_empty()).then_some(head.len() as u64)
    }

    /// More of the payload.
    pub(in crate::shard) fn send_payload(&mut self, chunk: &Bytes) {
        if let Some(payload) = &mut self.repl.payload {
            payload.add(chunk);
        }
        for client in self.repl.primary.chunk(chunk) {
            self.pump(client);
        }
    }

    /// Nothing more of the snapshot comes.
    pub(in crate::shard) fn payload_ends(&mut self) {
        let Some(payload) = self.repl.payload.take() else { return };
        self.send_payload(&payload.tail().into());
        self.repl.primary.end_payload();
    }

    /// The payload will never be whole.
    pub(in crate::shard) fn payload_fails(&mut self, why: &str) {
        self.repl.payload = None;
        for client in self.repl.primary.fail_payload() {
            tracing::warn!("SYNC with replica {} failed: {why}", self.name_of(client));
            self.throw_out(client);
        }
    }

    /// Who wants no keys gets all at once.
    fn send_empty_payload(&mut self, kind: &About) {
        let mut payload = self.new_payload();
        let mut data = self.payload_head();
        if !kind.no_functions {
            self.put_libraries(Form::Rdb, &mut data);
        }
        put_end(&mut data);
        payload.add(&data);
        let mut all = format!("$EOF:{}\r\n", payload.mark).into_bytes();
        all.append(&mut data);
        all.append(&mut payload.tail());
        let begun = self.repl.primary.begin_payload(kind, &all, self.now.ms());
        self.repl.primary.end_payload();
        begun.into_iter().for_each(|client| self.pump(client));
    }

    /// The file for replicas is written, or never will be.
    pub(in crate::shard) fn spooled(&mut self, outcome: Result<(), String>) {
        let name = self.spool_name();
        let opened = outcome.and_then(|()| self.host.outside.open(&name)?.ok_or("it is gone".to_owned()));
        match opened {
            Ok((size, file)) => {
                self.send_payload(&format!("${size}\r\n").into_bytes().into());
                self.repl.spool = Some(Spool { file, left: size, name });
                self.go_on_spooling();
            }
            Err(why) => self.payload_fails(&why),
        }
    }

    /// Reads on in the file as its readers keep up.
    pub(super) fn go_on_spooling(&mut self) {
        while let Some(spool) = &mut self.repl.spool {
            match self.repl.primary.payload_queued() {
                None => break,
                Some(queued) if queued > REPL_WINDOW => return,
                Some(_) => {}
            }
            if spool.left == 0 {
                self.repl.primary.end_payload().into_iter().for_each(|client| self.pump(client));
                break;
            }
            let mut chunk = vec![0; (REPL_WINDOW as u64).min(spool.left) as usize];
            spool.left -= chunk.len() as u64;
            match spool.file.read_exact(&mut chunk) {
                Ok(()) => self.send_payload(&chunk.into()),
                Err(e) => {
                    self.payload_fails(&e.to_string());
                    break;
                }
            }
        }
        if let Some(spool) = self.repl.spool.take() {
            self.host.outside.remove(&spool.name);
        }
    }

    /// As [`Shard::pump`], when a socket has taken something.
    pub(in crate::shard) fn pump_sent(&mut self, client: u32) {
        if self.repl.primary.is_replica(client) {
            self.pump(client);
            // a snapshot may have waited for this socket
            self.chores |= self.repl.payload.is_some();
            if self.repl.spool.is_some() {
                self.go_on_spooling();
            }
        }
    }
}
