//! Whether a service is asked: one that is down is asked by one event at a time, and less and less often.

use std::time::{Duration, Instant};

/// What is known of one service.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// Attempts in a row that came to nothing.
    failures: u32,
    /// While it is open: the pause before the next attempt, and when that may begin.
    open: Option<(Duration, Instant)>,
}

impl Circuit {
    /// Whether another event may be sent, while so many are on their way.
    pub(super) fn admits(&self, now: Instant, on_their_way: usize) -> bool {
        self.open.is_none_or(|(_, until)| now >= until && on_their_way == 0)
    }

    /// When an event may be sent again, if none may now.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.open.map(|(_, until)| until)
    }

    /// Whether the last attempt came to something, or there was none.
    pub(super) fn is_fine(&self) -> bool {
        self.failures == 0
    }

    /// Notes that the service answered; whether it is asked as usual again only from now on.
    pub(super) fn answered(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// Notes that an attempt came to nothing; whether the service is asked less from now on. `spread` is a random part
    /// of one, by which instances that fail together don't come again together.
    pub(super) fn failed(&mut self, now: Instant, spread: f64) -> bool {
        self.failures += 1;
        let pause = match self.open {
            Some((_, until)) if now < until => return false,
            Some((pause, _)) => (pause * 2).min(LONGEST_PAUSE),
            None if self.failures < PATIENCE => return false,
            None => FIRST_PAUSE,
        };
        let is_new = self.open.is_none();
        self.open = Some((pause, now + spread_out(pause, spread)));
        is_new
    }
}

/// A pause before an event is sent again that came to nothing so many times.
pub(super) fn pause_after(tries: u32, spread: f64) -> Duration {
    spread_out((FIRST_PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1))).min(LONGEST_PAUSE), spread)
}

/// Half of a pause to all of it.
fn spread_out(pause: Duration, spread: f64) -> Duration {
    pause.mul_f64(0.5 + spread / 2.0)
}

/// So many failures in a row are no chance.
const PATIENCE: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_down_is_asked_by_one_event_at_a_time_and_ever_less() {
        let (mut circuit, mut now) = (Circuit::default(), Instant::now());
        let opened: Vec<bool> = (0..PATIENCE).map(|_| circuit.failed(now, 1.0)).collect();
        assert_eq!(opened.iter().position(|opened| *opened), Some(9));
        assert!(!circuit.failed(now, 1.0), "one that was on its way when it opened");
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(!circuit.admits(now, 0));
            now += Duration::from_secs(seconds);
            assert!(circuit.admits(now, 0) && !circuit.admits(now, 1), "after {seconds} s");
            assert!(!circuit.failed(now, 1.0));
        }
        now += LONGEST_PAUSE;
        assert!(circuit.admits(now, 0));
        assert!(circuit.answered());
        assert!(circuit.admits(now, 7) && !circuit.answered());
    }

    #[test]
    fn a_failure_now_and_then_changes_nothing() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for round in 0..1000 {
            assert!(circuit.admits(now, 7), "{round}");
            if round % 5 == 0 { assert!(!circuit.answered()) } else { assert!(!circuit.failed(now, 0.5)) }
        }
    }

    #[test]
    fn pauses_grow_to_a_minute_and_are_spread() {
        let pauses: Vec<u64> = (1..10).map(|tries| pause_after(tries, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause_after(u32::MAX, 0.0), Duration::from_secs(30));
    }
}
