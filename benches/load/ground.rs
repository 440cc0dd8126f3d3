//! What a run needs before the first server starts: a folder, programs, keys and enough descriptors.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::crosslink::OF_CARGO;
use crate::{Outcome, peers, traffic};

/// Everything that all measurements share. Its folder goes when it does.
#[derive(Debug)]
pub struct Ground {
    /// The crosslink that is measured.
    pub program: PathBuf,
    folder: TempDir,
    starts: AtomicU32,
    /// The peer in Go, if there is a compiler for it.
    pub go: Option<PathBuf>,
    /// A certificate and its key, if openssl could make them.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The key of sealed hand-offs.
    pub seal: PathBuf,
    /// The allow-list of the peers, a host a line.
    pub hosts: PathBuf,
    /// How many descriptors a process may have.
    pub descriptors: u32,
}

impl Ground {
    /// Makes all of it.
    pub fn prepare(program: Option<&Path>) -> Outcome<Self> {
        let program = fs::canonicalize(program.unwrap_or(OF_CARGO.as_ref()))?;
        let folder = TempDir::with_prefix("crosslink-load-")?;
        let place = folder.path();
        let hosts = place.join("hosts");
        fs::write(&hosts, traffic::hosts(10).join("\n") + "\n")?;
        let seal = place.join("seal.key");
        fs::write(&seal, said(Command::new(&program).arg("keygen"))?.stdout)?;
        fs::set_permissions(&seal, Permissions::from_mode(0o600))?;
        let go = has("go").then(|| peers::build_go(place)).transpose()?;
        let certificate = has("openssl").then(|| certify(place)).transpose()?;
        let descriptors = raise_descriptors()?;
        Ok(Self { program, starts: AtomicU32::new(0), go, certificate, seal, hosts, descriptors, folder })
    }

    /// Whether what is measured was built otherwise than by cargo alone, and so both can be compared.
    pub fn is_special(&self) -> bool {
        self.program != Path::new(OF_CARGO)
    }

    /// A folder for one start of one server.
    pub fn fresh_folder(&self) -> Outcome<PathBuf> {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(number.to_string());
        fs::create_dir(&folder)?;
        Ok(folder)
    }
}

/// What is not on this machine, and what is left out for it.
pub fn absent() -> Vec<String> {
    let needed = [
        ("nginx", "nginx"),
        ("haproxy", "HAProxy"),
        ("go", "the peer in Go"),
        ("wrk", "all but HTTP/2 and what is counted"),
        ("h2load", "HTTP/2"),
        ("openssl", "TLS and HTTP/2"),
        ("valgrind", "instructions and allocations"),
        ("strace", "system calls"),
        ("strip", "the size of the program"),
    ];
    let programs = needed.iter().filter(|(program, _)| !has(program));
    let mut absent: Vec<_> =
        programs.map(|(program, what)| format!("{what}, because `{program}` is not installed")).collect();
    if has("nginx") && !peers::has_lua() {
        absent.push("nginx with Lua, because its modules are not installed".to_owned());
    }
    absent
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is. Servers often stand where only administrators look.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Runs a command to its end, and gives what it said if it went well.
pub fn said(command: &mut Command) -> Outcome<Output> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} failed: {}", errors.lines().last().unwrap_or("without a word")).into())
}

/// A port of 127.0.0.1 that nobody has at this moment.
pub fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A certificate that nobody needs to believe.
fn certify(folder: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("certificate.key"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.arg("-subj").arg(format!("/CN={}", traffic::ORIGIN));
    command.arg("-addext").arg(format!("subjectAltName=DNS:{}", traffic::ORIGIN));
    said(command.arg("-out").arg(&certificate).arg("-keyout").arg(&key))?;
    Ok((certificate, key))
}

/// Ten thousand connections take as many descriptors, on both sides; what this process may have, its servers may too.
fn raise_descriptors() -> Outcome<u32> {
    let id = std::process::id().to_string();
    let asked = said(Command::new("prlimit").args(["--nofile", "--noheadings", "--output=HARD", "--pid", &id]))?;
    let hard = String::from_utf8_lossy(&asked.stdout).trim().parse().unwrap_or(u32::MAX).min(MOST_DESCRIPTORS);
    said(Command::new("prlimit").arg(format!("--nofile={hard}:")).args(["--pid", &id]))?;
    Ok(hard)
}

/// Enough for everything here. Some programs make a table of all that they may have.
const MOST_DESCRIPTORS: u32 = 20_000;
