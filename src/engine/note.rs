//! Notifications that a log holds, noted after a restart, before the actions that caused them are
//! applied again: whom the log notified is not notified twice, wherever it is now.

use super::cells::BucketIx;
use super::partition::Partition;
use crate::domain::{AlertNo, DeviceId, EventTime, Ping, Position};

impl Partition {
    /// Notes that a device was notified of an alert, which may be one that is yet to be told. A
    /// device that is not there stands among the departed. False where memory for rows is used up.
    pub fn note_notified(&mut self, alert: AlertNo, device: DeviceId) -> bool {
        let devices = &mut self.devices;
        let hash = devices.index.hash(device.0);
        let found = devices.index.find(hash, device.0, &devices.rows);
        let no = found.or_else(|| {
            let position = Position::from_e7(0, 0).ok()?;
            let never = Ping { device, at: EventTime::BEFORE_ALL, position, accuracy_m: 0 };
            devices.insert(hash, BucketIx::DEPARTED, &never)
        });
        let Some(no) = no else { return false };
        let ix = devices.rows.bucket(no);
        if !devices.sets.has(devices.set_of(ix, devices.rows.row(no)), alert) {
            devices.notify(ix, no, alert);
        }
        true
    }
}
