//! Alerts out of JSON, read strictly: what has the wrong form is an error that names the member.
//!
//! Only the form is judged here. What an alert's life rejects (an impossible position or policy,
//! a missing `expires`, an empty area) is read as it stands and left to the desk.

use serde_json::{Map, Value};

use super::io::one_line;
use crate::domain::{
    AlertContent, AlertDraft, AlertId, Area, EventTime, Policy, Position, PositionError, Shape, StageSpec,
    Status, TimeError, Uncertainty, parse_duration_ms,
};
use crate::limits::{ACTION_LINE_BYTES_MAX, ALERT_JSON_BYTES_MAX, WARNINGS_MAX};

/// Why a text is no alert or no action. The paths name the member, such as `alert.area.circle.lat`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AlertJsonError {
    /// Longer than is read.
    #[error("{bytes} bytes are more than {max}: link to large photos instead")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A line of a file that is longer than is held.
    #[error("the line is longer than {ACTION_LINE_BYTES_MAX} bytes: link to large photos instead")]
    LineTooLong,
    /// Bytes that are no text.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// No JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// A member that must be given.
    #[error("{0} is missing")]
    Missing(String),
    /// A member of the wrong type.
    #[error("{path} must be {want}, not {got}")]
    Type {
        /// The member.
        path: String,
        /// What it must be.
        want: &'static str,
        /// What it is.
        got: &'static str,
    },
    /// A time or duration that cannot be read.
    #[error("{path}: {problem}")]
    Time {
        /// The member.
        path: String,
        /// What is wrong.
        problem: TimeError,
    },
    /// A word that is none of those known.
    #[error("{path} is \"{word}\": it must be {want}")]
    Word {
        /// The member.
        path: String,
        /// The word.
        word: String,
        /// The words known.
        want: &'static str,
    },
    /// An object that is not of exactly one known kind.
    #[error("{path} must have exactly one of the members {want}")]
    Kind {
        /// The object.
        path: String,
        /// The kinds known.
        want: &'static str,
    },
}

/// An alert that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedAlert {
    /// The alert, not checked.
    pub draft: AlertDraft,
    /// Members that are not known and were ignored, one line each.
    pub warnings: Vec<String>,
}

/// Reads an alert. A member that is `null` is as not given; only `id` must be there.
///
/// # Errors
/// Where the text is no JSON object of at most `ALERT_JSON_BYTES_MAX` bytes, or a member has the
/// wrong form.
pub fn parse_alert_json(text: &str) -> Result<ParsedAlert, AlertJsonError> {
    let value = parse_value(text, ALERT_JSON_BYTES_MAX)?;
    let mut warnings = Vec::new();
    let draft = alert(&Object::of(&value, "alert")?, &mut warnings)?;
    Ok(ParsedAlert { draft, warnings })
}

/// Text to JSON within a bound; its depth is bounded by the parser (128).
pub(super) fn parse_value(text: &str, max: usize) -> Result<Value, AlertJsonError> {
    if text.len() > max {
        return Err(AlertJsonError::TooLong { bytes: text.len(), max });
    }
    serde_json::from_str(text).map_err(|e| AlertJsonError::Json(e.to_string()))
}

