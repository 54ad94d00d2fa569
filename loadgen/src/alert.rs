//! `loadgen alert`: how long an alert takes from the wire to the last of its matches at a partner.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use hexcast::client::Client;
use hexcast::domain::CancelReason;
use serde_json::{Value, json};

use crate::crowd::Crowd;
use crate::engine::Engine;
use crate::machine;
use crate::operator::{self, Pace, Until};
use crate::partner::Partner;
use crate::place::Place;
use crate::report::grouped;
use crate::scenario::Scenario;
use crate::schedule::{draft, named};
use crate::watch::Counters;

/// Times an alert from its publication over the wire to the last of its matches at a partner.
///
/// First every device sends one ping. Then an alert is published as often as asked, each time around
/// the same city with a radius that reaches about so many devices; before, the server is asked how
/// many it would reach exactly, and the clock stops when the partner has that many. It starts when the
/// request is sent. No pings are sent meanwhile: `run` tells of alerts under load.
#[derive(Debug, Args)]
pub(crate) struct AlertArgs {
    #[command(flatten)]
    place: Place,
    /// Devices.
    #[arg(long, value_name = "N", default_value_t = 10_000_000,
          value_parser = clap::value_parser!(u32).range(1..=200_000_000))]
    devices: u32,
    /// Devices that an alert reaches, about.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    matches: u32,
    /// Around this city.
    #[arg(long, value_name = "NAME", default_value = "Wuhan")]
    city: String,
    /// Alerts, one after the other.
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: u32,
    /// Decides where devices are.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// How long the partner may take for one alert.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &AlertArgs) -> anyhow::Result<()> {
    let engine = if args.place.server.is_none() { Some(Engine::start(false)?) } else { None };
    tokio::runtime::Runtime::new()?.block_on(play(args, engine.as_ref()))
}

async fn play(args: &AlertArgs, engine: Option<&Engine>) -> anyhow::Result<()> {
    let (server, pki) = args.place.of(engine)?;
    let namespace = args.place.namespace.as_str();
    let operators = args.place.operators(server, &pki).await?;
    let partner = Client::connect(server, &pki, "partner").await?;
    let authority = Client::connect(server, &pki, "authority").await?;
    let mut control = authority.control().await?;
    let crowds = Crowd::shares(args.devices, args.seed, &Scenario::find("country")?, args.place.sessions())?;
    let first = crowds.first().context("no devices")?;
    let city = named(first.cities(), &args.city)?.clone();
    let radius_km = first.radius_km_of(&city, f64::from(args.matches) / f64::from(args.devices));
    let counters = Counters::new()?;
    operator::send(&operators, namespace, crowds, Pace::Max, Until::Round, &counters).await?;

    let mut out = std::io::stdout();
    writeln!(out, "{}", machine::describe())?;
    writeln!(out, "{} devices, {radius_km:.1} km around {}", grouped(args.devices.into()), city.name)?;
    let mut partner_side = Partner::start(&partner, namespace, &counters).await?;
    let (run_id, mut firsts, mut lasts) = (machine::now().0, Vec::new(), Vec::new());
    for round in 0..args.rounds {
        let id = format!("loadgen-{run_id}-{round}");
        let alert = draft(&id, &city, &json!({"stages": [{"after": "0s", "radius_km": radius_km}]}), None);
        let preview: Value = serde_json::from_str(&control.preview(&alert).await?)?;
        let expected = reached(&preview, namespace);
        ensure!(expected > 0, "the alert would reach nobody");
        let asked = Instant::now();
        control.publish(&alert, None).await?;
        let receipt = asked.elapsed();
        let arrived = tokio::time::timeout(PATIENCE, partner_side.stage(&id, expected)).await;
        let arrived = arrived.context("the partner did not get all matches in time")??;
        let ms = |at: Instant| at.saturating_duration_since(asked).as_secs_f64() * 1e3;
        let (first, last) = (ms(arrived.first), ms(arrived.last));
        writeln!(
            out,
            "{} matches: first after {first:.2} ms, last after {last:.2} ms, receipt after {:.2} ms",
            grouped(arrived.matched),
            receipt.as_secs_f64() * 1e3
        )?;
        firsts.push(first);
        lasts.push(last);
        control.cancel(&id, CancelReason::Refuted, None).await?;
        tokio::time::timeout(PATIENCE, partner_side.cancelled(&id, expected))
            .await
            .context("the partner did not hear of the cancellation in time")??;
    }
    for (name, all) in [("first", &mut firsts), ("last", &mut lasts)] {
        all.sort_by(f64::total_cmp);
        let (middle, most) = (all.get(all.len() / 2), all.last());
        if let (Some(middle), Some(most)) = (middle, most) {
            writeln!(out, "{name} match: median {middle:.2} ms, at most {most:.2} ms")?;
        }
    }
    for client in [partner, authority] {
        client.close().await;
    }
    Ok(())
}

/// How many devices of a namespace the first stage reaches.
fn reached(preview: &Value, namespace: &str) -> u64 {
    let all = preview["namespaces"].as_array().into_iter().flatten();
    let mine = all.filter(|of| of["namespace"] == namespace);
    mine.filter_map(|of| of["devices"][0].as_u64()).sum()
}
