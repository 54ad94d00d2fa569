//! Where people live: the cities of China by population.

use anyhow::Context as _;

/// 1,215 cities (GeoNames, CC BY 4.0), see `examples/data/README.md`.
const CITIES_CSV: &str = include_str!("../../../examples/data/cities_cn.csv");

/// A city.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct City {
    pub(super) name: String,
    pub(super) lat: f64,
    pub(super) lon: f64,
    pub(super) population: u64,
}

/// Cities, to be drawn with the chance of their population.
pub(super) struct Population {
    cities: Vec<City>,
    /// Inhabitants of the cities up to and with this one.
    up_to: Vec<u64>,
}

impl Population {
    /// The built-in cities.
    pub(super) fn of_china() -> anyhow::Result<Self> {
        let mut cities = Vec::new();
        let mut up_to = Vec::new();
        let mut total = 0;
        for row in csv::Reader::from_reader(CITIES_CSV.as_bytes()).deserialize() {
            let (_, name, _, _, lat, lon, population): (u64, String, String, String, f64, f64, u64) =
                row.context("the built-in list of cities")?;
            total += population;
            up_to.push(total);
            cities.push(City { name, lat, lon, population });
        }
        Ok(Self { cities, up_to })
    }

    /// The city that `draw`, any number, falls on.
    pub(super) fn city(&self, draw: u64) -> Option<&City> {
        let inhabitant = draw % self.up_to.last()?.max(&1);
        self.cities.get(self.up_to.partition_point(|up_to| *up_to <= inhabitant))
    }

    /// The city of this name.
    pub(super) fn named(&self, name: &str) -> Option<&City> {
        self.cities.iter().find(|city| city.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_city_is_drawn_by_its_inhabitants() {
        let population = Population::of_china().unwrap();
        assert_eq!(population.cities.len(), 1_215);
        assert_eq!(population.city(0).unwrap().name, "Shanghai");
        assert_eq!(population.city(22_315_473).unwrap().name, "Shanghai");
        assert_eq!(population.city(22_315_474).unwrap().name, "Beijing");
        assert_eq!(population.city(424_531_222).unwrap().name, "Shanghai");
        assert!(population.city(u64::MAX).is_some());
    }
}
