//! Dead letters, sent once more because somebody asked for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::client::{Answer, Client};
use super::dead_letters::{DeadLetter, LetterId};
use super::sites::site_of;
use crate::metrics::Attempt;
use crate::settings::{OutboxSettings, Sites};

/// What came of a dead letter.
#[derive(Debug)]
pub struct Resent {
    /// Which.
    pub id: LetterId,
    /// What came of it.
    pub attempt: Attempt,
    /// The status, or why there is none.
    pub why: String,
}

/// What the senders share.
struct Work {
    client: Client,
    sites: Sites,
    /// The letters of each person, in their order.
    persons: Mutex<VecDeque<Vec<DeadLetter>>>,
    given_up: AtomicBool,
}

/// Sends each once, those of one person one after the other, and tells what came of it. When the service does not
/// answer, the others are left.
///
/// # Errors
/// Nothing can be sent at all.
pub async fn resend(
    settings: &OutboxSettings,
    sites: Sites,
    letters: Vec<DeadLetter>,
    mut tell: impl FnMut(Resent),
) -> Result<(), String> {
    let mut persons: BTreeMap<(String, String), Vec<DeadLetter>> = BTreeMap::new();
    for letter in letters {
        persons.entry((letter.record.site.clone(), letter.record.person.clone())).or_default().push(letter);
    }
    let persons = Mutex::new(persons.into_values().collect());
    let work = Arc::new(Work { client: Client::new(settings)?, sites, persons, given_up: AtomicBool::new(false) });
    let (told, mut comes) = unbounded_channel();
    let mut senders = JoinSet::new();
    for _ in 0..settings.parallel {
        senders.spawn(Arc::clone(&work).send(told.clone()));
    }
    drop(told);
    let mut unanswered = 0;
    while let Some(resent) = comes.recv().await {
        let is_answered = matches!(resent.attempt, Attempt::Ok | Attempt::Refused);
        unanswered = if is_answered { 0 } else { unanswered + 1 };
        if unanswered >= PATIENCE {
            work.given_up.store(true, Ordering::Relaxed);
        }
        tell(resent);
    }
    Ok(())
}

impl Work {
    async fn send(self: Arc<Self>, told: UnboundedSender<Resent>) {
        while let Some(letters) = self.next() {
            for DeadLetter { id, record, .. } in letters {
                if self.given_up.load(Ordering::Relaxed) {
                    return;
                }
                let Answer { attempt, why } = match site_of(&record.site, &self.sites) {
                    Some(site) => self.client.send(site, &record).await,
                    None => Answer { attempt: Attempt::Refused, why: "no pair has this site".to_owned() },
                };
                // Nobody listens once the command has ended.
                let _ = told.send(Resent { id, attempt, why });
            }
        }
    }

    fn next(&self) -> Option<Vec<DeadLetter>> {
        self.persons.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// So many without an answer in a row: the service is down.
const PATIENCE: usize = 10;
