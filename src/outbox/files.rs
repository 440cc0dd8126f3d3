//! Files of the outbox: only their owner reads them, one takes the place of another as a whole, and of one that is
//! damaged nothing is thrown away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::frame::{Found, HEADER};

/// A file that only its owner reads, since it holds identities.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Gives a file that root has made to the owner of its directory: under him the service runs, and commands often run as
/// root.
pub(super) fn give_away(file: &File, directory: &Path) -> io::Result<()> {
    let owner = fs::metadata(directory)?;
    let is_foreign = file.metadata()?.uid() == 0 && owner.uid() != 0;
    if is_foreign { fchown(file, Some(owner.uid()), Some(owner.gid())) } else { Ok(()) }
}

/// Puts a file with these bytes in the place of another one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (next, directory) = (path.with_extension("next"), path.parent().unwrap_or(path));
    let _ = fs::remove_file(&next);
    // A new one, so that it is no link to another file.
    let mut file = private().create_new(true).open(&next)?;
    let written = give_away(&file, directory).and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&next, path)) {
        let _ = fs::remove_file(next);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

/// Makes a file whole again that was found damaged, with the records that are to stay, and gives what stands in it
/// then. Unless what is cut off was nothing but zeros, it stays in a file of its own beside it, `NAME.torn`.
///
/// # Errors
/// Not even the name of the file can be changed.
pub(super) fn mend(path: &Path, bytes: &[u8], found: &Found<'_>, stay: Vec<u8>) -> io::Result<Vec<u8>> {
    let copy = free_name(path);
    let is_tail = found.is_tail();
    // The end may have been cut by a full disk, which has no room for another file; a shorter one always fits.
    let mended = if is_tail { cut(path, &copy, found, bytes) } else { rewrite(path, &copy, &stay) };
    let (from, kept) = (path.display(), found.records.len());
    match mended {
        Ok(()) if !found.holds_something => tracing::warn!(file = %from, "the end of this file was empty, and is cut"),
        Ok(()) => {
            let copy = copy.display();
            tracing::error!(file = %from, torn = found.torn, kept, %copy, "this file was damaged: what can be read stays");
        }
        Err(error) => {
            fs::rename(path, &copy)?;
            let copy = copy.display();
            tracing::error!(file = %from, %error, %copy, "this file is damaged, can't be mended, and is set aside");
            return Ok(Vec::new());
        }
    }
    Ok(if is_tail { bytes.get(..found.whole).unwrap_or(HEADER).to_vec() } else { stay })
}

fn cut(path: &Path, copy: &Path, found: &Found<'_>, bytes: &[u8]) -> io::Result<()> {
    if found.holds_something {
        let rest = bytes.get(found.whole..).unwrap_or_default();
        // On a full disk without.
        let _ = private().create_new(true).open(copy).and_then(|mut copy| copy.write_all(rest));
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(HEADER, 0)?;
    file.set_len(found.whole as u64)
}

fn rewrite(path: &Path, copy: &Path, stay: &[u8]) -> io::Result<()> {
    fs::hard_link(path, copy)?;
    // As long as both are names of one file, a new name for the old one changes nothing.
    replace(path, stay).inspect_err(|_| drop(fs::remove_file(copy)))
}

/// `NAME.torn`, or with a number if that is there already.
fn free_name(path: &Path) -> PathBuf {
    let names = (2..).map(|number| format!("torn-{number}"));
    let mut paths = std::iter::once("torn".to_owned()).chain(names).map(|name| path.with_extension(name));
    paths.find(|path| !path.exists()).unwrap_or_default()
}
