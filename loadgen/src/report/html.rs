//! The report as one page of HTML that needs nothing else: styles and charts stand in it, there is no
//! script, and its policy lets a browser load nothing. Whatever comes from outside is escaped.

use std::fmt::Write as _;

use super::chart::{Along, Bar, Series, bars, lines, many, mebibytes, milliseconds};
use super::{Report, grouped};

/// Stages that have a bar each; of more, each stage has one over all alerts.
const BARS_MAX: usize = 24;

const MIB: f64 = (1 << 20) as f64;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2430; --dim: #5b6675; --paper: #ffffff; --card: #f5f7f9;
  --grid: #dde2e8; --a: #0b62c4; --b: #c2490c; --c: #167a3c }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf0; --dim: #9aa7b6; --paper: #12171e; --card: #1b222b;
  --grid: #333d49; --a: #6cb2ff; --b: #ff9a5c; --c: #6fd68f } }
body { margin: 2rem auto; max-width: 56rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.dim { color: var(--dim) } .big { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0 }
.big div { background: var(--card); border-radius: .5rem; padding: .6rem 1rem; flex: 1 1 8rem }
.big b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums }
.says { border-left: .3rem solid var(--c); background: var(--card); padding: .6rem 1rem; border-radius: .3rem }
.says.warn { border-color: var(--b) }
figure { margin: 1rem 0; background: var(--card); border-radius: .5rem; padding: .8rem 1rem }
figcaption { font-weight: 600; margin-bottom: .4rem }
.key { font-weight: 400; margin-left: 1rem; color: var(--dim) }
.key::before { content: ''; display: inline-block; width: 1rem; border-top: .2rem solid; margin-right: .4rem;
  vertical-align: middle }
.key.a::before { color: var(--a) } .key.b::before { color: var(--b) } .key.c::before { color: var(--c) }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--ink); font-size: 12px }
svg .dim { fill: var(--dim) } svg .end { text-anchor: end } svg .middle { text-anchor: middle }
svg .grid { stroke: var(--grid) } svg path { fill: none; stroke-width: 2; stroke-linejoin: round }
svg path.a { stroke: var(--a) } svg path.b { stroke: var(--b) } svg path.c { stroke: var(--c) }
svg rect.a { fill: var(--a) }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--grid); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
";

/// A text as it stands between tags or in an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters are no text.
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

