//! A folder with keys, logs, journal and archive of its own, and the program in it.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Where the archive goes.
#[derive(Clone)]
pub(crate) enum Destination {
    Directory,
    S3(S3),
}

/// A real S3 server, from the environment.
#[derive(Clone)]
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    access_key: String,
    secret_key: String,
    pub(crate) bucket: String,
    prefix: String,
}

impl S3 {
    /// A server that nobody runs.
    pub(crate) fn nowhere() -> Self {
        Self {
            endpoint: "http://127.0.0.1:9".to_owned(),
            access_key: "none".to_owned(),
            secret_key: "none".to_owned(),
            bucket: "none".to_owned(),
            prefix: "none".to_owned(),
        }
    }

    /// `None`, said loudly, when no server is named.
    pub(crate) fn from_env(test: &str) -> Option<Self> {
        let var = |name: &str| std::env::var(format!("SEALTAIL_TEST_S3_{name}")).ok();
        let found = (|| {
            Some(Self {
                endpoint: var("ENDPOINT")?,
                access_key: var("ACCESS_KEY")?,
                secret_key: var("SECRET_KEY")?,
                bucket: var("BUCKET")?,
                prefix: format!("{test}-{}", std::process::id()),
            })
        })();
        if found.is_none() {
            eprintln!(
                "SKIPPED {test}: no S3 server (SEALTAIL_TEST_S3_ENDPOINT and the others are not set)"
            );
        }
        found
    }
}

pub(crate) struct Sandbox {
    root: tempfile::TempDir,
    destination: Destination,
    pub(crate) settings: Settings,
}

/// What tests vary.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) origin: &'static str,
    /// The archive's folder in the sandbox.
    pub(crate) folder: &'static str,
    pub(crate) include: String,
    pub(crate) profile: &'static str,
    pub(crate) include_payload: bool,
    pub(crate) batch_records: u64,
    pub(crate) log_level: &'static str,
    pub(crate) journal_max: &'static str,
    /// Further recipients, as they stand in a YAML list in brackets: `, {kms: …}`.
    pub(crate) more_recipients: String,
    /// YAML of further sinks; `{root}` is the sandbox.
    pub(crate) more_sinks: String,
    /// Whether there is the archive of the destination.
    pub(crate) has_archive: bool,
    /// Where the admin port is; `off`, so that agents that run side by side do not meet there.
    pub(crate) admin: String,
    /// Runs the program as this user and group.
    pub(crate) user: Option<u32>,
}

impl Sandbox {
    pub(crate) fn new(destination: Destination) -> Self {
        let root = tempfile::tempdir().unwrap();
        let include = format!("{}/logs/**", root.path().display());
        let sandbox = Self {
            root,
            destination,
            settings: Settings {
                origin: "wa/test",
                folder: "archive",
                include,
                profile: "strict",
                include_payload: false,
                batch_records: 1_000_000,
                log_level: "info",
                journal_max: "256MiB",
                more_recipients: String::new(),
                more_sinks: String::new(),
                has_archive: true,
                admin: "off".to_owned(),
                user: None,
            },
        };
        std::fs::create_dir(sandbox.path("logs")).unwrap();
        let keygen = sandbox.run(&["keygen", sandbox.path("keys").to_str().unwrap()]);
        assert!(keygen.status.success(), "{}", said(&keygen));
        sandbox
    }

    pub(crate) fn directory() -> Self {
        Self::new(Destination::Directory)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Runs the program from now on as nobody, who owns all that is there: root
    /// may read and write anything. Under another user nothing changes.
    pub(crate) fn drop_root(&mut self) {
        use std::os::unix::fs::{MetadataExt as _, chown};
        const NOBODY: u32 = 65534;
        fn own(path: &Path) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            if path.is_dir() {
                std::fs::read_dir(path).unwrap().for_each(|entry| own(&entry.unwrap().path()));
            }
        }
        self.config();
        if std::fs::metadata(self.root.path()).unwrap().uid() == 0 {
            own(self.root.path());
            self.settings.user = Some(NOBODY);
        }
    }