/// A JSON object with its path, `null` members as not given.
pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value, path: &str) -> Result<Self, AlertJsonError> {
        let map = value.as_object().ok_or_else(|| wrong_type(path, "an object", value))?;
        Ok(Self { map, path: path.to_owned() })
    }

    fn path(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}.{member}", self.path) }
    }

    fn opt(&self, member: &str) -> Option<&'a Value> {
        self.map.get(member).filter(|v| !v.is_null())
    }

    pub(super) fn req(&self, member: &str) -> Result<&'a Value, AlertJsonError> {
        self.opt(member).ok_or_else(|| AlertJsonError::Missing(self.path(member)))
    }

    pub(super) fn object(&self, member: &str) -> Result<Object<'a>, AlertJsonError> {
        Object::of(self.req(member)?, &self.path(member))
    }

    fn opt_str(&self, member: &str) -> Result<Option<&'a str>, AlertJsonError> {
        let read = |v: &'a Value| v.as_str().ok_or_else(|| wrong_type(&self.path(member), "a string", v));
        self.opt(member).map(read).transpose()
    }

    pub(super) fn str(&self, member: &str) -> Result<&'a str, AlertJsonError> {
        self.req(member)?;
        self.opt_str(member).map(Option::unwrap_or_default)
    }

    pub(super) fn number(&self, member: &str) -> Result<f64, AlertJsonError> {
        number(self.req(member)?, &self.path(member))
    }

    fn opt_number(&self, member: &str) -> Result<Option<f64>, AlertJsonError> {
        self.opt(member).map(|v| number(v, &self.path(member))).transpose()
    }

    fn list(&self, member: &str) -> Result<&'a [Value], AlertJsonError> {
        list(self.req(member)?, &self.path(member))
    }

    /// A time: RFC 3339, or Unix milliseconds as a number; fractions of one are dropped.
    pub(super) fn opt_time(&self, member: &str) -> Result<Option<EventTime>, AlertJsonError> {
        let Some(value) = self.opt(member) else { return Ok(None) };
        let read = match value {
            Value::String(text) => EventTime::parse(text),
            Value::Number(ms) => match (ms.as_i64(), ms.as_f64()) {
                (Some(ms), _) => EventTime::from_unix_ms(ms),
                // A double beyond what i64 holds is held at its end, which is out of range too.
                (None, Some(ms)) => EventTime::from_unix_ms(ms.floor() as i64),
                (None, None) => Err(TimeError::OutOfRange(ms.to_string())),
            },
            _ => {
                return Err(wrong_type(
                    &self.path(member),
                    "a time (RFC 3339 text, or Unix milliseconds)",
                    value,
                ));
            }
        };
        read.map(Some).map_err(|problem| AlertJsonError::Time { path: self.path(member), problem })
    }

    /// Milliseconds of a duration such as `1h30m`.
    fn duration_ms(&self, member: &str) -> Result<i64, AlertJsonError> {
        let time = |problem| AlertJsonError::Time { path: self.path(member), problem };
        parse_duration_ms(self.str(member)?).map_err(time)
    }

    /// A word of a fixed list.
    pub(super) fn word<T: Copy>(
        &self,
        member: &str,
        words: &[(&str, T)],
        want: &'static str,
    ) -> Result<Option<T>, AlertJsonError> {
        let Some(word) = self.opt_str(member)? else { return Ok(None) };
        let known = words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        let unknown = || AlertJsonError::Word { path: self.path(member), word: one_line(word), want };
        known.ok_or_else(unknown).map(Some)
    }

    /// The one of two members that is given.
    fn kind(&self, kinds: [&'static str; 2], want: &'static str) -> Result<&'static str, AlertJsonError> {
        match kinds.map(|kind| self.opt(kind).is_some()) {
            [true, false] => Ok(kinds[0]),
            [false, true] => Ok(kinds[1]),
            _ => Err(AlertJsonError::Kind { path: self.path.clone(), want }),
        }
    }

    /// Warns of members that nobody reads.
    pub(super) fn warn_unknown(&self, known: &[&str], warnings: &mut Vec<String>) {
        for member in self.map.keys().filter(|member| !known.contains(&member.as_str())) {
            if warnings.len() < WARNINGS_MAX {
                warnings.push(format!("{} is not known and was ignored", self.path(&one_line(member))));
            }
        }
    }
}

fn wrong_type(path: &str, want: &'static str, value: &Value) -> AlertJsonError {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    // The path of a whole text is empty.
    let path = if path.is_empty() { "the action" } else { path };
    AlertJsonError::Type { path: path.to_owned(), want, got }
}

fn number(value: &Value, path: &str) -> Result<f64, AlertJsonError> {
    value.as_f64().ok_or_else(|| wrong_type(path, "a number", value))
}

fn list<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], AlertJsonError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong_type(path, "a list", value))
}

/// Reads an alert's object.
pub(super) fn alert(object: &Object<'_>, warnings: &mut Vec<String>) -> Result<AlertDraft, AlertJsonError> {
    const KNOWN: [&str; 13] = [
        "id",
        "status",
        "sent",
        "lost_at",
        "expires",
        "area",
        "policy",
        "uncertainty",
        "headline",
        "description",
        "language",
        "child",
        "photos",
    ];
    let statuses = [Status::Actual, Status::Exercise, Status::Test, Status::Draft].map(|s| (s.as_str(), s));
    let modes = [Uncertainty::Intersects, Uncertainty::Centre, Uncertainty::Within].map(|u| (u.as_str(), u));
    let draft = AlertDraft {
        id: AlertId::from(object.str("id")?),
        status: object.word("status", &statuses, "actual, exercise, test or draft")?,
        sent: object.opt_time("sent")?,
        lost_at: object.opt_time("lost_at")?,
        expires: object.opt_time("expires")?,
        area: object.opt("area").map(|v| area(v, &object.path("area"), warnings)).transpose()?,
        policy: object.opt("policy").map(|v| policy(v, &object.path("policy"), warnings)).transpose()?,
        uncertainty: object.word("uncertainty", &modes, "intersects, centre or within")?,
        content: content(object)?,
    };
    object.warn_unknown(&KNOWN, warnings);
    Ok(draft)
}

/// The members that are only carried; of them only the outer type is looked at.
fn content(object: &Object<'_>) -> Result<AlertContent, AlertJsonError> {
    let mut content = AlertContent::new();
    for member in ["headline", "description", "language"] {
        object.opt_str(member)?;
    }
    if object.opt("child").is_some() {
        object.object("child")?;
    }
    if object.opt("photos").is_some() {
        object.list("photos")?;
    }
    for member in ["headline", "description", "language", "child", "photos"] {
        if let Some(value) = object.opt(member) {
            content.insert(member.to_owned(), value.clone());
        }
    }
    Ok(content)
}

