//! Compresses what browsers are served, once and as small as it gets.

use std::io::{self, Write};
use std::path::Path;
use std::{env, fs};

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed={SCRIPT}");
    let script = fs::read(SCRIPT)?;
    let folder = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let mut gzip = GzEncoder::new(fs::File::create(Path::new(&folder).join("link.js.gz"))?, Compression::best());
    gzip.write_all(&script)?;
    gzip.finish()?;
    let mut brotli = fs::File::create(Path::new(&folder).join("link.js.br"))?;
    // By default it is as good as it can be.
    brotli::BrotliCompress(&mut script.as_slice(), &mut brotli, &BrotliEncoderParams::default())?;
    Ok(())
}

const SCRIPT: &str = "src/http/link.js";
