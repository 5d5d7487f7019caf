//! The server: its time, its data as a whole.

use super::ctx::{Aside, Ctx, class};
use super::error::{Done, ErrReply, NOT_INT, SYNTAX};
use super::host::{COMPATIBLE_VERSION, VERSION};
use crate::resp::Args;
use crate::util::num::parse_i64;
use crate::util::rng::Rng;

const DB_INDEX: ErrReply = ErrReply::new("ERR DB index is out of range");

/// TIME
pub fn time(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.array(2);
    ctx.out.bulk_int((ctx.now_us / 1_000_000) as i64);
    ctx.out.bulk_int((ctx.now_us % 1_000_000) as i64);
    Ok(())
}

/// DBSIZE
pub fn dbsize(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.int(ctx.ks.db(ctx.db).len() as i64);
    Ok(())
}

/// FLUSHALL [ASYNC | SYNC]
pub fn flushall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let lazy = flush_mode(ctx, args)?;
    for db in 0..ctx.ks.databases() {
        flush(ctx, db, lazy);
    }
    ctx.fx.event(ctx.db, b"", class::FLUSH, "flushall");
    ctx.fx.aside = Some(Aside::Flushed);
    propagate_anyway(ctx);
    ctx.out.ok();
    Ok(())
}

/// FLUSHDB [ASYNC | SYNC]
pub fn flushdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let lazy = flush_mode(ctx, args)?;
    flush(ctx, ctx.db, lazy);
    ctx.fx.event(ctx.db, b"", class::FLUSH, "flushdb");
    propagate_anyway(ctx);
    ctx.out.ok();
    Ok(())
}

/// Whether the memory is freed in the background.
fn flush_mode(ctx: &Ctx<'_>, args: Args<'_>) -> Result<bool, ErrReply> {
    match args.len() {
        1 => Ok(ctx.conf.lazyfree_lazy_user_flush),
        2 if args.is(1, "ASYNC") => Ok(true),
        2 if args.is(1, "SYNC") => Ok(false),
        _ => Err(SYNTAX),
    }
}

fn flush(ctx: &mut Ctx<'_>, db: usize, lazy: bool) {
    let db = ctx.ks.db_mut(db);
    ctx.fx.dirty += db.len() as u64;
    if db.len() > 0 {
        let garbage = db.clear();
        if lazy {
            db.leave(garbage);
        }
    }
}

/// Flushing an empty database counts as a change too: a replica may have keys left.
fn propagate_anyway(ctx: &mut Ctx<'_>) {
    ctx.fx.dirty = ctx.fx.dirty.max(1);
}

/// SWAPDB index index
pub fn swapdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.host.cluster {
        return Err(ErrReply::new("ERR SWAPDB is not allowed in cluster mode"));
    }
    let index = |i: usize, bad: &'static str| {
        let n = parse_i64(args.at(i)).and_then(|n| i32::try_from(n).ok());
        n.ok_or(ErrReply::new(bad))
    };
    let first = index(1, "ERR invalid first DB index")?;
    let second = index(2, "ERR invalid second DB index")?;
    let within = |n: i32| usize::try_from(n).ok().filter(|&n| n < ctx.ks.databases()).ok_or(DB_INDEX);
    let (first, second) = (within(first)?, within(second)?);
    ctx.ks.swap(first, second, &ctx.clock);
    ctx.fx.aside = Some(Aside::Swapped);
    ctx.fx.dirty += 1;
    ctx.out.ok();
    Ok(())
}

