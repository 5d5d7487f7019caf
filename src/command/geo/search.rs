//! GEOSEARCH and its older forms: the members within a circle or a box.

use std::cmp::Ordering;

use super::cell::{Cell, Point};
use super::shape::{Extent, Shape};
use super::{cell, parse_point, parse_unit, place_of, write_distance, write_point};
use crate::command::collection::{find, missed, replace, write_elem};
use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::resp::{Args, Reply};
use crate::store::Look;
use crate::util::num::{c_i64, parse_f64, parse_i64, until_nul};
use crate::value::zset::{ScoreBound, ScoreRange};
use crate::value::{Elem, Limits, ZSet};

const NO_MEMBER: ErrReply = ErrReply::new("ERR could not decode requested zset member");
const BAD_RADIUS: ErrReply = ErrReply::new("ERR need numeric radius");
const NEGATIVE_RADIUS: ErrReply = ErrReply::new("ERR radius cannot be negative");
const BAD_WIDTH: ErrReply = ErrReply::new("ERR need numeric width");
const BAD_HEIGHT: ErrReply = ErrReply::new("ERR need numeric height");
const NEGATIVE_BOX: ErrReply = ErrReply::new("ERR height or width cannot be negative");
const BAD_COUNT: ErrReply = ErrReply::new("ERR COUNT must be > 0");
const ANY_OF_ALL: ErrReply = ErrReply::new("ERR the ANY argument requires COUNT argument");

/// Which of the commands it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS; whether it may store.
    Radius {
        stores: bool,
    },
    /// GEORADIUSBYMEMBER; whether it may store.
    ByMember {
        stores: bool,
    },
    Search,
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// Where a result is stored, and whether with distances for scores.
#[derive(Clone, Copy)]
struct Target<'a> {
    key: &'a [u8],
    distances: bool,
}

/// A request as it is read.
#[derive(Default)]
struct Query<'a> {
    centre: Option<Point>,
    /// FROMMEMBER, FROMLONLAT: which of them was there.
    from_member: bool,
    from_point: bool,
    extent: Option<Extent>,
    /// Metres of a unit of the extent.
    unit: f64,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    order: Option<Order>,
    /// The most members to show; 0 is all.
    count: usize,
    /// The first that are found will do.
    any: bool,
    target: Option<Target<'a>>,
}

