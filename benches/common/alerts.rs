//! Orders for alerts.

use std::sync::Arc;

use hexcast::domain::{
    AlertNo, DirectiveKind, EventTime, PartSpec, Position, StageSpec, Stages, Uncertainty,
};
use hexcast::engine::Order;
use hexcast::geo::PreparedArea;

/// Radius of the alerts of the country mix, km: the first stage of the default policy.
pub const SCAN_KM: f64 = 100.0;

/// A circle with one stage.
pub fn circle(at: EventTime, lat: f64, lon: f64, radius_km: f64) -> PartSpec<PreparedArea> {
    let centre = Position::from_degrees(lat, lon).expect("in range");
    PartSpec {
        area: Arc::new(PreparedArea::circle(centre)),
        start: at,
        stages: Stages::new(&[StageSpec { after_ms: 0, radius_km }]).expect("one stage"),
        as_drawn: false,
    }
}

/// The order to publish a circle that stands for years.
pub fn publish_at(at: EventTime, no: u32, lat: f64, lon: f64, radius_km: f64) -> Order {
    let part = circle(at, lat, lon, radius_km);
    let expires = at.plus_ms(100 * 365 * 86_400_000);
    let kind = DirectiveKind::Publish { part, uncertainty: Uncertainty::Intersects, expires };
    Order { at, alert: AlertNo(no), kind }
}

/// The order to publish a circle around a city.
pub fn publish(at: EventTime, no: u32, city: &country::City, radius_km: f64) -> Order {
    publish_at(at, no, city.lat, city.lon, radius_km)
}

/// The order to cancel an alert.
pub fn cancel(at: EventTime, no: u32) -> Order {
    Order { at, alert: AlertNo(no), kind: DirectiveKind::Cancel }
}
