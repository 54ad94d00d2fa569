//! A country for the benches: devices clustered around places, moved by a seed.

#![expect(clippy::expect_used, reason = "a bench may stop where its world is wrong")]
#![expect(unreachable_pub, reason = "shared by the benches, each of which is a crate")]

use std::sync::Arc;

use hexcast::domain::AlertNo;
use hexcast::domain::{
    Area, DeviceId, DirectiveKind, EventTime, MaxAge, PartSpec, Ping, PingRow, Position, Shape, StageSpec,
    Stages, Uncertainty,
};
use hexcast::engine::{Order, Output, Partition, PartitionConfig, PingClock};
use hexcast::geo::PreparedArea;

/// The time of the world.
pub const NOW: EventTime = EventTime(1_779_000_000_000);

/// SplitMix64: enough for placing devices.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Where device `i` lives: one of 400 clusters between 22 and 45 N, 100 and 122 E.
pub fn home(i: u64) -> Position {
    let mut cluster = Dice(i % 400 * 7919);
    let (lat, lon) = (22.0 + 23.0 * cluster.unit(), 100.0 + 22.0 * cluster.unit());
    let mut own = Dice(i);
    Position::from_degrees(lat + 0.6 * (own.unit() - 0.5), lon + 0.6 * (own.unit() - 0.5)).expect("in range")
}

/// Device `i` within 10 m of home, as a row of a batch based at [`NOW`].
pub fn jittered(i: u64, dice: &mut Dice) -> PingRow {
    let at = home(i);
    let jitter = |dice: &mut Dice| (dice.unit() * 2_000.0 - 1_000.0) as i32;
    let position =
        Position::from_e7(at.lat_e7() + jitter(dice), at.lon_e7() + jitter(dice)).expect("in range");
    let ping = Ping { device: DeviceId(i), at: NOW, position, accuracy_m: 10 };
    PingRow::write(&ping, NOW).expect("fits its batch")
}

/// A partition that knows `devices` devices.
pub fn populated(devices: u64, sliced: bool) -> Partition {
    let mut partition = Partition::new(PartitionConfig { max_age: MaxAge::Never, sliced, seed: 1 });
    let mut out = Output::default();
    let mut dice = Dice(1);
    let rows: Vec<PingRow> = (0..devices).map(|i| jittered(i, &mut dice)).collect();
    for batch in rows.chunks(4_096) {
        partition.pings(wall(), NOW, batch, &mut out);
    }
    partition
}

/// The server's time for a batch.
pub fn wall() -> PingClock<'static> {
    PingClock::Wall { now: NOW, skew_ms: 0 }
}

/// The order to publish a circle.
pub fn publish(no: u32, lat: f64, lon: f64, radius_km: f64) -> Order {
    let centre = Position::from_degrees(lat, lon).expect("in range");
    let area = Area { shapes: vec![Shape::Circle { centre, radius_km: None }] };
    let part = PartSpec {
        area: Arc::new(PreparedArea::new(&area).expect("a circle")),
        start: NOW,
        stages: Stages::new(&[StageSpec { after_ms: 0, radius_km }]).expect("one stage"),
        as_drawn: false,
    };
    let kind = DirectiveKind::Publish {
        part,
        uncertainty: Uncertainty::Intersects,
        expires: NOW.plus_ms(86_400_000),
    };
    Order { at: NOW, alert: AlertNo(no), kind }
}
