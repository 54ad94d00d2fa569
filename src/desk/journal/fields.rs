//! Records as bytes: a byte of version, then fields one after the other as frames have them
//! (fixed-width little-endian integers). `tests.rs` pins them; nothing but a new version may change
//! one. Positions are whole numbers and times milliseconds, so that what is read back is the same.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::{Decided, NamedPolicy, Record, RecordError, ReportTaken};
use crate::desk::book::Actor;
use crate::desk::reports::ReportNo;
use crate::domain::{
    Action, AlertDraft, AlertId, Area, CancelReason, CursorAt, EventTime, Namespace, Offset, Policy,
    Position, Shape, StageSpec, Stages, Status, Uncertainty,
};
use crate::wire::codec;

/// The version of all kinds.
const VERSION: u8 = 1;

const ACTION: u8 = 1;
const REPORT: u8 = 2;
const REPORT_END: u8 = 3;
const CURSOR: u8 = 4;
const NEXT_REPORT: u8 = 5;
/// Kinds kept for the state of grants.
const GRANTS: std::ops::RangeInclusive<u8> = 16..=31;

impl Record {
    /// Whether a record of this kind is an action: what compaction copies.
    pub(super) fn is_action(kind: u8) -> bool {
        kind == ACTION
    }

    /// Its kind and bytes.
    ///
    /// # Errors
    /// Where an action's area is impossible or the record is larger than one may be.
    pub fn encode(&self) -> Result<(u8, Vec<u8>), RecordError> {
        let mut bytes = vec![VERSION];
        let (kind, fits) = match self {
            Self::Action(decided) => return decided.encode(),
            Self::Report(taken) => (REPORT, codec::encode(&ReportFields::of(taken), &mut bytes)),
            Self::ReportEnd { report, by, reason, at } => {
                let fields =
                    EndFields { report: report.0, by: by.to_string(), reason: reason.clone(), at_ms: at.0 };
                (REPORT_END, codec::encode(&fields, &mut bytes))
            }
            Self::Cursor(cursor) => {
                let fields = CursorFields {
                    namespace: cursor.namespace.to_string(),
                    partner: cursor.partner.to_string(),
                    offset: cursor.offset.0,
                    at_ms: cursor.at.0,
                };
                (CURSOR, codec::encode(&fields, &mut bytes))
            }
            Self::NextReport(next) => (NEXT_REPORT, codec::encode(&next.0, &mut bytes)),
        };
        if fits { Ok((kind, bytes)) } else { Err(RecordError::Unwritable(kind)) }
    }

    /// Reads a record. No bytes make it panic, or allocate more than a few times their number.
    ///
    /// # Errors
    /// Where the kind or its version is not known or the bytes are not exactly one such record.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, RecordError> {
        if GRANTS.contains(&kind) {
            return Err(RecordError::Reserved(kind));
        }
        if !(ACTION..=NEXT_REPORT).contains(&kind) {
            return Err(RecordError::UnknownKind(kind));
        }
        let malformed = |why: String| RecordError::Malformed { kind, why };
        let bytes = match payload.split_first() {
            None => return Err(malformed("it is empty".into())),
            Some((&VERSION, bytes)) => bytes,
            Some((&version, _)) => return Err(RecordError::Version { kind, version, known: VERSION }),
        };
        match kind {
            ACTION => codec::decode::<ActionFields>(bytes)
                .and_then(ActionFields::read)
                .map(|decided| Self::Action(Box::new(decided))),
            REPORT => codec::decode::<ReportFields>(bytes).and_then(ReportFields::read).map(Self::Report),
            REPORT_END => codec::decode::<EndFields>(bytes).map(|end| Self::ReportEnd {
                report: ReportNo(end.report),
                by: end.by.into(),
                reason: end.reason,
                at: EventTime(end.at_ms),
            }),
            CURSOR => codec::decode::<CursorFields>(bytes).and_then(CursorFields::read).map(Self::Cursor),
            _ => codec::decode::<u64>(bytes).map(|next| Self::NextReport(ReportNo(next))),
        }
        .map_err(malformed)
    }
}

