//! Circles and boxes on the globe: what lies within, and which cells cover them.

use super::cell::{Cell, Point, STEPS};

/// Metres, as Redis has it: the earth's quadratic mean radius.
const EARTH_RADIUS: f64 = 6372797.560856;
/// Half of the Mercator projection's equator.
const MERCATOR: f64 = 20037726.37;
const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// How far a shape reaches, in the client's unit.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    Radius(f64),
    Box { width: f64, height: f64 },
}

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub centre: Point,
    pub extent: Extent,
    /// Metres of the client's unit.
    pub unit: f64,
}

fn radians(degrees: f64) -> f64 {
    degrees * DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / DEGREE
}

fn distance_of_latitudes(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (radians(b) - radians(a)).abs()
}

/// Metres along the great circle (haversine).
pub fn distance(a: Point, b: Point) -> f64 {
    let v = ((radians(b.longitude) - radians(a.longitude)) / 2.0).sin();
    if v == 0.0 {
        return distance_of_latitudes(a.latitude, b.latitude);
    }
    let (from, to) = (radians(a.latitude), radians(b.latitude));
    let u = ((to - from) / 2.0).sin();
    let h = u * u + from.cos() * to.cos() * v * v;
    // between antipodes it may be rounded to more than there is
    2.0 * EARTH_RADIUS * h.sqrt().min(1.0).asin()
}

/// The least and the greatest degrees of what a shape may cover.
struct Bounds {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

impl Shape {
    /// Metres from the centre to a point, if it lies within.
    pub fn distance_within(&self, point: Point) -> Option<f64> {
        match self.extent {
            Extent::Radius(radius) => {
                let metres = distance(self.centre, point);
                (metres <= radius * self.unit).then_some(metres)
            }
            Extent::Box { width, height } => {
                let north = distance_of_latitudes(point.latitude, self.centre.latitude);
                if north > height * self.unit / 2.0 {
                    return None;
                }
                let same_latitude = Point { latitude: point.latitude, ..self.centre };
                if distance(point, same_latitude) > width * self.unit / 2.0 {
                    return None;
                }
                Some(distance(self.centre, point))
            }
        }
    }

    /// Half of its size, in metres to the east and to the north.
    fn reach(&self) -> (f64, f64) {
        match self.extent {
            Extent::Radius(radius) => (self.unit * radius, self.unit * radius),
            Extent::Box { width, height } => (self.unit * (width / 2.0), self.unit * (height / 2.0)),
        }
    }

    /// Metres to the farthest point.
    fn radius(&self) -> f64 {
        self.unit
            * match self.extent {
                Extent::Radius(radius) => radius,
                Extent::Box { width, height } => {
                    ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
                }
            }
    }

    fn bounds(&self) -> Bounds {
        let Point { longitude, latitude } = self.centre;
        let (east, north) = self.reach();
        let up = degrees(north / EARTH_RADIUS);
        // parallels are shorter towards the pole
        let polar = if latitude < 0.0 { latitude - up } else { latitude + up };
        let along = degrees(east / EARTH_RADIUS / radians(polar).cos());
        Bounds {
            west: longitude - along,
            south: latitude - up,
            east: longitude + along,
            north: latitude + up,
        }
    }

    /// How many steps make cells of which nine are enough.
    fn steps(&self) -> u32 {
        let mut reach = self.radius();
        if reach == 0.0 {
            return STEPS;
        }
        let mut step = 1;
        while reach < MERCATOR {
            reach *= 2.0;
            step += 1;
        }
        // so that the shape lies within nine cells in most cases; towards the poles they are narrow
        step -= 2;
        let latitude = self.centre.latitude.abs();
        step -= (latitude > 66.0) as i32 + (latitude > 80.0) as i32;
        step.clamp(1, STEPS as i32) as u32
    }

    /// The cells to look through, each once, in Redis's order.
    pub fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut cell = Cell::around(self.centre, self.steps());
        if cell.step > 1 && is_too_small(cell, &bounds) {
            cell = Cell::around(self.centre, cell.step - 1);
        }
        let own = cell.area();
        let narrow = cell.step >= 2;
        let skips = [
            narrow && own.latitude.max > bounds.north,
            narrow && own.latitude.min < bounds.south,
            narrow && own.longitude.max > bounds.east,
            narrow && own.longitude.min < bounds.west,
        ];
        let mut cells = vec![cell];
        for (east, north) in NEIGHBOURS {
            let skipped = (north > 0 && skips[0])
                || (north < 0 && skips[1])
                || (east > 0 && skips[2])
                || (east < 0 && skips[3]);
            let next = cell.neighbour(east, north);
            // around a small grid, neighbours of both sides are the same
            if !skipped && cells[1..].last() != Some(&next) {
                cells.push(next);
            }
        }
        cells
    }
}

/// North, south, east, west, and the corners.
const NEIGHBOURS: [(i64, i64); 8] = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// Whether the shape reaches beyond the cells around this one: it may be near its cell's edge.
fn is_too_small(cell: Cell, bounds: &Bounds) -> bool {
    cell.neighbour(0, 1).area().latitude.max < bounds.north
        || cell.neighbour(0, -1).area().latitude.min > bounds.south
        || cell.neighbour(1, 0).area().longitude.max < bounds.east
        || cell.neighbour(-1, 0).area().longitude.min > bounds.west
}
