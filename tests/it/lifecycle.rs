//! The program as a process: signals, outputs that block or are gone, descriptors that run out.

use std::io::{self, PipeWriter};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

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

#[test]
fn running_out_of_descriptors_is_survived_without_a_busy_loop() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_crosslink")]);
    let mut served = serve("", limited, None);
    let crowd: Vec<Client> = (0..100).map(|_| Client::connect(served.address)).collect();
    let before = processor_time(served.service.program.id());
    std::thread::sleep(Duration::from_millis(500));
    let spent = processor_time(served.service.program.id()) - before;
    assert!(spent < 25, "{spent} hundredths of a second of processor time in half a second");
    drop(crowd);
    assert_eq!(served.status(), 302);
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(0));
}

/// The processor time that a process has used, in hundredths of a second (`/proc/PID/stat`, fields 14 and 15).
fn processor_time(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}
