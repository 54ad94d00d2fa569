//! The alerts of a run: when each is published, updated and cancelled, and when its matches came.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use country::City;
use hexcast::client::Control;
use hexcast::domain::{CancelReason, EventTime, Stages, format_duration};
use serde_json::{Value, json};

use crate::machine;
use crate::partner::{Arrived, Received};
use crate::report::{AlertReport, MatchedReport, StageReport};
use crate::scenario::{Raised, Scenario};

/// Where the last stage of an alert stands at the latest, as a share of the run: its matches
/// still arrive within it.
const LAST_STAGE_AT: f64 = 0.85;

/// An alert's JSON. `lost_ms` is how long ago the child was lost, where that is not now.
pub(crate) fn draft(id: &str, spot: &City, policy: &Value, lost_ms: Option<u64>) -> String {
    let now = machine::now();
    let mut alert = json!({
        "id": id,
        "status": "test",
        "expires": now.plus_ms(24 * 3_600_000).to_string(),
        "area": {"circle": {"lat": spot.lat, "lon": spot.lon}},
        "policy": policy,
        "headline": format!("load test around {}", spot.name),
    });
    if let Some(lost_ms) = lost_ms {
        alert["lost_at"] = now.plus_ms(-(lost_ms as i64)).to_string().into();
    }
    alert.to_string()
}

/// A city by its name.
pub(crate) fn named<'a>(cities: &'a [City], name: &str) -> anyhow::Result<&'a City> {
    let found = cities.iter().find(|city| city.name == name);
    found.with_context(|| format!("no city is named {name}: see examples/data/cities_cn.csv"))
}

/// An alert to raise.
struct Plan {
    id: String,
    spot: City,
    /// After the start of the run.
    at: Duration,
    policy: Value,
    /// How long before its publication stages begin to count.
    lost_ago: Duration,
    /// After the loss, and km.
    stages: Vec<(Duration, f64)>,
    update: Option<(Duration, f64)>,
    cancel: Option<Duration>,
}

/// All alerts of a run.
pub(crate) struct Schedule {
    plans: Vec<Plan>,
    /// When each thing is done, in this order.
    steps: Vec<(Duration, usize, Step)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Publish,
    Update,
    Cancel,
}

impl Schedule {
    /// The scenario's alerts in a run of so many seconds. `cities` are where its devices live, `all` are
    /// those that may be named.
    pub(crate) fn new(
        scenario: &Scenario,
        cities: &[City],
        all: &[City],
        run_id: i64,
        seconds: u32,
    ) -> anyhow::Result<Self> {
        let mut plans = Vec::new();
        for raised in &scenario.alerts {
            for spot in spots(raised, cities, all)? {
                let id = format!("loadgen-{run_id}-{}", plans.len() + 1);
                plans.push(Plan::new(id, raised, spot, f64::from(seconds)));
            }
        }
        let mut steps = Vec::new();
        for (number, plan) in plans.iter().enumerate() {
            steps.push((plan.at, number, Step::Publish));
            steps.extend(plan.update.map(|(at, _)| (at, number, Step::Update)));
            steps.extend(plan.cancel.map(|at| (at, number, Step::Cancel)));
        }
        steps.sort_by_key(|(at, number, step)| (*at, *step, *number));
        Ok(Self { plans, steps })
    }

    /// Does everything at its time.
    pub(crate) async fn play(self, control: &mut Control) -> anyhow::Result<Vec<RaisedAlert>> {
        let begun = Instant::now();
        let mut raised: Vec<RaisedAlert> = self.plans.into_iter().map(RaisedAlert::new).collect();
        for (at, number, step) in self.steps {
            tokio::time::sleep_until((begun + at).into()).await;
            let Some(alert) = raised.get_mut(number) else { continue };
            match step {
                Step::Publish => alert.publish(control).await?,
                Step::Update => alert.update(control).await?,
                Step::Cancel => {
                    alert.cancelled = Some(Instant::now());
                    control.cancel(&alert.plan.id, CancelReason::Refuted, None).await?;
                }
            }
        }
        Ok(raised)
    }
}

/// Where the alerts of an entry are.
fn spots(raised: &Raised, cities: &[City], all: &[City]) -> anyhow::Result<Vec<City>> {
    if let Some(name) = &raised.city {
        return Ok(vec![named(all, name)?.clone()]);
    }
    if let (Some(lat), Some(lon)) = (raised.lat, raised.lon) {
        return Ok(vec![City { name: format!("{lat}, {lon}"), lat, lon, population: 0 }]);
    }
    let count = raised.largest.unwrap_or_default() as usize;
    Ok(cities.iter().take(count).cloned().collect())
}

