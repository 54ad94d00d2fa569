//! Match lines: one match as one line of JSON, byte for byte as the rules show it.

use std::io::{self, Write};

use crate::domain::{AlertId, Match, Namespace, Offset};

/// Writes one match and a line feed: the members in the rules' order, `device` by its name where
/// it is given and else by its number, `at` with three decimals. `subscribe` gives the offset,
/// which then stands last.
///
/// # Errors
/// Those of `out` alone.
pub fn write_match_line(
    out: &mut impl Write,
    m: &Match,
    alert: &AlertId,
    namespace: &Namespace,
    device_name: Option<&str>,
    offset: Option<Offset>,
) -> io::Result<()> {
    out.write_all(b"{\"alert\":")?;
    serde_json::to_writer(&mut *out, alert.as_str())?;
    write!(out, ",\"version\":{},\"part\":{},\"stage\":{},\"radius_km\":", m.version, m.part, m.stage)?;
    serde_json::to_writer(&mut *out, &m.radius_km)?;
    // Causes and namespaces have no character that JSON escapes.
    write!(out, ",\"cause\":\"{}\",\"namespace\":\"{namespace}\",\"device\":", m.cause.as_str())?;
    match device_name {
        Some(name) => serde_json::to_writer(&mut *out, name)?,
        None => write!(out, "\"{}\"", m.device)?,
    }
    write!(out, ",\"at\":\"{}\"", m.at)?;
    if let Some(offset) = offset {
        write!(out, ",\"offset\":{offset}")?;
    }
    out.write_all(b"}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AlertNo, Cause, DeviceId, EventTime};

    fn line(m: &Match, alert: &str, name: Option<&str>, offset: Option<u64>) -> String {
        let mut out = Vec::new();
        let namespace = Namespace::new("default").unwrap();
        write_match_line(&mut out, m, &alert.into(), &namespace, name, offset.map(Offset)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_byte_for_byte_those_of_the_rules() {
        let m = Match {
            alert: AlertNo(0),
            version: 1,
            cause: Cause::Publish,
            part: 0,
            stage: 0,
            radius_km: 100.0,
            device: DeviceId(42),
            at: EventTime(1_778_846_400_000),
        };
        assert_eq!(
            line(&m, "mps-2026-000123", None, None),
            "{\"alert\":\"mps-2026-000123\",\"version\":1,\"part\":0,\"stage\":0,\"radius_km\":100.0,\"cause\":\"publish\",\"namespace\":\"default\",\"device\":\"42\",\"at\":\"2026-05-15T12:00:00.000Z\"}\n"
        );
        let m = Match {
            version: u32::MAX,
            cause: Cause::Escalation,
            part: 31,
            stage: 99,
            radius_km: 0.1,
            device: DeviceId(u64::MAX),
            at: EventTime(-1),
            ..m
        };
        assert_eq!(
            line(&m, "a\"\\\n\u{1}ü", Some("孩\"\t"), Some(17)),
            "{\"alert\":\"a\\\"\\\\\\n\\u0001ü\",\"version\":4294967295,\"part\":31,\"stage\":99,\"radius_km\":0.1,\"cause\":\"escalation\",\"namespace\":\"default\",\"device\":\"孩\\\"\\t\",\"at\":\"1969-12-31T23:59:59.999Z\",\"offset\":17}\n"
        );
        assert!(line(&m, "a", None, None).contains("\"device\":\"18446744073709551615\""));
    }

    #[test]
    fn radii_are_printed_as_json_prints_doubles() {
        let m = Match {
            alert: AlertNo(0),
            version: 1,
            cause: Cause::Enter,
            part: 0,
            stage: 0,
            radius_km: 0.0,
            device: DeviceId(1),
            at: EventTime(0),
        };
        for (radius_km, text) in [
            (0.0, "0.0"),
            (10.0, "10.0"),
            (0.001, "0.001"),
            (1.0 / 3.0, "0.3333333333333333"),
            (5e3, "5000.0"),
        ] {
            let line = line(&Match { radius_km, ..m }, "a", None, None);
            assert!(line.contains(&format!("\"radius_km\":{text},\"cause\":\"enter\"")), "{line}");
        }
    }
}