type MaybeArea = Result<Area, PositionError>;

/// An area: one shape or a list of them. All of its form is read, so that an impossible position
/// never hides a malformed one behind it.
fn area(value: &Value, path: &str, warnings: &mut Vec<String>) -> Result<MaybeArea, AlertJsonError> {
    let shapes = match value {
        Value::Array(shapes) => {
            let each = shapes.iter().enumerate().map(|(i, v)| shape(v, &format!("{path}[{i}]"), warnings));
            each.collect::<Result<Vec<_>, _>>()?
        }
        Value::Object(_) => vec![shape(value, path, warnings)?],
        _ => return Err(wrong_type(path, "an object or a list of objects", value)),
    };
    Ok(shapes.into_iter().collect::<Result<_, _>>().map(|shapes| Area { shapes }))
}

fn shape(
    value: &Value,
    path: &str,
    warnings: &mut Vec<String>,
) -> Result<Result<Shape, PositionError>, AlertJsonError> {
    let object = Object::of(value, path)?;
    let kind = object.kind(["circle", "polygon"], "circle and polygon")?;
    object.warn_unknown(&["circle", "polygon"], warnings);
    if kind == "polygon" {
        let rings = rings(object.list(kind)?, &object.path(kind))?;
        return Ok(rings.map(|rings| Shape::Polygon { rings }));
    }
    let circle = object.object(kind)?;
    circle.warn_unknown(&["lat", "lon", "radius_km"], warnings);
    let (lat, lon) = (circle.number("lat")?, circle.number("lon")?);
    let radius_km = circle.opt_number("radius_km")?;
    Ok(Position::from_degrees(lat, lon).map(|centre| Shape::Circle { centre, radius_km }))
}

type Ring = Vec<Position>;

/// `[[lon,lat],...]`, or `[outer,hole,...]` of such rings.
fn rings(polygon: &[Value], path: &str) -> Result<Result<Vec<Ring>, PositionError>, AlertJsonError> {
    let starts_with_number =
        polygon.first().and_then(Value::as_array).and_then(|p| p.first()).is_some_and(|v| !v.is_array());
    if starts_with_number {
        return Ok(ring(polygon, path)?.map(|ring| vec![ring]));
    }
    let each = polygon.iter().enumerate().map(|(i, v)| {
        let path = format!("{path}[{i}]");
        ring(list(v, &path)?, &path)
    });
    Ok(each.collect::<Result<Vec<_>, _>>()?.into_iter().collect())
}

fn ring(corners: &[Value], path: &str) -> Result<Result<Ring, PositionError>, AlertJsonError> {
    let each = corners.iter().enumerate().map(|(i, v)| {
        // Numbers after the second (RFC 7946: altitude) are not used, and are numbers all the same.
        let numbers: Option<Vec<f64>> = v.as_array().and_then(|v| v.iter().map(Value::as_f64).collect());
        match numbers.as_deref() {
            Some([lon, lat, ..]) => Ok(Position::from_degrees(*lat, *lon)),
            _ => Err(wrong_type(&format!("{path}[{i}]"), "a pair of numbers [lon, lat]", v)),
        }
    });
    Ok(each.collect::<Result<Vec<_>, _>>()?.into_iter().collect())
}

fn policy(value: &Value, path: &str, warnings: &mut Vec<String>) -> Result<Policy, AlertJsonError> {
    match value {
        Value::String(name) => {
            return Ok(match name.as_str() {
                "tuanyuan" => Policy::Tuanyuan,
                "fixed" => Policy::Fixed,
                name => Policy::Named(name.to_owned()),
            });
        }
        Value::Object(_) => {}
        _ => return Err(wrong_type(path, "a name or an object", value)),
    }
    let object = Object::of(value, path)?;
    let kind = object.kind(["stages", "growth"], "stages and growth")?;
    object.warn_unknown(&["stages", "growth"], warnings);
    if kind == "growth" {
        let growth = object.object(kind)?;
        growth.warn_unknown(&["speed_kmh", "every", "start_km", "max_km"], warnings);
        return Ok(Policy::Growth {
            speed_kmh: growth.number("speed_kmh")?,
            every_ms: growth.duration_ms("every")?,
            start_km: growth.number("start_km")?,
            max_km: growth.number("max_km")?,
        });
    }
    let mut stages = Vec::new();
    for (i, value) in object.list(kind)?.iter().enumerate() {
        let stage = Object::of(value, &format!("{path}.stages[{i}]"))?;
        stage.warn_unknown(&["after", "radius_km"], warnings);
        stages
            .push(StageSpec { after_ms: stage.duration_ms("after")?, radius_km: stage.number("radius_km")? });
    }
    Ok(Policy::Stages(stages))
}
