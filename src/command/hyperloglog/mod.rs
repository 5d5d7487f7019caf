//! HyperLogLogs: strings that count distinct elements, nearly.

mod estimate;
mod selftest;
mod sketch;
#[cfg(test)]
mod tests;

pub use selftest::pfselftest;

use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, WRONG_TYPE};
use super::text::{store_bytes, with_text};
use crate::resp::Args;
use crate::store::{Clock, Key, Look, ValueMut, ValueRef};
use crate::util::num::until_nul;
use estimate::estimate;
use sketch::{Corrupt, Encoding, REGISTERS, Registers};

const NO_HLL: ErrReply = ErrReply::new("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPT: ErrReply = ErrReply::new("INVALIDOBJ Corrupted HLL object detected");
const NO_SUCH_KEY: ErrReply = ErrReply::new("ERR The specified key does not exist");
const NOT_SPARSE: ErrReply = ErrReply::new("ERR HLL encoding is not sparse");

fn refusal(_: Corrupt) -> ErrReply {
    CORRUPT
}

/// Longest sparse form.
fn most(ctx: &Ctx<'_>) -> usize {
    ctx.conf.hll_sparse_max_bytes as usize
}

// ---- PFADD

/// What PFADD has come to: registers that it raised, and whether it had to stop.
#[derive(Default)]
struct Added {
    raised: u64,
    failed: Option<Corrupt>,
}

/// PFADD key [element ...]
pub fn pfadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, elements) = (ctx.key(args.at(1)), args.from(2));
    let most = most(ctx);
    let db = ctx.ks.db_mut(ctx.db);
    let sparse = match db.find_mut(&key, Look::Write, &ctx.clock) {
        None => {
            let mut hll = sketch::new();
            let added = add(&mut hll, elements, most);
            sketch::forget_count(&mut hll);
            store_bytes(ctx, &key, hll);
            return told(ctx, &key, Added { raised: added.raised + 1, ..added });
        }
        Some(ValueMut::Str(bytes)) => match sketch::encoding(bytes).ok_or(NO_HLL)? {
            Encoding::Sparse => true,
            Encoding::Dense => {
                let raised = elements.iter().filter(|element| sketch::dense_add(bytes, element)).count();
                return told(ctx, &key, Added { raised: raised as u64, failed: None });
            }
        },
        Some(ValueMut::Int(_)) => false,
        Some(ValueMut::Obj(_)) => return Err(WRONG_TYPE),
    };
    let edited = if sparse { db.edit(&key, &ctx.clock, |hll| add(hll, elements, most)) } else { None };
    told(ctx, &key, edited.ok_or(NO_HLL)?)
}

fn add(hll: &mut Vec<u8>, elements: Args<'_>, most: usize) -> Added {
    let mut added = Added::default();
    for element in elements.iter() {
        let (index, value) = sketch::place(element);
        match sketch::raise(hll, index, value, most) {
            Ok(raised) => added.raised += raised as u64,
            Err(corrupt) => {
                added.failed = Some(corrupt);
                break;
            }
        }
    }
    added
}

/// Says what was added, whether or not it had to stop then.
fn told(ctx: &mut Ctx<'_>, key: &Key<'_>, added: Added) -> Done {
    if added.raised > 0 {
        ctx.fx.changed_by(added.raised, ctx.db, key.bytes, class::STRING, "pfadd");
    }
    if let Some(corrupt) = added.failed {
        return Err(refusal(corrupt));
    }
    ctx.out.int((added.raised > 0) as i64);
    Ok(())
}

// ---- PFCOUNT and PFMERGE

/// PFCOUNT key ...
pub fn pfcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 2 {
        let (registers, _) = union(ctx, args.from(1))?;
        ctx.out.int(estimate(&sketch::histogram_of(&registers)) as i64);
        return Ok(());
    }
    let key = ctx.key(args.at(1));
    let count = with_text(ctx, &key, |_, hll| -> Result<_, ErrReply> {
        let encoding = sketch::encoding(hll).ok_or(NO_HLL)?;
        match sketch::cached(hll) {
            Some(count) => Ok((count, None)),
            None => {
                let histogram = sketch::histogram(hll, encoding).map_err(refusal)?;
                Ok((estimate(&histogram), Some(hll.len())))
            }
        }
    })?;
    let (count, counted) = count.transpose()?.unwrap_or_default();
    if let Some(len) = counted {
        // a second look at the same key
        let clock = Clock { no_touch: true, ..ctx.clock };
        let hll = ctx.ks.db_mut(ctx.db).bytes_mut(&key, len, &clock).ok_or(NO_HLL)?;
        sketch::cache(hll, count);
        ctx.fx.changed(ctx.db, key.bytes, class::SILENT, "");
    }
    ctx.out.int(count as i64);
    Ok(())
}

