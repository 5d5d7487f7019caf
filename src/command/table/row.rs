//! Short words in which the rows are written: each takes defaults and returns a changed copy.

use crate::command::spec::{Arg, Begin, Find, KeySpec, Route, Run, Spec, acl, arg, flag};

/// A row of `group` with nothing but its bare facts. It runs on the owner of its keys, if it has
/// any.
pub(super) const fn new(
    group: &'static str,
    name: &'static str,
    arity: i16,
    flags: u32,
    keys: &'static [KeySpec],
    run: Run,
) -> Spec {
    Spec {
        id: 0,
        name,
        arity,
        flags,
        acl: implied(flags),
        keys,
        legacy: super::legacy_range(keys),
        route: if keys.is_empty() { Route::Local } else { Route::Keys },
        run,
        subs: &[],
        group,
        since: "",
        summary: "",
        complexity: "",
        deprecated: None,
        history: &[],
        tips: &[],
        args: &[],
    }
    .completed()
}

/// The ACL categories that flags imply, except that what is not fast is slow.
const fn implied(flags: u32) -> u32 {
    let mut out = 0;
    if flags & flag::WRITE != 0 {
        out |= acl::WRITE;
    }
    if flags & flag::READONLY != 0 {
        out |= acl::READ;
    }
    if flags & flag::ADMIN != 0 {
        out |= acl::ADMIN | acl::DANGEROUS;
    }
    if flags & flag::PUBSUB != 0 {
        out |= acl::PUBSUB;
    }
    if flags & flag::BLOCKING != 0 {
        out |= acl::BLOCKING;
    }
    out | if flags & flag::FAST != 0 { acl::FAST } else { acl::SLOW }
}

impl Spec {
    /// Sets the flag that derives from the key specs.
    const fn completed(self) -> Spec {
        let movable = if super::movable(self.keys) { flag::MOVABLE_KEYS } else { 0 };
        Spec { flags: self.flags | movable, ..self }
    }

    /// These ACL categories beside the implied ones.
    pub(super) const fn acl(self, categories: u32) -> Spec {
        Spec { acl: implied(self.flags) | categories, ..self }
    }

    pub(super) const fn doc(
        self,
        since: &'static str,
        summary: &'static str,
        complexity: &'static str,
    ) -> Spec {
        Spec { since, summary, complexity, ..self }
    }

    pub(super) const fn route(self, route: Route) -> Spec {
        Spec { route, ..self }
    }

    pub(super) const fn replaced(self, by: &'static str, since: &'static str) -> Spec {
        Spec { deprecated: Some((by, since)), ..self }
    }

    pub(super) const fn history(self, history: &'static [(&'static str, &'static str)]) -> Spec {
        Spec { history, ..self }
    }

    pub(super) const fn tips(self, tips: &'static [&'static str]) -> Spec {
        Spec { tips, ..self }
    }

    pub(super) const fn args(self, args: &'static [Arg]) -> Spec {
        Spec { args, ..self }
    }

    pub(super) const fn subs(self, subs: &'static [Spec]) -> Spec {
        Spec { subs, ..self }
    }
}

/// One key, argument `index`.
pub(super) const fn at(index: i32, flags: u32) -> KeySpec {
    range(index, 0, 1, flags)
}

/// Keys from argument `first`; for `last` see [`Find::Range`].
pub(super) const fn range(first: i32, last: i32, step: i32, flags: u32) -> KeySpec {
    KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, flags, notes: "" }
}

/// Argument `index` tells how many keys follow it.
pub(super) const fn numkeys(index: i32, flags: u32) -> KeySpec {
    let find = Find::NumKeys { num: 0, first: 1, step: 1 };
    KeySpec { begin: Begin::Index(index), find, flags, notes: "" }
}

/// One key behind `word`, which is looked for from argument `from` on.
pub(super) const fn behind(word: &'static str, from: i32, flags: u32) -> KeySpec {
    let find = Find::Range { last: 0, step: 1, limit: 0 };
    KeySpec { begin: Begin::Keyword { word, from }, find, flags, notes: "" }
}

/// Keys in places that no key spec can describe.
pub(super) const fn unknown(flags: u32, notes: &'static str) -> KeySpec {
    KeySpec { begin: Begin::Unknown, find: Find::Unknown, flags, notes }
}

impl KeySpec {
    pub(super) const fn note(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }
}

const fn argument(name: &'static str, kind: &'static str) -> Arg {
    Arg { name, kind, token: "", since: "", deprecated_since: "", key_spec: -1, flags: 0, args: &[] }
}

/// A key that the first key spec describes.
pub(super) const fn key(name: &'static str) -> Arg {
    argument(name, "key").spec(0)
}

pub(super) const fn text(name: &'static str) -> Arg {
    argument(name, "string")
}

pub(super) const fn int(name: &'static str) -> Arg {
    argument(name, "integer")
}

pub(super) const fn double(name: &'static str) -> Arg {
    argument(name, "double")
}

pub(super) const fn pattern(name: &'static str) -> Arg {
    argument(name, "pattern")
}

/// What HSCAN, SSCAN and ZSCAN take.
pub(super) const SCAN: &[Arg] =
    &[key("key"), int("cursor"), pattern("pattern").after("MATCH").opt(), int("count").after("COUNT").opt()];

pub(super) const fn unix_time(name: &'static str) -> Arg {
    argument(name, "unix-time")
}

/// A word that stands for itself.
pub(super) const fn word(name: &'static str, token: &'static str) -> Arg {
    argument(name, "pure-token").after(token)
}

pub(super) const fn one_of(name: &'static str, args: &'static [Arg]) -> Arg {
    Arg { args, ..argument(name, "oneof") }
}

pub(super) const fn block(name: &'static str, args: &'static [Arg]) -> Arg {
    Arg { args, ..argument(name, "block") }
}

impl Arg {
    /// Preceded by this word.
    pub(super) const fn after(self, token: &'static str) -> Arg {
        Arg { token, ..self }
    }

    /// Described by key spec number `index`.
    pub(super) const fn spec(self, index: i8) -> Arg {
        Arg { key_spec: index, ..self }
    }

    pub(super) const fn opt(self) -> Arg {
        Arg { flags: self.flags | arg::OPTIONAL, ..self }
    }

    pub(super) const fn many(self) -> Arg {
        Arg { flags: self.flags | arg::MULTIPLE, ..self }
    }

    /// Several, each preceded by its word.
    pub(super) const fn many_tokens(self) -> Arg {
        Arg { flags: self.flags | arg::MULTIPLE | arg::MULTIPLE_TOKEN, ..self }
    }

    pub(super) const fn since(self, since: &'static str) -> Arg {
        Arg { since, ..self }
    }

    pub(super) const fn deprecated(self, since: &'static str) -> Arg {
        Arg { deprecated_since: since, ..self }
    }
}
