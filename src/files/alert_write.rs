//! Alerts into JSON, in the form that `parse_alert_json` reads back to the same draft.

use serde_json::{Value, json};

use crate::domain::{AlertDraft, Area, EventTime, Policy, Position, Shape, format_duration};

/// An alert as a JSON object. What the draft does not give is left out; so is an area with an
/// impossible position, which no alert that was accepted has.
pub fn alert_to_json(draft: &AlertDraft) -> Value {
    let mut alert = draft.content.clone();
    let time = |at: EventTime| Value::from(at.to_string());
    let members = [
        ("id", Some(Value::from(draft.id.as_str()))),
        ("status", draft.status.map(|s| s.as_str().into())),
        ("sent", draft.sent.map(time)),
        ("lost_at", draft.lost_at.map(time)),
        ("expires", draft.expires.map(time)),
        ("area", draft.area.as_ref().and_then(|area| area.as_ref().ok()).map(area_to_json)),
        ("policy", draft.policy.as_ref().map(policy_to_json)),
        ("uncertainty", draft.uncertainty.map(|u| u.as_str().into())),
    ];
    for (member, value) in members {
        if let Some(value) = value {
            alert.insert(member.to_owned(), value);
        }
    }
    Value::Object(alert)
}

/// An area: one shape as an object, any other number of them as a list. A polygon is written
/// with its list of rings.
pub fn area_to_json(area: &Area) -> Value {
    match area.shapes.as_slice() {
        [shape] => shape_to_json(shape),
        shapes => shapes.iter().map(shape_to_json).collect(),
    }
}

fn shape_to_json(shape: &Shape) -> Value {
    let corner = |p: &Position| json!([p.lon_deg(), p.lat_deg()]);
    let ring = |ring: &Vec<Position>| ring.iter().map(corner).collect::<Value>();
    match shape {
        Shape::Circle { centre, radius_km } => {
            let mut circle = json!({"lat": centre.lat_deg(), "lon": centre.lon_deg()});
            if let Some(radius_km) = radius_km {
                circle["radius_km"] = json!(radius_km);
            }
            json!({ "circle": circle })
        }
        Shape::Polygon { rings } => json!({"polygon": rings.iter().map(ring).collect::<Value>()}),
    }
}

/// A policy by its name or its object. Durations are written in whole seconds, as they are read.
pub fn policy_to_json(policy: &Policy) -> Value {
    match policy {
        Policy::Tuanyuan => "tuanyuan".into(),
        Policy::Fixed => "fixed".into(),
        Policy::Named(name) => name.as_str().into(),
        Policy::Growth { speed_kmh, every_ms, start_km, max_km } => json!({"growth": {
            "speed_kmh": speed_kmh,
            "every": format_duration(*every_ms),
            "start_km": start_km,
            "max_km": max_km,
        }}),
        Policy::Stages(stages) => {
            let stages = stages
                .iter()
                .map(|s| json!({"after": format_duration(s.after_ms), "radius_km": s.radius_km}));
            json!({"stages": stages.collect::<Value>()})
        }
    }
}
