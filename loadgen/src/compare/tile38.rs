//! Tile38: one collection of all devices, `SET` and `NEARBY`, and fences that stand (`SETCHAN`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use hexcast::domain::{PingRow, Position};

use super::check::Metres;
use super::connection::Connection;
use super::peer::{Peer, Wire};
use super::process::{Cores, Folder, Served, free_port, output, program};
use super::resp::{command, degrees, whole, word};
use super::sphere::tile38_metres;

const KEY: &str = "d";
const READY: &str = "Ready to accept connections";

/// Where `tile38-server` is.
pub(super) fn tile38() -> Option<PathBuf> {
    program("tile38-server", &std::env::var_os("PATH")?)
}

/// A running server.
pub(super) struct Tile38 {
    name: String,
    served: Served,
    port: u16,
}

impl Tile38 {
    pub(super) fn start(program: &PathBuf, cores: Cores) -> anyhow::Result<Self> {
        let version = output(program, &["--version"]).context("it does not tell its version")?;
        let folder = Folder::new()?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "--appendonly", "no", "-d"]);
        command.arg(folder.path());
        let (served, ()) = Served::start(cores, folder, command, |line| line.contains(READY).then_some(()))?;
        Ok(Self { name: name_of(&version), served, port })
    }
}

/// `tile38-server version 1.33.2 (...)` is Tile38 1.33.2.
fn name_of(version: &str) -> String {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("Tile38 {}", number.unwrap_or("of an unknown version"))
}

/// A name of a device: sixteen hexadecimal digits.
fn hex(device: u64) -> [u8; 16] {
    std::array::from_fn(|i| b"0123456789abcdef"[(device >> (60 - 4 * i)) as usize & 15])
}

impl Peer for Tile38 {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn settings(&self) -> String {
        "appendonly no".into()
    }

    fn served(&self) -> &Served {
        &self.served
    }

    fn wires(&self) -> &[Wire] {
        &[Wire::Tcp]
    }

    fn connect(&self, _: Wire) -> anyhow::Result<Connection> {
        Connection::tcp(self.port)
    }

    fn members(&self) -> &[usize] {
        // A command takes one.
        &[1]
    }

    fn update(&self, rows: &[PingRow], out: &mut Vec<u8>) {
        for row in rows {
            command(out, 6);
            word(out, b"SET");
            word(out, KEY.as_bytes());
            word(out, &hex(row.device.get()));
            word(out, b"POINT");
            degrees(out, row.lat_e7.get());
            degrees(out, row.lon_e7.get());
        }
    }

    fn searches(&self, centre: Position, radius_km: f64, devices: u32) -> Vec<(&'static str, Vec<u8>)> {
        let (lat, lon) = (centre.lat_deg().to_string(), centre.lon_deg().to_string());
        let (metres, all) = ((radius_km * 1e3).to_string(), devices.to_string());
        let search = ["NEARBY", KEY, "LIMIT", &all, "IDS", "POINT", &lat, &lon, &metres];
        vec![("NEARBY IDS", whole(&search))]
    }

    fn device(&self, name: &[u8]) -> Option<u64> {
        u64::from_str_radix(std::str::from_utf8(name).ok()?, 16).ok()
    }

    fn metres(&self) -> Metres {
        tile38_metres
    }

    fn stand(&self, centre: Position, radii_km: &[f64]) -> anyhow::Result<bool> {
        let (lat, lon) = (centre.lat_deg().to_string(), centre.lon_deg().to_string());
        let mut asking = self.connect(Wire::Tcp)?;
        let mut listening = self.connect(Wire::Tcp)?;
        for radius_km in radii_km {
            let (channel, metres) = (format!("within-{radius_km}"), (radius_km * 1e3).to_string());
            asking.ask(&[
                "SETCHAN",
                &channel,
                "NEARBY",
                KEY,
                "FENCE",
                "DETECT",
                "enter,exit",
                "POINT",
                &lat,
                &lon,
                &metres,
            ])?;
            listening.ask(&["SUBSCRIBE", &channel])?;
        }
        // Until the server ends, or has had nothing to tell for long.
        std::thread::spawn(move || while listening.answer(|_| {}).is_ok() {});
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_and_a_version_read() {
        assert_eq!(&hex(0x0123_4567_89ab_cdef), b"0123456789abcdef");
        assert_eq!(name_of("tile38-server version 1.33.2 (git: abc)"), "Tile38 1.33.2");
        assert_eq!(name_of("nothing"), "Tile38 of an unknown version");
    }
}
