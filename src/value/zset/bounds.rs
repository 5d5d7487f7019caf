//! The ends of ranges by score and by member.

use crate::util::num::parse_f64_bound;

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    /// Not NaN.
    pub value: f64,
    pub exclusive: bool,
}

impl ScoreBound {
    /// Reads `1.5`, `(1.5`, `-inf` and the like. As in Redis, an empty number is 0 and spaces
    /// before it are skipped.
    pub fn parse(text: &[u8]) -> Option<ScoreBound> {
        let (exclusive, number) = match text {
            [b'(', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        Some(ScoreBound { value: parse_f64_bound(number)?, exclusive })
    }

    /// Whether a range that begins here takes in `score`, its end aside.
    pub fn admits_above(&self, score: f64) -> bool {
        if self.exclusive { score > self.value } else { score >= self.value }
    }

    /// Whether a range that ends here takes in `score`, its beginning aside.
    pub fn admits_below(&self, score: f64) -> bool {
        if self.exclusive { score < self.value } else { score <= self.value }
    }
}

/// A range of scores; empty when `min` lies above `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: ScoreBound,
    pub max: ScoreBound,
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: below all members.
    Lowest,
    /// `+`: above all members.
    Highest,
    /// `[member`
    With(&'a [u8]),
    /// `(member`
    Without(&'a [u8]),
}

impl<'a> LexBound<'a> {
    /// Reads `-`, `+`, `[member` and `(member`.
    pub fn parse(text: &'a [u8]) -> Option<LexBound<'a>> {
        match text {
            // Redis looks for the end of a C string here.
            [b'-'] | [b'-', 0, ..] => Some(LexBound::Lowest),
            [b'+'] | [b'+', 0, ..] => Some(LexBound::Highest),
            [b'[', member @ ..] => Some(LexBound::With(member)),
            [b'(', member @ ..] => Some(LexBound::Without(member)),
            _ => None,
        }
    }

    /// Whether a range that begins here takes in `member`, its end aside.
    pub fn admits_above(&self, member: &[u8]) -> bool {
        match self {
            LexBound::Lowest => true,
            LexBound::Highest => false,
            LexBound::With(bound) => member >= *bound,
            LexBound::Without(bound) => member > *bound,
        }
    }

    /// Whether a range that ends here takes in `member`, its beginning aside.
    pub fn admits_below(&self, member: &[u8]) -> bool {
        match self {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::With(bound) => member <= *bound,
            LexBound::Without(bound) => member < *bound,
        }
    }
}

/// A range of members; empty when `min` lies above `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    pub min: LexBound<'a>,
    pub max: LexBound<'a>,
}
