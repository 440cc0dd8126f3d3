//! What the tests of the outbox start, and how it is told something.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use arc_swap::ArcSwap;
use crosslink::link::Identity;
use crosslink::metrics::Metrics;
use crosslink::outbox::{Kind, Outbox, Properties, Record};
use crosslink::sink::Sink;
use tempfile::{NamedTempFile, TempDir};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::kissmetrics::{Kissmetrics, Mood};
use crate::support::{Client, PATIENCE, Program, Service, crosslink, eventually, log_file, parse};

pub const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

/// A folder with a journal, a key and a configuration.
pub struct Site {
    pub folder: TempDir,
    pub config: String,
}

impl Site {
    /// `more` stands under `outbox`.
    pub fn new(endpoint: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        fs::create_dir(&journal).unwrap();
        Self::at(folder, &format!("directory: {}", journal.display()), endpoint, more)
    }

    /// Without a journal: `place` says where events wait.
    pub fn at(folder: TempDir, place: &str, endpoint: &str, more: &str) -> Self {
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("key"), format!("{KEY}\n")).unwrap();
        let config = format!(
            "listen: 127.0.0.1:0
outbox: {{ {place}, timeout: 500ms{more} }}
pairs:
  - origin: www.yoursite.com
    destination: checkout.yoursite.com
    kissmetrics: {{ key_file: {}, endpoint: '{endpoint}' }}
",
            path("key"),
        );
        fs::write(path("crosslink.yaml"), &config).unwrap();
        Self { folder, config }
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// The segments of the journal, the oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.journal()).unwrap().map(|file| file.unwrap().path());
        let mut segments: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "journal")).collect();
        segments.sort();
        segments
    }

    /// The records in the journal.
    pub fn texts(&self) -> Vec<String> {
        let read = |file: &PathBuf| fs::read(file).unwrap()[19..].to_vec();
        let bytes: Vec<u8> = self.segments().iter().flat_map(read).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split("{\"site\"").skip(1).map(str::to_owned).collect()
    }

    /// With the server API.
    pub fn with_api(mut self) -> Self {
        let token = self.folder.path().join("token");
        fs::write(&token, TOKEN).unwrap();
        self.config = format!("{}api: {{ token_file: {} }}\n", self.config, token.display());
        self
    }

    pub fn serve(&self) -> Served {
        let mut service = Service::serve(crosslink(), &self.config, None);
        service.listening(1);
        Served(service)
    }

    /// Runs `crosslink outbox` and gives whether it succeeded and what it printed.
    pub fn command(&self, arguments: &[&str]) -> (bool, String) {
        let config = self.folder.path().join("crosslink.yaml");
        let output = crosslink().arg("outbox").args(arguments).arg("--config").arg(config).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }
}

/// A process that has an outbox, and accepts the events that it is told.
pub struct Source {
    pub program: Program,
    log: NamedTempFile,
    tell: Option<ChildStdin>,
    pub answers: Receiver<String>,
}

/// An event for [`Source`]: its number, the person, and what else stands in a line.
#[derive(Clone)]
pub struct Told {
    person: String,
    what: String,
    at: u64,
}

impl Source {
    pub fn start(site: &Site) -> Self {
        Self::start_in(Command::new(std::env::current_exe().unwrap()), site)
    }

    /// `command` is this program, or runs it.
    pub fn start_in(mut command: Command, site: &Site) -> Self {
        command.args(["--exact", "outbox_site::accepts_what_it_is_told", "--nocapture"]);
        command.env(SOURCE, &site.config).stdin(Stdio::piped()).stdout(Stdio::piped());
        let log = log_file("outbox");
        let mut program = Program::spawn(command.stderr(log.reopen().unwrap()));
        let stdout = BufReader::new(program.child.stdout.take().unwrap());
        let (tell, answers) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = line.strip_prefix("event ").map(|line| tell.send(line.to_owned()));
            }
        });
        let tell = program.child.stdin.take();
        Self { program, log, tell, answers }
    }

    /// What it said about itself.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn tell(&mut self, number: usize, event: &Told) {
        let Told { person, what, at } = event;
        let line = format!("{number}\t{at}\t{person}\t{what}\n");
        // A process that was killed is not told any more.
        let _ = self.tell.as_mut().unwrap().write_all(line.as_bytes());
    }

    /// Tells an event and waits until it is accepted, or why not.
    pub fn ask(&mut self, event: &Told) -> String {
        self.tell(0, event);
        let answer = self.answers.recv_timeout(PATIENCE).unwrap();
        answer.strip_prefix("0 ").unwrap().to_owned()
    }

    pub fn accept(&mut self, event: &Told) {
        assert_eq!(self.ask(event), "accepted");
    }

    /// Ends it in peace.
    pub fn finish(mut self) {
        drop(self.tell.take());
        let ended = eventually("its end", || self.program.child.try_wait().unwrap());
        assert!(ended.success());
    }
}

