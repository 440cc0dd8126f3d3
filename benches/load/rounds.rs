//! Rounds: each measures all once, in an order of its own, so that whatever changes on the machine meets all alike.

use crate::Outcome;
use crate::process::refuse_when_told;

/// What the rounds have found, for each of those that took part, in the order of their list.
#[derive(Clone, Debug)]
pub struct Rounds<T> {
    /// For each one, what each round found; nothing where it failed.
    pub found: Vec<Vec<Option<T>>>,
    /// What went wrong, in words.
    pub troubles: Vec<String>,
}

impl<T> Rounds<T> {
    /// Measures `count` things. Who fails twice is left alone from then on.
    pub fn run(count: usize, rounds: u32, mut measure: impl FnMut(usize) -> Outcome<T>) -> Outcome<Self> {
        let mut found: Vec<Vec<Option<T>>> = (0..count).map(|_| Vec::new()).collect();
        let mut troubles = Vec::new();
        let mut failures = vec![0; count];
        for round in 1..=rounds {
            for number in shuffled(count, round) {
                let (Some(failed), Some(column)) = (failures.get_mut(number), found.get_mut(number)) else { continue };
                if *failed > 1 {
                    column.push(None);
                    continue;
                }
                let measured = measure(number);
                refuse_when_told()?;
                if let Err(error) = &measured {
                    eprintln!("{error}");
                    // The first trouble of each tells enough.
                    if *failed == 0 {
                        troubles.push(error.to_string());
                    }
                    *failed += 1;
                }
                column.push(measured.ok());
            }
            eprintln!("round {round} of {rounds}");
        }
        Ok(Self { found, troubles })
    }

    /// Whether anything was found for it.
    pub fn has(&self, number: usize) -> bool {
        self.found.get(number).is_some_and(|column| column.iter().any(Option::is_some))
    }

    /// The median of a value.
    pub fn median(&self, number: usize, value: impl Fn(&T) -> f64) -> Option<f64> {
        median(self.found.get(number)?.iter().flatten().map(value))
    }

    /// The median of the ratio to another one, round by round.
    pub fn ratio(&self, number: usize, to: Option<usize>, value: impl Fn(&T) -> f64) -> Option<f64> {
        let pairs = self.found.get(number)?.iter().zip(self.found.get(to?)?);
        median(pairs.filter_map(|(this, other)| Some(value(this.as_ref()?) / value(other.as_ref()?))))
    }

    /// The median of the difference to another one, round by round.
    pub fn difference(&self, number: usize, to: Option<usize>, value: impl Fn(&T) -> f64) -> Option<f64> {
        let pairs = self.found.get(number)?.iter().zip(self.found.get(to?)?);
        median(pairs.filter_map(|(this, other)| Some(value(this.as_ref()?) - value(other.as_ref()?))))
    }
}

/// The one in the middle, or the mean of the two there. What is not known is no number, and left out.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<_> = values.filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The numbers below `count` in an order that is another one in each round, and the same in each run.
fn shuffled(count: usize, round: u32) -> Vec<usize> {
    let mut numbers: Vec<_> = (0..count).collect();
    numbers.sort_by_key(|number| {
        let seed = (u64::from(round) << 32) | u64::try_from(*number).unwrap_or_default();
        // Three steps of xorshift, behind a factor that spreads small numbers.
        let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 31;
        mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 29)
    });
    numbers
}
