//! The story of a run: who does what, when the server dies, and what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hexcast::client::{
    Batch, BatchBuilder, Client, ClientError, KeepPolicy, Source, StartAt, SubscribeEvent,
};
use hexcast::domain::{Cause, DeviceId, EventTime, Offset, Ping, Position};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::harness::{DEADLINE, Running, serve, write};
use super::judge::{Action, Alert, FIRST, Judge, STEP_E7};

/// Devices that move about, and the spots where they may be.
const DEVICES: u64 = 300;
const SPOTS: u64 = 40;
/// When an alert that grows does so.
const STAGE_MS: i64 = 1_000;

/// A match as the partner saw it.
#[derive(Clone, Debug, PartialEq)]
struct Match {
    alert: String,
    cause: Cause,
    device: u64,
    version: u32,
}

/// What the partner has seen, over all of its sessions.
#[derive(Default)]
struct Seen {
    matches: Vec<Match>,
    ids: BTreeMap<u64, String>,
}

/// Numbers without order, the same for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

/// How the server's lives ended.
#[derive(Debug, Default)]
struct Ends {
    killed: u64,
    killed_at_start: u64,
    asked: u64,
    other_partitions: u64,
    unanswered: u64,
}

/// See the module head.
pub(crate) struct Story {
    dice: Dice,
    dir: tempfile::TempDir,
    judge: Judge,
    source: Option<Source>,
    seen: Arc<Mutex<Seen>>,
    /// The newest time that was sent.
    newest: i64,
    last_sent: BTreeMap<u64, (i64, i32)>,
    /// By device: all spots that it was sent at.
    sent: BTreeMap<u64, BTreeSet<i32>>,
    /// An action that was asked for and not answered.
    unanswered: Option<Action>,
    ends: Ends,
}

