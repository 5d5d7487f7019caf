//! SORT and SORT_RO: a list, set or sorted set in the order of its elements, or of what other
//! keys say about them.

use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, NOT_INT, SYNTAX, WRONG_TYPE};
use crate::resp::Args;
use crate::store::{Look, Ttl, ValueMut, ValueRef};
use crate::util::num::{self, parse_i64};
use crate::value::{Elem, List, Object};
use std::cmp::Ordering;
use std::ops::Range;

const BY_IN_CLUSTER: ErrReply = ErrReply::new("ERR BY option of SORT denied in Cluster mode.");
const GET_IN_CLUSTER: ErrReply = ErrReply::new("ERR GET option of SORT denied in Cluster mode.");
const NOT_A_SCORE: ErrReply = ErrReply::new("ERR One or more scores can't be converted into double");
const BY_DENIED: ErrReply =
    ErrReply::new("ERR BY option of SORT denied due to insufficient ACL permissions.");
const GET_DENIED: ErrReply =
    ErrReply::new("ERR GET option of SORT denied due to insufficient ACL permissions.");
/// Nobody can read a sibling's keys here, and to take them for missing would be wrong.
const SPANS_SHARDS: ErrReply = ErrReply::new(
    "CROSSSLOT Keys in request belong to different shards of this host, which this command can't span",
);

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE key]
pub fn sort(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(ctx, args, true)?;
    run(ctx, args.at(1), options)
}

/// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA]
pub fn sort_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(ctx, args, false)?;
    run(ctx, args.at(1), options)
}

/// Where to find what BY and GET want to know about an element.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// No `*`: there is nothing to find.
    Nothing,
    /// The key whose name has the element in place of the first `*`; a hash's field if given.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', text) else { return Pattern::Nothing };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        match memchr::memmem::find(rest, b"->").filter(|arrow| arrow + 2 < rest.len()) {
            Some(arrow) => Pattern::Key { before, after: &rest[..arrow], field: Some(&rest[arrow + 2..]) },
            None => Pattern::Key { before, after: rest, field: None },
        }
    }
}

#[derive(Default)]
struct Options<'a> {
    descending: bool,
    alpha: bool,
    /// BY without `*`: the order stays as it is.
    unsorted: bool,
    by: Option<Pattern<'a>>,
    get: Vec<Pattern<'a>>,
    /// Offset and count; a negative count means all.
    limit: Option<(i64, i64)>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(ctx: &Ctx<'_>, args: Args<'a>, may_store: bool) -> Result<Options<'a>, ErrReply> {
        // the front door hides the cluster behind it
        let cluster = ctx.host.cluster && !ctx.caller.front_door;
        let mut o = Options::default();
        let mut i = 2;
        while i < args.len() {
            let left = args.len() - i - 1;
            if args.is(i, "asc") {
                o.descending = false;
            } else if args.is(i, "desc") {
                o.descending = true;
            } else if args.is(i, "alpha") {
                o.alpha = true;
            } else if args.is(i, "limit") && left >= 2 {
                let number = |i| parse_i64(args.at(i)).ok_or(NOT_INT);
                o.limit = Some((number(i + 1)?, number(i + 2)?));
                i += 2;
            } else if may_store && args.is(i, "store") && left >= 1 {
                i += 1;
                o.store = Some(args.at(i));
            } else if args.is(i, "by") && left >= 1 {
                i += 1;
                match memchr::memchr(b'*', args.at(i)) {
                    None => o.unsorted = true,
                    Some(_) if cluster => return Err(BY_IN_CLUSTER),
                    Some(_) if ctx.caller.confined => return Err(BY_DENIED),
                    Some(_) => {}
                }
                o.by = Some(Pattern::parse(args.at(i)));
            } else if args.is(i, "get") && left >= 1 {
                if cluster {
                    return Err(GET_IN_CLUSTER);
                }
                if ctx.caller.confined {
                    return Err(GET_DENIED);
                }
                i += 1;
                o.get.push(Pattern::parse(args.at(i)));
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        Ok(o)
    }

    /// The positions to show, of `len` elements.
    fn window(&self, len: usize) -> Range<usize> {
        let (offset, count) = self.limit.unwrap_or((0, -1));
        let start = offset.clamp(0, len as i64) as usize;
        let end = if count < 0 { len } else { len.min(start.saturating_add(count as usize)) };
        start..end
    }
}

