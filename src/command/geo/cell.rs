//! Geohashes: the world as a grid that halves at each step, and a place in it as a whole number.
//!
//! Each step gives a bit of latitude and, above it, a bit of longitude. Redis's grid ends where the
//! Mercator projection does, and takes 26 steps, so that a number fits a sorted set's score.

use crate::util::num::c_u64;

/// Degrees east and north.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

/// From the least to the greatest degree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub min: f64,
    pub max: f64,
}

impl Span {
    pub fn contains(self, degree: f64) -> bool {
        self.min <= degree && degree <= self.max
    }

    fn middle(self) -> f64 {
        (self.min + self.max) / 2.0
    }

    /// How far along the span a degree is, in parts of which `step` halvings make one.
    fn part(self, degree: f64, step: u32) -> u32 {
        ((degree - self.min) / (self.max - self.min) * (1u64 << step) as f64) as u32
    }

    fn of_part(self, part: u32, step: u32) -> Span {
        let parts = (1u64 << step) as f64;
        let at = |part: u32| self.min + part as f64 / parts * (self.max - self.min);
        Span { min: at(part), max: at(part.wrapping_add(1)) }
    }
}

pub const LONGITUDES: Span = Span { min: -180.0, max: 180.0 };
pub const LATITUDES: Span = Span { min: -85.05112878, max: 85.05112878 };
/// What geohashes elsewhere cover.
const ALL_LATITUDES: Span = Span { min: -90.0, max: 90.0 };

/// Steps of a place.
pub const STEPS: u32 = 26;

const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// Puts the bits of `latitude` in the even places and those of `longitude` in the odd ones.
fn interleave(latitude: u32, longitude: u32) -> u64 {
    spread(latitude) | spread(longitude) << 1
}

fn spread(n: u32) -> u64 {
    let mut x = n as u64;
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | x << 2) & 0x3333_3333_3333_3333;
    (x | x << 1) & LATITUDE_BITS
}

/// The bits in even places.
fn gather(x: u64) -> u32 {
    let mut x = x & LATITUDE_BITS;
    x = (x | x >> 1) & 0x3333_3333_3333_3333;
    x = (x | x >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

/// A cell of the grid after so many steps, 1 to 26.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub bits: u64,
    pub step: u32,
}

/// What a cell covers.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub longitude: Span,
    pub latitude: Span,
}

impl Cell {
    /// The cell that a point of the grid lies in.
    pub fn around(point: Point, step: u32) -> Cell {
        let latitude = LATITUDES.part(point.latitude, step);
        let longitude = LONGITUDES.part(point.longitude, step);
        Cell { bits: interleave(latitude, longitude), step }
    }

    pub fn area(self) -> Area {
        Area {
            longitude: LONGITUDES.of_part(gather(self.bits >> 1), self.step),
            latitude: LATITUDES.of_part(gather(self.bits), self.step),
        }
    }

    /// The cell so many to the east and to the north: -1, 0 or 1. The grid has no ends.
    pub fn neighbour(self, east: i64, north: i64) -> Cell {
        let unused = u64::BITS - 2 * self.step;
        let go = |own: u64, others: u64, by: i64| {
            let place = self.bits & own;
            let (own, others) = (own >> unused, others >> unused);
            // the other bits let a carry through, or a borrow
            match by {
                1.. => place.wrapping_add(others + 1) & own,
                0 => place,
                _ => (place | others).wrapping_sub(others + 1) & own,
            }
        };
        let longitude = go(LONGITUDE_BITS, LATITUDE_BITS, east);
        let latitude = go(LATITUDE_BITS, LONGITUDE_BITS, north);
        Cell { bits: longitude | latitude, step: self.step }
    }

    /// The scores of the places within: from the first to below the second.
    pub fn scores(self) -> (u64, u64) {
        let shift = 2 * (STEPS - self.step);
        (self.bits << shift, (self.bits + 1) << shift)
    }
}

/// A place as a score.
pub fn score(point: Point) -> u64 {
    Cell::around(point, STEPS).bits
}

/// The place that a score stands for, whatever score that is.
pub fn place(score: f64) -> Point {
    let area = Cell { bits: c_u64(score), step: STEPS }.area();
    Point {
        longitude: area.longitude.middle().clamp(LONGITUDES.min, LONGITUDES.max),
        latitude: area.latitude.middle().clamp(LATITUDES.min, LATITUDES.max),
    }
}

/// The geohash of a place as others write it: eleven letters, of which the last is always `0`.
pub fn letters(point: Point) -> [u8; 11] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let latitude = ALL_LATITUDES.part(point.latitude, STEPS);
    let bits = interleave(latitude, LONGITUDES.part(point.longitude, STEPS));
    let mut out = [ALPHABET[0]; 11];
    for (n, letter) in out[..10].iter_mut().enumerate() {
        *letter = ALPHABET[(bits >> (2 * STEPS - 5 * (n as u32 + 1))) as usize & 0x1f];
    }
    out
}
