//! What may happen very often, and is said once a minute.

use std::time::{Duration, Instant};

/// Something to complain of.
#[derive(Default)]
pub(super) struct Complaint {
    said: Option<Instant>,
    unsaid: u64,
    why: String,
}

impl Complaint {
    /// It happened to so many events, lately because of this.
    pub(super) fn add(&mut self, events: u64, why: String) {
        self.unsaid += events;
        self.why = why;
    }

    /// What is to be said now, if anything: the number of events since the last time, and the latest reason.
    pub(super) fn due(&mut self, now: Instant) -> Option<(u64, &str)> {
        if self.unsaid == 0 || self.said.is_some_and(|said| now < said + QUIET) {
            return None;
        }
        self.said = Some(now);
        Some((std::mem::take(&mut self.unsaid), &self.why))
    }
}

const QUIET: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_together() {
        let (mut complaint, now) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.due(now), None);
        complaint.add(1, "a".to_owned());
        assert_eq!(complaint.due(now), Some((1, "a")));
        complaint.add(700, "b".to_owned());
        complaint.add(35, "c".to_owned());
        assert_eq!(complaint.due(now + QUIET / 2), None);
        assert_eq!(complaint.due(now + QUIET), Some((735, "c")));
        assert_eq!(complaint.due(now + 3 * QUIET), None);
    }
}
