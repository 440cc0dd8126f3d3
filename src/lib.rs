//! crosslink carries a visitor's analytics identity from one domain to another.

pub mod link;
