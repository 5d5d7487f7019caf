//! Cells against a look at every member; what is told of a change. Replies: `tests/commands/geo.resp`.

use super::cell::{self, Cell, LATITUDES, LONGITUDES, Point, STEPS};
use super::shape::{Extent, Shape};
use crate::command::testing::World;
use crate::util::rng::Rng;

fn any_point(rng: &mut Rng, latitudes: f64) -> Point {
    Point { longitude: rng.unit() * 360.0 - 180.0, latitude: (rng.unit() * 2.0 - 1.0) * latitudes }
}

#[test]
fn places_are_near_what_was_added() {
    let mut rng = Rng::new(1);
    for _ in 0..2000 {
        let point = any_point(&mut rng, LATITUDES.max);
        let place = cell::place(cell::score(point) as f64);
        assert!((place.longitude - point.longitude).abs() < 1e-5, "{point:?} {place:?}");
        assert!((place.latitude - point.latitude).abs() < 1e-5, "{point:?} {place:?}");
    }
}

/// A step to a side and back is the same cell; a step is as wide as the cell.
#[test]
fn neighbours_lie_beside() {
    let mut rng = Rng::new(2);
    for step in 1..=STEPS {
        let cell = Cell::around(any_point(&mut rng, 60.0), step);
        for (east, north) in [(0, 1), (1, 0), (1, 1), (-1, 1), (0, 0)] {
            assert_eq!(cell.neighbour(east, north).neighbour(-east, -north), cell, "{step}");
        }
        let (own, next) = (cell.area(), cell.neighbour(1, 0).area());
        assert_eq!(own.latitude, next.latitude);
        assert!(next.longitude.min == own.longitude.max || next.longitude.min == LONGITUDES.min, "{step}");
    }
}

/// Where the projection is not too narrow, the cells of a shape hold all that lies within it.
#[test]
fn cells_cover_their_shape() {
    let mut rng = Rng::new(3);
    let mut within = 0;
    for _ in 0..400 {
        let centre = any_point(&mut rng, 60.0);
        let reach = 10f64.powf(1.0 + 2.0 * rng.unit());
        let extent = match rng.below(2) {
            0 => Extent::Radius(reach),
            _ => Extent::Box { width: reach * 2.0 * rng.unit(), height: reach * 2.0 * rng.unit() },
        };
        let shape = Shape { centre, extent, unit: 1000.0 };
        let cells = shape.cells();
        for _ in 0..50 {
            let degrees = reach / 40.0;
            let near = Point {
                longitude: centre.longitude + (rng.unit() - 0.5) * degrees,
                latitude: centre.latitude + (rng.unit() - 0.5) * degrees,
            };
            if !LONGITUDES.contains(near.longitude) || !LATITUDES.contains(near.latitude) {
                continue;
            }
            let score = cell::score(near);
            if shape.distance_within(cell::place(score as f64)).is_some() {
                within += 1;
                let holds = |cell: &Cell| (cell.scores().0..cell.scores().1).contains(&score);
                assert!(cells.iter().any(holds), "{near:?} is not found around {shape:?}");
            }
        }
    }
    assert!(within > 2000, "only {within} points lay within");
}

#[test]
fn changes_are_told() {
    let mut w = World::new();
    w.fx.propagating = true;
    let cases: &[(&str, &[&str], u64, &[&str])] = &[
        ("GEOADD g 1 1 a 2 2 b", &["new:g", "zadd:g"], 2, &["zadd g 3377822707026402 a 3378191666521995 b"]),
        ("GEOADD g 1 1 a", &[], 0, &[]),
        (
            "GEOADD g XX CH 1 1 b 5 5 c",
            &["zadd:g"],
            1,
            &["zadd g XX CH 3377822707026402 b 3379881761160527 c"],
        ),
        ("GEOADD missing XX 1 1 a", &[], 0, &[]),
        ("GEOPOS missing a", &["keymiss:missing"], 0, &[]),
        ("GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 1 km", &["new:d", "geosearchstore:d"], 2, &[]),
        ("GEORADIUS g 1 1 1 km STORE d", &["georadiusstore:d"], 2, &[]),
        ("GEORADIUSBYMEMBER missing a 1 km STORE d", &["keymiss:missing", "del:d"], 1, &[]),
    ];
    for (line, events, dirty, told) in cases {
        w.run(line);
        assert_eq!(w.events(), *events, "{line}");
        assert_eq!(std::mem::take(&mut w.fx.dirty), *dirty, "{line}");
        assert_eq!(w.propagated(), *told, "{line}");
    }
}
