//! The program as a process: signals, outputs that block or are gone, descriptors that run out.

use std::io::{self, PipeWriter, Write};
use std::net::SocketAddr;
use std::process::Command;

use crate::support::{Client, Service, crosslink, eventually};

const ASK: &[u8] = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nCookie: km_ni=bob%40bob.com\r\n\r\n";

/// `crosslink serve` on a free port.
struct Served {
    service: Service,
    address: SocketAddr,
}

fn serve(extra: &str, command: Command, stdout: Option<PipeWriter>) -> Served {
    let pairs = "pairs: [{ origin: www.yoursite.com, destination: ok.example, links: { checkout: / } }]";
    let mut service = Service::serve(command, &format!("listen: 127.0.0.1:0\n{extra}\n{pairs}\n"), stdout);
    let address = service.listening(1)[0];
    Served { service, address }
}

impl Served {
    fn status(&self) -> u16 {
        Client::connect(self.address).send(ASK).reply().expect("a reply").status
    }
}

#[test]
fn sigterm_and_ctrl_c_end_it_in_peace() {
    for signal in ["TERM", "INT"] {
        let mut served = serve("", crosslink(), None);
        assert_eq!(served.status(), 302);
        served.service.program.signal(signal);
        assert_eq!(served.service.exit(), Some(0), "{signal}");
        let log = std::fs::read_to_string(&served.service.stdout).unwrap();
        assert_eq!(log.lines().count(), 1, "the last line is written out: {log}");
        assert!(!log.contains("bob"));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut served = serve("limits: { drain: 1h }", crosslink(), None);
    let _begun = Client::connect(served.address).send(b"GET /");
    assert_eq!(served.status(), 302);
    served.service.program.signal("TERM");
    eventually("the listener's end", || std::net::TcpStream::connect(served.address).is_err().then_some(()));
    assert!(served.service.program.child.try_wait().unwrap().is_none(), "it waits for the request that has begun");
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(1));
}

#[test]
fn a_closed_stdout_stops_no_request() {
    let (reader, stdout) = io::pipe().unwrap();
    let mut served = serve("", crosslink(), Some(stdout));
    drop(reader);
    for _ in 0..100 {
        assert_eq!(served.status(), 302);
    }
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(0));
}

#[test]
fn a_blocked_stdout_stops_no_request() {
    // Nobody reads the pipe, which holds 64 KiB: some 250 lines.
    let (mut unread, stdout) = io::pipe().unwrap();
    let mut served = serve("", crosslink(), Some(stdout));
    let pipelined = ASK.repeat(500);
    for _ in 0..4 {
        let mut client = Client::connect(served.address).send(&pipelined);
        for _ in 0..500 {
            assert_eq!(client.reply().unwrap().status, 302);
        }
    }
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(0), "it does not wait for the pipe for ever");
    io::copy(&mut unread, served.service.stdout.as_file_mut()).unwrap();
}

/// How many lines of the request log were lost, as the operator is told.
fn dropped_lines(served: &Served) -> u64 {
    let ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let metrics = Client::connect(served.service.admin()).send(ask).reply().unwrap().body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("crosslink_log_dropped_lines_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn lines_that_a_blocked_stdout_does_not_take_are_counted() {
    let (mut unread, stdout) = io::pipe().unwrap();
    let mut served = serve("", crosslink(), Some(stdout));
    assert_eq!(dropped_lines(&served), 0);
    let ask = format!("GET /go/checkout/{} HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n", "a".repeat(600));
    let pipelined = ask.repeat(100);
    let mut asked = 0;
    // The pipe, what is being written and the buffer hold some 3,500 such lines together.
    while dropped_lines(&served) == 0 {
        let mut client = Client::connect(served.address).send(pipelined.as_bytes());
        for _ in 0..100 {
            assert_eq!(client.reply().unwrap().status, 302);
        }
        asked += 100;
        assert!(asked < 20_000, "the log has no bound");
    }
    let dropped = dropped_lines(&served);
    // Whoever reads again gets all other lines, whole, and from then on every one.
    let reader = std::thread::spawn(move || {
        let mut log = Vec::new();
        io::copy(&mut unread, &mut log).unwrap();
        log
    });
    eventually("a request with a line", || {
        let before = dropped_lines(&served);
        assert_eq!(served.status(), 302);
        asked += 1;
        (dropped_lines(&served) == before).then_some(())
    });
    let dropped_at_last = dropped_lines(&served);
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(0));
    let log = reader.join().unwrap();
    served.service.stdout.as_file_mut().write_all(&log).unwrap();
    let log = String::from_utf8(log).unwrap();
    let is_whole = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(dropped > 0 && log.lines().all(is_whole) && log.ends_with("}\n"));
    assert_eq!(log.lines().count() as u64 + dropped_at_last, asked, "a line is written or counted");
    let events = std::fs::read_to_string(&served.service.stderr).unwrap();
    assert!(events.contains(&format!("\"dropped\":{dropped_at_last}")), "it is said at the end: {events}");
}

#[test]
fn a_full_disk_stops_no_request_and_its_lines_are_counted() {
    // It takes nothing: every write says that there is no room left.
    let mut full = Command::new("sh");
    full.args(["-c", "exec \"$0\" \"$@\" > /dev/full", env!("CARGO_BIN_EXE_crosslink")]);
    let mut served = serve("", full, None);
    for _ in 0..100 {
        assert_eq!(served.status(), 302);
    }
    eventually("all lines counted", || (dropped_lines(&served) == 100).then_some(()));
    assert_eq!(served.status(), 302);
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(0));
}
