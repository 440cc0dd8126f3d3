//! The program as a process: signals, outputs that block or are gone, descriptors that run out.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::support::{Client, Program, crosslink, eventually};

const ASK: &[u8] = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nCookie: km_ni=bob%40bob.com\r\n\r\n";

/// `crosslink serve` on a free port.
struct Served {
    program: Program,
    address: SocketAddr,
    _config: NamedTempFile,
}

fn config(extra: &str) -> NamedTempFile {
    let text = format!(
        "{extra}\npairs: [{{ origin: www.yoursite.com, destination: ok.example, links: {{ checkout: / }} }}]\n"
    );
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn serve(extra: &str, stdout: Stdio, mut command: Command) -> Served {
    let config = config(extra);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(config.path());
    let mut program = Program::spawn(command.stdout(stdout).stderr(Stdio::piped()));
    let mut events = BufReader::new(program.child.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert_ne!(events.read_line(&mut line).unwrap(), 0, "it ended before it listened");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["message"] == "listening" {
            break event["address"].as_str().unwrap().parse().unwrap();
        }
    };
    std::thread::spawn(move || std::io::copy(&mut events, &mut std::io::sink()));
    Served { program, address, _config: config }
}

impl Served {
    fn status(&self) -> u16 {
        Client::connect(self.address).send(ASK).reply().expect("a reply").status
    }

    fn exit(&mut self) -> Option<i32> {
        eventually("its end", || self.program.child.try_wait().unwrap()).code()
    }
}

#[test]
fn sigterm_and_ctrl_c_end_it_in_peace() {
    for signal in ["TERM", "INT"] {
        let mut served = serve("", Stdio::piped(), crosslink());
        assert_eq!(served.status(), 302);
        served.program.signal(signal);
        assert_eq!(served.exit(), Some(0), "{signal}");
        let mut log = String::new();
        served.program.child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(log.lines().count(), 1, "the last line is written out: {log}");
        assert!(!log.contains("bob"));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut served = serve("limits: { drain: 1h }", Stdio::null(), crosslink());
    let _begun = Client::connect(served.address).send(b"GET /");
    assert_eq!(served.status(), 302);
    served.program.signal("TERM");
    eventually("the listener's end", || std::net::TcpStream::connect(served.address).is_err().then_some(()));
    assert!(served.program.child.try_wait().unwrap().is_none(), "it waits for the request that has begun");
    served.program.signal("TERM");
    assert_eq!(served.exit(), Some(1));
}

#[test]
fn a_closed_stdout_stops_no_request() {
    let mut served = serve("", Stdio::piped(), crosslink());
    drop(served.program.child.stdout.take());
    for _ in 0..100 {
        assert_eq!(served.status(), 302);
    }
    served.program.signal("TERM");
    assert_eq!(served.exit(), Some(0));
}

#[test]
fn a_blocked_stdout_stops_no_request() {
    // Nobody reads the pipe, which holds 64 KiB: some 250 lines.
    let mut served = serve("", Stdio::piped(), crosslink());
    let pipelined = ASK.repeat(500);
    for _ in 0..4 {
        let mut client = Client::connect(served.address).send(&pipelined);
        for _ in 0..500 {
            assert_eq!(client.reply().unwrap().status, 302);
        }
    }
    served.program.signal("TERM");
    assert_eq!(served.exit(), Some(0), "it does not wait for the pipe for ever");
}

#[test]
fn running_out_of_descriptors_is_survived_without_a_busy_loop() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_crosslink")]);
    let mut served = serve("", Stdio::null(), limited);
    let crowd: Vec<Client> = (0..100).map(|_| Client::connect(served.address)).collect();
    let before = processor_time(served.program.id());
    std::thread::sleep(Duration::from_millis(500));
    let spent = processor_time(served.program.id()) - before;
    assert!(spent < 25, "{spent} hundredths of a second of processor time in half a second");
    drop(crowd);
    assert_eq!(served.status(), 302);
    served.program.signal("TERM");
    assert_eq!(served.exit(), Some(0));
}

/// The processor time that a process has used, in hundredths of a second (`/proc/PID/stat`, fields 14 and 15).
fn processor_time(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}
