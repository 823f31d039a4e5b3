//! How a server of AWS, or one that speaks like it, is reached.
//!
//! It promises: TLS is rustls with the authorities that were given, or the
//! system's; a proxy is used when the configuration or the environment names one;
//! a file of authorities is read again when it changes, and one that cannot be
//! used any more leaves the old one in force.

use aws_sdk_s3::config::SharedAsyncSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Trust and way. The default: the system's authorities, a proxy as the
/// environment says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// Only these certificate authorities are believed (PEM).
    pub ca: Option<PathBuf>,
    /// `http://[user:password@]host:port`; `None`: `HTTPS_PROXY`, `HTTP_PROXY` and
    /// `NO_PROXY` are obeyed.
    pub proxy: Option<String>,
}

/// Where a machine's or a pod's own credentials are: never asked for through a
/// proxy, whatever the environment says.
const LOCAL: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
];

/// Connections are let go of after so long: who asks rarely finds a dead one otherwise.
const IDLE: Duration = Duration::from_secs(20);

/// The direct way and the one through the proxy.
#[derive(Debug)]
struct Ways {
    direct: SharedHttpConnector,
    proxied: SharedHttpConnector,
}

impl HttpConnector for Ways {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = reqwest::Url::parse(request.uri()).ok();
        let is_local = url.and_then(|u| u.host_str().map(|h| LOCAL.contains(&h))).unwrap_or(false);
        if is_local { self.direct.call(request) } else { self.proxied.call(request) }
    }
}

/// What connectors were made with, and for.
struct Made {
    tls: Option<TlsContext>,
    stamp: Option<SystemTime>,
    /// By connect and read time-out.
    connectors: Vec<([Option<Duration>; 2], SharedHttpConnector)>,
}

impl Transport {
    /// A pool of connections.
    ///
    /// # Errors
    /// What is wrong with the file of authorities, or with the proxy.
    pub(crate) fn client(&self) -> Result<SharedHttpClient, String> {
        let (transport, proxy) = (self.clone(), self.proxy()?);
        let (tls, stamp) = (self.tls()?, self.stamp());
        let made = Mutex::new(Made { tls, stamp, connectors: Vec::new() });
        Ok(http_client_fn(move |settings, components| {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            let stamp = transport.stamp();
            if stamp != made.stamp {
                made.stamp = stamp;
                match transport.tls() {
                    Ok(tls) => {
                        made.tls = tls;
                        made.connectors.clear();
                    }
                    Err(e) => {
                        tracing::warn!(
                            "failed to read {e}; the authorities of before stay in force"
                        );
                    }
                }
            }
            let timeouts = [settings.connect_timeout(), settings.read_timeout()];
            if let Some((_, known)) = made.connectors.iter().find(|(t, _)| *t == timeouts) {
                return known.clone();
            }
            let way = |proxy| connector(settings, components.sleep_impl(), made.tls.clone(), proxy);
            let (direct, proxied) = (way(ProxyConfig::disabled()), way(proxy.clone()));
            let connector = SharedHttpConnector::new(Ways { direct, proxied });
            made.connectors.push((timeouts, connector.clone()));
            connector
        }))
    }

    fn stamp(&self) -> Option<SystemTime> {
        self.ca.as_ref().and_then(|path| std::fs::metadata(path).ok()?.modified().ok())
    }

    fn tls(&self) -> Result<Option<TlsContext>, String> {
        let Some(path) = &self.ca else { return Ok(None) };
        let text = authorities(path)?;
        let trust = TrustStore::empty().with_pem_certificate(text);
        let context = TlsContext::builder().with_trust_store(trust).build();
        context.map(Some).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn proxy(&self) -> Result<ProxyConfig, String> {
        let Some(proxy) = &self.proxy else { return Ok(ProxyConfig::from_env()) };
        ProxyConfig::all(proxy).map_err(|_| "the proxy is no URL".to_owned())
    }
}

/// The file, if a TLS client can be made with it: the library below takes what it
/// is given and ends the process when it cannot use it.
fn authorities(path: &Path) -> Result<Vec<u8>, String> {
    let named = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let text = std::fs::read(path).map_err(|e| named(&e))?;
    let bad = || named(&"it holds no certificates in PEM");
    let certificates = reqwest::Certificate::from_pem_bundle(&text).map_err(|_| bad())?;
    if certificates.is_empty() {
        return Err(bad());
    }
    let tried = reqwest::Client::builder().tls_certs_only(certificates).build();
    tried.map(|_| text).map_err(|_| named(&"it holds a certificate that cannot be used"))
}

fn connector(
    settings: &HttpConnectorSettings,
    sleep: Option<SharedAsyncSleep>,
    tls: Option<TlsContext>,
    proxy: ProxyConfig,
) -> SharedHttpConnector {
    let mut builder = Connector::builder().connector_settings(settings.clone()).proxy_config(proxy);
    builder.set_sleep_impl(sleep);
    builder.set_pool_idle_timeout(Some(Some(IDLE)));
    let mut builder = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    if let Some(tls) = tls {
        builder = builder.tls_context(tls);
    }
    SharedHttpConnector::new(builder.build())
}