/// LOLWUT [VERSION version] [columns [rows [fish]]]: a shoal of fish.
pub fn lolwut(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut from = 1;
    if args.len() >= 2 && args.is(1, "VERSION") {
        if let Some(version) = args.get(2) {
            parse_i64(version).ok_or(NOT_INT)?;
        }
        from = 3;
    }
    let mut numbers = [72, 12, 24];
    for (n, arg) in numbers.iter_mut().zip(args.from(from).iter()) {
        *n = parse_i64(arg).ok_or(NOT_INT)?;
    }
    let [columns, rows, fish] = numbers;
    let text =
        shoal(columns.clamp(16, 1000) as usize, rows.clamp(1, 100) as usize, fish.clamp(0, 1000), ctx.rng);
    let text = format!("{text}\nShoal ver. {VERSION}, speaking Redis ver. {COMPATIBLE_VERSION}\n");
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Fish that keep to one direction, denser towards the middle, and what shines above them.
fn shoal(columns: usize, rows: usize, fish: i64, rng: &mut Rng) -> String {
    let mut sea = vec![vec![b' '; columns]; rows];
    for at in (0..columns).filter(|_| rng.below(3) > 0) {
        sea[0][at] = b'~';
    }
    let right = rng.below(2) == 0;
    let shapes: [&[u8]; 3] = if right { [b"><>", b"><((*>", b">=>"] } else { [b"<><", b"<*))><", b"<=<"] };
    for _ in 0..fish {
        let shape = shapes[rng.below(3) as usize];
        // the sum of two throws is thick in the middle
        let near = |n: usize, rng: &mut Rng| (rng.below(n as u64) + rng.below(n as u64)) as usize / 2;
        let (row, column) = (near(rows, rng), near(columns - shape.len(), rng));
        let place = &mut sea[row][column..column + shape.len()];
        if place.iter().all(|&b| b == b' ') {
            place.copy_from_slice(shape);
        }
    }
    let line = |row: &Vec<u8>| String::from_utf8_lossy(row).trim_end().to_owned() + "\n";
    sea.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use crate::command::testing::World;

    #[test]
    fn the_whole_data() {
        let mut w = World::new();
        let fill = |w: &mut World, db: usize, n: u32| {
            for i in 0..n {
                let clock = crate::store::Clock::at(0);
                let name = i.to_string();
                let key = w.ks.hasher().key(name.as_bytes());
                w.ks.db_mut(db).set_str(&key, b"v", crate::store::Ttl::Clear, &clock);
            }
        };
        fill(&mut w, 0, 100);
        fill(&mut w, 3, 2);
        w.at(1_234_567).check(&[
            ("DBSIZE", ":100|"),
            ("TIME", "*2|$4|1234|$6|567000|"),
            ("SWAPDB 0 3", "+OK|"),
            ("DBSIZE", ":2|"),
            ("SWAPDB x 3", "-ERR invalid first DB index|"),
            ("SWAPDB 0 99999999999", "-ERR invalid second DB index|"),
            ("SWAPDB 0 16", "-ERR DB index is out of range|"),
            ("SWAPDB -1 0", "-ERR DB index is out of range|"),
            ("SWAPDB 1 1", "+OK|"),
            ("FLUSHDB WHAT", "-ERR syntax error|"),
            ("FLUSHDB", "+OK|"),
            ("DBSIZE", ":0|"),
        ]);
        assert_eq!((w.ks.len(), w.ks.drain_garbage().len()), (100, 0));
        w.fx.dirty = 0;
        w.check(&[("FLUSHALL async", "+OK|")]);
        assert_eq!((w.ks.len(), w.ks.drain_garbage().len(), w.fx.dirty), (0, 1, 100));
        w.host.cluster = true;
        w.check(&[("SWAPDB 0 0", "-ERR SWAPDB is not allowed in cluster mode|")]);
    }

    #[test]
    fn lolwut_draws_what_it_is_asked_for() {
        let mut w = World::new();
        let text = w.run("LOLWUT VERSION 5 40 6 10");
        assert!(text.ends_with("Redis ver. 7.0.15\n\r\n"), "{text}");
        assert_eq!(text.lines().count(), 1 + 6 + 2 + 1);
        assert!(text.contains('>') || text.contains('<'));
        assert!(w.run("LOLWUT VERSION").ends_with("Redis ver. 7.0.15\n\r\n"));
        w.check(&[("LOLWUT VERSION x", "-ERR value is not an integer or out of range|")]);
        w.resp3(true);
        assert!(w.run("LOLWUT 99999999 0 99999999").starts_with('='));
    }
}