impl Decided {
    /// The record's kind and bytes.
    pub(in crate::desk) fn encode(&self) -> Result<(u8, Vec<u8>), RecordError> {
        let mut bytes = vec![VERSION];
        let fields = ActionFields::of(self).ok_or(RecordError::Unwritable(ACTION))?;
        if codec::encode(&fields, &mut bytes) {
            Ok((ACTION, bytes))
        } else {
            Err(RecordError::Unwritable(ACTION))
        }
    }
}

#[derive(Encode, Decode)]
struct ActionFields {
    no: u64,
    at_ms: i64,
    actor: ActorFields,
    action: ActionBody,
    policy: Option<(String, Vec<(i64, f64)>)>,
    report: Option<u64>,
}

/// Who acts. What the rules will ask of a jurisdiction is decided when the action is, by the grant;
/// it need not be decided again.
#[derive(Encode, Decode)]
enum ActorFields {
    Authority(String),
    Admin(String),
}

#[derive(Encode, Decode)]
enum ActionBody {
    Publish(DraftFields),
    Update(DraftFields),
    Sighting { id: String, lat: f64, lon: f64, seen_at_ms: Option<i64> },
    Cancel { id: String, reason: ReasonField },
}

#[derive(Encode, Decode)]
enum ReasonField {
    Found,
    Refuted,
}

#[derive(Encode, Decode)]
struct DraftFields {
    id: String,
    status: Option<StatusField>,
    sent_ms: Option<i64>,
    lost_at_ms: Option<i64>,
    expires_ms: Option<i64>,
    area: Option<Vec<ShapeField>>,
    policy: Option<PolicyField>,
    uncertainty: Option<UncertaintyField>,
    /// A JSON object.
    content: String,
}

#[derive(Encode, Decode)]
enum StatusField {
    Actual,
    Exercise,
    Test,
    Draft,
}

#[derive(Encode, Decode)]
enum UncertaintyField {
    Intersects,
    Centre,
    Within,
}

/// Latitude and longitude in 1e-7 degree.
type Place = (i32, i32);

#[derive(Encode, Decode)]
enum ShapeField {
    Circle { centre: Place, radius_km: Option<f64> },
    Polygon { rings: Vec<Vec<Place>> },
}

#[derive(Encode, Decode)]
enum PolicyField {
    Tuanyuan,
    Fixed,
    Growth {
        speed_kmh: f64,
        every_ms: i64,
        start_km: f64,
        max_km: f64,
    },
    /// Milliseconds and km.
    Stages(Vec<(i64, f64)>),
    Named(String),
}

#[derive(Encode, Decode)]
struct ReportFields {
    report: u64,
    id: String,
    place: Place,
    seen_at_ms: i64,
    by: String,
}

#[derive(Encode, Decode)]
struct EndFields {
    report: u64,
    by: String,
    reason: String,
    at_ms: i64,
}

#[derive(Encode, Decode)]
struct CursorFields {
    namespace: String,
    partner: String,
    offset: u64,
    at_ms: i64,
}

fn place(position: &Position) -> Place {
    (position.lat_e7(), position.lon_e7())
}

fn position((lat_e7, lon_e7): Place) -> Result<Position, String> {
    Position::from_e7(lat_e7, lon_e7).map_err(|why| why.to_string())
}

fn ms(at: EventTime) -> i64 {
    at.0
}

