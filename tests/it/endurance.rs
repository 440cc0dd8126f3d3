//! What weeks of service bring: reloads, restarts, crowds and attacks, each under load.
//!
//! Here each test takes a few seconds and looks only at what must never happen. `tests/endurance` sets
//! `CROSSLINK_TEST_ENDURANCE`: then they take minutes, say what they measured, and hold it against the clock.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::attacks::{Case, table};
use crate::support::{CONFIG, Client, PATIENCE, Service, crosslink, eventually};
use crate::{api, outbox};

/// Whether there is time.
fn is_long() -> bool {
    std::env::var_os("CROSSLINK_TEST_ENDURANCE").is_some()
}

/// One of two values: for a short test, and for a long one.
fn either<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// A `crosslink serve` under load. Of its log, which may become very long, the beginning is kept.
struct Served {
    service: Service,
    address: SocketAddr,
}

fn serve(command: Command, config: &str) -> Served {
    let (log, stdout) = io::pipe().unwrap();
    let mut service = Service::serve(command, config, Some(stdout));
    let kept = service.stdout.reopen().unwrap();
    thread::spawn(move || drain(log, kept));
    let address = service.listening(1)[0];
    Served { service, address }
}

/// Reads a log to its end, so that its writer is never held up.
fn drain(mut log: PipeReader, mut kept: File) {
    let _ = io::copy(&mut Read::by_ref(&mut log).take(1 << 20), &mut kept);
    let _ = io::copy(&mut log, &mut io::sink());
}

/// `crosslink` with so many descriptors at the most.
fn with_descriptors(number: usize) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {number}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_crosslink")]);
    command
}

impl Served {
    fn metric(&self, name: &str) -> f64 {
        let ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let metrics = Client::connect(self.service.admin()).send(ask).reply().unwrap().body;
        let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name} in {metrics}")).parse().unwrap()
    }

    fn stderr(&self) -> String {
        fs::read_to_string(&self.service.stderr).unwrap()
    }

    /// Ends it in peace, and looks whether anything ever went wrong inside.
    fn stop(mut self) {
        self.service.program.signal("TERM");
        assert_eq!(self.service.exit(), Some(0));
        let events = self.stderr();
        assert!(!events.contains("panicked"), "{events}");
    }

    fn process(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.service.program.id())
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(self.process("fd")).unwrap().count()
    }

    /// The memory that it uses, in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(self.process("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The processor time that it has used, in hundredths of a second (`/proc/PID/stat`, fields 14 and 15).
    fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(self.process("stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }
}

/// A connection that asks for the same again and again.
struct Visitor {
    stream: BufReader<TcpStream>,
    ask: &'static [u8],
}

struct Answer {
    status: String,
    location: String,
    is_last: bool,
}

const ASK: &[u8] = b"GET /go/x HTTP/1.1\r\nHost: www.yoursite.com\r\nCookie: km_ni=bob\r\n\r\n";

impl Visitor {
    fn connect(address: SocketAddr, ask: &'static [u8]) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), ask })
    }

    fn send(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(self.ask)
    }

    /// Reads the head of an answer that has no body.
    fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = Answer { status: String::new(), location: String::new(), is_last: false };
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(": ") {
                Some(("location", to)) => to.clone_into(&mut answer.location),
                Some(("connection", "close")) => answer.is_last = true,
                Some(_) => {}
                None if line == "\r\n" => return Ok(answer),
                None => line.get(9..12).unwrap_or_default().clone_into(&mut answer.status),
            }
        }
    }

    fn visit(&mut self) -> io::Result<Answer> {
        self.send()?;
        self.answer()
    }
}

