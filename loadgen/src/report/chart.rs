//! Charts as inline SVG: no script, no font, no image from anywhere; colours are the page's.

use std::fmt::Write as _;

use super::html::escape;

/// Size of a chart in its own units; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room around the plot: left, right, top, bottom.
const MARGIN: [f64; 4] = [62.0, 14.0, 12.0, 34.0];
/// Height of a bar's row.
const ROW: f64 = 24.0;
/// Room for a bar's name, and for its figures.
const NAMES: f64 = 236.0;
const FIGURES: f64 = 176.0;
/// Values on an axis, about; seconds need less room.
const TICKS: f64 = 4.0;
const SECONDS: f64 = 10.0;

/// A line of a chart: its name, the class of its colour, its points.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) class: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// An axis along: its name, where it ends, and the values on it.
pub(super) struct Along<'a> {
    pub(super) name: &'a str,
    pub(super) most: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Along<'_> {
    /// Seconds of a run.
    pub(super) fn seconds(most: f64) -> Self {
        let most = most.max(1.0);
        // The last round value may lie beyond the end.
        let ticks = ticks(most, SECONDS).into_iter().filter(|s| *s <= 1.02 * most);
        let ticks = ticks.map(|s| (s, format!("{s}"))).collect();
        Along { name: "seconds", most, ticks }
    }
}

/// Lines over one axis, from zero upwards. `says` writes a value of the axis upwards.
pub(super) fn lines(title: &str, along: &Along<'_>, all: &[Series<'_>], says: fn(f64) -> String) -> String {
    let values = all.iter().flat_map(|series| &series.points).map(|(_, y)| *y);
    let highest = values.filter(|y| y.is_finite()).fold(0.0, f64::max);
    let up = ticks(if highest > 0.0 { highest } else { 1.0 }, TICKS);
    let top = up.last().copied().unwrap_or(1.0).max(highest);
    let [left, right, above, below] = MARGIN;
    let x = |value: f64| left + (WIDTH - left - right) * (value / along.most).clamp(0.0, 1.0);
    let y = |value: f64| HEIGHT - below - (HEIGHT - above - below) * (value / top).clamp(0.0, 1.0);
    let mut svg = open(title, HEIGHT);
    for value in up {
        let (at, label) = (y(value), escape(&says(value)));
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{left}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/><text class="end" x="{:.1}" y="{:.1}">{label}</text>"#,
            WIDTH - right,
            left - 8.0,
            at + 4.0
        );
    }
    for (value, label) in &along.ticks {
        let label = escape(label);
        let _ = write!(
            svg,
            r#"<text class="middle" x="{:.1}" y="{:.1}">{label}</text>"#,
            x(*value),
            HEIGHT - below + 16.0
        );
    }
    let _ = write!(
        svg,
        r#"<text class="end dim" x="{:.1}" y="{:.1}">{}</text>"#,
        WIDTH - right,
        HEIGHT - 3.0,
        escape(along.name)
    );
    for series in all {
        let mut path = String::new();
        for (place, (along, up)) in series.points.iter().filter(|(_, up)| up.is_finite()).enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if place == 0 { "M" } else { "L" }, x(*along), y(*up));
        }
        let _ = write!(
            svg,
            r#"<path class="{}" d="{path}"><title>{}</title></path>"#,
            series.class,
            escape(series.name)
        );
    }
    svg.push_str("</svg>");
    let names = all
        .iter()
        .filter(|_| all.len() > 1)
        .map(|series| format!(r#"<span class="key {}">{}</span>"#, series.class, escape(series.name)));
    figure(title, &names.collect::<String>(), &svg)
}

/// From one time to another.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) figures: String,
}

/// Bars of times, ms, from a common zero.
pub(super) fn bars(title: &str, all: &[Bar]) -> String {
    let most = all.iter().map(|bar| bar.to).fold(0.0, f64::max);
    let along = ticks(if most > 0.0 { most } else { 1.0 }, TICKS);
    let most = along.last().copied().unwrap_or(1.0).max(most);
    let height = ROW * all.len() as f64 + 40.0;
    let x = |ms: f64| NAMES + (WIDTH - NAMES - FIGURES) * ms / most;
    let mut svg = open(title, height);
    for ms in along {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{0:.1}" x2="{0:.1}" y1="4" y2="{1:.1}"/><text class="middle" x="{0:.1}" y="{2:.1}">{3}</text>"#,
            x(ms),
            height - 32.0,
            height - 18.0,
            escape(&milliseconds(ms))
        );
    }
    for (place, bar) in (0..).map(f64::from).zip(all) {
        let middle = ROW * (place + 0.5) + 4.0;
        let wide = (x(bar.to) - x(bar.from)).max(3.0);
        let _ = write!(
            svg,
            r#"<text class="end" x="{:.1}" y="{:.1}">{}</text><rect class="a" x="{:.1}" y="{:.1}" width="{wide:.1}" height="10" rx="3"/><text x="{:.1}" y="{:.1}">{}</text>"#,
            NAMES - 10.0,
            middle + 4.0,
            escape(&bar.name),
            x(bar.from),
            middle - 5.0,
            WIDTH - FIGURES + 12.0,
            middle + 4.0,
            escape(&bar.figures)
        );
    }
    svg.push_str("</svg>");
    figure(title, "", &svg)
}

fn open(title: &str, height: f64) -> String {
    let title = escape(title);
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">"#)
}

fn figure(title: &str, names: &str, svg: &str) -> String {
    format!("<figure><figcaption>{} {names}</figcaption>{svg}</figure>\n", escape(title))
}

/// About so many round values from zero up to `most` or a little more.
fn ticks(most: f64, count: f64) -> Vec<f64> {
    let rough = most / count;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|nice| nice * power).find(|step| *step >= rough);
    let step = step.unwrap_or(most);
    let count = (most / step).ceil().clamp(1.0, 20.0) as u32;
    // Multiplied, not added up: 0.1 thrice is 0.30000000000000004.
    (0..=count).map(|n| (f64::from(n) * step * 1e9).round() / 1e9).collect()
}

/// A number of things, short.
pub(super) fn many(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", rounded(value / 1e6)),
        1e3.. => format!("{} k", rounded(value / 1e3)),
        _ => rounded(value),
    }
}

/// Mebibytes.
pub(super) fn mebibytes(value: f64) -> String {
    format!("{} MiB", rounded(value))
}

/// Milliseconds.
pub(super) fn milliseconds(value: f64) -> String {
    format!("{} ms", rounded(value))
}

/// Without zeros at the end.
fn rounded(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_an_axis_are_round_and_reach_its_end() {
        for (most, last, count) in
            [(1.0, 1.0, 3), (0.37, 0.4, 5), (10.4, 15.0, 4), (12_345_678.0, 15e6, 4), (3.0, 3.0, 4)]
        {
            let ticks = ticks(most, TICKS);
            assert_eq!((ticks.last(), ticks.len()), (Some(&last), count), "{ticks:?}");
        }
        assert_eq!([many(12_500_000.0), many(2_000.0), many(7.0)], ["12.5 M", "2 k", "7"]);
        assert_eq!((mebibytes(1.5), milliseconds(0.25)), ("1.5 MiB".into(), "0.25 ms".into()));
    }
}
