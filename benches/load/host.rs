//! The machine and the programs, as the report names them.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use crate::Outcome;
use crate::ground::{Ground, find, said};

/// The day of this run.
pub fn date() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string().chars().take(10).collect()
}

/// Processor, cores and kernel.
pub fn machine() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("an unknown processor", |(_, model)| model.trim());
    format!("{model}, {cores} cores, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

/// The programs that took part, with their versions.
pub fn versions(ground: &Ground) -> Vec<String> {
    let program = ground.program.to_string_lossy();
    let asked = [
        (&*program, "--version"),
        ("nginx", "-v"),
        ("haproxy", "-v"),
        ("go", "version"),
        ("wrk", "-v"),
        ("h2load", "--version"),
        ("valgrind", "--version"),
        ("strace", "-V"),
    ];
    let mut versions: Vec<_> = asked.iter().filter_map(|(program, flag)| version(program, flag)).collect();
    versions.insert(1, format!("hyper {}", locked("hyper").unwrap_or("of an unknown version")));
    versions
}

/// Bytes of the program without its symbols.
pub fn stripped_size(ground: &Ground) -> Outcome<f64> {
    let stripped = ground.fresh_folder()?.join("stripped");
    said(Command::new("strip").arg("-o").arg(&stripped).arg(&ground.program))?;
    let bytes = fs::metadata(&stripped)?.len();
    Ok(f64::from(u32::try_from(bytes)?))
}

/// The first line in which a program names itself. Some do so on stderr, and wrk fails as well.
fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(find(program).unwrap_or_else(|| program.into())).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    // What comes behind the version is about builds and makers.
    let short = line.split(" - ").next().unwrap_or(line).split(" Copyright").next().unwrap_or(line);
    Some(short.trim_start_matches("nginx version: ").to_owned())
}

/// The version of a library that this was built with.
fn locked(name: &str) -> Option<&'static str> {
    let lock = include_str!("../../Cargo.lock");
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}
