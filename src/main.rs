//! The program: arguments in, an exit code out.

use std::process::ExitCode;

/// The system's allocator keeps what threads have freed: over reloads and crowds the process would grow. This one gives it
/// back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    crosslink::cli::run()
}
