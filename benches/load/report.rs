//! `docs/benchmarks.md`: what was measured and how to read it. All of it is written here but one block of prose.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::ground::{Ground, absent};
use crate::scenario::Section;
use crate::table::number;
use crate::{Effort, Outcome, host};

/// Writes the report. What stands between the marks of the file, if there is one, stays as it is.
pub fn write(file: &Path, sections: &[Section], ground: &Ground, effort: Effort) -> Outcome<()> {
    let prose = fs::read_to_string(file).ok().and_then(|old| kept(&old)).unwrap_or_else(|| "\n".to_owned());
    let mut text = format!("{}\n{BEGIN}{prose}{END}\n", opening(ground, effort));
    for section in sections {
        // Writing into a `String` can't fail.
        let _ = write!(text, "\n{section}");
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(file, text)?)
}

/// What stands between the marks.
fn kept(old: &str) -> Option<String> {
    let (_, rest) = old.split_once(BEGIN)?;
    Some(rest.split_once(END)?.0.to_owned())
}

fn opening(ground: &Ground, effort: Effort) -> String {
    let mut text = HOW.to_owned();
    let _ = write!(
        text,
        "\nMeasured on {}, on {}. Medians of {} rounds of {} s each",
        host::date(),
        host::machine(),
        effort.rounds,
        effort.secs
    );
    text.push_str(if effort.is_quick { ", with `--quick`: **only to see that it works**.\n" } else { ".\n" });
    let _ = writeln!(text, "\nWith {}.", host::versions(ground).join("; "));
    if let Ok(bytes) = host::stripped_size(ground) {
        let _ = writeln!(text, "The program of crosslink, stripped, has {} MB.", number(Some(bytes / 1e6), 1));
    }
    let missing = absent();
    if !missing.is_empty() {
        let _ = writeln!(text, "\nLeft out:\n");
    }
    for what in missing {
        let _ = writeln!(text, "* {what}");
    }
    text
}

const BEGIN: &str = "<!-- Prose that the command keeps begins here. -->";
const END: &str = "<!-- Prose that the command keeps ends here. -->";

const HOW: &str = "\
# How fast crosslink is

This page is written by one command, which starts all servers, drives them and draws the tables:

```sh
deploy/optimized/build
cargo bench --bench load -- --program target/optimized/crosslink --report docs/benchmarks.md
```

crosslink is measured as the Debian package and the image have it: [built](../deploy/optimized/build) with a profile of what
visitors ask for, which is counted in requests of other hosts and paths than here. A row tells what cargo alone makes of it,
and all other servers are as their makers build them; bare hyper is built by cargo alone.

**How it is measured.** The server has one core, the load generator another; they talk over loopback. A browser's request is
sent, with some 805 bytes of cookies, 19 of them, and `to` leads to ten hosts in turn. Each round starts each server once, in
an order that changes, warms it up for a second and then measures; before that it waits for a quiet machine, and what others
disturbed is measured again. crosslink writes its log (to `/dev/null`), counts for its metrics and makes all its checks,
unless the row says otherwise; no other server logs anything.

**How to read it.** Ratios are medians of the ratios of the rounds, and they are what holds; times and rates belong to this
machine and this day. *CPU* is what the server's processes used for one request, *user* in the program and *kernel* in the
system. Once the server is faster than the load generator, throughput says nothing any more, and CPU still does. *p50* and
*p99* are what half of the requests, and all but one of a hundred, took at most, as the load generator saw it; that is mostly
waiting for the other connections. *Memory* is the resident set after the load, *first answer* the time from the start of the
process to its first redirect. *bare hyper* is the library under crosslink with one constant answer, in one thread: what any
answer costs. A server that does the job *nearly* decides by a regular expression, or by a parser that reads URLs otherwise
than browsers do.
";