impl<'a> Query<'a> {
    /// `zset` is the one to search, if it is there: without it members aren't looked for.
    fn parse(args: Args<'a>, form: Form, zset: Option<&ZSet>) -> Result<Query<'a>, ErrReply> {
        let mut q = Query::default();
        let mut i = match form {
            Form::Radius { .. } => {
                q.centre = Some(parse_point(args.at(2), args.at(3))?);
                q.circle(args.at(4), args.at(5))?;
                6
            }
            Form::ByMember { .. } => {
                if let Some(zset) = zset {
                    q.centre = Some(place_of(zset, args.at(2)).ok_or(NO_MEMBER)?);
                    q.circle(args.at(3), args.at(4))?;
                }
                5
            }
            Form::Search => 2,
            Form::SearchStore => {
                q.target = Some(Target { key: args.at(1), distances: false });
                3
            }
        };
        while i < args.len() {
            let mut words = q.option(args, i)?;
            if words == 0 {
                words = match form.is_search() {
                    true => q.search_option(args, i, form, zset)?,
                    false => q.radius_option(args, i, form),
                };
            }
            if words == 0 {
                return Err(SYNTAX);
            }
            i += words;
        }
        q.check(args.at(0), form)?;
        Ok(q)
    }

    fn circle(&mut self, radius: &[u8], unit: &[u8]) -> Done {
        let radius = parse_f64(radius).ok_or(BAD_RADIUS)?;
        if radius < 0.0 {
            return Err(NEGATIVE_RADIUS);
        }
        self.unit = parse_unit(unit)?;
        self.extent = Some(Extent::Radius(radius));
        Ok(())
    }

    fn rectangle(&mut self, width: &[u8], height: &[u8], unit: &[u8]) -> Done {
        let width = parse_f64(width).ok_or(BAD_WIDTH)?;
        let height = parse_f64(height).ok_or(BAD_HEIGHT)?;
        if width < 0.0 || height < 0.0 {
            return Err(NEGATIVE_BOX);
        }
        self.unit = parse_unit(unit)?;
        self.extent = Some(Extent::Box { width, height });
        Ok(())
    }

    /// Takes an option that all forms know. Returns of how many words it was; 0 for another one.
    fn option(&mut self, args: Args<'a>, i: usize) -> Result<usize, ErrReply> {
        match args.at(i) {
            word if word.eq_ignore_ascii_case(b"withdist") => self.with_distance = true,
            word if word.eq_ignore_ascii_case(b"withhash") => self.with_hash = true,
            word if word.eq_ignore_ascii_case(b"withcoord") => self.with_point = true,
            word if word.eq_ignore_ascii_case(b"any") => self.any = true,
            word if word.eq_ignore_ascii_case(b"asc") => self.order = Some(Order::Ascending),
            word if word.eq_ignore_ascii_case(b"desc") => self.order = Some(Order::Descending),
            word if word.eq_ignore_ascii_case(b"count") && i + 1 < args.len() => {
                let count = parse_i64(args.at(i + 1)).ok_or(NOT_INT)?;
                self.count = usize::try_from(count).ok().filter(|n| *n > 0).ok_or(BAD_COUNT)?;
                return Ok(2);
            }
            _ => return Ok(0),
        }
        Ok(1)
    }

    /// As [`Query::option`], for GEORADIUS and GEORADIUSBYMEMBER.
    fn radius_option(&mut self, args: Args<'a>, i: usize, form: Form) -> usize {
        let distances = args.is(i, "storedist");
        let stores = matches!(form, Form::Radius { stores: true } | Form::ByMember { stores: true });
        if !stores || !(distances || args.is(i, "store")) || i + 1 >= args.len() {
            return 0;
        }
        self.target = Some(Target { key: args.at(i + 1), distances });
        2
    }

    /// As [`Query::option`], for GEOSEARCH and GEOSEARCHSTORE.
    fn search_option(
        &mut self,
        args: Args<'a>,
        i: usize,
        form: Form,
        zset: Option<&ZSet>,
    ) -> Result<usize, ErrReply> {
        let more = args.len() - i - 1;
        if args.is(i, "storedist") && form == Form::SearchStore {
            self.target = self.target.map(|target| Target { distances: true, ..target });
            return Ok(1);
        }
        if args.is(i, "frommember") && more >= 1 && !self.from_point {
            if let Some(zset) = zset {
                self.centre = Some(place_of(zset, args.at(i + 1)).ok_or(NO_MEMBER)?);
            }
            self.from_member = true;
            return Ok(2);
        }
        if args.is(i, "fromlonlat") && more >= 2 && !self.from_member {
            self.centre = Some(parse_point(args.at(i + 1), args.at(i + 2))?);
            self.from_point = true;
            return Ok(3);
        }
        if args.is(i, "byradius") && more >= 2 && !matches!(self.extent, Some(Extent::Box { .. })) {
            self.circle(args.at(i + 1), args.at(i + 2))?;
            return Ok(3);
        }
        if args.is(i, "bybox") && more >= 3 && !matches!(self.extent, Some(Extent::Radius(_))) {
            self.rectangle(args.at(i + 1), args.at(i + 2), args.at(i + 3))?;
            return Ok(4);
        }
        Ok(0)
    }

    /// What the options must not be together. `name` is the command as it was sent.
    fn check(&self, name: &[u8], form: Form) -> Done {
        if self.target.is_some() && (self.with_distance || self.with_hash || self.with_point) {
            let what = if form.is_search() { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(ErrReply::owned(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let one_of = |names: &str| {
            let text = ["ERR exactly one of ", names, " can be specified for "].concat();
            Err(ErrReply::quoting([text.as_bytes(), until_nul(name)].concat()))
        };
        if form.is_search() && !(self.from_member || self.from_point) {
            return one_of("FROMMEMBER or FROMLONLAT");
        }
        if form.is_search() && self.extent.is_none() {
            return one_of("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err(ANY_OF_ALL);
        }
        Ok(())
    }

    /// What is searched; `None` when nothing is there to search.
    fn shape(&self) -> Option<Shape> {
        Some(Shape { centre: self.centre?, extent: self.extent?, unit: self.unit })
    }

    /// The members to show, in their order.
    fn run<'z>(&self, zset: &'z ZSet, shape: &Shape) -> Vec<Match<'z>> {
        let limit = if self.any { self.count } else { usize::MAX };
        let mut found = matches(zset, shape, limit);
        // the nearest ones, where not all are to be shown
        let nearest = (self.count > 0 && !self.any).then_some(Order::Ascending);
        if let Some(order) = self.order.or(nearest) {
            let by_distance = |a: &Match<'_>, b: &Match<'_>| match order {
                Order::Ascending => a.distance.total_cmp(&b.distance),
                Order::Descending => b.distance.total_cmp(&a.distance),
            };
            sort_first(&mut found, if self.count == 0 { usize::MAX } else { self.count }, by_distance);
        } else if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn reply(&self, out: &mut Reply<'_>, found: &[Match<'_>]) {
        let extras = self.with_distance as usize + self.with_hash as usize + self.with_point as usize;
        out.array(found.len());
        for m in found {
            if extras > 0 {
                out.array(1 + extras);
            }
            write_elem(out, m.member);
            if self.with_distance {
                write_distance(out, m.distance / self.unit);
            }
            if self.with_hash {
                out.int(c_i64(m.score));
            }
            if self.with_point {
                write_point(out, m.point);
            }
        }
    }

    /// The sorted set to store. As in Redis it has the big form while it is built.
    fn result(&self, found: &[Match<'_>], distances: bool, limits: &Limits) -> ZSet {
        let big = Limits { zset_max_listpack_entries: 0, ..*limits };
        let mut result = ZSet::new();
        for m in found {
            let score = if distances { m.distance / self.unit } else { m.score };
            m.member.with_text(|text| result.insert(text, score, &big));
        }
        result.pack_if_small(limits);
        result
    }
}

/// A member within the shape.
struct Match<'z> {
    member: Elem<'z>,
    score: f64,
    point: Point,
    /// Metres from the centre.
    distance: f64,
}

/// The members within a shape, cell by cell; no more than `limit`.
fn matches<'z>(zset: &'z ZSet, shape: &Shape, limit: usize) -> Vec<Match<'z>> {
    let mut found = Vec::new();
    for (member, score) in shape.cells().into_iter().flat_map(|cell| members_of(zset, cell)) {
        let point = cell::place(score);
        if let Some(distance) = shape.distance_within(point) {
            found.push(Match { member, score, point, distance });
            if found.len() >= limit {
                break;
            }
        }
    }
    found
}

fn members_of(zset: &ZSet, cell: Cell) -> impl Iterator<Item = (Elem<'_>, f64)> {
    let (min, max) = cell.scores();
    let range = ScoreRange {
        min: ScoreBound { value: min as f64, exclusive: false },
        max: ScoreBound { value: max as f64, exclusive: true },
    };
    zset.range(zset.score_ranks(&range))
}

/// Leaves the first `n` by this order, sorted. Equal ones stay in the order in which they are.
fn sort_first<T>(items: &mut Vec<T>, n: usize, by: impl Fn(&T, &T) -> Ordering) {
    if n < items.len() {
        let mut places: Vec<usize> = (0..items.len()).collect();
        places.select_nth_unstable_by(n, |a, b| by(&items[*a], &items[*b]).then(a.cmp(b)));
        places.truncate(n);
        let mut keep = vec![false; items.len()];
        places.into_iter().for_each(|place| keep[place] = true);
        let mut keep = keep.into_iter();
        items.retain(|_| keep.next().unwrap_or(false));
    }
    items.sort_by(by);
}

fn search(ctx: &mut Ctx<'_>, args: Args<'_>, form: Form) -> Done {
    let limits = ctx.limits();
    let source = ctx.key(args.at(if form == Form::SearchStore { 2 } else { 1 }));
    let zset = match find::<ZSet>(ctx.ks.db_mut(ctx.db), &source, Look::Read, &ctx.clock)? {
        Some(zset) => Some(zset),
        None => {
            missed(ctx, &source);
            None
        }
    };
    let query = Query::parse(args, form, zset)?;
    let found = match (zset, query.shape()) {
        (Some(zset), Some(shape)) => query.run(zset, &shape),
        _ => Vec::new(),
    };
    let Some(target) = query.target else {
        query.reply(&mut ctx.out, &found);
        return Ok(());
    };
    let n = found.len();
    let result = query.result(&found, target.distances, &limits);
    let event = if form.is_search() { "geosearchstore" } else { "georadiusstore" };
    let key = ctx.key(target.key);
    replace(ctx, &key, result, class::ZSET, event, n as u64);
    ctx.out.int(n as i64);
    Ok(())
}

/// GEORADIUS key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH]
/// [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]
pub fn georadius(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    search(ctx, args, Form::Radius { stores: true })
}

/// GEORADIUS_RO key longitude latitude radius <M | KM | FT | MI> [option ...]
pub fn georadius_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    search(ctx, args, Form::Radius { stores: false })
}

/// GEORADIUSBYMEMBER key member radius <M | KM | FT | MI> [option ...] [STORE key | STOREDIST key]
pub fn georadiusbymember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    search(ctx, args, Form::ByMember { stores: true })
}

/// GEORADIUSBYMEMBER_RO key member radius <M | KM | FT | MI> [option ...]
pub fn georadiusbymember_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    search(ctx, args, Form::ByMember { stores: false })
}

/// GEOSEARCH key <FROMMEMBER member | FROMLONLAT longitude latitude>
/// <BYRADIUS radius unit | BYBOX width height unit> [ASC | DESC] [COUNT count [ANY]] [WITH...]
pub fn geosearch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    search(ctx, args, Form::Search)
}

/// GEOSEARCHSTORE destination key <FROMMEMBER | FROMLONLAT> <BYRADIUS | BYBOX> [option ...] [STOREDIST]
pub fn geosearchstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    search(ctx, args, Form::SearchStore)
}