impl Plan {
    fn new(id: String, raised: &Raised, spot: City, seconds: f64) -> Self {
        let of_run = |share: f64| Duration::from_secs_f64(seconds * share);
        let stages: Vec<(Duration, f64)> = match (&raised.radii_km, &raised.stages) {
            (Some(radii_km), _) => {
                let rest = seconds * (LAST_STAGE_AT - raised.at).max(0.0);
                let steps = radii_km.len().saturating_sub(1).max(1);
                // Durations in alerts are whole seconds.
                let step = ((rest / steps as f64) as u64).max(1);
                (0..).map(|i| Duration::from_secs(i * step)).zip(radii_km.iter().copied()).collect()
            }
            (_, Some(stages)) => {
                stages.iter().map(|stage| (Duration::from_millis(stage.after), stage.radius_km)).collect()
            }
            (None, None) => {
                let stages = Stages::tuanyuan();
                let of = |stage: &hexcast::domain::Stage| {
                    (Duration::from_millis(stage.after_ms.unsigned_abs()), stage.radius_km)
                };
                stages.as_slice().iter().map(of).collect()
            }
        };
        let policy = raised.policy.clone().map_or_else(|| policy(&stages), Value::from);
        Self {
            id,
            spot,
            at: of_run(raised.at),
            policy,
            lost_ago: Duration::from_millis(raised.lost_ago),
            stages,
            update: raised.update.as_ref().map(|update| (of_run(update.at), update.radius_km)),
            cancel: raised.cancel_at.map(of_run),
        }
    }

    fn lost_ms(&self) -> Option<u64> {
        (!self.lost_ago.is_zero()).then_some(self.lost_ago.as_millis() as u64)
    }
}

fn policy(stages: &[(Duration, f64)]) -> Value {
    let stage = |(after, radius_km): &(Duration, f64)| json!({"after": format_duration(after.as_millis() as i64), "radius_km": radius_km});
    json!({"stages": stages.iter().map(stage).collect::<Vec<_>>()})
}

/// An alert that was raised.
pub(crate) struct RaisedAlert {
    plan: Plan,
    /// When it was asked for, and when the server took it, on this machine's clock.
    published: Option<(Instant, Instant)>,
    updated: Option<Instant>,
    cancelled: Option<Instant>,
}

impl RaisedAlert {
    fn new(plan: Plan) -> Self {
        Self { plan, published: None, updated: None, cancelled: None }
    }

    /// Its id, where it still stands.
    pub(crate) fn standing(&self) -> Option<&str> {
        (self.published.is_some() && self.cancelled.is_none()).then_some(self.plan.id.as_str())
    }

    async fn publish(&mut self, control: &mut Control) -> anyhow::Result<()> {
        let plan = &self.plan;
        let (asked, asked_at) = (Instant::now(), machine::now());
        let draft = draft(&plan.id, &plan.spot, &plan.policy, plan.lost_ms());
        let receipt = control.publish(&draft, None).await?;
        let (answered, answered_at) = (Instant::now(), machine::now());
        // The server's time of publication, brought to this machine's clock: it lies between
        // asking and answering, which also tells a server's clock that differs.
        let stamped = EventTime(receipt.at_ms);
        let taken = if stamped >= asked_at && stamped <= answered_at {
            asked + Duration::from_millis(stamped.ms_since(asked_at).unsigned_abs())
        } else {
            asked + answered.duration_since(asked) / 2
        };
        self.published = Some((asked, taken));
        Ok(())
    }

    async fn update(&mut self, control: &mut Control) -> anyhow::Result<()> {
        let Some((_, radius_km)) = self.plan.update else { return Ok(()) };
        let policy = policy(&[(Duration::ZERO, radius_km)]);
        let update = json!({"id": self.plan.id, "policy": policy});
        self.updated = Some(Instant::now());
        control.update(&update.to_string(), None).await?;
        Ok(())
    }

    pub(crate) fn report(&self, received: &Received) -> AlertReport {
        let plan = &self.plan;
        let id = plan.id.as_str();
        let over = [self.updated, self.cancelled].into_iter().flatten().min();
        let mut stages = Vec::new();
        if let Some((asked, taken)) = self.published {
            let first = plan.stages.iter().rposition(|(after, _)| *after <= plan.lost_ago).unwrap_or(0);
            for (stage, (after, radius_km)) in plan.stages.iter().enumerate().skip(first) {
                let due = if stage == first { asked } else { taken + after.saturating_sub(plan.lost_ago) };
                let arrived = received.stages.get(&(id.into(), stage as u8));
                // One that an update or the end came before is none.
                if arrived.is_some() || over.is_none_or(|over| due < over) {
                    let MatchedReport { matched, first_match_ms, last_match_ms } = timed(arrived, due);
                    stages.push(StageReport {
                        stage: stage as u8,
                        radius_km: *radius_km,
                        matched,
                        first_match_ms,
                        last_match_ms,
                    });
                }
            }
        }
        AlertReport {
            id: plan.id.clone(),
            around: plan.spot.name.clone(),
            at_s: plan.at.as_secs_f64(),
            stages,
            update: self.updated.map(|asked| timed(received.updates.get(&id.into()), asked)),
            cancel: self.cancelled.map(|asked| timed(received.cancelled.get(&id.into()), asked)),
        }
    }
}

/// How long after `due` matches came.
fn timed(arrived: Option<&Arrived>, due: Instant) -> MatchedReport {
    let ms = |at: Instant| at.saturating_duration_since(due).as_secs_f64() * 1_000.0;
    MatchedReport {
        matched: arrived.map_or(0, |arrived| arrived.matched),
        first_match_ms: arrived.map(|arrived| ms(arrived.first)),
        last_match_ms: arrived.map(|arrived| ms(arrived.last)),
    }
}