/// Tells the threads of a test that it is over, also when it fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// The part of sorted times below which so many of a hundred are.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Two configurations that differ in two things, so that a mixture of them would show, and what each leads to.
const CONFIGS: [(&str, &str); 2] = [
    (
        "listen: 127.0.0.1:0\npairs: [{ origin: www.yoursite.com, destination: one.example, links: { x: /one } }]\n",
        "https://one.example/one?kmi=bob",
    ),
    (
        "listen: 127.0.0.1:0\npairs: [{ origin: www.yoursite.com, destination: two.example, links: { x: /two }, parameter: other }]\n",
        "https://two.example/two?other=bob",
    ),
];
/// Wrong in its shape, in what it means, and cut off.
const BROKEN: [&str; 3] =
    ["pairs: {}\n", "pairs: [{ origin: www.yoursite.com, destination: \"*\" }]\n", "pairs: [{ origin: www.y"];

#[test]
fn reloads_lose_no_request() {
    let served = serve(crosslink(), CONFIGS[0].0);
    let config = fs::read_link(served.process("cwd")).unwrap().join("crosslink.yaml");
    let put = |text: &str| {
        // At once and whole, as whoever edits a file in service should do it.
        fs::write(config.with_extension("next"), text).unwrap();
        fs::rename(config.with_extension("next"), &config).unwrap();
        served.service.program.signal("HUP");
    };
    let over = AtomicBool::new(false);
    let [asked, of_two] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let mut reloads = 0;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    let mut visitor = Visitor::connect(served.address, ASK).unwrap();
                    for _ in 0..100 {
                        let Answer { status, location, .. } = visitor.visit().expect("an answer");
                        assert_eq!(status, "302");
                        assert!(CONFIGS.iter().any(|(_, expected)| location == *expected), "{location}");
                        asked.fetch_add(1, SeqCst);
                        of_two.fetch_add(usize::from(location == CONFIGS[1].1), SeqCst);
                    }
                }
            });
        }
        let _end = End(&over);
        let started = Instant::now();
        while started.elapsed() < either(Duration::from_secs(3), Duration::from_secs(30)) {
            sleep(Duration::from_millis(100));
            put(if reloads % 3 == 2 { BROKEN[reloads / 3 % 3] } else { CONFIGS[reloads % 3].0 });
            reloads += 1;
        }
    });
    let (asked, of_two) = (asked.into_inner(), of_two.into_inner());
    println!("{reloads} reloads, {asked} requests, all answered, {of_two} of them by the second configuration");
    assert!(of_two > 0 && of_two < asked);
    let tells = |expected: f64| {
        let told = || (served.metric("crosslink_config_last_reload_successful") - expected).abs() < 0.5;
        eventually("the last result", || told().then_some(()));
    };
    for (text, expected) in [(BROKEN[0], 0.0), (CONFIGS[1].0, 1.0), (BROKEN[1], 0.0), (CONFIGS[0].0, 1.0)] {
        put(text);
        tells(expected);
    }
    assert_eq!(Visitor::connect(served.address, ASK).unwrap().visit().unwrap().location, CONFIGS[0].1);
    served.stop();
}

#[test]
fn a_stop_under_load_loses_no_request_in_hand() {
    let [answered, late] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let rounds = either(4, 100);
    for round in 0..rounds {
        let served = serve(crosslink(), CONFIGS[0].0);
        let told_to_stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..6 {
                let (address, told_to_stop, answered, late) = (served.address, &told_to_stop, &answered, &late);
                scope.spawn(move || {
                    // Every other one opens a connection for each request.
                    let uses = if number % 2 == 0 { 1 } else { usize::MAX };
                    while let Ok(mut visitor) = Visitor::connect(address, ASK) {
                        for _ in 0..uses {
                            let sent = visitor.send();
                            // What was sent before the signal is in hand, answered or not.
                            let is_in_hand = sent.is_ok() && !told_to_stop.load(SeqCst);
                            match visitor.answer() {
                                Ok(answer) => {
                                    assert_eq!(answer.location, CONFIGS[0].1);
                                    answered.fetch_add(1, SeqCst);
                                    if answer.is_last {
                                        break;
                                    }
                                }
                                Err(error) => {
                                    assert!(!is_in_hand, "a request in hand was lost: {error}");
                                    late.fetch_add(1, SeqCst);
                                    return;
                                }
                            }
                        }
                    }
                });
            }
            sleep(Duration::from_millis(100 + round % 10));
            told_to_stop.store(true, SeqCst);
            served.stop();
        });
    }
    let (answered, late) = (answered.into_inner(), late.into_inner());
    println!("{rounds} stops, {answered} requests answered, none in hand lost, {late} came when it had closed already");
    assert!(answered > 0);
}

