//! Connections to webhooks.
//!
//! For: resolving a host, checking what it resolves to, and connecting to what was checked. Not for: HTTP.
//! Invariant: a host is resolved once for a connection, and a connection is opened to an address that this one look-up
//! gave and that is permitted: a name that resolves otherwise a moment later changes nothing.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use consort_types::WebhookUrl;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OnceCell,
    time::Instant,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::allow::Allow;

/// A connection, with or without TLS.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens connections.
pub(crate) struct Connector {
    allow: Allow,
    /// Made at the first need: reading the certificates of the system takes a moment.
    tls: OnceCell<TlsConnector>,
}

impl Connector {
    pub(crate) fn new(allow: Allow) -> Self {
        Self { allow, tls: OnceCell::new() }
    }

    /// One that trusts these authorities, and not those of the machine.
    #[cfg(test)]
    pub(crate) fn trusting(allow: Allow, roots: RootCertStore) -> Self {
        Self { allow, tls: OnceCell::new_with(connector(roots).ok()) }
    }

    /// A connection to the host of an address, by `until`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn connect(&self, url: &WebhookUrl, until: Instant) -> Result<Box<dyn Duplex>, String> {
        let addresses = resolve(url).await?;
        // All of them: a name that has a private address beside a public one is a trick, or a mistake.
        if !addresses.iter().all(|address| self.allow.permits(&url.host, address.ip())) {
            let host = &url.host;
            return Err(format!("`{host}` is at an address that is not public, which `webhook-allow` does not name"));
        }
        let stream = open(url, &addresses, until).await?;
        if !url.tls {
            return Ok(Box::new(stream));
        }
        let name =
            ServerName::try_from(url.host.clone()).map_err(|_| "the host cannot have a certificate".to_owned())?;
        let stream = self.tls().await?.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| format!("TLS with `{}` fails: {error}", url.host))?))
    }

    async fn tls(&self) -> Result<&TlsConnector, String> {
        let make = || async {
            let roots = tokio::task::spawn_blocking(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            });
            let roots = roots.await.map_err(|_| "the server stops".to_owned())?;
            if roots.is_empty() {
                return Err("this machine has no certificates of authorities to check `https` by".to_owned());
            }
            connector(roots)
        };
        self.tls.get_or_try_init(make).await
    }
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What a host resolves to.
async fn resolve(url: &WebhookUrl) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = url.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, url.port)]);
    }
    let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_| format!("`{}` cannot be resolved", url.host))?.collect();
    if found.is_empty() { Err(format!("`{}` has no address", url.host)) } else { Ok(found) }
}

/// Tries one address after the other; each may take its part of what is left.
async fn open(url: &WebhookUrl, addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, String> {
    let mut why = "in time".to_owned();
    for (at, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let part = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        match tokio::time::timeout(part.max(Duration::from_millis(1)), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // What is written is written at once; a system that cannot be told so is only slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = format!("now: {}", error.kind()),
            Err(_) => {}
        }
    }
    Err(format!("`{}` cannot be connected to {why}", url.authority()))
}
