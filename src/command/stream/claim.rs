//! What was delivered and is not acknowledged: XACK, XPENDING, and what gives it to other consumers.

use super::id::{Interval, parse_id, parse_start};
use super::read::{seen, tell_claim, tell_place};
use super::{Ids, is_there, show};
use crate::command::collection::{find, find_mut};
use crate::command::ctx::{Ctx, Effects, class};
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::resp::{Args, Reply};
use crate::store::Look;
use crate::util::num::{parse_i64, until_nul};
use crate::value::Stream;
use crate::value::stream::{Entry, Group, Id, Member, Pending};

const BAD_CLAIM_IDLE: ErrReply = ErrReply::new("ERR Invalid min-idle-time argument for XCLAIM");
const BAD_AUTO_IDLE: ErrReply = ErrReply::new("ERR Invalid min-idle-time argument for XAUTOCLAIM");
const BAD_IDLE: ErrReply = ErrReply::new("ERR Invalid IDLE option argument for XCLAIM");
const BAD_TIME: ErrReply = ErrReply::new("ERR Invalid TIME option argument for XCLAIM");
const BAD_RETRIES: ErrReply = ErrReply::new("ERR Invalid RETRYCOUNT option argument for XCLAIM");
const BAD_COUNT: ErrReply = ErrReply::new("ERR COUNT must be > 0");

/// Entries that XAUTOCLAIM claims if nothing else is said, and how many it looks at for each.
const AUTO_COUNT: u64 = 100;
const AUTO_LOOKS: u64 = 10;
/// Most that it may be asked for: so many ids fit the largest of sizes.
const AUTO_MOST: i64 = i64::MAX / 16;

fn no_group(key: &[u8], group: &[u8]) -> ErrReply {
    let (key, group) = (until_nul(key), until_nul(group));
    let words: [&[u8]; 5] = [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"];
    ErrReply::quoting(words.concat())
}

/// Whether an entry was delivered less than `min_idle` ago; 0 is no time at all.
fn is_too_fresh(pending: &Pending, min_idle: i64, now: i64) -> bool {
    min_idle != 0 && now.wrapping_sub(pending.at_ms) < min_idle
}

/// XACK key group id ...
pub fn xack(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let mut settled = 0;
    if is_there(ctx, &key)?
        && let Some(stream) = find_mut::<Stream>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)?
        && let Some((_, group)) = stream.group_mut(args.at(2))
    {
        let ids: Ids = args.from(3).iter().map(|word| parse_id(word, 0)).collect::<Result<_, _>>()?;
        settled = ids.iter().filter(|id| group.settle(**id)).count();
    }
    ctx.fx.dirty += settled as u64;
    ctx.out.int(settled as i64);
    Ok(())
}

// ---- XPENDING

/// Which entries XPENDING is asked for.
struct Part<'a> {
    interval: Interval,
    count: usize,
    min_idle: i64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Part<'a> {
    fn parse(args: Args<'a>) -> Result<Option<Part<'a>>, ErrReply> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(SYNTAX);
        }
        let (mut min_idle, mut at) = (0, 3);
        if args.is(3, "idle") {
            min_idle = parse_i64(args.at(4)).ok_or(NOT_INT)?;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            at = 5;
        }
        let count = parse_i64(args.at(at + 2)).ok_or(NOT_INT)?.max(0) as usize;
        let interval = Interval::parse(args.at(at), args.at(at + 1))?;
        Ok(Some(Part { interval, count, min_idle, consumer: args.get(at + 3) }))
    }
}

/// XPENDING key group [[IDLE min-idle-time] start end count [consumer]]
pub fn xpending(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let part = Part::parse(args)?;
    let (key, now) = (ctx.key(args.at(1)), ctx.now() as i64);
    is_there(ctx, &key)?;
    let stream = find::<Stream>(ctx.ks.db_mut(ctx.db), &key, Look::Peek, &ctx.clock)?;
    let group = stream.and_then(|stream| stream.group(args.at(2)));
    let group = group.ok_or_else(|| no_group(args.at(1), args.at(2)))?;
    match part {
        None => show_sum(&mut ctx.out, group),
        Some(part) => show_part(&mut ctx.out, group, &part, now),
    }
    Ok(())
}

fn show_sum(out: &mut Reply<'_>, group: &Group) {
    out.array(4);
    out.int(group.pending() as i64);
    let Some((first, last)) = group.pending_span() else {
        out.null();
        out.null();
        return out.null_array();
    };
    show::id(out, first);
    show::id(out, last);
    let open = out.begin_array();
    let mut n = 0;
    for consumer in group.iter().filter(|consumer| consumer.owned() > 0) {
        out.array(2);
        out.bulk(&consumer.name);
        out.bulk_int(consumer.owned() as i64);
        n += 1;
    }
    out.end_array(open, n);
}

