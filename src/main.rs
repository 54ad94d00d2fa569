//! The program: it parses its arguments and calls [`hexcast::cli`].

use std::process::ExitCode;

/// A page-wise allocator that gives memory back and does not serialise the partition threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hexcast::cli::main()
}