#[test]
fn running_out_of_descriptors_is_survived_without_a_busy_loop() {
    let served = serve(with_descriptors(128), CONFIGS[0].0);
    let mut crowd: Vec<Client> = (0..400).map(|_| Client::connect(served.address)).collect();
    let before = served.processor_time();
    sleep(Duration::from_millis(500));
    let spent = served.processor_time() - before;
    assert!(spent < 25, "{spent} hundredths of a second of processor time in half a second");
    assert!(served.stderr().contains("cannot accept connections"));
    // Those who have a place are served as ever.
    crowd.truncate(200);
    let mut first = crowd.remove(0).send(ASK);
    assert_eq!(first.reply().unwrap().status, 302);
    drop((crowd, first));
    let left = Instant::now();
    for _ in 0..50 {
        assert_eq!(Visitor::connect(served.address, ASK).unwrap().visit().unwrap().status, "302");
    }
    let took = left.elapsed();
    println!("50 visitors were served within {took:?} of the crowd's leaving");
    assert!(!is_long() || took < Duration::from_secs(1), "{took:?}");
    served.stop();
}

#[test]
fn slow_heads_hold_up_nobody() {
    let (number, patience) = either((200, 2), (1000, 10));
    let served = serve(crosslink(), &format!("limits: {{ head_timeout: {patience}s }}\n{}", CONFIGS[0].0));
    let patience = Duration::from_secs(patience);
    let begin = |_| {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        stream.write_all(b"GET /go/x HTTP/1.1\r\nHost: www.yoursite.com\r\nX: ").unwrap();
        (stream, begun)
    };
    let mut slow: Vec<_> = (0..number).map(begin).collect();
    let mut held = Vec::new();
    let over = AtomicBool::new(false);
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut times = Vec::new();
            while !over.load(SeqCst) {
                let started = Instant::now();
                let answer = Visitor::connect(served.address, ASK).unwrap().visit().unwrap();
                times.push(started.elapsed());
                assert_eq!(answer.status, "302");
                sleep(Duration::from_millis(2));
            }
            times
        });
        let end = End(&over);
        let all = Instant::now();
        while !slow.is_empty() && all.elapsed() < patience + PATIENCE {
            slow.retain_mut(|(stream, begun)| {
                let still_listens = stream.write(b"x").is_ok();
                let is_open = still_listens
                    && stream.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
                if !is_open {
                    held.push(begun.elapsed());
                }
                is_open
            });
            sleep(Duration::from_millis(20));
        }
        drop(end);
        honest.join().unwrap()
    });
    times.sort();
    held.sort();
    assert_eq!(held.len(), number, "every slow one is closed");
    assert!(held[0] >= patience, "none before its time: {:?}", held[0]);
    let last = percentile(&held, 100);
    let [middle, p99, worst] = [50, 99, 100].map(|percent| percentile(&times, percent));
    println!("{number} slow heads, closed after {:?} to {last:?}", held[0]);
    println!("{} honest requests meanwhile: p50 {middle:?}, p99 {p99:?}, worst {worst:?}", times.len());
    assert!(!is_long() || (p99 < Duration::from_millis(50) && last < patience + Duration::from_secs(2)));
    served.stop();
}

/// Sends a whole table of requests, each on a connection of its own, until it is over.
fn send_all(cases: &[Case], address: SocketAddr, over: &AtomicBool) -> usize {
    let mut sent = 0;
    for case in cases.iter().cycle() {
        if over.load(SeqCst) {
            break;
        }
        case.judge(address).unwrap_or_else(|failure| panic!("{}: {failure}", case.place));
        sent += 1;
    }
    sent
}

#[test]
fn kills_take_no_event_that_was_accepted() {
    let (events, kills) = either((2_000, 10), (100_000, 200));
    outbox::is_killed(events, kills, "each");
}