fn show_part(out: &mut Reply<'_>, group: &Group, part: &Part<'_>, now: i64) {
    let Interval { start, end } = part.interval;
    let open = out.begin_array();
    let mut n = 0;
    let mut each = |id: Id, pending: Pending| {
        if !is_too_fresh(&pending, part.min_idle, now) {
            out.array(4);
            show::id(out, id);
            out.bulk(&group.owner(&pending).name);
            out.int(now.saturating_sub(pending.at_ms).max(0));
            out.int(pending.count as i64);
            n += 1;
        }
        n < part.count
    };
    let mut more = part.count > 0;
    match part.consumer.map(|name| group.member(name)) {
        None => {
            let mut entries = group.pending_from(start).take_while(|(id, _)| *id <= end);
            while more && let Some((id, pending)) = entries.next() {
                more = each(id, pending);
            }
        }
        Some(None) => {}
        Some(Some(member)) => {
            let mut ids = group.consumer(member).owned_from(start).take_while(|id| *id <= end);
            while more && let Some(id) = ids.next() {
                more = group.find(id).is_none_or(|pending| each(id, pending));
            }
        }
    }
    out.end_array(open, n);
}

// ---- XCLAIM

/// What XCLAIM says besides keys, names and ids.
struct Claim {
    min_idle: i64,
    ids: Ids,
    at_ms: i64,
    count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: Id,
}

impl Claim {
    fn parse(args: Args<'_>, now: i64) -> Result<Claim, ErrReply> {
        let min_idle = parse_i64(args.at(4)).ok_or(BAD_CLAIM_IDLE)?.max(0);
        let ids: Ids = args.from(5).iter().map_while(|word| parse_id(word, 0).ok()).collect();
        let mut i = 5 + ids.len();
        let (force, just_id, last_id) = (false, false, Id::ZERO);
        let mut o = Claim { min_idle, ids, at_ms: now, count: None, force, just_id, last_id };
        while i < args.len() {
            let value = args.get(i + 1);
            let number = |bad: ErrReply| value.and_then(parse_i64).ok_or(bad);
            let with_value = match value {
                _ if args.is(i, "force") => {
                    o.force = true;
                    false
                }
                _ if args.is(i, "justid") => {
                    o.just_id = true;
                    false
                }
                Some(_) if args.is(i, "idle") => {
                    o.at_ms = now.wrapping_sub(number(BAD_IDLE)?);
                    true
                }
                Some(_) if args.is(i, "time") => {
                    o.at_ms = number(BAD_TIME)?;
                    true
                }
                Some(_) if args.is(i, "retrycount") => {
                    o.count = u64::try_from(number(BAD_RETRIES)?).ok();
                    true
                }
                Some(id) if args.is(i, "lastid") => {
                    o.last_id = parse_id(id, 0)?;
                    true
                }
                _ => {
                    let words = [b"ERR Unrecognized XCLAIM option '", until_nul(args.at(i)), b"'"];
                    return Err(ErrReply::quoting(words.concat()));
                }
            };
            i += 1 + usize::from(with_value);
        }
        // times that can't be are now
        o.at_ms = if (0..=now).contains(&o.at_ms) { o.at_ms } else { now };
        Ok(o)
    }
}

/// Somebody claims entries of a group.
struct Claiming<'a, 'o> {
    out: &'a mut Reply<'o>,
    fx: &'a mut Effects,
    db: usize,
    key: &'a [u8],
    name: &'a [u8],
    group: &'a mut Group,
    consumer: &'a [u8],
    member: Option<Member>,
    just_id: bool,
    now: i64,
}

impl Claiming<'_, '_> {
    /// An entry that is no longer in the stream need not be acknowledged.
    fn forget(&mut self, id: Id, text: &[u8], pending: &Pending) {
        tell_claim(self.fx, self.key, self.name, self.group, text, pending);
        self.fx.dirty += 1;
        self.group.settle(id);
    }

    /// An entry is the claimer's.
    fn take(&mut self, entry: &Entry<'_>, text: &[u8], at_ms: i64, count: u64) {
        let member = match self.member {
            Some(member) => member,
            None => {
                let (member, created) = seen(self.group, self.consumer, self.now);
                if created {
                    self.fx.dirty += 1;
                    self.fx.event(self.db, self.key, class::STREAM, "xgroup-createconsumer");
                }
                member
            }
        };
        self.member = Some(member);
        let pending = self.group.assign(entry.id, member, at_ms, count);
        match self.just_id {
            true => show::id(self.out, entry.id),
            false => show::entry(self.out, entry),
        }
        tell_claim(self.fx, self.key, self.name, self.group, text, &pending);
        self.fx.dirty += 1;
    }
}