const SOURCE: &str = "CROSSLINK_TEST_OUTBOX";

/// Started by [`Source`], it has an outbox and accepts an event for each line of stdin. Started with the other tests,
/// it has nothing to do.
#[test]
fn accepts_what_it_is_told() {
    let Ok(config) = std::env::var(SOURCE) else { return };
    let log = Sink::spawn(io::stderr()).unwrap();
    tracing_subscriber::fmt().json().with_writer(move || log.clone()).init();
    let config = parse(&config);
    let site = config.linker.pairs().find_map(|pair| pair.kissmetrics.clone()).unwrap();
    let settings = config.fixed.outbox.unwrap();
    let sites = Arc::new(ArcSwap::from_pointee(config.sites));
    let counts = Metrics::new(1).add_outbox();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = {
        let (send, lines) = tokio::sync::mpsc::unbounded_channel();
        thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        lines
    };
    runtime.block_on(async move {
        let drain = config.fixed.limits.drain;
        let (outbox, running) = Outbox::start(&settings, sites, counts, CancellationToken::new(), drain).unwrap();
        let mut lines = lines;
        while let Some(line) = lines.recv().await {
            let parts: Vec<&str> = line.split('\t').collect();
            let [number, at, person, what @ ..] = parts.as_slice() else { panic!("{line}") };
            let event = Record::new(&site, &identity(person), read(what), at.parse().unwrap());
            let (outbox, number) = (outbox.clone(), (*number).to_owned());
            tokio::spawn(async move {
                let answer = outbox.accept_durably(vec![event]).await;
                let answer = answer.map_or_else(|refused| format!("{refused:?}"), |()| "accepted".to_owned());
                // Not one that is shown only when a test fails.
                let _ = writeln!(io::stdout(), "event {number} {answer}");
            });
        }
        running.finish().await;
    });
}

fn identity(text: &str) -> Identity<'static> {
    Identity::from_cookie(text.replace('%', "%25").as_bytes()).unwrap().into_owned()
}

fn read(what: &[&str]) -> Kind {
    let named = |named: &[&str]| {
        let named = named.chunks(2).map(|pair| (pair[0].to_owned().into(), pair[1].to_owned()));
        Properties::new(named.collect()).unwrap()
    };
    match what {
        ["alias", other] => Kind::alias(&identity(other)),
        ["record", name, properties @ ..] => Kind::Record((*name).to_owned(), named(properties)),
        ["set", properties @ ..] => Kind::Set(named(properties)),
        _ => panic!("{what:?}"),
    }
}

pub fn told(person: &str, what: &str) -> Told {
    Told { person: person.to_owned(), what: what.to_owned(), at: 1_763_769_600 }
}

/// A service in some mood, and an outbox that may tell it something.
pub fn started(mood: Mood) -> (Kissmetrics, Site, Source) {
    let service = Kissmetrics::start(mood);
    let site = Site::new(&service.endpoint(), "");
    let source = Source::start(&site);
    (service, site, source)
}

/// The events of a run, each of its own name, so that all can be told apart at the other end.
pub struct Run {
    persons: usize,
    pub sent: usize,
    pub accepted: HashSet<usize>,
}

impl Run {
    /// Of so many persons.
    pub fn of(persons: usize) -> Self {
        Self { persons, sent: 0, accepted: HashSet::new() }
    }

