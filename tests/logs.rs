//! No log holds an identity, nor what surrounds one, however it is escaped.
//!
//! Where `CROSSLINK_TEST_LOGS` names a folder, everything that a crosslink or a proxy of the tests logs is kept in it
//! (`log_file` in `it/support.rs`). `tests/run` lets all other tests fill one, and then starts this program, which
//! `cargo test` alone leaves out: before them there is nothing to search.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on has failed")]

#[path = "it/secrets.rs"]
mod secrets;

use secrets::{SECRETS, read, search};

#[test]
fn no_log_of_the_whole_run_holds_a_secret() {
    let folder = std::env::var_os("CROSSLINK_TEST_LOGS").expect("CROSSLINK_TEST_LOGS, the folder of the logs");
    let logs = read(folder.as_ref());
    for (source, least_files, least_lines) in LEAST {
        let counts = logs.iter().filter(|(name, _)| name.starts_with(source)).map(|(_, log)| log.lines().count());
        let counts: Vec<_> = counts.filter(|lines| *lines > 0).collect();
        let (files, lines) = (counts.len(), counts.iter().sum::<usize>());
        assert!(files >= *least_files && lines >= *least_lines, "{source}has only {lines} lines in {files} files");
    }
    let found = search(&logs);
    assert!(found.is_empty(), "{} secrets in the logs: {found:#?}", found.len());
    let lines: usize = logs.iter().map(|(_, log)| log.lines().count()).sum();
    println!("{} files with {lines} lines hold none of {} secrets, and nothing random.", logs.len(), SECRETS.len());
}

/// What is kept at the least, which is about half of what there is: a source, its files and the lines in them.
const LEAST: &[(&str, usize, usize)] = &[
    ("app ", 70, 2500),
    ("stdout ", 6, 200),
    ("stderr ", 4, 15),
    ("outbox ", 4, 6),
    ("nginx access.log ", 10, 280),
    ("redis ", 4, 20),
    ("caddy access.log ", 10, 280),
    ("haproxy ", 1, 4),
    ("haproxy access.log ", 6, 120),
    ("envoy access.log ", 10, 280),
    ("prometheus ", 1, 5),
];
