//! The program: arguments in, an exit code out.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// The system's allocator keeps what a crowd of visitors needed once; this one gives it back (see
/// `.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    crosslink::cli::run()
}
