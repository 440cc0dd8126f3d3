//! All integration tests, in one program so that they are linked once and run in parallel.

mod support;