impl ActionFields {
    /// `None` where the area is impossible.
    fn of(decided: &Decided) -> Option<Self> {
        let name = decided.actor.name().to_string();
        let action = match &decided.action {
            Action::Publish(draft) => ActionBody::Publish(DraftFields::of(draft)?),
            Action::Update(draft) => ActionBody::Update(DraftFields::of(draft)?),
            Action::Sighting { id, lat, lon, seen_at } => {
                ActionBody::Sighting { id: id.to_string(), lat: *lat, lon: *lon, seen_at_ms: seen_at.map(ms) }
            }
            Action::Cancel { id, reason } => ActionBody::Cancel {
                id: id.to_string(),
                reason: match reason {
                    CancelReason::Found => ReasonField::Found,
                    CancelReason::Refuted => ReasonField::Refuted,
                },
            },
        };
        Some(Self {
            no: decided.no,
            at_ms: decided.at.0,
            actor: match decided.actor {
                Actor::Authority(_) => ActorFields::Authority(name),
                Actor::Admin(_) => ActorFields::Admin(name),
            },
            action,
            policy: decided.policy.as_ref().map(|policy| {
                let stages = policy.stages.as_slice().iter();
                (policy.name.clone(), stages.map(|stage| (stage.after_ms, stage.radius_km)).collect())
            }),
            report: decided.report.map(|report| report.0),
        })
    }

    fn read(self) -> Result<Decided, String> {
        let id = |id: String| AlertId::from(id.as_str());
        let action = match self.action {
            ActionBody::Publish(draft) => Action::Publish(Box::new(draft.read()?)),
            ActionBody::Update(draft) => Action::Update(Box::new(draft.read()?)),
            ActionBody::Sighting { id: of, lat, lon, seen_at_ms } => {
                Action::Sighting { id: id(of), lat, lon, seen_at: seen_at_ms.map(EventTime) }
            }
            ActionBody::Cancel { id: of, reason } => Action::Cancel {
                id: id(of),
                reason: match reason {
                    ReasonField::Found => CancelReason::Found,
                    ReasonField::Refuted => CancelReason::Refuted,
                },
            },
        };
        let policy = self.policy.map(|(name, stages)| {
            let stages = Stages::new(&specs(&stages)).map_err(|why| why.to_string())?;
            Ok::<_, String>(NamedPolicy { name, stages })
        });
        Ok(Decided {
            no: self.no,
            at: EventTime(self.at_ms),
            actor: match self.actor {
                ActorFields::Authority(name) => Actor::Authority(name.into()),
                ActorFields::Admin(name) => Actor::Admin(name.into()),
            },
            action,
            policy: policy.transpose()?,
            report: self.report.map(ReportNo),
        })
    }
}

fn specs(stages: &[(i64, f64)]) -> Vec<StageSpec> {
    stages.iter().map(|&(after_ms, radius_km)| StageSpec { after_ms, radius_km }).collect()
}

impl DraftFields {
    fn of(draft: &AlertDraft) -> Option<Self> {
        let area = match &draft.area {
            None => None,
            Some(Ok(area)) => Some(area.shapes.iter().map(ShapeField::of).collect()),
            Some(Err(_)) => return None,
        };
        Some(Self {
            id: draft.id.to_string(),
            status: draft.status.map(|status| match status {
                Status::Actual => StatusField::Actual,
                Status::Exercise => StatusField::Exercise,
                Status::Test => StatusField::Test,
                Status::Draft => StatusField::Draft,
            }),
            sent_ms: draft.sent.map(ms),
            lost_at_ms: draft.lost_at.map(ms),
            expires_ms: draft.expires.map(ms),
            area,
            policy: draft.policy.as_ref().map(PolicyField::of),
            uncertainty: draft.uncertainty.map(|mode| match mode {
                Uncertainty::Intersects => UncertaintyField::Intersects,
                Uncertainty::Centre => UncertaintyField::Centre,
                Uncertainty::Within => UncertaintyField::Within,
            }),
            content: serde_json::to_string(&draft.content).ok()?,
        })
    }

