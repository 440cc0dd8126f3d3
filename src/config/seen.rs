//! What files said when they were read, so that it can be told whether they say something else now.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use super::LARGEST_FILE;

/// The files of a configuration, each with a fingerprint of what it said.
///
/// It is made of what stands in them and not of their times, so it sees through links that are swapped, as Kubernetes
/// does it, and is not fooled by a file that was only touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(Vec<(PathBuf, Option<u64>)>);

impl Seen {
    /// Looks at files. Look before they are read: what changes in between is then a change.
    pub(super) fn of(files: Vec<PathBuf>) -> Self {
        Self(files.into_iter().map(looked_at).collect())
    }

    /// Looks at more files.
    pub(super) fn add(&mut self, files: Vec<PathBuf>) {
        self.0.extend(files.into_iter().map(looked_at));
    }

    /// Looks at the same files again.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.0.iter().map(|(file, _)| file.clone()).collect())
    }
}

/// What is not there, or can't be read, says nothing; a pipe is not asked, since that would take from it.
fn looked_at(file: PathBuf) -> (PathBuf, Option<u64>) {
    let is_readable = std::fs::metadata(&file).is_ok_and(|file| file.is_file() && file.len() <= LARGEST_FILE);
    let text = is_readable.then(|| std::fs::read(&file).ok()).flatten();
    let fingerprint = text.map(|text| {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    });
    (file, fingerprint)
}
