//! The files in `deploy/systemd/`: what systemd says of them, and that they work under a real systemd.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use crate::machine::Machine;
use crate::support::{Client, PATIENCE, Service, crosslink, eventually, needs, repository};

const PAIR: &str = "pairs:
  - { origin: www.yoursite.com, destination: ok.example, links: { checkout: /cart }, landing: {} }
";
const ASK: &str = "curl -s -o /dev/null -w '%{http_code} %{redirect_url}' http://127.0.0.1:8080/go/checkout \
                   -H 'Host: www.yoursite.com' -H 'Cookie: km_ni=bob%40bob.com'";

fn unit(name: &str) -> PathBuf {
    repository("deploy/systemd").join(name)
}

/// A machine with crosslink installed as docs/installing.md says.
fn installed() -> Option<Machine> {
    let machine = Machine::boot()?;
    fs::copy(env!("CARGO_BIN_EXE_crosslink"), machine.shared("crosslink")).unwrap();
    for name in ["crosslink.service", "crosslink.socket"] {
        fs::copy(unit(name), machine.shared(name)).unwrap();
    }
    fs::write(machine.shared("crosslink.yaml"), PAIR).unwrap();
    let logs = "[Service]\nStandardOutput=append:/shared/stdout\nStandardError=append:/shared/stderr\n";
    fs::write(machine.shared("logs.conf"), logs).unwrap();
    machine.run(
        "install /shared/crosslink /usr/bin/
         install -D -m 644 -t /etc/systemd/system /shared/crosslink.service /shared/crosslink.socket
         install -D -m 644 -t /etc/systemd/system/crosslink.service.d /shared/logs.conf
         install -D -m 644 -t /etc/crosslink /shared/crosslink.yaml
         install -d -m 700 /etc/crosslink/secrets
         systemctl daemon-reload",
    );
    Some(machine)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !needs(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let service = fs::read_to_string(unit("crosslink.service")).unwrap();
    // It looks for the program, which is installed elsewhere.
    let here = service.replace("/usr/bin/crosslink", env!("CARGO_BIN_EXE_crosslink"));
    let copies = ["crosslink.service", "crosslink.socket"].map(|name| folder.path().join(name));
    fs::write(&copies[0], here).unwrap();
    fs::copy(unit("crosslink.socket"), &copies[1]).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&copies).output().unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", String::from_utf8_lossy(&verified.stderr));
    // The threshold is in tenths: 2.0, where 10.0 is a service without any protection.
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(unit("crosslink.service"))
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

#[test]
fn a_service_starts_reloads_and_stops_without_any_privilege() {
    let Some(machine) = installed() else { return };
    // As soon as `start` returns, it answers: it has told systemd that it is ready.
    assert_eq!(
        machine.run(&format!("systemctl start crosslink; {ASK}")),
        "302 https://ok.example/cart?kmi=bob%40bob.com"
    );
    let status = machine.run("cat /proc/$(systemctl show -P MainPID crosslink)/status");
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_ne!(field("Uid:").split('\t').next(), Some("0"));
    assert_eq!([field("CapEff:"), field("CapBnd:")], ["0000000000000000", "0000000000000000"]);
    assert_eq!([field("NoNewPrivs:"), field("Seccomp:")], ["1", "2"]);

    machine.run("sed -i 's|/cart|/basket|' /etc/crosslink/crosslink.yaml; systemctl reload crosslink");
    eventually("the new rules", || machine.run(ASK).contains("/basket").then_some(()));
    machine.run("echo broken >>/etc/crosslink/crosslink.yaml; systemctl reload crosslink");
    eventually("the fault", || machine.events().contains("the old one stays").then_some(()));
    assert!(machine.run(ASK).contains("/basket"));

    // With such a file it starts not even once more.
    assert!(!machine.ask("systemctl restart crosslink").status.success());
    let result = machine.run("systemctl show -p ActiveState -p ExecMainStatus -p NRestarts crosslink");
    for fact in ["ActiveState=failed", "ExecMainStatus=78", "NRestarts=0"] {
        assert!(result.lines().any(|line| line == fact), "{result}");
    }
    machine.run("sed -i '$d' /etc/crosslink/crosslink.yaml; systemctl start crosslink; systemctl stop crosslink");
    assert_eq!(machine.run("systemctl show -P Result crosslink"), "success\n");
    assert!(machine.events().contains(r#""message":"stopped""#), "{}", machine.events());
}

#[test]
fn a_key_is_read_by_root_and_handed_to_the_service() {
    let Some(machine) = installed() else { return };
    let keys = "keys: [{ id: 2026-11, file: /run/credentials/crosslink.service/secret_2026-11.key }]\n";
    fs::write(machine.shared("crosslink.yaml"), format!("{keys}{PAIR}")).unwrap();
    let location = machine.run(&format!(
        "cp /shared/crosslink.yaml /etc/crosslink/
         crosslink keygen 2>/dev/null | install -m 600 /dev/stdin /etc/crosslink/secrets/2026-11.key
         systemctl start crosslink
         {ASK}"
    ));
    assert!(location.starts_with("302 https://ok.example/cart?kmt=v4.local."), "{location}");
    // While it runs, whoever is root can also ask whether a changed file is right.
    assert!(machine.run("crosslink check").contains(": ok, 1 pair, 1 link"));
    let copy = "/run/credentials/crosslink.service/secret_2026-11.key";
    assert!(!machine.ask(&format!("setpriv --reuid 65534 --clear-groups cat {copy}")).status.success());
}

#[test]
fn with_the_socket_unit_a_restart_turns_nobody_away() {
    let Some(machine) = installed() else { return };
    machine.run("systemctl enable --now crosslink.socket");
    assert_eq!(machine.run("systemctl is-active crosslink || true"), "inactive\n");
    // The first visitor starts it.
    assert!(machine.run(ASK).starts_with("302 "));
    let answers = machine.run(&format!(
        "(for restart in 1 2 3; do systemctl restart crosslink; done) &
         while kill -0 $! 2>/dev/null; do {ASK}; echo; done
         {ASK}"
    ));
    let failed: Vec<_> = answers.lines().filter(|answer| !answer.starts_with("302 ")).collect();
    assert!(failed.is_empty() && answers.lines().count() > 3, "{answers}");
    assert_eq!(machine.events().matches(r#""message":"listening","address":"127.0.0.1:8080""#).count(), 4);
}

#[test]
fn it_says_when_it_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let said = || {
        let mut message = [0; 100];
        let length = systemd.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut command = crosslink();
    command.env("NOTIFY_SOCKET", &path);
    let mut service = Service::serve(command, &format!("listen: 127.0.0.1:0\n{PAIR}"), None);
    assert_eq!(said().trim_end(), "READY=1");
    let address = service.listening(1)[0];
    Client::connect(address).send(b"GET / HTTP/1.1\r\n");
    service.program.signal("TERM");
    assert_eq!(said().trim_end(), "STOPPING=1");
    assert_eq!(service.exit(), Some(0));
}

#[test]
fn sockets_of_systemd_take_the_place_of_its_own() {
    if !needs(&["systemd-socket-activate"]) {
        return;
    }
    // That program says what it listens on, and takes no port 0: a free one is found and let go for it.
    let [first, second] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut command = Command::new("systemd-socket-activate");
    command
        .args(["--listen", &first.to_string(), "--listen", &second.to_string()])
        .arg(env!("CARGO_BIN_EXE_crosslink"));
    // What stands in the file is not listened on, or this would fail: nobody may take port 1 of another machine's
    // address.
    let mut service = Service::serve(command, &format!("listen: 192.0.2.1:1\n{PAIR}"), None);
    let ask = |address: SocketAddr| {
        let connected = eventually("a socket", || std::net::TcpStream::connect(address).ok());
        drop(connected);
        let head = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";
        Client::connect(address).send(head).reply().expect("a reply").status
    };
    assert_eq!([ask(first), ask(second)], [302, 302]);
    service.program.signal("TERM");
    assert_eq!(service.exit(), Some(0));
    let _ = service.stdout.as_file_mut().flush();
}
