//! Configurations of crosslink for this run.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::traffic;

/// What crosslink is told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whether each request gets its line in the log, as by default.
    pub logs: bool,
    /// The hosts of the allow-list.
    pub hosts: Vec<String>,
    /// Whether each host has a pair of its own, or all share one.
    pub is_pair_each: bool,
    /// What the pairs do beyond a plain hand-off.
    pub job: Job,
}

/// What a pair does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Job {
    /// Hand-offs with the identity in the URL.
    Plain,
    /// Hand-offs with a token in the URL.
    Sealed,
    /// Arrivals with the identity in the URL.
    Landing,
}

impl Setup {
    /// The usual: a log, and ten hosts in one pair.
    pub fn usual() -> Self {
        Self { logs: true, hosts: traffic::hosts(10), is_pair_each: false, job: Job::Plain }
    }

    /// The file, for addresses and files that only the start knows.
    pub fn file(&self, places: &Places<'_>) -> String {
        let mut file = match places.tls {
            None => format!("listen: 127.0.0.1:{}\n", places.port),
            Some((certificate, key)) => format!(
                "tls:\n  - listen: 127.0.0.1:{}\n    certificate: {}\n    key: {}\n",
                places.port,
                certificate.display(),
                key.display()
            ),
        };
        let requests = if self.logs { "all" } else { "off" };
        // Writing into a `String` can't fail.
        let _ = write!(
            file,
            "admin: 127.0.0.1:{}\nlimits: {{ connections: 16384 }}\nlog: {{ requests: {requests} }}\n",
            places.admin
        );
        if self.job == Job::Sealed {
            let _ = write!(file, "keys:\n  - id: load\n    file: {}\n", places.seal.display());
        }
        file.push_str("pairs:\n");
        if self.is_pair_each {
            for (number, host) in self.hosts.iter().enumerate() {
                let _ = writeln!(file, "  - {{ origin: {}, destination: {host} }}", traffic::origin_of(number));
            }
            return file;
        }
        let _ = writeln!(file, "  - name: load\n    origin: {}", traffic::ORIGIN);
        file.push_str(match self.job {
            Job::Plain => "    links: { checkout: \"https://yoursite.3rd-party-checkout.com/cart\" }\n",
            Job::Sealed => "    hand_off: sealed\n",
            Job::Landing => "    landing: { accept: plain }\n",
        });
        file.push_str("    destination:\n");
        for host in &self.hosts {
            let _ = writeln!(file, "      - {host}");
        }
        file
    }
}

/// Where one start of crosslink finds everything.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Where visitors come.
    pub port: u16,
    /// Where the operator looks.
    pub admin: u16,
    /// A certificate and its key, to speak TLS.
    pub tls: Option<(&'a Path, &'a Path)>,
    /// The key of sealed hand-offs.
    pub seal: &'a PathBuf,
}

/// The program as cargo alone builds it.
pub const OF_CARGO: &str = env!("CARGO_BIN_EXE_crosslink");