    /// Writes the configuration and returns where it is.
    pub(crate) fn config(&self) -> PathBuf {
        let (root, s) = (self.root.path().display(), &self.settings);
        let mut text = format!(
            "origin: {}\n\
             sources: [{{type: file, include: ['{}'], partial_wait: 100ms}}]\n\
             redact: {{profile: {}, include_payload: {}, token_key: {{file: '{root}/keys/token.key'}}}}\n\
             journal: {{path: '{root}/journal', max_bytes: {}, key: {{file: '{root}/keys/journal.key'}}}}\n\
             seal:\n  signing_key: {{file: '{root}/keys/signing.key'}}\n  \
               recipients: [{{rsa: '{root}/keys/archive.pub.pem'}}{}]\n  \
               batch: {{max_records: {}, max_age: 1s}}\n\
             log: {{level: {}, format: json}}\n\
             admin: {{listen: '{}'}}\n\
             sinks:\n",
            s.origin,
            s.include,
            s.profile,
            s.include_payload,
            s.journal_max,
            s.more_recipients,
            s.batch_records,
            s.log_level,
            s.admin
        );
        if s.has_archive {
            text.push_str("  - name: archive\n    type: archive\n");
        }
        match &self.destination {
            _ if !s.has_archive => {}
            Destination::Directory => writeln!(text, "    url: 'file://{root}/{}'", s.folder).unwrap(),
            Destination::S3(s3) => writeln!(
                text,
                "    url: s3://{}/{}\n    endpoint: {}\n    region: us-east-1\n    path_style: true\n    \
                 allow_insecure: true\n    \
                 credentials: {{access_key: {{env: SEALTAIL_TEST_S3_ACCESS_KEY}}, \
                 secret_key: {{env: SEALTAIL_TEST_S3_SECRET_KEY}}}}",
                s3.bucket, s3.prefix, s3.endpoint
            )
            .unwrap(),
        }
        text.push_str(&s.more_sinks.replace("{root}", &root.to_string()));
        let path = self.path("sealtail.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var("SEALTAIL_BIN")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_sealtail").to_owned());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.root.path()).stdin(Stdio::null());
        if let Some(user) = self.settings.user {
            command.uid(user).gid(user);
        }
        command.env_remove("SEALTAIL_FAULT").env("RUST_BACKTRACE", "0");
        if let Destination::S3(s3) = &self.destination {
            command
                .env("SEALTAIL_TEST_S3_ACCESS_KEY", &s3.access_key)
                .env("SEALTAIL_TEST_S3_SECRET_KEY", &s3.secret_key)
                .env("AWS_ACCESS_KEY_ID", &s3.access_key)
                .env("AWS_SECRET_ACCESS_KEY", &s3.secret_key)
                .env("AWS_ENDPOINT_URL", &s3.endpoint)
                .env("AWS_REGION", "us-east-1")
                .env("AWS_S3_FORCE_PATH_STYLE", "true");
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `run --once` with the configuration as it is now.
    pub(crate) fn once(&self) -> Output {
        self.once_within("120")
    }

    /// As [`Sandbox::once`], with another time-out, in seconds.
    pub(crate) fn once_within(&self, timeout: &str) -> Output {
        self.on_config(&["run", "--once", "--timeout", timeout])
    }

    /// A command with `-c` and the configuration as it is now.
    pub(crate) fn on_config(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        self.run(&[arguments, &["-c", config.to_str().unwrap()]].concat())
    }

    /// `run`, in the background; stderr goes to `agent.log`, appended.
    pub(crate) fn start(&self, extra: &[(&str, &str)], once: bool) -> Child {
        let config = self.config();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        let mut arguments = vec!["run", "-c", config.to_str().unwrap()];
        if once {
            arguments.extend(["--once", "--timeout", "120"]);
        }
        self.command(&arguments)
            .envs(extra.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub(crate) fn archive(&self) -> String {
        match &self.destination {
            Destination::Directory => self.path(self.settings.folder).display().to_string(),
            Destination::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.prefix),
        }
    }

    /// `open`: one line a record.
    pub(crate) fn open(&self) -> Vec<String> {
        let (identity, key) = (self.path("keys/archive.pem"), self.path("keys/signing.pub"));
        let out = self.run(&[
            "open",
            &self.archive(),
            "--identity",
            identity.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ]);
        assert!(out.status.success(), "{}", said(&out));
        String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// `verify`, which must hold; returns what it printed.
    pub(crate) fn verify(&self) -> String {
        let (identity, key) = (self.path("keys/archive.pem"), self.path("keys/signing.pub"));
        let out = self.run(&[
            "verify",
            &self.archive(),
            "--key",
            key.to_str().unwrap(),
            "--identity",
            identity.to_str().unwrap(),
        ]);
        assert!(out.status.success(), "{}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    }
}

/// What a command printed, for messages.
pub(crate) fn said(out: &Output) -> String {
    format!(
        "{}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// The repository's folder.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
