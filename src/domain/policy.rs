//! How an area grows: policies, and the stages that they come to.

use std::sync::Arc;

use crate::limits::{RADIUS_KM_MAX, STAGES_MAX};

/// A step of growth: from `after_ms` past the part's start on, the radius is `radius_km`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Milliseconds after the part's start.
    pub after_ms: i64,
    /// Radius in km; 0 only where a `fixed` area has none to print.
    pub radius_km: f64,
}

/// A stage as an alert or the configuration names it, not yet checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageSpec {
    /// Milliseconds after the part's start.
    pub after_ms: i64,
    /// Radius in km.
    pub radius_km: f64,
}

/// A policy as an alert names it, not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// 0 h 100 km, 1 h 200 km, 2 h 300 km, 3 h 500 km.
    Tuanyuan,
    /// The area exactly as drawn.
    Fixed,
    /// A stage each `every`, growing at a speed.
    Growth {
        /// Speed of growth, km/h.
        speed_kmh: f64,
        /// Milliseconds between stages, at least a minute.
        every_ms: i64,
        /// Radius of the first stage, km.
        start_km: f64,
        /// Radius of the last stage, km, reached exactly.
        max_km: f64,
    },
    /// Stages given with the alert.
    Stages(Vec<StageSpec>),
    /// Stages named in the configuration.
    Named(String),
}

/// Why a policy is impossible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// No stage at all.
    #[error("the policy has no stage")]
    Empty,
    /// More than the bound.
    #[error("the policy has {0} stages, more than {STAGES_MAX}")]
    TooMany(usize),
    /// The first stage does not start at once.
    #[error("the first stage starts after {0} ms: it must start after 0s")]
    FirstNotZero(i64),
    /// `after` does not increase.
    #[error("stage {0} does not start later than the stage before it")]
    AfterNotIncreasing(usize),
    /// `radius` does not increase.
    #[error("stage {0} is not larger than the stage before it")]
    RadiusNotIncreasing(usize),
    /// A radius outside (0, 5000].
    #[error("a radius of {0} km is not above 0 and at most {RADIUS_KM_MAX} km")]
    Radius(f64),
    /// A speed that does not grow.
    #[error("a growth of {0} km/h is not above 0")]
    Speed(f64),
    /// Stages that follow too fast.
    #[error("a stage every {0} ms is more often than every minute")]
    Every(i64),
    /// The largest radius is below the first.
    #[error("max_km {max_km} is below start_km {start_km}")]
    MaxBelowStart {
        /// Radius of the first stage.
        start_km: f64,
        /// Radius of the last stage.
        max_km: f64,
    },
    /// No such policy in the configuration.
    #[error(
        "no policy is named \"{0}\": use tuanyuan, fixed, {{\"stages\":[...]}}, {{\"growth\":{{...}}}} or a name from the configuration"
    )]
    Unknown(String),
}

/// Checked stages: the first after 0, times and radii strictly increasing, 1 to 100 of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Stages(Arc<[Stage]>);

impl Stages {
    /// Checks a list of stages.
    pub fn new(specs: &[StageSpec]) -> Result<Self, PolicyError> {
        let first = specs.first().ok_or(PolicyError::Empty)?;
        if specs.len() > STAGES_MAX {
            return Err(PolicyError::TooMany(specs.len()));
        }
        if first.after_ms != 0 {
            return Err(PolicyError::FirstNotZero(first.after_ms));
        }
        for (i, spec) in specs.iter().enumerate() {
            check_radius_km(spec.radius_km)?;
            if i > 0 && spec.after_ms <= specs[i - 1].after_ms {
                return Err(PolicyError::AfterNotIncreasing(i));
            }
            if i > 0 && spec.radius_km <= specs[i - 1].radius_km {
                return Err(PolicyError::RadiusNotIncreasing(i));
            }
        }
        Ok(Self(specs.iter().map(|s| Stage { after_ms: s.after_ms, radius_km: s.radius_km }).collect()))
    }

    /// The one stage of a `fixed` part; `radius_km` is what its matches print.
    pub fn fixed(radius_km: f64) -> Self {
        Self(Arc::new([Stage { after_ms: 0, radius_km }]))
    }

    /// The default policy, as China's Tuanyuan system grows (counted from the loss).
    pub fn tuanyuan() -> Self {
        const HOUR_MS: i64 = 3_600_000;
        let stage = |hours, radius_km| Stage { after_ms: hours * HOUR_MS, radius_km };
        Self(Arc::new([stage(0, 100.0), stage(1, 200.0), stage(2, 300.0), stage(3, 500.0)]))
    }

    /// The stages of a growth: the first that reaches `max_km` is the last and exactly `max_km`.
    pub fn growth(speed_kmh: f64, every_ms: i64, start_km: f64, max_km: f64) -> Result<Self, PolicyError> {
        if !(speed_kmh > 0.0 && speed_kmh.is_finite()) {
            return Err(PolicyError::Speed(speed_kmh));
        }
        if every_ms < 60_000 {
            return Err(PolicyError::Every(every_ms));
        }
        check_radius_km(start_km)?;
        check_radius_km(max_km)?;
        if max_km < start_km {
            return Err(PolicyError::MaxBelowStart { start_km, max_km });
        }
        let mut specs = Vec::new();
        loop {
            let after_ms = i64::try_from(specs.len()).unwrap_or(i64::MAX).saturating_mul(every_ms);
            let radius_km = start_km + speed_kmh * after_ms as f64 / 3_600_000.0;
            let last = radius_km >= max_km;
            specs.push(StageSpec { after_ms, radius_km: if last { max_km } else { radius_km } });
            if last {
                return Self::new(&specs);
            }
            if specs.len() > STAGES_MAX {
                return Err(PolicyError::TooMany(specs.len()));
            }
        }
    }

    /// The stages in order.
    pub fn as_slice(&self) -> &[Stage] {
        &self.0
    }

    /// The index of the last stage with `after <= elapsed_ms`; the first if none is.
    pub fn at(&self, elapsed_ms: i64) -> usize {
        self.0.partition_point(|s| s.after_ms <= elapsed_ms).saturating_sub(1)
    }
}

/// Checks `0 < radius_km <= 5000`.
pub(crate) fn check_radius_km(radius_km: f64) -> Result<(), PolicyError> {
    if radius_km > 0.0 && radius_km <= RADIUS_KM_MAX { Ok(()) } else { Err(PolicyError::Radius(radius_km)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_ends_exactly_at_its_maximum() {
        let stages = Stages::growth(6.0, 1_800_000, 1.0, 10.0).unwrap();
        let radii: Vec<f64> = stages.as_slice().iter().map(|s| s.radius_km).collect();
        assert_eq!(radii, [1.0, 4.0, 7.0, 10.0]);
        assert_eq!(Stages::growth(6.0, 60_000, 5.0, 5.0).unwrap().as_slice().len(), 1);
        assert!(matches!(Stages::growth(1.0, 60_000, 1.0, 5_000.0), Err(PolicyError::TooMany(_))));
        assert_eq!(Stages::growth(1e-9, 60_000, 1.0, 1.1), Err(PolicyError::TooMany(101)));
    }

    #[test]
    fn the_stage_of_a_time_is_the_last_that_has_started() {
        let stages = Stages::tuanyuan();
        let at: Vec<usize> = [-1, 0, 3_599_999, 3_600_000, 99_999_999].map(|ms| stages.at(ms)).into();
        assert_eq!(at, [0, 0, 0, 1, 3]);
    }
}