/// An element and what it is sorted by. Texts lie in [`Elements::texts`].
struct Element {
    text: Range<usize>,
    score: f64,
    /// What BY found, for a sort of texts.
    by: Option<Range<usize>>,
}

#[derive(Default)]
struct Elements {
    texts: Vec<u8>,
    all: Vec<Element>,
}

impl Elements {
    fn push(&mut self, elem: Elem<'_>) {
        let from = self.texts.len();
        elem.append_to(&mut self.texts);
        self.all.push(Element { text: from..self.texts.len(), score: 0.0, by: None });
    }

    fn text(&self, i: usize) -> &[u8] {
        &self.texts[self.all[i].text.clone()]
    }
}

fn run(ctx: &mut Ctx<'_>, name: &[u8], mut options: Options<'_>) -> Done {
    let mut elements = load(ctx, name, &mut options)?;
    let window = options.window(elements.all.len());
    if !options.unsorted {
        arrange(ctx, &mut elements, &options)?;
    }
    match options.store {
        None => reply(ctx, &elements, window, &options),
        Some(target) => store(ctx, &elements, window, &options, target),
    }
}

/// Copies the elements out; where nothing is to be sorted, in the order in which they are shown.
fn load(ctx: &mut Ctx<'_>, name: &[u8], options: &mut Options<'_>) -> Result<Elements, ErrReply> {
    let key = ctx.key(name);
    let mut elements = Elements::default();
    let backwards = options.unsorted && options.descending;
    match ctx.ks.db_mut(ctx.db).find(&key, Look::Read, &ctx.clock).map(|entry| entry.value()) {
        None => ctx.fx.event(ctx.db, name, class::KEY_MISS, "keymiss"),
        Some(ValueRef::Obj(Object::List(list))) => match backwards {
            true => list.iter().rev().for_each(|e| elements.push(e)),
            false => list.iter().for_each(|e| elements.push(e)),
        },
        Some(ValueRef::Obj(Object::ZSet(zset))) => match backwards {
            true => zset.iter().rev().for_each(|(e, _)| elements.push(e)),
            false => zset.iter().for_each(|(e, _)| elements.push(e)),
        },
        Some(ValueRef::Obj(Object::Set(set))) => {
            set.iter().for_each(|e| elements.push(e));
            if options.unsorted && options.store.is_some() {
                // A set has no order to keep, but what is stored must be the same everywhere.
                (options.unsorted, options.alpha, options.by) = (false, true, None);
            }
        }
        Some(_) => return Err(WRONG_TYPE),
    }
    // redis-server leaves a sorted set that it has sorted in the big form
    let db = ctx.ks.db_mut(ctx.db);
    if let Some(ValueRef::Obj(Object::ZSet(zset))) = db.peek(&key, &ctx.clock).map(|e| e.value())
        && zset.encoding() == "listpack"
        && let Some(Object::ZSet(zset)) = db.find_mut(&key, Look::Peek, &ctx.clock).and_then(ValueMut::object)
    {
        zset.unpack();
    }
    Ok(elements)
}

/// Finds out what to sort by, and sorts.
fn arrange(ctx: &mut Ctx<'_>, elements: &mut Elements, options: &Options<'_>) -> Done {
    let mut valid = true;
    for i in 0..elements.all.len() {
        let Some(by) = &options.by else {
            if !options.alpha {
                let score = score_of(elements.text(i));
                valid &= score.is_some();
                elements.all[i].score = score.unwrap_or(0.0);
            }
            continue;
        };
        let Some(found) = look_up(ctx, by, elements.text(i))? else { continue };
        if options.alpha {
            let from = elements.texts.len();
            elements.texts.extend_from_slice(&found);
            elements.all[i].by = Some(from..elements.texts.len());
        } else {
            let score = score_of(&found);
            valid &= score.is_some();
            elements.all[i].score = score.unwrap_or(0.0);
        }
    }
    if !valid {
        return Err(NOT_A_SCORE);
    }
    let Elements { texts, all } = elements;
    let compare = |a: &Element, b: &Element| compare(texts, a, b, options);
    match options.descending {
        true => all.sort_by(|a, b| compare(b, a)),
        false => all.sort_by(compare),
    }
    Ok(())
}

