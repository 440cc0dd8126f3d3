//! The named links of all origins.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::target::Target;
use super::texts::{TextAt, Texts, number};

/// All links, each kept once, found by origin and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    names: Texts,
    all: Vec<(TextAt, Target)>,
    by_name: HashTable<Named>,
    hasher: DefaultHashBuilder,
}

/// A link of an origin.
#[derive(Clone, Copy, Debug)]
struct Named {
    origin: u32,
    link: u32,
}

/// The links of one origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkNames<'l> {
    pub links: &'l Links,
    pub origin: u32,
}

impl Links {
    /// Adds a link to some origins, but for those that have one of that name.
    pub(super) fn add(&mut self, name: &str, target: Target, origins: &[u32]) {
        let link = number(self.all.len());
        self.all.push((self.names.keep(name), target));
        for origin in origins.iter().copied() {
            if self.find(origin, name).is_none() {
                let Self { names, all, by_name, hasher } = self;
                let hash_of = |named: &Named| {
                    let link = all.get(named.link as usize);
                    hasher.hash_one((named.origin, link.map_or("", |(name, _)| names.text(*name))))
                };
                let named = Named { origin, link };
                by_name.insert_unique(hash_of(&named), named, hash_of);
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn find(&self, origin: u32, name: &str) -> Option<&Target> {
        let link = |named: &Named| self.all.get(named.link as usize);
        let is_it = |named: &Named| {
            named.origin == origin && link(named).is_some_and(|(known, _)| self.names.text(*known) == name)
        };
        self.by_name.find(self.hasher.hash_one((origin, name)), is_it).and_then(link).map(|(_, target)| target)
    }
}

impl<'l> LinkNames<'l> {
    /// Where a link goes.
    pub(super) fn get(&self, name: &str) -> Option<&'l Target> {
        self.links.find(self.origin, name)
    }
}
