//! What a peer can make the server keep has an end, and nothing is lost where it is reached.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hexcast::access::client_config;
use hexcast::delivery::Delivery;
use hexcast::runtime::{AlertInfo, ClockMode, MatchSink, NamespaceIx, Output};
use hexcast::wire::{Ack, Body, Datum, Frame, FrameReader, Kind, Session, batch_frame};
use quinn::TransportConfig;

use crate::world::{PATIENCE, World, alert, batch, connect, hello, ping};

/// A sink at which partitions wait until the gate is opened.
struct Gate {
    delivery: Arc<Delivery>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl MatchSink for Gate {
    fn alert(&self, info: &Arc<AlertInfo>) {
        MatchSink::alert(&*self.delivery, info);
    }

    fn matches(&self, namespace: NamespaceIx, matches: &Output) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        drop(open);
        self.delivery.matches(namespace, matches);
    }
}

/// Partitions that hang make a sender wait: what it can get rid of meanwhile is what one session
/// may have unapplied, and a stream's window. When they go on, all is applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_pressure_reaches_the_sender() {
    let mut gate = None;
    let world = World::with_sink(ClockMode::Wall, |delivery| {
        let made = Arc::new(Gate { delivery, open: Mutex::new(false), opened: Condvar::new() });
        gate = Some(Arc::clone(&made));
        made
    });
    let gate = gate.unwrap();
    let now = world.runtime.now();
    let authority = world.client("authority").await;
    authority.control().await.unwrap().publish(&alert("a", "actual"), None).await.unwrap();

    let mut transport = TransportConfig::default();
    transport.send_window(64 << 10);
    let tls = client_config(world.pki.path(), "operator").unwrap();
    let connection = connect(world.addr(), tls, transport).await.unwrap();
    let (mut send, recv) = connection.open_bi().await.unwrap();
    let session = Session::Ingest {
        namespace: "default".into(),
        source: "flood".into(),
        first_batch: 1,
        datum: Datum::Wgs84,
    };
    send.write_all(&hello(session)).await.unwrap();
    // All partitions get devices inside the alert's area, and so all hang.
    let rows = batch((0..8_000).map(|device| ping(device, now, 0)));
    let mut frame = Vec::new();
    let (mut number, mut written, mut rest) = (0_u64, 0_usize, Vec::new());
    let sent_all = 64 << 20;
    while written < sent_all {
        batch_frame(number + 1, rows.base, &rows.rows, &mut frame).unwrap();
        number += 1;
        let mut left = frame.as_slice();
        while !left.is_empty() {
            // Waiting ends the flood, not the test: what counts is how much went out before.
            match tokio::time::timeout(Duration::from_millis(500), send.write(left)).await {
                Ok(count) => {
                    let count = count.unwrap();
                    written += count;
                    left = &left[count..];
                }
                Err(_) => break,
            }
        }
        if !left.is_empty() {
            rest = left.to_vec();
            break;
        }
    }
    let batch_bytes = frame.len();
    let bound = 262_144 * 20 + (4 << 20) + (64 << 10) + 2 * batch_bytes + 1_024;
    assert!(written <= bound, "{written} bytes went out, {bound} are the bound");

    gate.open();
    send.write_all(&rest).await.unwrap();
    send.finish().unwrap();
    let mut reader = FrameReader::new(recv);
    let mut last = None;
    while let Some(Frame { kind, content, .. }) =
        tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap()
    {
        if kind == Kind::Ack {
            last = Some(Ack::read(&content).unwrap());
        }
    }
    let last = last.unwrap();
    assert_eq!((last.applied, last.counts().total()), (number, number * 8_000));
}