fn compare(texts: &[u8], a: &Element, b: &Element, options: &Options<'_>) -> Ordering {
    let text = |range: &Range<usize>| &texts[range.clone()];
    // Redis collates what it shows by `strcoll`, which ends at a NUL, and what it stores bytewise.
    let collate = |a, b| match options.store {
        Some(_) => text(a).cmp(text(b)),
        None => num::until_nul(text(a)).cmp(num::until_nul(text(b))),
    };
    if !options.alpha {
        let by_score = a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
        return by_score.then_with(|| text(&a.text).cmp(text(&b.text)));
    }
    match (&a.by, &b.by) {
        _ if options.by.is_none() => collate(&a.text, &b.text),
        (Some(a), Some(b)) => collate(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// A number by the rules of C's `strtod`: leading spaces are allowed, nothing at all is 0, and it
/// ends at the first NUL.
fn score_of(text: &[u8]) -> Option<f64> {
    let text = num::until_nul(text);
    if text.is_empty() {
        return Some(0.0);
    }
    num::parse_f64(&text[text.iter().take_while(|b| num::is_space(**b)).count()..])
}

/// What `pattern` says about `element`.
fn look_up(ctx: &mut Ctx<'_>, pattern: &Pattern<'_>, element: &[u8]) -> Result<Option<Vec<u8>>, ErrReply> {
    let (before, after, field) = match *pattern {
        Pattern::Element => return Ok(Some(element.to_vec())),
        Pattern::Nothing => return Ok(None),
        Pattern::Key { before, after, field } => (before, after, field),
    };
    let name = [before, element, after].concat();
    let key = ctx.key(&name);
    // outside of cluster mode the command has borrowed every slot of the host
    if ctx.host.cluster && ctx.view.local_owner(key.slot).is_some_and(|shard| shard as usize != ctx.me) {
        return Err(SPANS_SHARDS);
    }
    let found = ctx.ks.db_mut(ctx.db).find(&key, Look::Read, &ctx.clock).map(|entry| entry.value());
    Ok(match (found, field) {
        (Some(ValueRef::Str(text)), None) => Some(text.to_vec()),
        (Some(ValueRef::Int(n)), None) => Some(itoa::Buffer::new().format(n).into()),
        (Some(ValueRef::Obj(Object::Hash(hash))), Some(field)) => hash.get(field).map(Elem::to_vec),
        (Some(_), _) => None,
        (None, _) => {
            ctx.fx.event(ctx.db, &name, class::KEY_MISS, "keymiss");
            None
        }
    })
}

fn reply(ctx: &mut Ctx<'_>, elements: &Elements, window: Range<usize>, options: &Options<'_>) -> Done {
    ctx.out.array(window.len() * options.get.len().max(1));
    for i in window {
        if options.get.is_empty() {
            ctx.out.bulk(elements.text(i));
        }
        for pattern in &options.get {
            let found = look_up(ctx, pattern, elements.text(i))?;
            ctx.out.bulk_or_null(found.as_deref());
        }
    }
    Ok(())
}

/// Stores the result as a list, with an empty text for what wasn't found.
fn store(
    ctx: &mut Ctx<'_>,
    elements: &Elements,
    window: Range<usize>,
    options: &Options<'_>,
    target: &[u8],
) -> Done {
    let (mut list, limits) = (List::new(), ctx.limits());
    for i in window {
        if options.get.is_empty() {
            list.push_back(elements.text(i), &limits);
        }
        for pattern in &options.get {
            let found = look_up(ctx, pattern, elements.text(i))?;
            list.push_back(&found.unwrap_or_default(), &limits);
        }
    }
    let key = ctx.key(target);
    let len = list.len();
    let db = ctx.ks.db_mut(ctx.db);
    if len > 0 {
        if !db.set_object(&key, Object::List(list), Ttl::Clear, &ctx.clock) {
            ctx.fx.event(ctx.db, target, class::NEW, "new");
        }
        ctx.fx.changed(ctx.db, target, class::LIST, "sortstore");
        // each stored element counts as a change
        ctx.fx.dirty += len as u64 - 1;
    } else if db.delete(&key, db.lazy.server_del, &ctx.clock) {
        ctx.fx.changed(ctx.db, target, class::GENERIC, "del");
    }
    ctx.out.int(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Expected replies are redis-server 7.0.15's.

    use super::*;
    use crate::command::testing::World;
    use crate::store::Clock;
    use crate::value::zset::Inserted;
    use crate::value::{Hash, Limits, Set, ZSet};

    fn put(w: &mut World, name: &str, object: Object) {
        let (key, clock) = (w.ks.hasher().key(name.as_bytes()), Clock::at(w.now_ms));
        w.ks.db_mut(0).set_object(&key, object, Ttl::Clear, &clock);
    }

    fn put_list(w: &mut World, name: &str, elements: &[&str]) {
        let mut list = List::new();
        elements.iter().for_each(|e| list.push_back(e.as_bytes(), &Limits::default()));
        put(w, name, Object::List(list));
    }

    fn put_set(w: &mut World, name: &str, members: &[&str]) {
        let mut set = Set::new();
        members.iter().for_each(|m| assert!(set.add(m.as_bytes(), &Limits::default())));
        put(w, name, Object::Set(set));
    }

    fn put_hash(w: &mut World, name: &str, fields: &[(&str, &str)]) {
        let mut hash = Hash::new();
        fields.iter().for_each(|(f, v)| assert!(hash.set(f.as_bytes(), v.as_bytes(), &Limits::default())));
        put(w, name, Object::Hash(hash));
    }

    fn put_zset(w: &mut World, name: &str, members: &[(&str, f64)]) {
        let mut zset = ZSet::new();
        for (m, score) in members {
            assert_eq!(zset.insert(m.as_bytes(), *score, &Limits::default()), Inserted::Added);
        }
        put(w, name, Object::ZSet(zset));
    }

    fn numbers() -> World {
        let mut w = World::new();
        put_list(&mut w, "l", &["3", "10", "1", "2", "22", "-5", "1.5"]);
        put_set(&mut w, "si", &["5", "3", "4", "1"]);
        put_list(&mut w, "bad", &["a", "b", "c"]);
        put_list(&mut w, "f", &["1.5", "1e3", "0x10", "-0", "inf", "-inf", "", " 7", "\0junk", "1.5"]);
        put_list(&mut w, "nan", &["nan", "1"]);
        put_list(&mut w, "huge", &["1e400", "1"]);
        put_list(&mut w, "same", &["1.0", "1", "01", "1.00"]);
        put_list(&mut w, "bin", &["\0b", "\0a", "a", "A", "B", "b", "_"]);
        w
    }

    fn relations() -> World {
        let mut w = World::new();
        put_list(&mut w, "l", &["1", "2", "3", "4"]);
        put_hash(&mut w, "h_1", &[("w", "40"), ("name", "uno")]);
        put_hash(&mut w, "h_2", &[("w", "10"), ("name", "dos")]);
        put_hash(&mut w, "h_3", &[("w", "30")]);
        put_set(&mut w, "set", &["b", "a", "c"]);
        put_zset(&mut w, "z", &[("a", 3.0), ("c", 1.0), ("b", 2.0)]);
        w
    }

    #[test]
    fn orders() {
        numbers().check(&[
            ("SORT l", "*7|$2|-5|$1|1|$3|1.5|$1|2|$1|3|$2|10|$2|22|"),
            ("SORT l DESC", "*7|$2|22|$2|10|$1|3|$1|2|$3|1.5|$1|1|$2|-5|"),
            ("SORT l ALPHA", "*7|$2|-5|$1|1|$3|1.5|$2|10|$1|2|$2|22|$1|3|"),
            ("SORT l LIMIT 1 3", "*3|$1|1|$3|1.5|$1|2|"),
            ("SORT l LIMIT -1 2", "*2|$2|-5|$1|1|"),
            ("SORT l LIMIT 5 100", "*2|$2|10|$2|22|"),
            ("SORT l LIMIT 100 1", "*0|"),
            ("SORT l LIMIT 9223372036854775807 9223372036854775807", "*0|"),
            ("SORT l LIMIT 0 3 LIMIT 1 1 DESC", "*1|$2|10|"),
            ("SORT l LIMIT a b", "-ERR value is not an integer or out of range|"),
            ("SORT l LIMIT 0", "-ERR syntax error|"),
            ("SORT l BY nosort", "*7|$1|3|$2|10|$1|1|$1|2|$2|22|$2|-5|$3|1.5|"),
            ("SORT l BY nosort DESC LIMIT 1 2", "*2|$2|-5|$2|22|"),
            (
                "SORT l GET # GET #",
                "*14|$2|-5|$2|-5|$1|1|$1|1|$3|1.5|$3|1.5|$1|2|$1|2|$1|3|$1|3|$2|10|$2|10|$2|22|$2|22|",
            ),
            ("SORT l GET d LIMIT 0 2", "*2|$-1|$-1|"),
            ("SORT l WHAT", "-ERR syntax error|"),
            ("SORT l BY", "-ERR syntax error|"),
            ("SORT_RO l STORE x", "-ERR syntax error|"),
            ("SORT_RO l DESC LIMIT 0 2", "*2|$2|22|$2|10|"),
            ("SORT si", "*4|$1|1|$1|3|$1|4|$1|5|"),
            ("SORT missing", "*0|"),
            ("SET str v", "+OK|"),
            ("SORT str", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
            ("SORT bad", "-ERR One or more scores can't be converted into double|"),
            ("SORT bad ALPHA DESC", "*3|$1|c|$1|b|$1|a|"),
            ("SORT f", "*10|$4|-inf|$0||$5|\0junk|$2|-0|$3|1.5|$3|1.5|$2| 7|$4|0x10|$3|1e3|$3|inf|"),
            ("SORT nan", "-ERR One or more scores can't be converted into double|"),
            ("SORT same", "*4|$2|01|$1|1|$3|1.0|$4|1.00|"),
            ("SORT same DESC", "*4|$4|1.00|$3|1.0|$1|1|$2|01|"),
            ("SORT bin ALPHA", "*7|$2|\0b|$2|\0a|$1|A|$1|B|$1|_|$1|a|$1|b|"),
            ("SORT bin ALPHA DESC", "*7|$1|b|$1|a|$1|_|$1|B|$1|A|$2|\0b|$2|\0a|"),
            ("SORT bin ALPHA STORE dst", ":7|"),
            ("SORT dst BY nosort", "*7|$2|\0a|$2|\0b|$1|A|$1|B|$1|_|$1|a|$1|b|"),
            ("SORT huge", "-ERR One or more scores can't be converted into double|"),
        ]);
    }

    #[test]
    fn by_and_get() {
        relations().check(&[
            ("MSET w_1 4 w_2 3 w_3 2 w_4 1 d_1 one d_2 two d_3 three", "+OK|"),
            ("SORT l BY w_*", "*4|$1|4|$1|3|$1|2|$1|1|"),
            ("SORT l BY w_* DESC LIMIT 1 2", "*2|$1|2|$1|3|"),
            (
                "SORT l GET # GET d_* GET h_*->name",
                "*12|$1|1|$3|one|$3|uno|$1|2|$3|two|$3|dos|$1|3|$5|three|$-1|$1|4|$-1|$-1|",
            ),
            ("SORT l BY h_*->w", "*4|$1|4|$1|2|$1|3|$1|1|"),
            ("SORT l BY h_*->", "*4|$1|1|$1|2|$1|3|$1|4|"),
            ("SORT l BY missing_*", "*4|$1|1|$1|2|$1|3|$1|4|"),
            ("SORT l BY d_*", "-ERR One or more scores can't be converted into double|"),
            ("SORT l BY d_* ALPHA", "*4|$1|4|$1|1|$1|3|$1|2|"),
            ("SORT l BY d_* ALPHA DESC", "*4|$1|2|$1|3|$1|1|$1|4|"),
            ("SORT l BY w_* BY nosort", "*4|$1|1|$1|2|$1|3|$1|4|"),
            ("SORT l BY nosort BY w_*", "*4|$1|1|$1|2|$1|3|$1|4|"),
            ("SORT l GET h_*", "*4|$-1|$-1|$-1|$-1|"),
            ("SORT l GET h_*->name->x", "*4|$-1|$-1|$-1|$-1|"),
            ("SORT l BY w_*->x", "*4|$1|1|$1|2|$1|3|$1|4|"),
            ("SORT l GET d_* STORE dst", ":4|"),
            ("SORT dst BY nosort", "*4|$3|one|$3|two|$5|three|$0||"),
            ("SORT missing STORE dst", ":0|"),
            ("EXISTS dst", ":0|"),
            ("SET dst v", "+OK|"),
            ("SORT l BY w_* STORE dst", ":4|"),
            ("SORT dst BY nosort", "*4|$1|4|$1|3|$1|2|$1|1|"),
            ("SORT set BY nosort STORE dst", ":3|"),
            ("SORT dst BY nosort", "*3|$1|a|$1|b|$1|c|"),
            ("SORT l LIMIT 0 0 STORE dst", ":0|"),
            ("EXISTS dst", ":0|"),
            ("SORT l LIMIT 0 0 STORE dst", ":0|"),
        ]);
    }

    #[test]
    fn sorted_sets() {
        relations().check(&[
            ("SORT z ALPHA", "*3|$1|a|$1|b|$1|c|"),
            ("SORT z", "-ERR One or more scores can't be converted into double|"),
            ("SORT z BY nosort", "*3|$1|c|$1|b|$1|a|"),
            ("SORT z BY nosort DESC LIMIT 1 2", "*2|$1|b|$1|c|"),
        ]);
    }

    #[test]
    fn clusters_refuse_patterns() {
        let mut w = relations();
        w.host.cluster = true;
        w.check(&[
            ("SORT l BY w_*", "-ERR BY option of SORT denied in Cluster mode.|"),
            ("SORT l GET #", "-ERR GET option of SORT denied in Cluster mode.|"),
            ("SORT l BY nosort", "*4|$1|1|$1|2|$1|3|$1|4|"),
            ("SORT l BY w_* WHAT", "-ERR BY option of SORT denied in Cluster mode.|"),
            ("SORT l WHAT BY w_*", "-ERR syntax error|"),
        ]);
        w.caller.front_door = true;
        w.check(&[("SORT l GET # LIMIT 0 1", "*1|$1|1|")]);
    }

    #[test]
    fn keys_of_siblings_are_not_taken_for_missing() {
        let mut w = relations();
        w.me = 1;
        w.host.cluster = true;
        w.caller.front_door = true;
        let refusal = "-CROSSSLOT Keys in request belong to different shards of this host, which this command can't span|";
        w.check(&[
            ("SORT l BY w_*", refusal),
            ("SORT l GET w_*", refusal),
            ("SORT l GET w_* STORE d", refusal),
        ]);
        w.check(&[("SORT l LIMIT 0 1", "*1|$1|1|"), ("EXISTS d", ":0|")]);
    }

    #[test]
    fn events_and_changes() {
        let cases: &[(&str, &[&str], u64)] = &[
            ("SORT l", &[], 0),
            ("SORT l STORE d", &["new:d", "sortstore:d"], 4),
            ("SORT l GET # GET # STORE d", &["sortstore:d"], 8),
            ("SORT none STORE d", &["keymiss:none", "del:d"], 1),
            ("SORT none STORE d", &["keymiss:none"], 0),
        ];
        let mut w = relations();
        for (line, events, dirty) in cases {
            w.run(line);
            assert_eq!(w.events(), *events, "{line}");
            assert_eq!(std::mem::take(&mut w.fx.dirty), *dirty, "{line}");
        }
    }
}