/// The group and the entries of a stream that is read and changed.
macro_rules! group {
    ($ctx:expr, $args:expr, $key:expr) => {{
        let stream = find_mut::<Stream>($ctx.ks.db_mut($ctx.db), $key, &$ctx.clock)?;
        let found = stream.and_then(|stream| stream.group_mut($args.at(2)));
        found.ok_or_else(|| no_group($args.at(1), $args.at(2)))?
    }};
}

/// XCLAIM key group consumer min-idle-time id ... [IDLE ms] [TIME unix-ms] [RETRYCOUNT count] [FORCE]
/// [JUSTID] [LASTID id]
pub fn xclaim(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, now) = (ctx.key(args.at(1)), ctx.now() as i64);
    is_there(ctx, &key)?;
    let (log, group) = group!(ctx, args, &key);
    let claim = Claim::parse(args, now)?;
    let mut untold = claim.last_id > group.last_id;
    group.last_id = group.last_id.max(claim.last_id);
    let open = ctx.out.begin_array();
    let mut n = 0;
    let mut claiming = Claiming {
        out: &mut ctx.out,
        fx: ctx.fx,
        db: ctx.db,
        key: key.bytes,
        name: args.at(2),
        group,
        consumer: args.at(3),
        member: None,
        just_id: claim.just_id,
        now,
    };
    for (id, text) in claim.ids.iter().zip(args.from(5).iter()) {
        let before = claiming.group.find(*id);
        let Some(entry) = log.find(*id) else {
            if let Some(pending) = before {
                claiming.forget(*id, text, &pending);
                untold = false;
            }
            continue;
        };
        let count = match before {
            Some(pending) if is_too_fresh(&pending, claim.min_idle, now) => continue,
            Some(pending) => pending.count,
            None if claim.force => 1,
            None => continue,
        };
        let count = claim.count.unwrap_or(count.wrapping_add(u64::from(!claim.just_id)));
        claiming.take(&entry, text, claim.at_ms, count);
        untold = false;
        n += 1;
    }
    let Claiming { out, fx, group, .. } = claiming;
    out.end_array(open, n);
    if untold {
        tell_place(fx, key.bytes, args.at(2), group);
        fx.dirty += 1;
    }
    Ok(())
}

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
pub fn xautoclaim(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, now) = (ctx.key(args.at(1)), ctx.now() as i64);
    let there = is_there(ctx, &key);
    let min_idle = parse_i64(args.at(4)).ok_or(BAD_AUTO_IDLE)?.max(0);
    let mut at = Some(parse_start(args.at(5))?);
    let (mut count, just_id) = auto_options(args)?;
    there?;
    let (log, group) = group!(ctx, args, &key);
    let mut shown = Vec::new();
    let mut entries = Reply::new(&mut shown, ctx.out.resp3());
    let mut claiming = Claiming {
        out: &mut entries,
        fx: ctx.fx,
        db: ctx.db,
        key: key.bytes,
        name: args.at(2),
        group,
        consumer: args.at(3),
        member: None,
        just_id,
        now,
    };
    let (mut n, mut gone, mut looks) = (0, Vec::new(), count.saturating_mul(AUTO_LOOKS));
    while looks > 0
        && count > 0
        && let Some((id, pending)) = at.and_then(|at| claiming.group.pending_from(at).next())
    {
        looks -= 1;
        at = id.next();
        let Some(entry) = log.find(id) else {
            id.with_text(|text| claiming.forget(id, text, &pending));
            gone.push(id);
            count -= 1;
            continue;
        };
        if is_too_fresh(&pending, min_idle, now) {
            continue;
        }
        let times = pending.count.wrapping_add(u64::from(!just_id));
        id.with_text(|text| claiming.take(&entry, text, now, times));
        n += 1;
        count -= 1;
    }
    let next = at.and_then(|at| claiming.group.pending_from(at).next()).map_or(Id::ZERO, |(id, _)| id);
    ctx.out.array(3);
    show::id(&mut ctx.out, next);
    ctx.out.array(n);
    ctx.out.raw(&shown);
    ctx.out.array(gone.len());
    gone.into_iter().for_each(|id| show::id(&mut ctx.out, id));
    Ok(())
}

/// How many, and whether ids are enough.
fn auto_options(args: Args<'_>) -> Result<(u64, bool), ErrReply> {
    let (mut count, mut just_id) = (AUTO_COUNT, false);
    let mut i = 6;
    while i < args.len() {
        if args.is(i, "count") && i + 1 < args.len() {
            let n = parse_i64(args.at(i + 1)).filter(|n| (1..=AUTO_MOST).contains(n));
            count = n.ok_or(BAD_COUNT)? as u64;
            i += 1;
        } else if args.is(i, "justid") {
            just_id = true;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    Ok((count, just_id))
}
