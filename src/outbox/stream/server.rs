//! The way to the store: one connection, which is made again after a pause when it failed.

use std::io;
use std::time::{Duration, Instant};

use redis::{Client, Cmd, Connection, FromRedisValue, RedisError, RedisResult};

use crate::settings::StreamPlace;

/// A store that is asked by one thread.
pub(super) struct Server {
    place: StreamPlace,
    /// What it is asked to do, for the log.
    task: &'static str,
    connection: Option<Connection>,
    /// After a failure: the last pause, and when it is over.
    rest: Option<(Duration, Instant)>,
}

impl Server {
    /// Connects with the first question.
    pub(super) fn of(place: StreamPlace, task: &'static str) -> Self {
        Self { place, task, connection: None, rest: None }
    }

    /// Runs a script with the name of the stream, and what else there is.
    ///
    /// # Errors
    /// The store is away, was so a moment ago, or does not do it. Whether it has done it is not known then.
    pub(super) fn run<T: FromRedisValue>(&mut self, script: &str, more: impl FnOnce(&mut Cmd)) -> io::Result<T> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(0).arg(&self.place.name);
        more(&mut command);
        self.ask(&command)
    }

    /// The key of this stream that ends so.
    pub(super) fn key(&self, end: &str) -> String {
        format!("{}:{end}", self.place.name)
    }

    /// Asks one question, with the errors of [`Self::run`].
    pub(super) fn ask<T: FromRedisValue>(&mut self, question: &Cmd) -> io::Result<T> {
        if self.rest.is_some_and(|(_, until)| Instant::now() < until) {
            return Err(io::Error::other("the store is away"));
        }
        let (store, task) = (&self.place, self.task);
        match ask(&mut self.connection, store, question) {
            Ok(answer) => {
                if self.rest.take().is_some() {
                    tracing::info!(%store, task, "the store of the outbox can be used again");
                }
                Ok(answer)
            }
            Err(error) => {
                let error = told(&error);
                if self.rest.is_none() {
                    tracing::warn!(%store, task, error, "the store of the outbox can't be used");
                }
                // An answer that comes late must not be taken for that of the next question.
                self.connection = None;
                let pause = self.rest.map_or(FIRST_PAUSE, |(pause, _)| (pause * 2).min(LONGEST_PAUSE));
                self.rest = Some((pause, Instant::now() + pause));
                Err(io::Error::other(error))
            }
        }
    }
}

fn ask<T: FromRedisValue>(known: &mut Option<Connection>, place: &StreamPlace, question: &Cmd) -> RedisResult<T> {
    let connection = match known {
        Some(connection) => connection,
        none => {
            let connection = Client::open(place.server.clone())?.get_connection_with_timeout(PATIENCE)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.set_write_timeout(Some(PATIENCE))?;
            none.insert(connection)
        }
    };
    question.query(connection)
}

/// What an error says of its own: words of the system, or the kind with the code that a store writes in capitals. The
/// rest of an answer may hold what was asked, with identities.
fn told(error: &RedisError) -> String {
    let is_code = |code: &&str| code.len() <= LONGEST_CODE && code.bytes().all(|byte| byte.is_ascii_uppercase());
    match error.code().filter(is_code) {
        _ if error.is_io_error() => error.to_string(),
        Some(code) => format!("{:?}, {code}", error.kind()),
        None => format!("{:?}", error.kind()),
    }
}

/// For a connection to begin, and for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Of what an error is called.
const LONGEST_CODE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use redis::ErrorKind;

    #[test]
    fn nothing_of_an_answer_is_said_but_its_code() {
        let detail = || "odd {\"person\":\"pam@pam.com\"".to_owned();
        let strange = RedisError::from((ErrorKind::UnexpectedReturnType, "value was", detail()));
        assert_eq!(told(&strange), "UnexpectedReturnType");
        let refused =
            redis::parse_redis_value(b"-OOM pam@pam.com is too much\r\n").unwrap().extract_error().unwrap_err();
        assert!(told(&refused).ends_with(", OOM"), "{}", told(&refused));
        let odd = redis::parse_redis_value(b"-pam@pam.com odd\r\n").unwrap().extract_error().unwrap_err();
        assert!(!told(&odd).contains("pam"), "{}", told(&odd));
        assert_eq!(told(&std::io::Error::other("broken").into()), "broken");
    }
}