    pub fn event(&self, number: usize) -> Told {
        let person = number * 7919 % self.persons;
        let what = format!("record\tevent {number}\tperson\t{person}");
        Told { person: format!("person+{person}@yoursite.com"), what, at: 1_763_769_600 + number as u64 }
    }

    /// Tells events, up to a hundred at a time, until so many in all are accepted.
    pub fn tell(&mut self, source: &mut Source, accepted: usize) {
        let mut open = 0;
        while self.accepted.len() < accepted {
            while open < (accepted - self.accepted.len()).min(100) {
                source.tell(self.sent, &self.event(self.sent));
                self.sent += 1;
                open += 1;
            }
            self.note(&source.answers.recv_timeout(PATIENCE).unwrap());
            open -= 1;
        }
    }

    pub fn note(&mut self, answer: &str) {
        let (number, answer) = answer.split_once(' ').unwrap();
        assert_eq!(answer, "accepted");
        self.accepted.insert(number.parse().unwrap());
    }

    /// The accepted events that a service was not told.
    pub fn missing(&self, service: &Kissmetrics) -> HashSet<usize> {
        let told: HashSet<_> = service.told().iter().map(|target| number(target)).collect();
        self.accepted.difference(&told).copied().collect()
    }

    /// Waits until no more than so many are missing, or too long, which [`Self::judge`] tells then.
    pub fn arrive(&self, service: &Kissmetrics, left: usize) {
        let started = Instant::now();
        while self.missing(service).len() > left && started.elapsed() < PATIENCE * 10 {
            thread::sleep(PATIENCE / 100);
        }
    }

    /// Looks at all that a service was told: each accepted event at least once, none of another person, and the events
    /// of each person in their order when they come for the first time.
    pub fn judge(&self, service: &Kissmetrics) {
        let mut first = HashSet::new();
        let mut last = HashMap::new();
        let told = service.told();
        for target in &told {
            let number = number(target);
            let Told { person, at, .. } = self.event(number);
            let name = person.trim_start_matches("person+").split('@').next().unwrap();
            let expected =
                format!("/e?_k={KEY}&_p=person%2B{name}%40yoursite.com&_n=event%20{number}&_t={at}&_d=1&person={name}");
            assert_eq!(*target, expected);
            if first.insert(number) {
                let before = last.insert(person, number);
                assert!(before < Some(number), "{before:?} came before {number}");
            }
        }
        let missing = self.missing(service);
        assert!(missing.is_empty(), "{} of {} are lost: {missing:?}", missing.len(), self.accepted.len());
        println!(
            "{} events told, {} accepted, {} requests, {} taken note of, of {} events, each of its person and in its order",
            self.sent,
            self.accepted.len(),
            service.asked(),
            told.len(),
            first.len()
        );
    }
}

/// The number of an event of a [`Run`].
pub fn number(target: &str) -> usize {
    target.split("&_n=event%20").nth(1).unwrap().split('&').next().unwrap().parse().unwrap()
}

/// A command that runs another one, to run this program.
pub fn command_of(mut command: Command) -> Command {
    command.arg(std::env::current_exe().unwrap());
    command
}

/// A `crosslink serve` with an outbox.
pub struct Served(pub Service);

const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

impl Served {
    /// Ends it in peace.
    pub fn finish(mut self) {
        self.0.program.signal("TERM");
        assert_eq!(self.0.exit(), Some(0));
    }

    pub fn metrics(&self) -> String {
        self.page("/metrics")
    }

    /// Tells the server API something under a name.
    pub fn post(&self, name: &str, body: &str) -> u16 {
        let ask = format!(
            "POST /v1/record HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {name}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Client::connect(self.0.admin()).send(ask.as_bytes()).reply().unwrap().status
    }

    /// What the operator's port answers.
    pub fn page(&self, target: &str) -> String {
        let ask = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Client::connect(self.0.admin()).send(ask.as_bytes()).reply().unwrap().body
    }
}

pub fn value(metrics: &str, name: &str) -> i64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{name} in {metrics}")).parse().unwrap()
}
