//! Cursors over the wire: where a partner resumes, what moves nothing, and who is cut off.

use std::sync::{Arc, Mutex};

use hexcast::client::{ClientError, StartAt, SubscribeEvent, Subscription};
use hexcast::delivery::{CutOffs, LagLimits, TicksHand};
use hexcast::domain::{CursorAt, EventTime, Namespace, Offset};
use hexcast::runtime::NamespaceIx;
use hexcast::wire::{
    Body, CursorAck, Encodings, ErrorCode, ErrorFrame, Frame, FrameReader, Kind, MatchColumns, ReadError,
    Session, frame_of,
};
use quinn::RecvStream;

use crate::world::{PATIENCE, World, alert, batch, code_of, farewell, hello, ping};

/// A server whose patience is measured by hand, with what it writes of cursors.
struct Patient {
    world: World,
    hand: TicksHand,
    written: Arc<Mutex<Vec<(String, u64)>>>,
}

fn patient(lag: LagLimits, recovered: Vec<CursorAt>) -> Patient {
    let (world, hand) = World::with_lag(lag, recovered);
    let written = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&written);
    world.delivery.cursors().write_to(Box::new(move |cursor| {
        into.lock().unwrap().push((format!("{} {}", cursor.namespace, cursor.partner), cursor.offset.0));
    }));
    Patient { world, hand, written }
}

impl Patient {
    fn cursor(&self, partner: &str) -> Option<u64> {
        let default = Namespace::new("default").unwrap();
        self.world.delivery.cursors().get(&default, partner).map(|offset| offset.0)
    }

