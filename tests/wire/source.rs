//! A source whose calls are given up half-way, against a server that reads only when it is told to.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use hexcast::access::{pki, server_config};
use hexcast::client::{Batch, KeepPolicy, Source, WhenFull};
use hexcast::domain::{EventTime, PingCounts};
use hexcast::wire::{
    Ack, Clock, Encodings, FrameReader, HelloReply, IngestTerms, PROTOCOL_VERSION, PartitionHash, PingBatch,
    SafeBasis, SessionTerms, frame_of,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{PATIENCE, batch, ping};

const BATCH: u64 = 1_000;
/// Less than a frame of [`BATCH`] pings, so that a frame waits half-way.
const WINDOW: u32 = 4_096;
/// Batches that the source may keep.
const KEPT: u64 = 4;

/// A batch as it came: its number and devices.
type Came = (u64, Vec<u64>);

/// A server that reads so many batches, and calls each applied and safe.
struct Reluctant {
    addr: SocketAddr,
    may_read: watch::Sender<u64>,
    came: JoinHandle<Vec<Came>>,
}

impl Reluctant {
    fn new(pki: &std::path::Path) -> Self {
        let crypto = QuicServerConfig::try_from(server_config(pki).unwrap()).unwrap();
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(WINDOW));
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let (addr, (may_read, told)) = (endpoint.local_addr().unwrap(), watch::channel(0));
        let came = tokio::spawn(async move {
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let (send, recv) = connection.accept_bi().await.unwrap();
            read(send, recv, told).await
        });
        Self { addr, may_read, came }
    }

    fn may_read(&self, batches: u64) {
        self.may_read.send_replace(batches);
    }
}

async fn read(mut send: SendStream, recv: RecvStream, mut may_read: watch::Receiver<u64>) -> Vec<Came> {
    let mut reader = FrameReader::new(recv);
    reader.next().await.unwrap().expect("a hello");
    let terms = SessionTerms::Ingest(IngestTerms {
        partitions: 1,
        hash: PartitionHash::Mix64,
        safe_basis: SafeBasis::Snapshot,
        last_safe: 0,
        encodings: Encodings::ROWS,
        batch_pings_max: 10_000,
        unapplied_pings_max: 100_000,
        unapplied_batches_max: 100,
    });
    let hello = HelloReply { version: PROTOCOL_VERSION, clock: Clock::Wall, now_ms: 0, terms };
    send.write_all(&frame_of(&hello).unwrap()).await.unwrap();
    let mut came: Vec<Came> = Vec::new();
    loop {
        let read = came.len() as u64;
        // Its end means that it may read all.
        let _ = may_read.wait_for(|may| *may > read).await;
        let Ok(Some(frame)) = reader.next().await else { return came };
        let batch = PingBatch::read(frame.encoding, &frame.content).unwrap();
        let devices = batch.rows(&mut Vec::new()).iter().map(|row| row.device.get()).collect();
        came.push((batch.number(), devices));
        let ack = Ack::new(batch.number(), batch.number(), &PingCounts::default());
        send.write_all(&frame_of(&ack).unwrap()).await.unwrap();
    }
}

/// Begins a call and drops it; whether it had come to its end.
fn given_up<T>(call: impl Future<Output = T>) -> bool {
    pin!(call).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn nth(n: u64) -> Batch {
    batch((n * BATCH..(n + 1) * BATCH).map(|device| ping(device, EventTime(0), 0)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_source_is_given_and_given_up_is_sent_once() {
    let dir = tempfile::tempdir().unwrap();
    pki::init(dir.path()).unwrap();
    let server = Reluctant::new(dir.path());
    let bytes_max = nth(0).bytes() * KEPT as usize;
    let policy = KeepPolicy { bytes_max, when_full: WhenFull::Wait };
    let mut source = Source::new(server.addr, dir.path(), "operator", "default", "moving", policy);
    source.applied().await.unwrap();
    let (mut next, mut refused) = (0, 0);
    for round in 0..4 {
        // The server does not read, so each of these stops amid a frame, or where there is no room.
        loop {
            assert!(!given_up(source.send(nth(next))), "nobody reads");
            if source.state().taken == next {
                break;
            }
            next += 1;
            assert_eq!(source.state().taken, next);
            assert!(!given_up(source.applied()) && !given_up(source.safe()));
        }
        refused += 1;
        assert_eq!(next, KEPT * (round + 1));
        // It reads on amid the first, and then all.
        server.may_read(KEPT * round + 1);
        let freed = async {
            while source.state().kept as u64 == KEPT {
                tokio::select! {
                    biased;
                    done = source.safe() => done.unwrap(),
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, freed).await.unwrap();
        server.may_read(next);
        tokio::time::timeout(PATIENCE, source.safe()).await.unwrap().unwrap();
        assert_eq!(source.state().kept, 0);
    }
    assert_eq!(refused, 4);
    server.may_read(u64::MAX);
    tokio::time::timeout(PATIENCE, source.send(nth(next))).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, source.safe()).await.unwrap().unwrap();
    source.close().await;
    let came = tokio::time::timeout(PATIENCE, server.came).await.unwrap().unwrap();
    let due = (0..=next).map(|n| (n + 1, (n * BATCH..(n + 1) * BATCH).collect::<Vec<u64>>()));
    assert!(came.iter().map(|(number, _)| *number).eq(1..=next + 1), "{} batches came", came.len());
    assert!(came.into_iter().eq(due), "a batch is another");
}
