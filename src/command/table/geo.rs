//! Places.

use super::row::*;
use crate::command::geo;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{DENYOOM, READONLY, WRITE};
use crate::command::spec::key::{ACCESS, OW, RO, RW, UPDATE};
use crate::command::spec::{Arg, KeySpec, Run, Spec, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("geo", name, arity, flags, keys, run).acl(acl::GEO)
}

const PER_MEMBER: &str = "O(log(N)) for each member, where N is the number of elements in the sorted set.";
const WITHIN: &str =
    "O(N+log(M)) where N is the number of members in the cells around the shape and M that of all members.";
const UPPERCASE: &[(&str, &str)] = &[("7.0.0", "Added support for uppercase unit names.")];

const UNIT: Arg = one_of("unit", &[word("m", "M"), word("km", "KM"), word("ft", "FT"), word("mi", "MI")]);
const ORDER: Arg = one_of("order", &[word("asc", "ASC"), word("desc", "DESC")]).opt();
const WITH_COORD: Arg = word("withcoord", "WITHCOORD").opt();
const WITH_DIST: Arg = word("withdist", "WITHDIST").opt();
const WITH_HASH: Arg = word("withhash", "WITHHASH").opt();
const COUNT: Arg = block("count", &[int("count").after("COUNT"), word("any", "ANY").opt()]).opt();
const COUNT_ANY_SINCE: Arg =
    block("count", &[int("count").after("COUNT"), word("any", "ANY").opt().since("6.2.0")]).opt();
const STORE: Arg = key("key").spec(1).after("STORE").opt();
const STORE_DIST: Arg = key("key").spec(2).after("STOREDIST").opt();
const FROM: Arg = one_of(
    "from",
    &[
        text("member").after("FROMMEMBER"),
        block("longitude_latitude", &[double("longitude"), double("latitude")]).after("FROMLONLAT"),
    ],
);
const BY: Arg = one_of(
    "by",
    &[
        block("circle", &[double("radius").after("BYRADIUS"), UNIT]),
        block("box", &[double("width").after("BYBOX"), double("height"), UNIT]),
    ],
);

pub(super) const ROWS: &[Spec] = &[
    row("geoadd", -5, WRITE | DENYOOM, &[at(1, RW | UPDATE)], Here(geo::geoadd))
        .doc("3.2.0", "Adds members with their places to a sorted set.", PER_MEMBER)
        .history(&[("6.2.0", "Added the `CH`, `NX` and `XX` options.")])
        .args(&[
            key("key"),
            one_of("condition", &[word("nx", "NX"), word("xx", "XX")]).opt().since("6.2.0"),
            word("change", "CH").opt().since("6.2.0"),
            block("longitude_latitude_member", &[double("longitude"), double("latitude"), text("member")])
                .many(),
        ]),
    row("geodist", -4, READONLY, &[at(1, RO | ACCESS)], Here(geo::geodist))
        .doc("3.2.0", "Tells the distance between two members.", "O(log(N))")
        .args(&[key("key"), text("member1"), text("member2"), UNIT.opt()]),
    row("geohash", -2, READONLY, &[at(1, RO | ACCESS)], Here(geo::geohash))
        .doc("3.2.0", "Tells members' places as geohashes.", PER_MEMBER)
        .args(&[key("key"), text("member").many()]),
    row("geopos", -2, READONLY, &[at(1, RO | ACCESS)], Here(geo::geopos))
        .doc("3.2.0", "Tells members' longitudes and latitudes.", "O(N) where N is the number of members.")
        .args(&[key("key"), text("member").many()]),
    row(
        "georadius",
        -6,
        WRITE | DENYOOM,
        &[at(1, RO | ACCESS), behind("STORE", 6, OW | UPDATE), behind("STOREDIST", 6, OW | UPDATE)],
        Here(geo::georadius),
    )
    .doc("3.2.0", "Finds, or stores, the members within a circle around a place.", WITHIN)
    .history(&[
        ("6.2.0", "Added the `ANY` option for `COUNT`."),
        ("7.0.0", "Added support for uppercase unit names."),
    ])
    .replaced("`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument", "6.2.0")
    .args(&[
        key("key"),
        double("longitude"),
        double("latitude"),
        double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT_ANY_SINCE,
        ORDER,
        STORE,
        STORE_DIST,
    ]),
    row("georadius_ro", -6, READONLY, &[at(1, RO | ACCESS)], Here(geo::georadius_ro))
        .doc("3.2.10", "Finds the members within a circle around a place.", WITHIN)
        .history(&[("6.2.0", "Added the `ANY` option for `COUNT`.")])
        .replaced("`GEOSEARCH` with the `BYRADIUS` argument", "6.2.0")
        .args(&[
            key("key"),
            double("longitude"),
            double("latitude"),
            double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            COUNT_ANY_SINCE,
            ORDER,
        ]),
    row(
        "georadiusbymember",
        -5,
        WRITE | DENYOOM,
        &[at(1, RO | ACCESS), behind("STORE", 5, OW | UPDATE), behind("STOREDIST", 5, OW | UPDATE)],
        Here(geo::georadiusbymember),
    )
    .doc("3.2.0", "Finds, or stores, the members within a circle around a member.", WITHIN)
    .history(UPPERCASE)
    .replaced("`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments", "6.2.0")
    .args(&[
        key("key"),
        text("member"),
        double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
        STORE,
        STORE_DIST,
    ]),
    row("georadiusbymember_ro", -5, READONLY, &[at(1, RO | ACCESS)], Here(geo::georadiusbymember_ro))
        .doc("3.2.10", "Finds the members within a circle around a member.", WITHIN)
        .replaced("`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments", "6.2.0")
        .args(&[
            key("key"),
            text("member"),
            double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            COUNT,
            ORDER,
        ]),
    row("geosearch", -7, READONLY, &[at(1, RO | ACCESS)], Here(geo::geosearch))
        .doc("6.2.0", "Finds the members within a circle or a box.", WITHIN)
        .history(UPPERCASE)
        .args(&[key("key"), FROM, BY, ORDER, COUNT, WITH_COORD, WITH_DIST, WITH_HASH]),
    row(
        "geosearchstore",
        -8,
        WRITE | DENYOOM,
        &[at(1, OW | UPDATE), at(2, RO | ACCESS)],
        Here(geo::geosearchstore),
    )
    .doc("6.2.0", "Stores the members within a circle or a box.", WITHIN)
    .history(UPPERCASE)
    .args(&[
        key("destination"),
        key("source").spec(1),
        FROM,
        BY,
        ORDER,
        COUNT,
        word("storedist", "STOREDIST").opt(),
    ]),
];