    /// Waits until a cursor is where it should be.
    async fn cursor_reaches(&self, partner: &str, offset: u64) {
        let reached = async {
            while self.cursor(partner) != Some(offset) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap();
    }

    /// Passes the time second by second, as it is looked at, until a subscription is ended; says why.
    async fn until_over(&self, subscription: &mut Subscription) -> ClientError {
        let told = async {
            let mut end = std::pin::pin!(subscription.next());
            loop {
                tokio::select! {
                    biased;
                    end = &mut end => break end.unwrap_err(),
                    () = tokio::task::yield_now() => self.hand.pass(1_000),
                }
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap()
    }

    async fn devices(&self, devices: std::ops::Range<u64>) {
        let now = self.world.runtime.now();
        let operator = self.world.client("operator").await;
        let mut pings = operator.ingest("default", "city").await.unwrap();
        let devices: Vec<u64> = devices.collect();
        for some in devices.chunks(10_000) {
            pings.send(&batch(some.iter().map(|device| ping(*device, now, 0)))).await.unwrap();
        }
        pings.finish().await.unwrap();
    }

    async fn publish(&self, id: &str, status: &str) {
        let authority = self.world.client("authority").await;
        authority.control().await.unwrap().publish(&alert(id, status), None).await.unwrap();
    }

    fn cut_offs(&self) -> CutOffs {
        self.world.delivery.cut_offs()
    }
}

/// The offsets of the next so many matches.
pub(crate) async fn take(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let event = tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap().unwrap();
        if let SubscribeEvent::Matches(found) = event {
            offsets.extend(found.iter().map(|(offset, _)| offset.0));
        }
    }
    offsets
}

fn subscribe(from: StartAt) -> Vec<u8> {
    let encodings = Encodings::ROWS_AND_COLUMNS;
    hello(Session::Subscribe { namespace: "default".into(), from, exercises: true, encodings })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_resumes_at_its_cursor_which_never_goes_back() {
    let at = CursorAt {
        namespace: Namespace::new("app").unwrap(),
        partner: "both".into(),
        offset: Offset(0),
        at: EventTime(0),
    };
    let patient = patient(LagLimits::default(), vec![at]);
    patient.devices(0..10).await;
    patient.publish("a", "actual").await;
    let partner = patient.world.client("partner").await;
    // Without a cursor it is the earliest.
    let mut first = partner.subscribe("default", StartAt::Cursor, true).await.unwrap();
    assert_eq!(first.terms().start, 0);
    take(&mut first, 10).await;
    first.done_below(Offset(4)).await.unwrap();
    patient.cursor_reaches("partner", 4).await;
    first.done_below(Offset(6)).await.unwrap();
    patient.cursor_reaches("partner", 6).await;
    // Written at once, then not before 200 ms have passed.
    assert_eq!(*patient.written.lock().unwrap(), [("default partner".into(), 4)]);
    patient.hand.pass(200);
    let written = async {
        while patient.written.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.unwrap();

    let mut second = partner.subscribe("default", StartAt::Cursor, true).await.unwrap();
    assert_eq!(second.terms().start, 6);
    assert_eq!(take(&mut second, 4).await, [6, 7, 8, 9]);
    // Reading anew, from the start, takes nothing back.
    let mut again = partner.subscribe("default", StartAt::Earliest, true).await.unwrap();
    take(&mut again, 10).await;
    again.done_below(Offset(2)).await.unwrap();
    again.done_below(Offset(7)).await.unwrap();
    patient.cursor_reaches("partner", 7).await;
    // Another identity has a cursor of its own; at the end of a session it is written.
    let both = patient.world.client("both").await;
    let mut other = both.subscribe("default", StartAt::Cursor, true).await.unwrap();
    take(&mut other, 10).await;
    other.done_below(Offset(3)).await.unwrap();
    other.done_below(Offset(5)).await.unwrap();
    patient.cursor_reaches("both", 5).await;
    drop((other, second, again, first));
    both.close().await;
    partner.close().await;
    patient.world.server.shutdown().await;
    let written = patient.written.lock().unwrap().clone();
    let of = |partner: &str| {
        let of = written.iter().filter(|(name, _)| name == partner).map(|(_, offset)| *offset);
        of.collect::<Vec<_>>()
    };
    assert_eq!((of("default partner"), of("default both")), (vec![4, 6, 7], vec![3, 5]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_past_what_was_sent_or_back_moves_nothing() {
    let patient = patient(LagLimits::default(), vec![]);
    patient.devices(0..10).await;
    patient.publish("a", "actual").await;
    let connection = patient.world.raw("partner").await;
    for (acks, stands) in [(&[4u64, 11][..], 4), (&[5, 3], 5), (&[u64::MAX], 5)] {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&subscribe(StartAt::Earliest)).await.unwrap();
        let mut reader = FrameReader::new(recv);
        loop {
            let frame = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
            if frame.kind == Kind::MatchBatch {
                break;
            }
        }
        let acks: Vec<u8> =
            acks.iter().flat_map(|next| frame_of(&CursorAck { next: *next }).unwrap()).collect();
        send.write_all(&acks).await.unwrap();
        let frame = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
        let error = ErrorFrame::read(&frame.content).unwrap();
        assert_eq!(error.code, ErrorCode::Cursor.number(), "{}", error.message);
        assert_eq!(patient.cursor("partner"), Some(stands));
    }
    // A cursor that the log does not hold is told, never skipped: here the log is younger than it.
    let default = Namespace::new("default").unwrap();
    patient.world.delivery.cursors().acknowledged(&default, "admin", Offset(99), EventTime(0), 0);
    let (mut send, recv) = patient.world.raw("admin").await.open_bi().await.unwrap();
    send.write_all(&subscribe(StartAt::Cursor)).await.unwrap();
    let told = farewell(send, recv).await;
    assert_eq!(told.code, ErrorCode::OffsetGone.number());
    assert!(told.line.contains("offset 99"), "{}", told.line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_acknowledges_nothing_is_cut_off_and_told_why_and_may_resume() {
    let patient = patient(LagLimits { silent_ms: 5_000, ..LagLimits::default() }, vec![]);
    patient.devices(0..10).await;
    let partner = patient.world.client("partner").await;
    let mut silent = partner.subscribe("default", StartAt::Earliest, true).await.unwrap();
    let mut busy =
        patient.world.client("both").await.subscribe("default", StartAt::Earliest, true).await.unwrap();
    // Where nothing waits nobody is silent, however long.
    patient.hand.pass(1_000_000);
    patient.publish("a", "actual").await;
    take(&mut silent, 10).await;
    take(&mut busy, 10).await;
    silent.done_below(Offset(3)).await.unwrap();
    busy.done_below(Offset(10)).await.unwrap();
    patient.cursor_reaches("both", 10).await;
    patient.cursor_reaches("partner", 3).await;
    // It is due at some look, whenever the server first saw that something waits.
    let told = patient.until_over(&mut silent).await;
    assert_eq!(code_of(&told), Some(ErrorCode::Lagging), "{told}");
    assert!(told.to_string().contains("nothing was acknowledged for 5000 ms"), "{told}");
    assert!(told.is_transient());
    assert_eq!(patient.cut_offs(), CutOffs { silent: 1, ..CutOffs::default() });

    let mut back = partner.subscribe("default", StartAt::Cursor, true).await.unwrap();
    assert_eq!(take(&mut back, 7).await, (3..10).collect::<Vec<_>>());
    // The other noticed nothing.
    patient.publish("b", "actual").await;
    assert_eq!(take(&mut busy, 10).await, (10..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matches_that_are_not_shown_are_no_lag() {
    let patient = patient(LagLimits { silent_ms: 5_000, ..LagLimits::default() }, vec![]);
    patient.devices(0..10).await;
    let partner = patient.world.client("partner").await;
    let mut matches = partner.subscribe("default", StartAt::Earliest, false).await.unwrap();
    patient.publish("real", "actual").await;
    take(&mut matches, 10).await;
    matches.done_below(Offset(10)).await.unwrap();
    patient.cursor_reaches("partner", 10).await;
    for drill in 0..20 {
        patient.publish(&drill.to_string(), "exercise").await;
        patient.hand.pass(4_000);
    }
    let log = patient.world.delivery.log(NamespaceIx(0));
    tokio::time::timeout(PATIENCE, log.wait_beyond(Offset(209))).await.unwrap();
    patient.publish("again", "actual").await;
    assert_eq!(take(&mut matches, 10).await, (210..220).collect::<Vec<_>>());
    matches.done_below(Offset(220)).await.unwrap();
    patient.cursor_reaches("partner", 220).await;
    assert_eq!(patient.cut_offs(), CutOffs::default());
}

/// What a raw subscription brings to its end: its matches, and the code by which it ended.
async fn drain(recv: RecvStream) -> (usize, u64) {
    let mut reader = FrameReader::new(recv);
    let mut matches = 0;
    loop {
        match tokio::time::timeout(PATIENCE, reader.next()).await.unwrap() {
            Ok(Some(Frame { kind: Kind::MatchBatch, content, .. })) => {
                matches += MatchColumns::read(&content).unwrap().len();
            }
            Ok(Some(Frame { kind: Kind::Error, content, .. })) => {
                return (matches, u64::from(ErrorFrame::read(&content).unwrap().code));
            }
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(ReadError::Broken(why)) => {
                let reset = why.get_ref().and_then(|inner| inner.downcast_ref::<quinn::ReadError>());
                let Some(quinn::ReadError::Reset(code)) = reset else { panic!("{why}") };
                return (matches, code.into_inner());
            }
            Err(why) => panic!("{why}"),
        }
    }
}

/// One partner reads nothing at all: pings, alerts and another partner go on as if it were not there,
/// and it is cut off, amid a frame that does not fit into what it is ready to take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_reads_nothing_costs_the_others_nothing() {
    const DEVICES: u64 = 400_000;
    let patient = patient(LagLimits { age_ms: 60_000, ..LagLimits::default() }, vec![]);
    let connection = patient.world.raw("partner").await;
    let (mut send, dead) = connection.open_bi().await.unwrap();
    send.write_all(&subscribe(StartAt::Earliest)).await.unwrap();
    let both = patient.world.client("both").await;
    let mut alive = both.subscribe("default", StartAt::Earliest, true).await.unwrap();
    patient.devices(0..DEVICES).await;
    patient.publish("a", "actual").await;
    assert_eq!(take(&mut alive, DEVICES as usize).await.len(), DEVICES as usize);
    alive.done_below(Offset(DEVICES)).await.unwrap();
    patient.cursor_reaches("both", DEVICES).await;
    assert_eq!(patient.cut_offs(), CutOffs::default(), "nobody is cut off before time passes");
    let cut = async {
        while patient.cut_offs().age == 0 {
            patient.hand.pass(1_000);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cut).await.unwrap();
    let (matches, code) = drain(dead).await;
    assert_eq!(code, u64::from(ErrorCode::Lagging.number()));
    assert!(matches < DEVICES as usize, "it was cut off amid the log");
    assert_eq!(patient.cut_offs(), CutOffs { age: 1, ..CutOffs::default() });
    patient.publish("b", "actual").await;
    assert_eq!(take(&mut alive, DEVICES as usize).await.len(), DEVICES as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_matches_that_wait_end_it() {
    let patient = patient(LagLimits { matches: 15, ..LagLimits::default() }, vec![]);
    patient.devices(0..10).await;
    patient.publish("a", "actual").await;
    let partner = patient.world.client("partner").await;
    let mut matches = partner.subscribe("default", StartAt::Earliest, true).await.unwrap();
    take(&mut matches, 10).await;
    patient.publish("b", "actual").await;
    take(&mut matches, 10).await;
    let told = patient.until_over(&mut matches).await;
    assert_eq!(code_of(&told), Some(ErrorCode::Lagging));
    assert!(told.to_string().contains("20 matches wait"), "{told}");
    assert_eq!(patient.cut_offs().matches, 1);
    // What waited before does not count.
    let mut back = partner.subscribe("default", StartAt::Earliest, true).await.unwrap();
    assert_eq!(take(&mut back, 20).await.len(), 20);
}
