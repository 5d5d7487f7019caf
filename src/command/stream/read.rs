//! XREAD and XREADGROUP: what is new in some streams, or what a consumer has been given before. Where there
//! is nothing, the client may wait.

use super::id::parse_id;
use super::{is_there, show};
use crate::command::blocking::{Nothing, wait_with};
use crate::command::collection::{find, find_mut};
use crate::command::ctx::{Ctx, Effects, class};
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::limits::STREAM_WOKEN;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::store::{Key, Look};
use crate::util::num::{parse_i64, until_nul};
use crate::value::Stream;
use crate::value::stream::{Group, Id, Log, Member, Pending};

const UNBALANCED: ErrReply = ErrReply::new(
    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
);
const GROUP_ALONE: ErrReply =
    ErrReply::new("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
const NOACK_ALONE: ErrReply =
    ErrReply::new("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
const NO_GROUP_OPTION: ErrReply = ErrReply::new("ERR Missing GROUP option for XREADGROUP");
const LAST_OF_GROUP: ErrReply = ErrReply::new(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
     consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return \
     an empty result set.",
);
const NEW_ALONE: ErrReply = ErrReply::new(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);
const BAD_TIMEOUT: ErrReply = ErrReply::new("ERR timeout is not an integer or out of range");
const NEGATIVE_TIMEOUT: ErrReply = ErrReply::new("ERR timeout is negative");
const KEY_GONE: ErrReply = ErrReply::new("UNBLOCKED the stream key no longer exists");
const GROUP_GONE: ErrReply =
    ErrReply::new("NOGROUP the consumer group this client was blocked on no longer exists");

/// XREAD [COUNT count] [BLOCK ms] STREAMS key ... id ...
pub fn xread(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    Request::parse(ctx, args, false)?.run(ctx, args)
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [NOACK] STREAMS key ... id ...
pub fn xreadgroup(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    Request::parse(ctx, args, true)?.run(ctx, args)
}

struct Request<'a> {
    reader: Option<Reader<'a>>,
    count: usize,
    /// The client may wait until then.
    until_ms: Option<u64>,
    keys: Args<'a>,
    ids: Args<'a>,
}

/// A consumer of a group.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// What it gets counts as acknowledged.
    noack: bool,
}

/// What is asked of a stream.
#[derive(Clone, Copy)]
enum Wish {
    Behind(Id),
    /// What the group has not been given.
    New,
}

impl<'a> Request<'a> {
    fn parse(ctx: &Ctx<'_>, args: Args<'a>, grouped: bool) -> Result<Request<'a>, ErrReply> {
        let (mut reader, mut noack, mut count, mut until_ms) = (None, false, 0usize, None);
        let mut i = 1;
        let streams = loop {
            let more = args.len().saturating_sub(i + 1);
            if args.is(i, "block") && more > 0 {
                i += 1;
                until_ms = Some(parse_timeout(ctx, args.at(i))?);
            } else if args.is(i, "count") && more > 0 {
                i += 1;
                count = parse_i64(args.at(i)).ok_or(NOT_INT)?.max(0) as usize;
            } else if args.is(i, "streams") && more > 0 {
                break args.from(i + 1);
            } else if args.is(i, "group") && more > 1 {
                if !grouped {
                    return Err(GROUP_ALONE);
                }
                reader = Some((args.at(i + 1), args.at(i + 2)));
                i += 2;
            } else if args.is(i, "noack") {
                if !grouped {
                    return Err(NOACK_ALONE);
                }
                noack = true;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        };
        if streams.len() % 2 != 0 {
            return Err(UNBALANCED);
        }
        if grouped && reader.is_none() {
            return Err(NO_GROUP_OPTION);
        }
        let count = if count == 0 { usize::MAX } else { count };
        let reader = reader.map(|(group, consumer)| Reader { group, consumer, noack });
        let half = streams.len() / 2;
        Ok(Request { reader, count, until_ms, keys: streams.slice(0, half), ids: streams.from(half) })
    }

    fn run(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
        let wishes = (0..self.keys.len()).map(|n| self.wish(ctx, n)).collect::<Result<Vec<_>, _>>()?;
        let open = ctx.out.begin_array();
        let mut served = 0;
        for (word, wish) in self.keys.iter().zip(&wishes) {
            let key = ctx.key(word);
            if is_there(ctx, &key)? && self.has_some(ctx, &key, *wish)? {
                if !ctx.out.resp3() {
                    ctx.out.array(2);
                }
                ctx.out.bulk(word);
                match (self.reader, *wish) {
                    (Some(reader), wish) => self.deliver(ctx, &key, reader, wish)?,
                    (None, Wish::Behind(id)) => self.show(ctx, &key, id)?,
                    (None, Wish::New) => unreachable!("only groups know what is new"),
                }
                served += 1;
            }
        }
        if served > 0 {
            ctx.out.end_pairs(open, served);
        } else if let Some(until_ms) = self.until_ms {
            wait_with(ctx, until_ms, Nothing::Array, self.again(args.at(0), &wishes));
        } else {
            ctx.out.null_array();
        }
        Ok(())
    }

    /// What the `n`th id asks for.
    fn wish(&self, ctx: &mut Ctx<'_>, n: usize) -> Result<Wish, ErrReply> {
        let (word, id) = (self.keys.at(n), self.ids.at(n));
        let key = ctx.key(word);
        let there = match is_there(ctx, &key) {
            Err(_) if self.reader.is_some() && ctx.fx.waiting => return Err(KEY_GONE),
            there => there?,
        };
        let stream = match there {
            true => find::<Stream>(ctx.ks.db_mut(ctx.db), &key, Look::Peek, &ctx.clock)?,
            false => None,
        };
        if let Some(reader) = self.reader
            && stream.and_then(|stream| stream.group(reader.group)).is_none()
        {
            return Err(match (ctx.fx.waiting, there) {
                (true, true) => GROUP_GONE,
                (true, false) => KEY_GONE,
                _ => no_group(word, reader.group),
            });
        }
        Ok(match until_nul(id) {
            b"$" if self.reader.is_some() => return Err(LAST_OF_GROUP),
            b"$" => Wish::Behind(stream.map_or(Id::ZERO, |stream| stream.log.last_id)),
            b">" if self.reader.is_none() => return Err(NEW_ALONE),
            b">" => Wish::New,
            _ => match parse_id(id, 0)? {
                Id::MAX if self.reader.is_some() => Wish::New,
                id => Wish::Behind(id),
            },
        })
    }

    /// Whether there is something to reply with. 7.0 would wake who waits with an empty reply when entries
    /// came and went in one transaction; here, as from 7.2 on, that is nothing.
    fn has_some(&self, ctx: &mut Ctx<'_>, key: &Key<'_>, wish: Wish) -> Result<bool, ErrReply> {
        let Some(stream) = find::<Stream>(ctx.ks.db_mut(ctx.db), key, Look::Peek, &ctx.clock)? else {
            return Ok(false);
        };
        let from = match (wish, self.reader) {
            (Wish::Behind(_), Some(_)) => return Ok(true),
            (Wish::Behind(id), None) => id,
            (Wish::New, Some(reader)) => stream.group(reader.group).map_or(Id::MAX, |group| group.last_id),
            (Wish::New, None) => Id::MAX,
        };
        Ok(stream.log.newest().is_some_and(|newest| newest > from))
    }

    fn show(&self, ctx: &mut Ctx<'_>, key: &Key<'_>, behind: Id) -> Done {
        if let Some(stream) = find::<Stream>(ctx.ks.db_mut(ctx.db), key, Look::Peek, &ctx.clock)? {
            let open = ctx.out.begin_array();
            let entries = stream.log.behind(behind).take(self.count);
            let n = entries.map(|entry| show::entry(&mut ctx.out, &entry)).count();
            ctx.out.end_array(open, n);
        }
        Ok(())
    }

    /// Gives a consumer what it asks for.
    fn deliver(&self, ctx: &mut Ctx<'_>, key: &Key<'_>, reader: Reader<'_>, wish: Wish) -> Done {
        let now = ctx.now() as i64;
        let db = ctx.ks.db_mut(ctx.db);
        let Some(stream) = find_mut::<Stream>(db, key, &ctx.clock)? else { return Ok(()) };
        let Some((log, group)) = stream.group_mut(reader.group) else { return Ok(()) };
        let (member, created) = seen(group, reader.consumer, now);
        if created {
            ctx.fx.dirty += 1;
            ctx.fx.event(ctx.db, key.bytes, class::STREAM, "xgroup-createconsumer");
            if reader.noack {
                tell_consumer(ctx.fx, key.bytes, reader.group, reader.consumer);
            }
        }
        let told = match wish {
            Wish::Behind(id) => {
                self.show_history(&mut ctx.out, log, group, member, id, now);
                0
            }
            Wish::New => self.show_new(&mut ctx.out, ctx.fx, (key.bytes, log, group), (reader, member), now),
        };
        if created && !reader.noack && told == 0 {
            tell_consumer(ctx.fx, key.bytes, reader.group, reader.consumer);
        }
        ctx.fx.dirty += 1;
        // what was shown again is told to nobody, as in Redis
        ctx.fx.quiet = ctx.fx.propagating;
        Ok(())
    }

    /// What the consumer was given and has not acknowledged.
    fn show_history(
        &self,
        out: &mut Reply<'_>,
        log: &Log,
        group: &mut Group,
        member: Member,
        behind: Id,
        now_ms: i64,
    ) {
        let start = behind.next().unwrap_or(Id::ZERO);
        let ids: Vec<Id> = group.consumer(member).owned_from(start).take(self.count).collect();
        out.array(ids.len());
        for id in ids {
            match log.find(id) {
                Some(entry) => {
                    show::entry(out, &entry);
                    group.redeliver(id, now_ms);
                }
                None => {
                    out.array(2);
                    show::id(out, id);
                    out.null_array();
                }
            }
        }
    }

    /// What the group has not been given. How much of it is told to replicas.
    fn show_new(
        &self,
        out: &mut Reply<'_>,
        fx: &mut Effects,
        (key, log, group): (&[u8], &Log, &mut Group),
        (reader, member): (Reader<'_>, Member),
        now_ms: i64,
    ) -> usize {
        let open = out.begin_array();
        let (mut n, mut told) = (0, 0);
        for entry in log.behind(group.last_id).take(self.count) {
            group.advance(log, entry.id);
            show::entry(out, &entry);
            n += 1;
            if !reader.noack {
                let pending = group.assign(entry.id, member, now_ms, 1);
                entry.id.with_text(|id| tell_claim(fx, key, reader.group, group, id, &pending));
                told += 1;
            }
        }
        out.end_array(open, n);
        if reader.noack && n > 0 {
            tell_place(fx, key, reader.group, group);
        }
        told
    }

    /// The command as it is to be tried again, so that nobody takes another word for STREAMS: what is
    /// last now is an id like others.
    fn again(&self, name: &[u8], wishes: &[Wish]) -> OwnedArgs {
        let mut again = OwnedArgs::new([name]);
        if let Some(reader) = self.reader {
            [b"GROUP", reader.group, reader.consumer].iter().for_each(|word| again.push(word));
            if reader.noack {
                again.push(b"NOACK");
            }
        }
        let mut count = itoa::Buffer::new();
        let count = count.format(if self.count == usize::MAX { STREAM_WOKEN } else { self.count });
        [b"COUNT", count.as_bytes(), b"BLOCK", b"0", b"STREAMS"].iter().for_each(|word| again.push(word));
        self.keys.iter().for_each(|key| again.push(key));
        for wish in wishes {
            match wish {
                Wish::Behind(id) => id.with_text(|id| again.push(id)),
                Wish::New => again.push(b">"),
            }
        }
        again
    }
}

fn parse_timeout(ctx: &Ctx<'_>, text: &[u8]) -> Result<u64, ErrReply> {
    let ms = parse_i64(text).ok_or(BAD_TIMEOUT)?;
    match u64::try_from(ms).map_err(|_| NEGATIVE_TIMEOUT)? {
        0 => Ok(0),
        ms => Ok(ctx.now().saturating_add(ms)),
    }
}

fn no_group(key: &[u8], group: &[u8]) -> ErrReply {
    let (key, group) = (until_nul(key), until_nul(group));
    let words: [&[u8]; 5] = [
        b"NOGROUP No such key '",
        key,
        b"' or consumer group '",
        group,
        b"' in XREADGROUP with GROUP option",
    ];
    ErrReply::quoting(words.concat())
}

/// A consumer that is heard of now, and whether it is new.
pub fn seen(group: &mut Group, name: &[u8], now_ms: i64) -> (Member, bool) {
    match group.member(name) {
        Some(member) => {
            group.note_seen(member, now_ms);
            (member, false)
        }
        None => (group.join(name, now_ms), true),
    }
}

// ---- what replicas and logs are told

/// An entry is a consumer's now; and how far the group is.
pub fn tell_claim(fx: &mut Effects, key: &[u8], name: &[u8], group: &Group, id: &[u8], pending: &Pending) {
    if fx.propagating {
        let (mut at, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (at, count) = (at.format(pending.at_ms).as_bytes(), count.format(pending.count).as_bytes());
        let head: [&[u8]; 6] = [b"XCLAIM", key, name, &group.owner(pending).name, b"0", id];
        let tail: [&[u8]; 7] = [b"TIME", at, b"RETRYCOUNT", count, b"FORCE", b"JUSTID", b"LASTID"];
        group.last_id.with_text(|last| fx.propagate(head.into_iter().chain(tail).chain([last])));
    }
}

/// How far the group is.
pub fn tell_place(fx: &mut Effects, key: &[u8], name: &[u8], group: &Group) {
    if fx.propagating {
        let mut read = itoa::Buffer::new();
        let read = read.format(group.read.unwrap_or(-1)).as_bytes();
        group.last_id.with_text(|last| {
            fx.propagate([&b"XGROUP"[..], b"SETID", key, name, last, b"ENTRIESREAD", read]);
        });
    }
}

fn tell_consumer(fx: &mut Effects, key: &[u8], group: &[u8], consumer: &[u8]) {
    if fx.propagating {
        fx.propagate([&b"XGROUP"[..], b"CREATECONSUMER", key, group, consumer]);
    }
}
