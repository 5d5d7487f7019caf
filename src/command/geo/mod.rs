//! Places: sorted sets whose scores are geohashes.

mod cell;
mod search;
mod shape;
#[cfg(test)]
mod tests;

pub use search::{
    georadius, georadius_ro, georadiusbymember, georadiusbymember_ro, geosearch, geosearchstore,
};

use smallvec::SmallVec;

use super::collection::{create, find_mut, read};
use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, NOT_FLOAT, SYNTAX};
use crate::resp::{Args, Reply};
use crate::util::num::{self, parse_f64};
use crate::value::ZSet;
use crate::value::zset::Inserted;
use cell::{LATITUDES, LONGITUDES, Point};

const BAD_UNIT: ErrReply = ErrReply::new("ERR unsupported unit provided. please use M, KM, FT, MI");

/// Reads a longitude and a latitude.
fn parse_point(longitude: &[u8], latitude: &[u8]) -> Result<Point, ErrReply> {
    let longitude = parse_f64(longitude).ok_or(NOT_FLOAT)?;
    let latitude = parse_f64(latitude).ok_or(NOT_FLOAT)?;
    if !LONGITUDES.contains(longitude) || !LATITUDES.contains(latitude) {
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        return Err(ErrReply::owned(text));
    }
    Ok(Point { longitude, latitude })
}

/// Metres of a unit.
fn parse_unit(word: &[u8]) -> Result<f64, ErrReply> {
    match word {
        word if word.eq_ignore_ascii_case(b"m") => Ok(1.0),
        word if word.eq_ignore_ascii_case(b"km") => Ok(1000.0),
        word if word.eq_ignore_ascii_case(b"ft") => Ok(0.3048),
        word if word.eq_ignore_ascii_case(b"mi") => Ok(1609.34),
        _ => Err(BAD_UNIT),
    }
}

fn place_of(zset: &ZSet, member: &[u8]) -> Option<Point> {
    zset.score(member).map(cell::place)
}

fn write_distance(out: &mut Reply<'_>, distance: f64) {
    const DECIMALS: u32 = 4;
    let mut text = num::Buf::new();
    num::write_fixed(&mut text, distance, DECIMALS);
    out.bulk(&text);
}

fn write_point(out: &mut Reply<'_>, point: Point) {
    out.array(2);
    out.human_double(point.longitude);
    out.human_double(point.latitude);
}

// ---- GEOADD

/// What stands between GEOADD's key and its first place.
#[derive(Default)]
struct Options {
    /// Only new members; only members that are there.
    nx: bool,
    xx: bool,
    /// Count changed places, too.
    ch: bool,
}

impl Options {
    /// Reads the options, and tells where the first place stands.
    fn parse(args: Args<'_>) -> (Options, usize) {
        let mut o = Options::default();
        for i in 2..args.len() {
            let flag = match args.at(i) {
                word if word.eq_ignore_ascii_case(b"nx") => &mut o.nx,
                word if word.eq_ignore_ascii_case(b"xx") => &mut o.xx,
                word if word.eq_ignore_ascii_case(b"ch") => &mut o.ch,
                _ => return (o, i),
            };
            *flag = true;
        }
        (o, args.len())
    }
}

/// GEOADD key [NX | XX] [CH] longitude latitude member ...
pub fn geoadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (options, first) = Options::parse(args);
    let words = args.from(first);
    if !words.len().is_multiple_of(3) || words.len() == 0 || (options.nx && options.xx) {
        return Err(SYNTAX);
    }
    // all of them before the first is added
    let mut places = SmallVec::<[(u64, &[u8]); 8]>::new();
    for i in (0..words.len()).step_by(3) {
        places.push((cell::score(parse_point(words.at(i), words.at(i + 1))?), words.at(i + 2)));
    }
    let limits = ctx.limits();
    let key = ctx.key(args.at(1));
    let (mut added, mut updated) = (0, 0);
    let mut add = |zset: &mut ZSet| {
        for &(score, member) in &places {
            if (options.nx || options.xx) && zset.score(member).is_some() == options.nx {
                continue;
            }
            match zset.insert(member, score as f64, &limits) {
                Inserted::Added => added += 1,
                Inserted::Updated(_) => updated += 1,
                Inserted::Same => {}
            }
        }
    };
    match find_mut::<ZSet>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? {
        Some(zset) => add(zset),
        None if options.xx => {}
        None => {
            let mut zset = ZSet::new();
            add(&mut zset);
            create(ctx, &key, zset);
        }
    }
    if added + updated > 0 {
        ctx.fx.changed_by(added + updated, ctx.db, key.bytes, class::ZSET, "zadd");
        propagate(ctx, args.slice(1, first), &places);
    }
    ctx.out.int((if options.ch { added + updated } else { added }) as i64);
    Ok(())
}

/// As ZADD, for which a place is a number already.
fn propagate(ctx: &mut Ctx<'_>, key_and_options: Args<'_>, places: &[(u64, &[u8])]) {
    if !ctx.fx.propagating {
        return;
    }
    let mut words: Vec<Vec<u8>> = vec![b"zadd".to_vec()];
    words.extend(key_and_options.iter().map(<[u8]>::to_vec));
    for (score, member) in places {
        words.push(score.to_string().into_bytes());
        words.push(member.to_vec());
    }
    ctx.fx.propagate(words);
}

// ---- reading

/// GEODIST key member1 member2 [M | KM | FT | MI]
pub fn geodist(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let unit = match args.len() {
        4 => 1.0,
        5 => parse_unit(args.at(4))?,
        _ => return Err(SYNTAX),
    };
    let key = ctx.key(args.at(1));
    let places =
        read(ctx, &key, |_, zset: &ZSet| Some((place_of(zset, args.at(2))?, place_of(zset, args.at(3))?)))?;
    match places.flatten() {
        Some((from, to)) => write_distance(&mut ctx.out, shape::distance(from, to) / unit),
        None => ctx.out.null(),
    }
    Ok(())
}

/// Replies with what `show` makes of each member's place.
fn each_place(ctx: &mut Ctx<'_>, args: Args<'_>, show: fn(&mut Reply<'_>, Option<Point>)) -> Done {
    let key = ctx.key(args.at(1));
    let members = args.from(2);
    ctx.out.array(members.len());
    let found = read(ctx, &key, |out, zset: &ZSet| {
        members.iter().for_each(|member| show(out, place_of(zset, member)));
    })?;
    if found.is_none() {
        members.iter().for_each(|_| show(&mut ctx.out, None));
    }
    Ok(())
}

/// GEOHASH key [member ...]
pub fn geohash(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    each_place(ctx, args, |out, place| match place {
        Some(point) => out.bulk(&cell::letters(point)),
        None => out.null(),
    })
}

/// GEOPOS key [member ...]
pub fn geopos(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    each_place(ctx, args, |out, place| match place {
        Some(point) => write_point(out, point),
        None => out.null_array(),
    })
}
