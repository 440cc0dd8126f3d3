//! Sockets that somebody else has opened, as systemd hands them over (`sd_listen_fds(3)`).

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{CONFIG, Client, Service, needs};
use crate::tls_client::{TlsService, ask, folder};

const ASK: &[u8] = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";

/// Opens sockets, puts their addresses for `@0`, `@1` and so on into the configuration, and becomes the program. What
/// `sys.argv[1]` names are addresses.
const HAND_OVER: &str = r#"
import os, socket, sys
hosts, command = sys.argv[1].split(), sys.argv[2:]
sockets = [socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) for host in hosts]
config = open("crosslink.yaml").read()
for number, one in enumerate(sockets):
    config = config.replace(f"@{number}", str(one.getsockname()[1]))
open("crosslink.yaml", "w").write(config)
# First out of the way: one of them may have a number that another one needs.
copies = [os.dup(one.fileno()) for one in sockets]
high = [os.dup2(copy, 100 + number) for number, copy in enumerate(copies)]
for number, copy in enumerate(high):
    os.dup2(copy, 3 + number)
os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))
os.execv(command[0], command)
"#;

/// Starts a crosslink that is handed sockets for these hosts. `listening` is how many it listens on then.
fn hand_over(folder: TempDir, hosts: &str, config: &str, listening: usize) -> (Service, Vec<SocketAddr>) {
    let mut python = Command::new("python3");
    python.args(["-c", HAND_OVER, hosts, env!("CARGO_BIN_EXE_crosslink")]).env_remove("CROSSLINK_CONFIG");
    let mut service = Service::serve_in(folder, python, config, None);
    let addresses = service.listening(listening);
    (service, addresses)
}

#[test]
fn handed_over_sockets_serve_plain_and_tls() {
    if !needs(&["python3", "openssl"]) {
        return;
    }
    let tls = "tls: [{ listen: 127.0.0.1:@1, certificate: site.pem, key: site.key }]";
    // Nobody could listen there, so this shows that a handed socket takes its place.
    let listen = "listen: 192.0.2.1:1";
    let (service, addresses) = hand_over(folder(), "127.0.0.1 127.0.0.1", &format!("{listen}\n{tls}\n{CONFIG}"), 2);
    assert_eq!(Client::connect(addresses[0]).send(ASK).reply().unwrap().status, 302);
    let served = TlsService { service, address: addresses[1] };
    assert_eq!(ask(&mut served.connect("www.yoursite.com", &[]), ASK), "HTTP/1.1 302 Found");
}

#[test]
fn a_socket_for_all_addresses_is_the_one_of_the_file() {
    if !needs(&["python3", "openssl"]) {
        return;
    }
    // As with `ListenStream=443`, which is `[::]:443`, where the file says `0.0.0.0:443`.
    let tls = "tls: [{ listen: 0.0.0.0:@0, certificate: site.pem, key: site.key }]";
    let (service, addresses) = hand_over(folder(), "::", &format!("{tls}\n{CONFIG}"), 1);
    // `create_server` opens it for IPv6 alone.
    let served = TlsService { service, address: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), addresses[0].port()) };
    assert_eq!(ask(&mut served.connect("www.yoursite.com", &[]), ASK), "HTTP/1.1 302 Found");
}

#[test]
fn what_is_no_tcp_socket_is_refused() {
    if !needs(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crosslink.yaml"), CONFIG).unwrap();
    let script = "import os, sys; os.dup2(os.open('/dev/null', os.O_RDONLY), 3); \
                  os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])";
    let output = Command::new("python3")
        .current_dir(&folder)
        .args(["-c", script, env!("CARGO_BIN_EXE_crosslink")])
        .args(["serve", "--config", "crosslink.yaml", "--admin", "off"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot use a socket of systemd") && said.contains("give TCP sockets only"), "{said}");
}
