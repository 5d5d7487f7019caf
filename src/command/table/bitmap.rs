//! Bitmaps.

use super::row::*;
use crate::command::bitmap;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key::{ACCESS, OW, RO, RW, UPDATE, VARIABLE_FLAGS};
use crate::command::spec::{Arg, KeySpec, Run, Spec, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("bitmap", name, arity, flags, keys, run).acl(acl::BITMAP)
}

const BY_BIT: &[(&str, &str)] = &[("7.0.0", "Added the `BYTE|BIT` option.")];
const UNIT: Arg = one_of("index_unit", &[word("byte", "BYTE"), word("bit", "BIT")]).opt().since("7.0.0");
const GET: Arg = block("encoding_offset", &[text("encoding"), int("offset")]).after("GET");

pub(super) const ROWS: &[Spec] = &[
    row("bitcount", -2, READONLY, &[at(1, RO | ACCESS)], Here(bitmap::bitcount))
        .doc("2.6.0", "Counts the ones in a string.", "O(N)")
        .history(BY_BIT)
        .args(&[key("key"), block("index", &[int("start"), int("end"), UNIT]).opt()]),
    row(
        "bitfield",
        -2,
        WRITE | DENYOOM,
        &[at(1, RW | ACCESS | UPDATE | VARIABLE_FLAGS)
            .note("This command allows both access and modification of the key")],
        Here(bitmap::bitfield),
    )
    .doc(
        "3.2.0",
        "Reads, writes and adds to whole numbers of any width within a string.",
        "O(1) for each subcommand specified",
    )
    .args(&[
        key("key"),
        one_of(
            "operation",
            &[
                GET,
                block(
                    "write",
                    &[
                        one_of(
                            "wrap_sat_fail",
                            &[word("wrap", "WRAP"), word("sat", "SAT"), word("fail", "FAIL")],
                        )
                        .after("OVERFLOW")
                        .opt(),
                        one_of(
                            "write_operation",
                            &[
                                block(
                                    "encoding_offset_value",
                                    &[text("encoding"), int("offset"), int("value")],
                                )
                                .after("SET"),
                                block(
                                    "encoding_offset_increment",
                                    &[text("encoding"), int("offset"), int("increment")],
                                )
                                .after("INCRBY"),
                            ],
                        ),
                    ],
                ),
            ],
        )
        .opt()
        .many(),
    ]),
    row("bitfield_ro", -2, READONLY | FAST, &[at(1, RO | ACCESS)], Here(bitmap::bitfield_ro))
        .doc(
            "6.0.0",
            "Reads whole numbers of any width within a string.",
            "O(1) for each subcommand specified",
        )
        .args(&[key("key"), GET.opt().many_tokens()]),
    row(
        "bitop",
        -4,
        WRITE | DENYOOM,
        &[at(2, OW | UPDATE), range(3, -1, 1, RO | ACCESS)],
        Here(bitmap::bitop),
    )
    .doc("2.6.0", "Combines strings bit by bit and stores the result.", "O(N)")
    .args(&[text("operation"), key("destkey"), key("key").spec(1).many()]),
    row("bitpos", -3, READONLY, &[at(1, RO | ACCESS)], Here(bitmap::bitpos))
        .doc("2.8.7", "Finds the first one, or the first zero, in a string.", "O(N)")
        .history(BY_BIT)
        .args(&[
            key("key"),
            int("bit"),
            block("index", &[int("start"), block("end_index", &[int("end"), UNIT]).opt()]).opt(),
        ]),
    row("getbit", 3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(bitmap::getbit))
        .doc("2.2.0", "Reads a bit of a string.", "O(1)")
        .args(&[key("key"), int("offset")]),
    row("setbit", 4, WRITE | DENYOOM, &[at(1, RW | ACCESS | UPDATE)], Here(bitmap::setbit))
        .doc("2.2.0", "Writes a bit of a string, and returns the one before.", "O(1)")
        .args(&[key("key"), int("offset"), int("value")]),
];
