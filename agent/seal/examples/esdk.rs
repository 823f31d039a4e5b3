//! Seals or opens one message from stdin to stdout: the counterpart of
//! `tests/interop/esdk_interop.py`.
//!
//! ```text
//! esdk encrypt [--rsa SPKI.pem | --aes NAME KEYFILE]... [--context NAME=VALUE]...
//! esdk decrypt [--rsa PKCS8.pem | --aes NAME KEYFILE]... [--data-key KEYFILE]
//! esdk envelope
//! ```
//!
//! A key file holds one line of base64 of 32 bytes. `decrypt` shows the
//! context on stderr, a pair a line. `envelope` does that without a key, and
//! shows each wrapped key on stdout: PROVIDER, then INFO and CIPHERTEXT in base64;
//! who unwraps it elsewhere (KMS) gives it back with `--data-key`. Exit code 1, with the reason on stderr,
//! when the message is refused; what came out before is to be thrown away.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use sealtail_seal::keys;
use sealtail_seal::message::{Context, Decryptor, Encryptor, Envelope, Identity, Recipient};

/// Not a divisor of the frame length, so that every edge is crossed.
const CHUNK: usize = 10_007;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("esdk: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let sealing = match args.next().as_deref() {
        Some("encrypt") => true,
        Some("decrypt") => false,
        Some("envelope") => return envelope(),
        _ => return Err("expected encrypt, decrypt or envelope".into()),
    };
    let mut data_key = None;
    let (mut recipients, mut identities, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{option} needs a value"));
        match option.as_str() {
            "--rsa" => {
                let pem = std::fs::read_to_string(value()?)?;
                if sealing {
                    recipients.push(Recipient::rsa(&pem)?);
                } else {
                    identities.push(Identity::rsa(&pem)?);
                }
            }
            "--aes" => {
                let name = value()?;
                let key = keys::secret_from_text(&std::fs::read_to_string(value()?)?)?;
                recipients.push(Recipient::aes(&name, *key));
                identities.push(Identity::aes(&name, *key));
            }
            "--data-key" => {
                data_key = Some(keys::secret_from_text(&std::fs::read_to_string(value()?)?)?);
            }
            "--context" => {
                let pair = value()?;
                let (name, value) = pair.split_once('=').ok_or("expected NAME=VALUE")?;
                pairs.push((name.to_owned(), value.to_owned()));
            }
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    if sealing {
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.clone()));
        encrypt(&Context::from_pairs(pairs)?, &recipients)
    } else {
        decrypt(match data_key {
            Some(data_key) => Decryptor::with_data_key(data_key),
            None => Decryptor::new(identities),
        })
    }
}

fn envelope() -> Result<(), Box<dyn Error>> {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    let envelope = Envelope::parse(&message)?;
    for key in &envelope.keys {
        println!("{} {} {}", key.provider_id, base64(&key.provider_info), base64(&key.ciphertext));
    }
    show(&envelope.context);
    Ok(())
}

fn show(context: &Context) {
    for (name, value) in context.pairs() {
        eprintln!("{name}={value}");
    }
}

fn encrypt(context: &Context, recipients: &[Recipient]) -> Result<(), Box<dyn Error>> {
    let mut encryptor = Encryptor::new(context, recipients)?;
    let mut out = Vec::new();
    encryptor.header(&mut out);
    for_each_chunk(&mut out, |chunk, out| Ok(encryptor.update(chunk, out)?))?;
    encryptor.finish(&mut out)?;
    Ok(std::io::stdout().write_all(&out)?)
}

fn decrypt(mut decryptor: Decryptor) -> Result<(), Box<dyn Error>> {
    let mut out = Vec::new();
    for_each_chunk(&mut out, |chunk, out| Ok(decryptor.update(chunk, out)?))?;
    decryptor.finish()?;
    std::io::stdout().write_all(&out)?;
    decryptor.context().into_iter().for_each(show);
    Ok(())
}

/// Feeds stdin in chunks; what comes out goes to stdout at once.
fn for_each_chunk(
    out: &mut Vec<u8>,
    mut feed: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut buf = vec![0; CHUNK];
    loop {
        let n = std::io::stdin().read(&mut buf)?;
        if n == 0 {
            return Ok(());
        }
        feed(buf.get(..n).unwrap_or_default(), out)?;
        std::io::stdout().write_all(out)?;
        out.clear();
    }
}