/// The greatest of each register over all keys, and whether one of them is dense.
fn union(ctx: &mut Ctx<'_>, keys: Args<'_>) -> Result<(Box<Registers>, bool), ErrReply> {
    let mut registers = Box::new([0; REGISTERS]);
    let mut dense = false;
    for word in keys.iter() {
        let key = ctx.key(word);
        let read = with_text(ctx, &key, |_, hll| -> Done {
            let encoding = sketch::encoding(hll).ok_or(NO_HLL)?;
            dense |= encoding == Encoding::Dense;
            sketch::merge(&mut registers, hll, encoding).map_err(refusal)
        })?;
        read.unwrap_or(Ok(()))?;
    }
    Ok((registers, dense))
}

/// PFMERGE destination [source ...]
pub fn pfmerge(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (registers, dense) = union(ctx, args.from(1))?;
    let (key, most) = (ctx.key(args.at(1)), most(ctx));
    let fill = |hll: &mut Vec<u8>| -> Result<(), Corrupt> {
        if dense {
            sketch::make_dense(hll)?;
        }
        for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
            sketch::raise(hll, index, *value, most)?;
        }
        sketch::forget_count(hll);
        Ok(())
    };
    match ctx.ks.db_mut(ctx.db).edit(&key, &ctx.clock, fill) {
        Some(done) => done.map_err(refusal)?,
        None => {
            let mut hll = sketch::new();
            fill(&mut hll).map_err(refusal)?;
            store_bytes(ctx, &key, hll);
        }
    }
    ctx.fx.changed(ctx.db, key.bytes, class::STRING, "pfadd");
    ctx.out.ok();
    Ok(())
}

// ---- PFDEBUG

/// PFDEBUG <GETREG | DECODE | ENCODING | TODENSE> key
pub fn pfdebug(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(2));
    let encoding = match ctx.ks.db_mut(ctx.db).find(&key, Look::Write, &ctx.clock).map(|entry| entry.value())
    {
        None => return Err(NO_SUCH_KEY),
        Some(ValueRef::Str(hll)) => sketch::encoding(hll).ok_or(NO_HLL)?,
        Some(ValueRef::Int(_)) => return Err(NO_HLL),
        Some(ValueRef::Obj(_)) => return Err(WRONG_TYPE),
    };
    match args.at(1) {
        word if word.eq_ignore_ascii_case(b"getreg") => {
            let registers = make_dense(ctx, &key, encoding)?;
            ctx.out.array(registers.len());
            registers.iter().for_each(|value| ctx.out.int(*value as i64));
        }
        word if word.eq_ignore_ascii_case(b"decode") => decode(ctx, &key, encoding)?,
        word if word.eq_ignore_ascii_case(b"encoding") => {
            ctx.out.simple(if encoding == Encoding::Dense { "dense" } else { "sparse" });
        }
        word if word.eq_ignore_ascii_case(b"todense") => {
            make_dense(ctx, &key, encoding)?;
            ctx.out.int((encoding == Encoding::Sparse) as i64);
        }
        word => {
            let text: [&[u8]; 3] = [b"ERR Unknown PFDEBUG subcommand '", until_nul(word), b"'"];
            return Err(ErrReply::quoting(text.concat()));
        }
    }
    Ok(())
}

/// The registers, once they are dense.
fn make_dense(ctx: &mut Ctx<'_>, key: &Key<'_>, encoding: Encoding) -> Result<Vec<u8>, ErrReply> {
    let registers = ctx.ks.db_mut(ctx.db).edit(key, &ctx.clock, |hll| -> Result<Vec<u8>, Corrupt> {
        sketch::make_dense(hll)?;
        Ok((0..REGISTERS).map(|index| sketch::dense_get(hll, index)).collect())
    });
    let registers = registers.ok_or(NO_HLL)?.map_err(refusal)?;
    if encoding == Encoding::Sparse {
        // it is passed on, and to clients it is the same value
        ctx.fx.dirty += 1;
    }
    Ok(registers)
}

/// The runs of the sparse form in letters: `z` and `Z` zeros, in one byte or two, `v` values.
fn decode(ctx: &mut Ctx<'_>, key: &Key<'_>, encoding: Encoding) -> Done {
    if encoding == Encoding::Dense {
        return Err(NOT_SPARSE);
    }
    with_text(ctx, key, |out, hll| {
        let shown: Vec<String> = sketch::runs(hll)
            .map(|run| match (run.value, run.bytes) {
                (0, 1) => format!("z:{}", run.registers),
                (0, _) => format!("Z:{}", run.registers),
                (value, _) => format!("v:{value},{}", run.registers),
            })
            .collect();
        out.bulk(shown.join(" ").as_bytes());
    })?;
    Ok(())
}
