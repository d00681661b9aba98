//! Webhooks behind TLS.
//!
//! For: that a certificate is checked. Not for: TLS itself.
//! Invariant: the certificates are made for each test, and trusted by it alone.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use crate::{
    connect::Connector,
    secret::Keys,
    send::{Message, Outcome, send},
};

/// A receiver with a certificate for these names; it answers each request with a status. What it was sent, at its end.
async fn receiver(names: &[&str], status: &'static str) -> (SocketAddr, CertificateDer<'static>, JoinHandle<String>) {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust the certificate breaks off.
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return String::new() };
        let mut text = vec![0; 4_096];
        let read = stream.read(&mut text).await.unwrap_or(0);
        let answer = format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&text[..read]).into_owned()
    });
    (address, certificate, served)
}

async fn sent(host: &str, port: u16, trusted: &[CertificateDer<'static>]) -> Outcome {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let connector = Connector::trusting("127.0.0.0/8,::1".parse().unwrap(), roots);
    let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let message = Message { id: "msg_1".to_owned(), body: Bytes::from_static(b"{}") };
    send(&connector, &format!("https://{host}:{port}/in"), Duration::from_secs(30), &keys, &message).await
}

#[tokio::test]
async fn a_certificate_that_is_trusted_and_of_the_host_is_taken() {
    let (address, certificate, served) = receiver(&["127.0.0.1"], "204 Some").await;
    assert_eq!(sent("127.0.0.1", address.port(), &[certificate]).await, Outcome::Taken);
    let request = served.await.unwrap();
    assert!(request.starts_with("POST /in HTTP/1.1\r\n") && request.contains("webhook-signature: v1,"), "{request}");
}

#[tokio::test]
async fn any_other_certificate_is_refused_before_anything_is_sent() {
    for (names, trusts) in [(["other.example"], true), (["127.0.0.1"], false)] {
        let (address, certificate, served) = receiver(&names, "204 Some").await;
        let (_, another, _) = receiver(&["127.0.0.1"], "204 Some").await;
        let trusted = if trusts { certificate } else { another };
        let Outcome::Failed { reason, .. } = sent("127.0.0.1", address.port(), &[trusted]).await else { panic!() };
        assert!(reason.contains("TLS with `127.0.0.1` fails"), "{reason}");
        assert_eq!(served.await.unwrap(), "");
    }
}

#[tokio::test]
async fn no_redirect_leads_out_of_tls() {
    let (address, certificate, _) = receiver(&["127.0.0.1"], "307 Some").await;
    let Outcome::Failed { reason, .. } = sent("127.0.0.1", address.port(), &[certificate]).await else { panic!() };
    assert!(reason.contains("from `https` to `http`"), "{reason}");
}
