//! Whether a server found whom it should have found.
//!
//! A device may differ from the geodesic's answer only where the server's own distance puts it on that
//! side of the circle; then it is counted and named. Any other difference is an error.

use anyhow::{bail, ensure};
use hexcast::domain::{DeviceId, Position};
use serde::Serialize;

use super::world::Known;

/// What a server's arithmetic may differ from ours by, metres: both round doubles, in their own order.
const ROUNDING_M: f64 = 1e-3;

/// How a server measures the distance from a centre to a position, metres.
pub(super) type Metres = fn(Position, Position) -> f64;

/// One device on the wrong side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Wrong {
    pub(super) device: u64,
    /// By the geodesic.
    pub(super) metres: f64,
    /// As the server has it.
    pub(super) server_metres: f64,
}

/// How what was found differs from who is within.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Differences {
    /// Within, by the geodesic.
    pub(super) within: u64,
    /// Found, though outside.
    pub(super) too_many: Vec<Wrong>,
    /// Not found, though within.
    pub(super) too_few: Vec<Wrong>,
}

/// Compares what was found with who is within `radius_m` of the centre. Without `metres` the server
/// promises the geodesic.
pub(super) fn differences(
    known: &[Known],
    centre: Position,
    radius_m: f64,
    mut found: Vec<u64>,
    metres: Option<Metres>,
) -> anyhow::Result<Differences> {
    found.sort_unstable();
    if let Some(twice) = found.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("device {} was found twice", twice[0]);
    }
    let mut differences = Differences::default();
    let mut found = found.into_iter().peekable();
    for one in known {
        if let Some(stranger) = found.next_if(|found| *found < one.device) {
            bail!("device {stranger} was found, and no ping named it");
        }
        let (is_found, is_within) = (found.next_if_eq(&one.device).is_some(), one.metres <= radius_m);
        differences.within += u64::from(is_within);
        if is_found == is_within {
            continue;
        }
        let server_metres = metres.map_or(one.metres, |metres| metres(centre, one.position));
        let slack = if metres.is_some() { ROUNDING_M } else { 0.0 };
        let explained =
            if is_found { server_metres <= radius_m + slack } else { server_metres >= radius_m - slack };
        ensure!(
            explained && metres.is_some(),
            "device {} is {:.3} m away by the geodesic and {server_metres:.3} m by the server's own measure, \
             and was {}found within {radius_m} m",
            DeviceId(one.device),
            one.metres,
            if is_found { "" } else { "not " }
        );
        let wrong = Wrong { device: one.device, metres: one.metres, server_metres };
        if is_found { &mut differences.too_many } else { &mut differences.too_few }.push(wrong);
    }
    if let Some(stranger) = found.next() {
        bail!("device {stranger} was found, and no ping named it");
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<Known> {
        let position = |lon| Position::from_degrees(0.0, lon).unwrap();
        let one = |device, lon, metres| Known { device, position: position(lon), metres };
        vec![one(1, 0.1, 100.0), one(2, 0.2, 200.0), one(3, 0.3, 300.0), one(4, 0.4, 400.0)]
    }

    /// A server that is wrong by 60 m at most: 110, 240, 250, 400.
    fn skewed(_: Position, at: Position) -> f64 {
        match at.lon_e7() {
            1_000_000 => 110.0,
            2_000_000 => 240.0,
            3_000_000 => 250.0,
            _ => 400.0,
        }
    }

    fn judged(radius_m: f64, found: &[u64], metres: Option<Metres>) -> anyhow::Result<Differences> {
        let centre = Position::from_degrees(0.0, 0.0).unwrap();
        differences(&known(), centre, radius_m, found.to_vec(), metres)
    }

    #[test]
    fn only_what_the_servers_own_distance_explains_is_forgiven_and_it_is_named() {
        let same = judged(250.0, &[2, 1], None).unwrap();
        assert_eq!(same, Differences { within: 2, ..Differences::default() });
        let wrong = |device, metres, server_metres| Wrong { device, metres, server_metres };
        let more = judged(250.0, &[3, 1, 2], Some(skewed)).unwrap();
        assert_eq!((more.too_many, more.too_few), (vec![wrong(3, 300.0, 250.0)], vec![]));
        let fewer = judged(220.0, &[1], Some(skewed)).unwrap();
        assert_eq!((fewer.too_many, fewer.too_few), (vec![], vec![wrong(2, 200.0, 240.0)]));
    }

    #[test]
    fn any_other_difference_is_an_error() {
        for (radius_m, found, metres) in [
            (250.0, [1].as_slice(), None),
            (250.0, &[1, 2, 3], None),
            (245.0, &[1, 2, 3], Some(skewed as Metres)),
            (245.0, &[1], Some(skewed)),
            (250.0, &[1, 2, 2], Some(skewed)),
            (250.0, &[0, 1, 2], Some(skewed)),
            (250.0, &[1, 2, 9], Some(skewed)),
            (450.0, &[1, 2, 3], Some(skewed)),
        ] {
            assert!(judged(radius_m, found, metres).is_err(), "{radius_m} m, {found:?}");
        }
    }
}