    fn read(self) -> Result<AlertDraft, String> {
        let shapes = self.area.map(|shapes| shapes.into_iter().map(ShapeField::read).collect());
        let shapes: Option<Vec<Shape>> = shapes.transpose()?;
        Ok(AlertDraft {
            id: AlertId::from(self.id.as_str()),
            status: self.status.map(|status| match status {
                StatusField::Actual => Status::Actual,
                StatusField::Exercise => Status::Exercise,
                StatusField::Test => Status::Test,
                StatusField::Draft => Status::Draft,
            }),
            sent: self.sent_ms.map(EventTime),
            lost_at: self.lost_at_ms.map(EventTime),
            expires: self.expires_ms.map(EventTime),
            area: shapes.map(|shapes| Ok(Area { shapes })),
            policy: self.policy.map(PolicyField::read),
            uncertainty: self.uncertainty.map(|mode| match mode {
                UncertaintyField::Intersects => Uncertainty::Intersects,
                UncertaintyField::Centre => Uncertainty::Centre,
                UncertaintyField::Within => Uncertainty::Within,
            }),
            content: serde_json::from_str(&self.content).map_err(|why| format!("its content: {why}"))?,
        })
    }
}

impl ShapeField {
    fn of(shape: &Shape) -> Self {
        match shape {
            Shape::Circle { centre, radius_km } => {
                Self::Circle { centre: place(centre), radius_km: *radius_km }
            }
            Shape::Polygon { rings } => {
                Self::Polygon { rings: rings.iter().map(|ring| ring.iter().map(place).collect()).collect() }
            }
        }
    }

    fn read(self) -> Result<Shape, String> {
        Ok(match self {
            Self::Circle { centre, radius_km } => Shape::Circle { centre: position(centre)?, radius_km },
            Self::Polygon { rings } => {
                let ring = |ring: Vec<Place>| ring.into_iter().map(position).collect::<Result<_, _>>();
                Shape::Polygon { rings: rings.into_iter().map(ring).collect::<Result<_, _>>()? }
            }
        })
    }
}

impl PolicyField {
    fn of(policy: &Policy) -> Self {
        match policy {
            Policy::Tuanyuan => Self::Tuanyuan,
            Policy::Fixed => Self::Fixed,
            Policy::Growth { speed_kmh, every_ms, start_km, max_km } => Self::Growth {
                speed_kmh: *speed_kmh,
                every_ms: *every_ms,
                start_km: *start_km,
                max_km: *max_km,
            },
            Policy::Stages(stages) => {
                Self::Stages(stages.iter().map(|stage| (stage.after_ms, stage.radius_km)).collect())
            }
            Policy::Named(name) => Self::Named(name.clone()),
        }
    }

    fn read(self) -> Policy {
        match self {
            Self::Tuanyuan => Policy::Tuanyuan,
            Self::Fixed => Policy::Fixed,
            Self::Growth { speed_kmh, every_ms, start_km, max_km } => {
                Policy::Growth { speed_kmh, every_ms, start_km, max_km }
            }
            Self::Stages(stages) => Policy::Stages(specs(&stages)),
            Self::Named(name) => Policy::Named(name),
        }
    }
}

impl ReportFields {
    fn of(taken: &ReportTaken) -> Self {
        Self {
            report: taken.report.0,
            id: taken.id.to_string(),
            place: place(&taken.position),
            seen_at_ms: taken.seen_at.0,
            by: taken.by.to_string(),
        }
    }

    fn read(self) -> Result<ReportTaken, String> {
        Ok(ReportTaken {
            report: ReportNo(self.report),
            id: AlertId::from(self.id.as_str()),
            position: position(self.place)?,
            seen_at: EventTime(self.seen_at_ms),
            by: self.by.into(),
        })
    }
}

impl CursorFields {
    fn read(self) -> Result<CursorAt, String> {
        Ok(CursorAt {
            namespace: Namespace::new(&self.namespace).map_err(|why| why.to_string())?,
            partner: Arc::from(self.partner),
            offset: Offset(self.offset),
            at: EventTime(self.at_ms),
        })
    }
}
