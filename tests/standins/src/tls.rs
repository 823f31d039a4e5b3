//! TLS: an authority of our own, certificates that are right or wrong in one way each, and
//! handshakes that fail. Keys and certificates are made anew and live in memory only.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::gate::hold;

/// How a handshake goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// TLS 1.2 or 1.3, with a certificate for `localhost` and 127.0.0.1.
    Good,
    /// The certificate ended in 2021.
    Expired,
    /// The certificate is for another host.
    WrongHost,
    /// The certificate is of another authority.
    UnknownCa,
    /// The client must show a certificate of the authority ([`Pki::client`]).
    ClientCertificate,
    /// The connection is closed when half of the server's first flight is sent.
    CutHandshake,
    /// The server knows nothing newer than TLS 1.1.
    OnlyTls11,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PEM (PKCS#8).
    pub key_pem: String,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

/// An authority with what it signed. Stand-ins of one test may share it.
pub struct Pki {
    ca_pem: String,
    client: Identity,
    stranger: Identity,
    good: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    wrong_host: Arc<ServerConfig>,
    unknown_ca: Arc<ServerConfig>,
    client_certificate: Arc<ServerConfig>,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

impl Pki {
    /// A new authority.
    ///
    /// # Errors
    /// When the machine has no randomness, or a library changed its mind.
    pub fn new() -> io::Result<Arc<Self>> {
        let made = || -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
            let ours = Authority::new("Stand-in CA")?;
            let other = Authority::new("Unknown CA")?;
            let here = ["localhost", "127.0.0.1"];
            let mut clients = RootCertStore::empty();
            clients.add(ours.certificate.clone())?;
            Ok(Self {
                good: Arc::new(server(&ours.server(&here, false)?, None)?),
                expired: Arc::new(server(&ours.server(&here, true)?, None)?),
                wrong_host: Arc::new(server(&ours.server(&["elsewhere.test"], false)?, None)?),
                unknown_ca: Arc::new(server(&other.server(&here, false)?, None)?),
                client_certificate: Arc::new(server(
                    &ours.server(&here, false)?,
                    Some(Arc::new(clients)),
                )?),
                client: ours.client("agent")?,
                stranger: other.client("agent")?,
                ca_pem: ours.pem,
            })
        };
        made().map(Arc::new).map_err(io::Error::other)
    }

    /// The authority's certificate, PEM: what a client is to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A client that the authority knows.
    #[must_use]
    pub fn client(&self) -> &Identity {
        &self.client
    }

    /// A client whose certificate is of another authority.
    #[must_use]
    pub fn stranger(&self) -> &Identity {
        &self.stranger
    }
}

/// Signs the others.
struct Authority {
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params.self_signed(&key)?;
        let (pem, certificate) = (made.pem(), made.der().clone());
        Ok(Self { pem, certificate, issuer: Issuer::new(params, key) })
    }

    fn server(&self, names: &[&str], expired: bool) -> Result<Identity, rcgen::Error> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        self.sign(params)
    }

    fn client(&self, name: &str) -> Result<Identity, rcgen::Error> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity, rcgen::Error> {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let made = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate_pem: made.pem(),
            key_pem: key.serialize_pem(),
            certificate: made.der().clone(),
            key: key.serialize_der(),
        })
    }
}

fn server(
    identity: &Identity,
    clients: Option<Arc<RootCertStore>>,
) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => versions.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
            versions.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let mut config = builder.with_single_cert(vec![identity.certificate.clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// One stand-in's side of TLS.
pub(crate) struct Tls {
    pki: Arc<Pki>,
    mode: Mutex<TlsMode>,
}

impl Tls {
    pub(crate) fn new(pki: Arc<Pki>) -> Self {
        Self { pki, mode: Mutex::new(TlsMode::Good) }
    }

    pub(crate) fn set(&self, mode: TlsMode) {
        *hold(&self.mode) = mode;
    }

    /// `None` when the mode ends the connection here.
    pub(crate) fn handshake(&self, mut socket: &TcpStream) -> io::Result<Option<ServerConnection>> {
        let mode = *hold(&self.mode);
        let config = match mode {
            TlsMode::Good | TlsMode::CutHandshake => &self.pki.good,
            TlsMode::Expired => &self.pki.expired,
            TlsMode::WrongHost => &self.pki.wrong_host,
            TlsMode::UnknownCa => &self.pki.unknown_ca,
            TlsMode::ClientCertificate => &self.pki.client_certificate,
            TlsMode::OnlyTls11 => {
                only_tls11(socket)?;
                return Ok(None);
            }
        };
        let mut session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        if mode == TlsMode::CutHandshake {
            while !session.wants_write() && session.read_tls(&mut socket)? > 0 {
                session.process_new_packets().map_err(io::Error::other)?;
            }
            let mut flight = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut flight)?;
            }
            socket.write_all(flight.get(..flight.len() / 2).unwrap_or_default())?;
            socket.shutdown(Shutdown::Write)?;
            // What the client still says is heard: unread, it would make a reset of the end.
            io::copy(&mut socket, &mut io::sink())?;
            return Ok(None);
        }
        while session.is_handshaking() {
            if session.complete_io(&mut socket)? == (0, 0) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Some(session))
    }
}

/// Answers the client's hello as TLS 1.1 (RFC 4346, section 7.4.1.3) and hears its complaint.
fn only_tls11(mut socket: &TcpStream) -> io::Result<()> {
    let mut header = [0; 5];
    socket.read_exact(&mut header)?;
    let length = u16::from_be_bytes([header[3], header[4]]);
    let mut hello = vec![0; usize::from(length)];
    socket.read_exact(&mut hello)?;
    let mut reply = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    reply.extend_from_slice(&[0x5a; 32]); // "random"
    reply.extend_from_slice(&[0, 0xc0, 0x13, 0]); // no session, ECDHE-RSA-AES128-SHA, no compression
    socket.write_all(&reply)?;
    let mut complaint = Vec::new();
    socket.take(1024).read_to_end(&mut complaint)?;
    Ok(())
}