impl Report {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let mut page =
            String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
        let title = escape(&self.scenario);
        let _ = write!(
            page,
            "<meta name=\"viewport\" content=\"width=device-width\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
             <title>hexcast load: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>hexcast under load: {title}</h1>\n<p class=\"dim\">{}<br/>{}</p>\n",
            escape(&self.about),
            escape(&self.machine)
        );
        self.figures(&mut page);
        self.charts(&mut page);
        self.alert_table(&mut page);
        page.push_str("<h2>All figures</h2>\n<div class=\"wide\"><table>\n");
        for (name, value) in self.lines() {
            let _ = writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&value));
        }
        page.push_str(
            "</table></div>\n<p class=\"dim\">Times count from when a ping should have been sent, or a stage was due, so \
             that a server which holds its senders back does not look fast. docs/loadgen.md says what each \
             figure means.</p>\n</body>\n</html>\n",
        );
        page
    }

    fn figures(&self, page: &mut String) {
        let mut big = vec![
            (format!("{} /s", many(self.pings_per_second)), "pings acknowledged"),
            (milliseconds(self.ack_ms.p50), "acknowledged, median"),
            (milliseconds(self.ack_ms.p99), "acknowledged, 99th percentile"),
        ];
        let lasts =
            self.alerts.iter().flat_map(|alert| &alert.stages).filter_map(|stage| stage.last_match_ms);
        big.extend(lasts.max_by(f64::total_cmp).map(|ms| (milliseconds(ms), "latest match of a stage")));
        big.extend(self.bytes_per_device.map(|bytes| (format!("{bytes:.0} bytes"), "memory a device")));
        page.push_str("<div class=\"big\">\n");
        for (value, name) in big {
            let _ = writeln!(page, "<div><b>{}</b>{}</div>", escape(&value), escape(name));
        }
        page.push_str("</div>\n");
        let kept = self.verdict.bottleneck == crate::verdict::Bottleneck::None;
        let class = if kept { "says" } else { "says warn" };
        let _ = writeln!(page, "<p class=\"{class}\"><b>Bottleneck:</b> {}</p>", escape(&self.verdict.says));
    }

    fn charts(&self, page: &mut String) {
        let seconds = self.series.last().map_or(self.seconds, |last| last.s);
        let over_time = |pick: &dyn Fn(&crate::watch::Sample) -> Option<f64>| -> Vec<(f64, f64)> {
            self.series.iter().filter_map(|sample| Some((sample.s, pick(sample)?))).collect()
        };
        let series = |name, class, points| Series { name, class, points };
        let pings = over_time(&|sample| Some(sample.pings_per_second));
        page.push_str("<h2>Over time</h2>\n");
        page.push_str(&lines(
            "Pings acknowledged a second",
            &Along::seconds(seconds),
            &[series("pings a second", "a", pings)],
            many,
        ));
        page.push_str(&lines(
            "Time to the acknowledgement",
            &Along::seconds(seconds),
            &[
                series("median", "a", over_time(&|sample| sample.ack_p50_ms)),
                series("99th percentile", "b", over_time(&|sample| sample.ack_p99_ms)),
            ],
            milliseconds,
        ));
        page.push_str(&lines(
            "Matches a second at the partner",
            &Along::seconds(seconds),
            &[series("matches a second", "c", over_time(&|sample| Some(sample.matches_per_second)))],
            many,
        ));
        let memory = over_time(&|sample| sample.rss_bytes.map(|bytes| bytes as f64 / MIB));
        if !memory.is_empty() {
            page.push_str(&lines(
                "The engine's memory",
                &Along::seconds(seconds),
                &[series("resident", "c", memory)],
                mebibytes,
            ));
        }
        page.push_str("<h2>Distribution</h2>\n");
        page.push_str(&self.percentiles());
        page.push_str(&self.stages());
    }

    /// Latency by percentile, on an axis where each nine takes as much room.
    fn percentiles(&self) -> String {
        let nines = |quantile: f64| -(1.0 - quantile).log10();
        let most = nines(0.99999);
        let along = Along {
            name: "percentile of pings",
            most,
            ticks: [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")]
                .map(|(quantile, name)| (nines(quantile), name.to_owned()))
                .to_vec(),
        };
        let curve = self.ack_curve_ms.iter().map(|(quantile, ms)| (nines(*quantile).min(most), *ms));
        let curve = Series { name: "to the acknowledgement", class: "a", points: curve.collect() };
        lines("Time to the acknowledgement by percentile", &along, &[curve], milliseconds)
    }

    /// From the first to the last match of each stage.
    fn stages(&self) -> String {
        let figures = |first: f64, last: f64| format!("{first:.1} to {last:.1} ms");
        let each = self.alerts.iter().flat_map(|alert| {
            alert.stages.iter().filter_map(|stage| {
                let (from, to) = (stage.first_match_ms?, stage.last_match_ms?);
                let name = format!("{}, {} km", shortened(&alert.around), stage.radius_km);
                Some(Bar { name, from, to, figures: figures(from, to) })
            })
        });
        let mut all: Vec<Bar> = each.collect();
        let mut title = "Matches at the partner after a stage was due, first to last";
        if all.len() > BARS_MAX {
            title = "Matches at the partner after a stage was due, first to last over all alerts";
            let together = self.by_stage().into_iter().filter_map(|stage| {
                let (from, to) = (stage.first_ms?, stage.last_ms?);
                Some(Bar { name: stage.name, from, to, figures: figures(from, to) })
            });
            all = together.collect();
        }
        if all.is_empty() { String::new() } else { bars(title, &all) }
    }

    fn alert_table(&self, page: &mut String) {
        if self.alerts.is_empty() {
            return;
        }
        page.push_str(
            "<h2>Alerts</h2>\n<div class=\"wide\"><table>\n<tr><th>around</th><th>at</th><th>what</th>\
             <th class=\"n\">matched</th><th class=\"n\">first, ms</th><th class=\"n\">last, ms</th></tr>\n",
        );
        for alert in &self.alerts {
            let stages = alert.stages.iter().map(|stage| {
                let what = format!("stage {}, {} km", stage.stage, stage.radius_km);
                (what, stage.matched, stage.first_match_ms, stage.last_match_ms)
            });
            let rest = [("update", &alert.update), ("cancellation", &alert.cancel)];
            let rest = rest.into_iter().filter_map(|(what, told)| {
                let told = told.as_ref()?;
                Some((what.to_owned(), told.matched, told.first_match_ms, told.last_match_ms))
            });
            for (what, matched, first, last) in stages.chain(rest) {
                let ms = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.1}"));
                let _ = writeln!(
                    page,
                    "<tr><td>{}</td><td>{:.1} s</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                     <td class=\"n\">{}</td></tr>",
                    escape(&alert.around),
                    alert.at_s,
                    escape(&what),
                    grouped(matched),
                    ms(first),
                    ms(last)
                );
            }
        }
        page.push_str("</table></div>\n");
    }
}

/// As much of a name as a bar has room for.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 22 { name.into() } else { name.chars().take(21).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_text() {
        assert_eq!(escape("<b a='1'>&\"\u{1}"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\u{fffd}");
        assert_eq!(shortened(&"北".repeat(40)).chars().count(), 22);
    }
}
