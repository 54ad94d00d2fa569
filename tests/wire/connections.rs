//! Who is let in, and how a connection ends.

use std::sync::Arc;

use hexcast::access::pki;
use hexcast::client::{Client, ClientError, StartAt};
use hexcast::runtime::ClockMode;
use hexcast::wire::{ErrorCode, Hello, Session, frame_of};
use quinn::{ConnectionError, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{PATIENCE, World, batch, code_of, connect, ping};

/// The code and line of the close by which the server ends a connection.
async fn closed(connection: &quinn::Connection) -> (Option<ErrorCode>, String) {
    match tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap() {
        ConnectionError::ApplicationClosed(close) => (
            ErrorCode::from_number(close.error_code.into_inner()),
            String::from_utf8(close.reason.to_vec()).unwrap(),
        ),
        other => panic!("{other}"),
    }
}

fn tls(
    roots: &std::path::Path,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> rustls::ClientConfig {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(roots.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(store);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    };
    config.alpn_protocols = vec![b"hexcast/1".to_vec()];
    config
}

fn identity(dir: &std::path::Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).unwrap();
    (vec![certificate], key)
}

#[tokio::test]
async fn only_an_identity_of_this_authority_is_let_in() {
    let world = World::new(ClockMode::Wall);
    let other = tempfile::tempdir().unwrap();
    pki::init(other.path()).unwrap();
    let own = world.pki.path();
    let refused = [
        ("no certificate", tls(own, None)),
        ("another authority's", tls(own, Some(identity(other.path(), "operator")))),
        ("the server's own", tls(own, Some(identity(own, "server")))),
    ];
    for (what, tls) in refused {
        // TLS 1.3 lets a client believe that it is in until the server has seen its certificate.
        let why = match connect(world.addr(), tls, TransportConfig::default()).await {
            Err(why) => why,
            Ok(connection) => tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap(),
        };
        assert!(matches!(why, ConnectionError::ConnectionClosed(_)), "{what}: {why}");
    }
    let mut other_protocol = tls(own, Some(identity(own, "operator")));
    other_protocol.alpn_protocols = vec![b"hexcast/2".to_vec()];
    assert!(connect(world.addr(), other_protocol, TransportConfig::default()).await.is_err());

    let stranger = Client::connect(world.addr(), other.path(), "operator").await;
    let why = stranger.err().expect("the server is another authority's").to_string();
    assert!(why.contains("certificate") && !why.contains('\n'), "{why}");
    // Nobody is worse off.
    world.client("operator").await.ingest("default", "s").await.unwrap();
}

#[tokio::test]
async fn a_certificate_without_a_grant_is_told_so() {
    let world = World::new(ClockMode::Wall);
    let read = |name| std::fs::read_to_string(world.pki.path().join(name)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = tls(world.pki.path(), Some((vec![certificate.der().clone()], key)));
    let connection = connect(world.addr(), tls, TransportConfig::default()).await.unwrap();
    let (code, line) = closed(&connection).await;
    assert_eq!(code, Some(ErrorCode::Identity));
    assert!(line.contains("no hexcast grant"), "{line}");
}

#[tokio::test]
async fn another_protocol_version_closes_the_connection() {
    let world = World::new(ClockMode::Wall);
    let connection = world.raw("operator").await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    // What a later version's hello holds is not for this one to know.
    let mut frame = frame_of(&Hello { version: 2, session: Session::Control }).unwrap();
    frame[10] = 0xff;
    send.write_all(&frame).await.unwrap();
    let (code, line) = closed(&connection).await;
    assert_eq!(code, Some(ErrorCode::Version));
    assert!(line.contains("version 2"), "{line}");
}

#[tokio::test]
async fn one_identity_cannot_take_all_connections() {
    let world = World::new(ClockMode::Wall);
    let mut held = Vec::new();
    for _ in 0..64 {
        let client = world.client("operator").await;
        held.push((client.ingest("default", "s").await.unwrap(), client));
    }
    let one_more = world.raw("operator").await;
    let (code, line) = closed(&one_more).await;
    assert_eq!(code, Some(ErrorCode::TooManyConnections));
    assert!(line.contains("64 connections"), "{line}");
    world.client("partner").await.subscribe("default", StartAt::Latest, false).await.unwrap();
}

#[tokio::test]
async fn a_peer_cannot_open_more_sessions_than_it_may() {
    let world = World::new(ClockMode::Wall);
    let client = world.client("partner").await;
    let mut held = Vec::new();
    for _ in 0..18 {
        held.push(client.subscribe("default", StartAt::Latest, false).await.unwrap());
    }
    let mut next = std::pin::pin!(client.subscribe("default", StartAt::Latest, false));
    // Not an error: the stream is not opened until another one ends.
    let poll =
        std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context).is_pending()));
    assert!(poll.await);
    // The server may tell of ended sessions in groups of three.
    held.truncate(15);
    tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_tells_every_session_and_keeps_what_was_taken() {
    let world = World::new(ClockMode::Wall);
    let operator = world.client("operator").await;
    let mut pings = operator.ingest("default", "s").await.unwrap();
    let partner = world.client("partner").await;
    let mut matches = partner.subscribe("default", StartAt::Latest, false).await.unwrap();
    let authority = world.client("authority").await;
    let mut control = authority.control().await.unwrap();
    control.list().await.unwrap();
    let number = pings.send(&batch([ping(1, world.runtime.now(), 0)])).await.unwrap();
    let mut progress = pings.progress();
    progress.wait_for(|progress| progress.applied >= number).await.unwrap();

    let World { server, runtime, pki: _pki, .. } = world;
    tokio::time::timeout(PATIENCE, server.shutdown()).await.unwrap();
    let why = matches.next().await.unwrap_err();
    assert_eq!(code_of(&why), Some(ErrorCode::ShuttingDown), "{why}");
    assert!(why.is_transient());
    let why = control.list().await.unwrap_err();
    assert_eq!(code_of(&why), Some(ErrorCode::ShuttingDown), "{why}");
    let why: ClientError = pings.finish().await.unwrap_err();
    assert_eq!(code_of(&why), Some(ErrorCode::ShuttingDown), "{why}");
    runtime.stop();
}