/// A server that runs.
struct Life {
    server: Running,
    address: SocketAddr,
    partner: tokio::task::JoinHandle<()>,
    count: watch::Receiver<usize>,
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = "durable_pings = true\nsnapshot_every = '1s'\n[policies]\n\
            grows = [{ after = '0s', radius_km = 2.8 }, { after = '1s', radius_km = 6.1 }]\n";
        write(dir.path(), "config.toml", config);
        Self {
            dice: Dice(seed),
            dir,
            judge: Judge::default(),
            source: None,
            seen: Arc::default(),
            newest: 0,
            last_sent: BTreeMap::new(),
            sent: BTreeMap::new(),
            unanswered: None,
            ends: Ends::default(),
        }
    }

    /// Lives so many lives, and one more in which all comes to rest.
    pub(crate) async fn run(mut self, rounds: u64) -> String {
        for round in 0..rounds {
            let life = self.begin(round).await;
            // What goes on when it dies is cut off wherever it is.
            let moment = self.moment(life.count.clone());
            let asked = self.dice.below(12) == 0;
            tokio::select! {
                () = moment => {}
                () = self.act(life.address) => {}
            }
            self.end(life, asked).await;
        }
        let life = self.begin(1).await;
        let address = life.address;
        within(self.source.as_mut().unwrap().safe()).await.unwrap();
        // Each device stands where one of these alerts is, if the engine knows where that is.
        let first = self.judge.alerts.len();
        for spot in (3..SPOTS as i32 + 3).step_by(7) {
            self.publish(address, Alert { spot, reach: [3; 2], stage_at: None }, 3.5 * 1.1085).await.unwrap();
        }
        let (all, known) = (Arc::clone(&self.seen), self.last_sent.len());
        let last: BTreeSet<String> = (first..self.judge.alerts.len()).map(|n| format!("crash-{n}")).collect();
        let mut count = life.count.clone();
        let told = || all.lock().unwrap().matches.iter().filter(|found| last.contains(&found.alert)).count();
        within(count.wait_for(|_| told() >= known)).await.unwrap();
        self.end(life, true).await;
        self.judged(rounds, first)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("hexcast-data")
    }

    fn pki(&self) -> PathBuf {
        self.data().join("pki")
    }

    /// A moment to die: some time or some matches from now.
    fn moment(&mut self, mut count: watch::Receiver<usize>) -> impl Future<Output = ()> + use<> {
        let more = [1, 2, 5, 20, 60, usize::MAX / 2][self.dice.below(6) as usize];
        let within =
            Duration::from_micros([500, 5_000, 40_000, 150_000, 400_000][self.dice.below(5) as usize]);
        // Now and then long enough for a stage, or a snapshot under way.
        let (more, within) = match self.dice.below(5) {
            0 => (usize::MAX / 2, Duration::from_millis(2_400)),
            _ => (more, within),
        };
        let within = within.mul_f64((1 + self.dice.below(100)) as f64 / 100.0);
        async move {
            let enough = *count.borrow() + more;
            // A server that is gone ends the session, and the count with it.
            let _ = timeout(within, count.wait_for(|now| *now >= enough)).await;
        }
    }

    async fn begin(&mut self, round: u64) -> Life {
        let partitions: u32 = if round % 7 == 6 { 3 } else { 2 };
        let arg = partitions.to_string();
        let args = ["--config", "config.toml", "--partitions", &arg];
        while self.dice.below(5) == 0 {
            // Killed while it starts.
            let all = ["serve", "--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"].iter().chain(&args);
            let starting = Running::start(self.dir.path(), all);
            std::thread::park_timeout(Duration::from_micros(self.dice.below(90_000)));
            starting.signal("KILL");
            starting.wait_exit("the end of a start");
            self.ends.killed_at_start += 1;
        }
        let (server, to) = serve(self.dir.path(), &args);
        let address: SocketAddr = to[1].parse().unwrap();
        self.find_out(address).await;
        self.ends.other_partitions += u64::from(round % 7 == 6);
        self.judge.begins(partitions, self.judge.script.len());
        match &mut self.source {
            Some(source) => source.set_server(address),
            None => {
                let policy = KeepPolicy::default();
                self.source = Some(Source::new(address, self.pki(), "operator", "default", "moving", policy));
            }
        }
        let from = {
            let seen = self.seen.lock().unwrap().matches.len() as u64;
            if self.dice.below(10) == 0 { 0 } else { seen - self.dice.below(seen.min(50) + 1) }
        };
        let (sender, count) = watch::channel(0);
        let client = Client::connect(address, &self.pki(), "partner").await.unwrap();
        let partner = tokio::spawn(read(client, from, Arc::clone(&self.seen), sender));
        Life { server, address, partner, count }
    }

    async fn end(&mut self, life: Life, asked: bool) {
        life.server.signal(if asked { "TERM" } else { "KILL" });
        if asked {
            self.ends.asked += 1;
        } else {
            self.ends.killed += 1;
        }
        let said = life.server.wait_exit("the server's end");
        assert!(!asked || said.code == 0, "{}", said.err);
        // A dead server says no farewell: its silence would last until QUIC gives up.
        life.partner.abort();
        if let Err(why) = life.partner.await
            && let Ok(panic) = why.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
        let data = self.data();
        self.judge.unanswered = self.unanswered;
        self.judge.read(&data);
    }

    /// What goes on in a life, without an end.
    async fn act(&mut self, address: SocketAddr) {
        // What the start found is judged before anything moves.
        if self.dice.below(2) == 0 && self.decide(address).await.is_err() {
            std::future::pending::<()>().await;
        }
        for step in 0.. {
            let source = self.source.as_mut().unwrap();
            match self.dice.below(8) {
                0 => within(source.applied()).await.unwrap(),
                1 => within(source.safe()).await.unwrap(),
                _ => {}
            }
            let most = [4, 40, 400][self.dice.below(3) as usize];
            let batches = 1 + self.dice.below(most);
            for _ in 0..batches {
                let batch = self.batch();
                within(self.source.as_mut().unwrap().send(batch)).await.unwrap();
            }
            if step % 3 == 1 && self.decide(address).await.is_err() {
                // It has died: that comes first.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Some devices move.
    fn batch(&mut self) -> Batch {
        let mut builder = BatchBuilder::new(100);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
        self.newest = now.max(self.newest + 1);
        let mut devices = BTreeSet::new();
        for _ in 0..1 + self.dice.below(20) {
            devices.insert(1 + self.dice.below(DEVICES));
        }
        for device in devices {
            let spot = self.dice.below(SPOTS) as i32;
            self.last_sent.insert(device, (self.newest, spot));
            self.sent.entry(device).or_default().insert(spot);
            let position = Position::from_e7(FIRST.0 + spot * STEP_E7, FIRST.1).unwrap();
            let (device, at) = (DeviceId(device), EventTime(self.newest));
            assert!(builder.push(Ping { device, at, position, accuracy_m: 0 }).is_none());
        }
        builder.take().unwrap()
    }

    /// Publishes or cancels an alert.
    async fn decide(&mut self, address: SocketAddr) -> Result<(), ClientError> {
        let standing: Vec<usize> = (0..self.judge.alerts.len())
            .filter(|alert| {
                !self.judge.script.iter().any(|one| matches!(one, Action::Cancel(it) if it == alert))
            })
            .collect();
        if standing.len() > 2 && self.dice.below(2) == 0 {
            let alert = standing[self.dice.below(standing.len() as u64) as usize];
            self.unanswered = Some(Action::Cancel(alert));
            let mut control = Client::connect(address, &self.pki(), "authority").await?.control().await?;
            let line = json!({"action": "cancel", "id": format!("crash-{alert}"), "reason": "found"});
            control.act(&line.to_string(), None).await?;
            self.answered();
            return Ok(());
        }
        let spot = self.dice.below(SPOTS) as i32;
        let grows = self.dice.below(3) == 0;
        let reach = if grows { [2, 5] } else { [self.dice.below(7) as i32; 2] };
        let stage_at = grows.then_some(0);
        self.publish(address, Alert { spot, reach, stage_at }, (f64::from(reach[0]) + 0.5) * 1.1085).await
    }

    async fn publish(
        &mut self,
        address: SocketAddr,
        mut alert: Alert,
        radius_km: f64,
    ) -> Result<(), ClientError> {
        let number = self.judge.alerts.len();
        let (lat, lon) = (f64::from(FIRST.0 + alert.spot * STEP_E7) / 1e7, f64::from(FIRST.1) / 1e7);
        let mut circle = json!({"lat": lat, "lon": lon});
        let mut content =
            json!({"id": format!("crash-{number}"), "status": "actual", "headline": "Somebody is missing"});
        let mut control = Client::connect(address, &self.pki(), "authority").await?.control().await?;
        if alert.stage_at.is_some() {
            let lost = control.hello().now();
            alert.stage_at = Some(lost.0 + STAGE_MS);
            content["lost"] = lost.to_string().into();
            content["policy"] = "grows".into();
        } else {
            circle["radius_km"] = radius_km.into();
            content["policy"] = "fixed".into();
            let expires = control.hello().now().plus_ms(86_400_000);
            content["expires"] = expires.to_string().into();
        }
        content["area"] = json!({ "circle": circle });
        self.judge.alerts.push(alert);
        self.unanswered = Some(Action::Publish(number));
        control.publish(&content.to_string(), None).await?;
        self.answered();
        Ok(())
    }

    fn answered(&mut self) {
        let action = self.unanswered.take().unwrap();
        self.judge.script.push(action);
    }

    /// What became of an action that was not answered. What was not accepted is given up.
    async fn find_out(&mut self, address: SocketAddr) {
        let Some(action) = self.unanswered else { return };
        self.ends.unanswered += 1;
        let client = Client::connect(address, &self.pki(), "authority").await.unwrap();
        let mut control = client.control().await.unwrap();
        let (Action::Publish(alert) | Action::Cancel(alert)) = action;
        let shown = control.show(&format!("crash-{alert}")).await;
        let accepted = match (&shown, action) {
            (Ok(_), Action::Publish(_)) => true,
            (Ok(shown), Action::Cancel(_)) => {
                let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
                shown["state"] == "cancelled"
            }
            (Err(ClientError::Declined { .. }), Action::Publish(_)) => false,
            (Err(why), _) => panic!("{why}"),
        };
        if accepted {
            self.answered();
        } else {
            self.unanswered = None;
            if let Action::Publish(_) = action {
                self.judge.alerts.pop();
            }
        }
    }

    fn judged(&self, rounds: u64, last: usize) -> String {
        let seen = self.seen.lock().unwrap();
        let (mut told, mut ended) =
            (BTreeMap::<_, BTreeSet<u64>>::new(), BTreeMap::<_, BTreeSet<u64>>::new());
        for (offset, found) in seen.matches.iter().enumerate() {
            let alert: usize = found.alert.strip_prefix("crash-").unwrap().parse().unwrap();
            if found.cause == Cause::Cancel {
                assert!(
                    told.get(&alert).is_some_and(|told| told.contains(&found.device)),
                    "{offset}: {found:?}"
                );
                assert!(
                    ended.entry(alert).or_default().insert(found.device),
                    "{offset}: a second end: {found:?}"
                );
            } else {
                let after = ended.get(&alert).is_some_and(|ended| ended.contains(&found.device));
                assert!(!after, "{offset}: told after the end: {found:?}");
                assert!(
                    told.entry(alert).or_default().insert(found.device),
                    "{offset}: told twice: {found:?}"
                );
            }
        }
        let (none, mut beyond, mut total) = (BTreeSet::new(), 0, 0);
        for (number, alert) in self.judge.alerts.iter().enumerate() {
            let (must, told) =
                (self.judge.must.get(&number).unwrap_or(&none), told.get(&number).unwrap_or(&none));
            let missed: Vec<_> = must.difference(told).collect();
            assert!(missed.is_empty(), "crash-{number} {alert:?}: not told: {missed:?}");
            for device in told.difference(must) {
                // By a ping that no log kept.
                let ever =
                    self.sent[device].iter().any(|spot| alert.reaches(*spot, alert.stage_at.is_some()));
                assert!(ever, "crash-{number} {alert:?}: {device} never was within");
                assert!(number < last, "crash-{number}: {device} is elsewhere");
                beyond += 1;
            }
            total += told.len();
            let cancelled =
                self.judge.script.iter().any(|one| matches!(one, Action::Cancel(it) if *it == number));
            let ended = ended.get(&number).unwrap_or(&none);
            assert_eq!(ended, if cancelled { told } else { &none }, "crash-{number}: who heard of the end");
        }
        assert_eq!(self.judge.devices, self.last_sent, "a ping of the source was lost");
        format!(
            "{rounds} crashes and ends: {:?}; 0 lost, 0 doubled: {} alerts, {total} notified ({beyond} by pings that \
             were not kept), {} matches; {} entries of ping logs judged",
            self.ends,
            self.judge.alerts.len(),
            seen.matches.len(),
            self.judge.entries,
        )
    }
}

/// Reads matches until the server is gone.
async fn read(client: Client, from: u64, seen: Arc<Mutex<Seen>>, count: watch::Sender<usize>) {
    let Ok(mut matches) = client.subscribe("default", StartAt::Offset(from), false).await else { return };
    loop {
        match matches.next().await {
            Ok(SubscribeEvent::Alert(content)) => {
                seen.lock().unwrap().ids.insert(content.no.0.into(), content.id.to_string());
            }
            Ok(SubscribeEvent::Matches(batch)) => {
                let mut seen = seen.lock().unwrap();
                for (Offset(offset), found) in batch.iter() {
                    let alert = seen.ids[&u64::from(found.alert.0)].clone();
                    let (cause, device, version) = (found.cause, found.device.0, found.version);
                    let now = Match { alert, cause, device, version };
                    match seen.matches.get(offset as usize) {
                        Some(was) => assert_eq!(*was, now, "offset {offset} is another now"),
                        None => {
                            assert_eq!(offset as usize, seen.matches.len(), "an offset is left out");
                            seen.matches.push(now);
                        }
                    }
                }
                count.send_replace(seen.matches.len());
            }
            Err(_) => return,
        }
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("it takes too long")
}