#[test]
fn kills_take_no_event_that_the_api_took() {
    let (events, kills) = either((2_000, 5), (100_000, 200));
    api::is_killed(events, kills);
}

/// Clients that come, say something or nothing, and go.
fn come_and_go(address: SocketAddr, over: &AtomicBool) {
    for bytes in [&b""[..], b"G", b"GET / HTTP/1.1\r\nHost: www.yoursite.com\r\nX: ", b"\x16\x03\x01\x02\x00", ASK]
        .iter()
        .cycle()
    {
        if over.load(SeqCst) {
            break;
        }
        drop(Client::connect(address).send(bytes));
        sleep(Duration::from_millis(5));
    }
}

const CHECKOUT: &[u8] = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nCookie: km_ni=bob%40bob.com\r\n\r\n";

#[test]
fn mixed_load_leaves_nothing_behind() {
    let (whole, warm_up, between) = either((3, 1, 200), (600, 60, 1000));
    let [whole, warm_up, between] =
        [Duration::from_secs(whole), Duration::from_secs(warm_up), Duration::from_millis(between)];
    let served = serve(crosslink(), &format!("listen: 127.0.0.1:0\n{CONFIG}"));
    let mut memory = Vec::new();
    assert_eq!(Visitor::connect(served.address, CHECKOUT).unwrap().visit().unwrap().status, "302");
    eventually("an end of connections", || (served.metric("crosslink_connections") < 0.5).then_some(()));
    let descriptors = served.descriptors();
    let [attacks, honest] = ["attacks.txt", "honest.txt"].map(table);
    let over = AtomicBool::new(false);
    let kept = AtomicUsize::new(0);
    let sent: usize = thread::scope(|scope| {
        let senders = [&attacks, &honest].map(|cases| scope.spawn(|| send_all(cases, served.address, &over)));
        scope.spawn(|| come_and_go(served.address, &over));
        scope.spawn(|| {
            let mut visitor = Visitor::connect(served.address, CHECKOUT).unwrap();
            while !over.load(SeqCst) {
                let location = visitor.visit().unwrap().location;
                assert_eq!(location, "https://yoursite.3rd-party-checkout.com/cart?kmi=bob%40bob.com");
                kept.fetch_add(1, SeqCst);
            }
        });
        let end = End(&over);
        let started = Instant::now();
        while started.elapsed() < whole {
            sleep(between);
            served.metric("crosslink_connections");
            served.service.program.signal("HUP");
            if started.elapsed() > warm_up {
                memory.push(served.memory());
            }
        }
        drop(end);
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    eventually("an end of connections", || (served.metric("crosslink_connections") < 0.5).then_some(()));
    eventually("the descriptors of the start", || (served.descriptors() <= descriptors).then_some(()));
    // The log's buffers fill, each up to 1 MiB, whenever its reader is not given the processor: that is for a moment.
    let mut minutes: Vec<_> = memory.chunks(60).map(median).collect();
    minutes.sort_unstable();
    let [least, most] = [memory.iter().min(), memory.iter().max()].map(Option::unwrap);
    let (lowest, highest) = (minutes[0], minutes[minutes.len() - 1]);
    println!("{whole:?}: {sent} lines of the tables and {} requests on one connection", kept.into_inner());
    println!("{descriptors} descriptors as at the start");
    println!(
        "KiB of memory after {warm_up:?}: {lowest} to {highest} in the middle of each minute, {least} to {most} in all"
    );
    served.stop();
    assert!(!is_long() || highest * 10 <= lowest * 11, "memory grows: {memory:?}");
    assert!(!is_long() || most * 10 <= least * 11 + 10 * LOG_BUFFERS, "more than the log's buffers fill: {memory:?}");
}

fn median(readings: &[u64]) -> u64 {
    let mut sorted = readings.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// In KiB, what the log's buffers hold at the most on two cores: one each, and the one that is being written, and what
/// the last one had before it grew.
const LOG_BUFFERS: u64 = 4 * 1024;
