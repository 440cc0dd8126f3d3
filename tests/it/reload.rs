//! A new configuration while the program runs: all of it, or the old one stays and it is said why.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Reply, Service, crosslink, eventually};

const READ_AGAIN: &str = "configuration read again, and in force";
const FAULTY: &str = "the configuration is faulty; the old one stays";
const UNREADABLE: &str = "the configuration can't be read; the old one stays";

/// A crosslink whose folder holds its configuration, to be changed.
struct Served {
    service: Service,
    address: SocketAddr,
    folder: TempDir,
}

/// A configuration whose one link leads to a host.
fn leading_to(host: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\npairs: [{{ name: own, origin: www.yoursite.com, destination: {host}, links: {{ x: / }} }}]\n"
    )
}

fn serve(config: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crosslink.yaml"), config).unwrap();
    serve_in(folder, &["--admin", "127.0.0.1:0"])
}

fn serve_in(folder: TempDir, arguments: &[&str]) -> Served {
    let mut command = crosslink();
    command.current_dir(&folder).args(["serve", "--config", "crosslink.yaml"]).args(arguments);
    let mut service = Service::start(&mut command);
    let address = service.listening(1)[0];
    Served { service, address, folder }
}

impl Served {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, config: &str) {
        fs::write(self.path("crosslink.yaml"), config).unwrap();
    }

    /// Writes a configuration, asks for it, and waits until it is said what became of it.
    fn reload(&self, config: &str) -> Value {
        self.write(config);
        self.hang_up()
    }

    fn hang_up(&self) -> Value {
        let before = self.results().len();
        self.service.program.signal("HUP");
        self.result(before)
    }

    /// What became of one more reading than so many.
    fn result(&self, before: usize) -> Value {
        eventually("a reload", || self.results().get(before).cloned())
    }

    fn events(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.service.stderr).unwrap();
        let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How every reading ended so far.
    fn results(&self) -> Vec<Value> {
        let is_result = |event: &Value| {
            let message = event["message"].as_str().unwrap();
            [READ_AGAIN, UNREADABLE, FAULTY].contains(&message)
        };
        self.events().into_iter().filter(is_result).collect()
    }

    fn get(&self, host: &str, target: &str) -> Reply {
        get(self.address, host, target)
    }

    /// Where the one link leads.
    fn destination(&self) -> String {
        self.get("www.yoursite.com", "/go/x").location().unwrap().to_owned()
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = get(self.service.admin(), "localhost", "/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn is_fine(&self) -> bool {
        self.metric("crosslink_config_last_reload_successful") > 0.5
    }

    fn read_at(&self) -> f64 {
        self.metric("crosslink_config_last_reload_success_timestamp_seconds")
    }
}

/// A visitor who is known on the origin and nowhere else.
fn get(address: SocketAddr, host: &str, target: &str) -> Reply {
    let cookie = if host == "www.yoursite.com" { "Cookie: km_ni=bob\r\n" } else { "" };
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n");
    Client::connect(address).send(head.as_bytes()).reply().expect("a reply")
}

#[test]
fn a_signal_puts_another_file_in_force() {
    let served = serve(&leading_to("one.example"));
    assert_eq!(served.destination(), "https://one.example/?kmi=bob");
    let (at_start, mut kept) = (served.read_at(), Client::connect(served.address));
    served.write(&leading_to("two.example"));
    assert_eq!(served.destination(), "https://one.example/?kmi=bob", "nobody asked for it");
    assert_eq!(served.hang_up()["message"], READ_AGAIN);
    assert_eq!(served.destination(), "https://two.example/?kmi=bob");
    // A connection from before gets the new rules too.
    kept = kept.send(b"GET /go/x HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n");
    assert_eq!(kept.reply().unwrap().location(), Some("https://two.example/"));
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(served.is_fine() && at_start < served.read_at() && served.read_at() <= now);
}

/// What `check` says about the file.
fn checked(folder: &Path) -> String {
    let output = crosslink().current_dir(folder).args(["check", "--config", "crosslink.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    String::from_utf8(output.stderr).unwrap()
}

/// The faults among events, as `check` begins to show them, and the hints, which it shows too.
fn faults(events: &[Value], checked: &str) -> Vec<String> {
    let faults = events.iter().filter(|event| event["message"] == "a fault in the configuration");
    let faults = faults.map(|event| {
        let text = |field: &str| event[field].as_str().unwrap_or_else(|| panic!("{field} in {event}"));
        assert!(checked.contains(&format!("= help: {}\n", text("hint"))), "{event}: {checked}");
        assert_eq!(event["level"], "ERROR");
        format!("{}:{}:{}: {}\n", text("file"), event["line"], event["column"], text("problem"))
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.iter().all(|fault| checked.contains(fault)), "{faults:#?}: {checked}");
    faults
}

const FAULTY_FILES: [(&str, &[&str]); 5] = [
    ("pairs: [{ origin: www.yoursite.com }]\n", &["crosslink.yaml:1:"]),
    (
        "pairs: [{ origin: www.yoursite.com, destination: \"*\" }]\nroute: /\n",
        &["crosslink.yaml:1:50: the destination `*` has", "crosslink.yaml:2:8: `/` is no path"],
    ),
    ("pairs:\n  - origin: www.yoursite.com\n    destination: \"ok.exam", &["crosslink.yaml:3:"]),
    ("", &["crosslink.yaml:1:1: "]),
    ("\0", &["crosslink.yaml:1:"]),
];

#[test]
fn a_faulty_file_changes_nothing_and_each_fault_has_fields() {
    let served = serve(&leading_to("one.example"));
    let at_start = served.read_at();
    for (faulty, problems) in FAULTY_FILES {
        let before = served.events().len();
        let result = served.reload(faulty);
        assert_eq!((&result["message"], &result["file"]), (&FAULTY.into(), &"crosslink.yaml".into()), "{faulty}");
        assert_eq!((&result["level"], &result["faults"]), (&"ERROR".into(), &problems.len().into()));
        let found = faults(&served.events()[before..], &checked(served.folder.path()));
        assert_eq!(found.len(), problems.len(), "{found:#?}");
        assert!(found.iter().zip(problems).all(|(found, problem)| found.starts_with(problem)), "{found:#?}");
        assert_eq!(served.destination(), "https://one.example/?kmi=bob");
        assert!(!served.is_fine());
        assert!((served.read_at() - at_start).abs() < 1e-9, "the time is that of what is in force");
    }
    fs::write(served.path("crosslink.yaml"), b"pairs: \xff").unwrap();
    served.hang_up();
    let events = served.events();
    assert!(events.iter().any(|event| event["problem"] == "the text is not UTF-8 here"), "{events:?}");
    let result = served.reload(&leading_to("two.example"));
    assert_eq!((&result["message"], &result["file"]), (&READ_AGAIN.into(), &"crosslink.yaml".into()));
    assert!(served.is_fine() && served.read_at() > at_start);
    assert_eq!(served.destination(), "https://two.example/?kmi=bob");
}

#[test]
fn a_log_for_people_shows_faults_as_check_does() {
    let text = format!("log: {{ format: text }}\n{}", leading_to("one.example"));
    let service = Service::serve(crosslink(), &text, None);
    service.said("admin port");
    for (faulty, _) in FAULTY_FILES {
        fs::write(service.folder().join("crosslink.yaml"), faulty).unwrap();
        service.program.signal("HUP");
        let checked = checked(service.folder());
        let pictures = checked.rsplit_once("crosslink.yaml: ").unwrap().0;
        assert!(pictures.contains('^'), "{pictures}");
        service.said(&format!("{FAULTY}\n{pictures}"));
    }
}

#[test]
fn a_start_with_a_faulty_file_says_so_in_the_form_of_its_log() {
    for (faulty, problems) in FAULTY_FILES {
        let mut service = Service::serve(crosslink(), faulty, None);
        assert_eq!(service.exit(), Some(78));
        let events: Vec<Value> = service.events().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(faults(&events, &checked(service.folder())).len(), problems.len());
        let last = events.last().unwrap();
        assert_eq!(
            (&last["message"], &last["faults"]),
            (&"the configuration is faulty".into(), &problems.len().into())
        );
    }
    let text = format!("log: {{ format: text }}\nroute: /\n{}", leading_to("one.example"));
    let mut service = Service::serve(crosslink(), &text, None);
    assert_eq!(service.exit(), Some(78));
    assert_eq!(service.events(), checked(service.folder()));
}

#[test]
fn a_file_that_is_gone_or_can_not_be_one_changes_nothing() {
    let served = serve(&leading_to("one.example"));
    fs::remove_file(served.path("crosslink.yaml")).unwrap();
    assert_eq!(served.hang_up()["message"], UNREADABLE);
    fs::create_dir(served.path("crosslink.yaml")).unwrap();
    assert_eq!(served.hang_up()["message"], UNREADABLE);
    fs::remove_dir(served.path("crosslink.yaml")).unwrap();
    // Empty, but of a size that nobody reads to its end.
    fs::File::create(served.path("crosslink.yaml")).unwrap().set_len(1 << 40).unwrap();
    let result = served.hang_up();
    assert_eq!((&result["message"], &result["file"]), (&UNREADABLE.into(), &"crosslink.yaml".into()));
    assert!(result["error"].as_str().unwrap().contains("too large"), "{result}");
    assert!(!served.is_fine());
    assert_eq!(served.destination(), "https://one.example/?kmi=bob");
}

#[test]
fn a_pipe_in_its_place_keeps_nobody_waiting() {
    let mut served = serve(&leading_to("one.example"));
    fs::remove_file(served.path("crosslink.yaml")).unwrap();
    // Nobody ever writes into this pipe.
    assert!(Command::new("mkfifo").arg(served.path("crosslink.yaml")).status().unwrap().success());
    assert_eq!(served.hang_up()["message"], UNREADABLE);
    assert!(!served.is_fine());
    assert_eq!(served.destination(), "https://one.example/?kmi=bob");
    fs::remove_file(served.path("crosslink.yaml")).unwrap();
    assert_eq!(served.reload(&leading_to("two.example"))["message"], READ_AGAIN);
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(0));
}

#[test]
fn many_signals_are_as_good_as_the_last() {
    let served = serve(&leading_to("first.example"));
    for number in 0..50 {
        served.write(&leading_to(&format!("n{number}.example")));
        served.service.program.signal("HUP");
    }
    served.write(&leading_to("last.example"));
    served.service.program.signal("HUP");
    eventually("the last file in force", || (served.destination() == "https://last.example/?kmi=bob").then_some(()));
    assert!(served.is_fine());
}

#[test]
fn keys_are_read_again() {
    let keygen = || String::from_utf8(crosslink().arg("keygen").output().unwrap().stdout).unwrap();
    let sealed = |keys: &str| {
        format!(
            "listen: 127.0.0.1:0\nkeys: [{keys}]\npairs: [{{ origin: www.yoursite.com, destination: ok.example, links: {{ x: / }}, landing: {{}} }}]\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| {
        fs::write(folder.path().join(name), keygen()).unwrap();
        format!("{{ id: {name}, file: {} }}", folder.path().join(name).display())
    });
    fs::write(folder.path().join("crosslink.yaml"), sealed(&old)).unwrap();
    let served = serve_in(folder, &["--admin", "off"]);
    let token = || {
        let location = served.destination();
        let token = location.strip_prefix("https://ok.example/").unwrap_or_else(|| panic!("{location}"));
        assert!(token.starts_with("?kmt="), "{token}");
        format!("/{token}")
    };
    let is_adopted = |token: &str| served.get("ok.example", token).set_cookie().is_some();
    let [used, of_old, later] = std::array::from_fn(|_| token());
    assert!(is_adopted(&used));
    // Another key in front: what the old one sealed is still opened, and what was used stays used.
    assert_eq!(served.reload(&sealed(&format!("{new}, {old}")))["message"], READ_AGAIN);
    assert!(!is_adopted(&used), "a token that was adopted before the reload");
    assert!(is_adopted(&of_old));
    let of_new = token();
    // Without the old one its tokens are no good any more.
    assert_eq!(served.reload(&sealed(&new))["message"], READ_AGAIN);
    assert!(!is_adopted(&later) && is_adopted(&of_new));
    // The file of a key says something else under the same name.
    let of_new = token();
    fs::write(served.path("new"), keygen()).unwrap();
    assert_eq!(served.hang_up()["message"], READ_AGAIN);
    assert!(!is_adopted(&of_new) && is_adopted(&token()));
    fs::write(served.path("new"), "no key\n").unwrap();
    let result = served.hang_up();
    assert_eq!(result["message"], FAULTY);
    assert!(served.events().iter().any(|event| event["problem"] == "what stands there is no key"));
    assert!(is_adopted(&token()));
}

#[test]
fn what_takes_a_restart_is_said() {
    let served = serve(&leading_to("one.example"));
    let rest = leading_to("two.example").split_once('\n').unwrap().1.to_owned();
    let changed =
        format!("listen: 127.0.0.1:1\nlimits: {{ drain: 1s }}\nlog: {{ requests: off }}\nwatch: true\n{rest}");
    assert_eq!(served.reload(&changed)["message"], READ_AGAIN);
    let said = |keys: &str| {
        let is_it = |event: &Value| event["message"] == "what these keys say now takes a restart";
        eventually(keys, || served.events().into_iter().find(|event| is_it(event) && event["keys"] == keys));
    };
    said("listen, limits, log, watch");
    assert_eq!(served.destination(), "https://two.example/?kmi=bob", "all else counts");
    served.reload(&format!("listen: 127.0.0.1:0\nadmin: off\nreplay_entries: 5\n{rest}"));
    said("admin, replay");
    let before = served.events().len();
    served.reload(&leading_to("three.example"));
    assert_eq!(served.events().len(), before + 1, "where nothing waits, nothing is said");
}

#[test]
fn an_outbox_that_comes_with_a_reload_is_said_to_wait() {
    let plain = leading_to("one.example");
    let served = serve(&plain);
    fs::write(served.path("key"), "0123456789abcdef0123456789abcdef01234567").unwrap();
    fs::create_dir(served.path("box")).unwrap();
    let with_outbox = plain
        .replace("pairs:", "outbox: { directory: box }\npairs:")
        .replace(", links", ", kissmetrics: { key_file: key }, links");
    assert_eq!(served.reload(&with_outbox)["message"], READ_AGAIN);
    let warned = |text: &str| {
        let is_it = |event: &Value| event["level"] == "WARN" && event.to_string().contains(text);
        eventually(text, || served.events().iter().any(is_it).then_some(()));
    };
    warned("\"keys\":\"outbox\"");
    warned("KISSmetrics is told nothing until a restart");
    assert!(!served.path("box/lock").exists());
}

#[test]
fn a_warning_is_logged_with_its_hint_and_only_once() {
    let pair = |name: &str, destination: &str| {
        format!("  - name: {name}\n    origin: www.yoursite.com\n    destination: {destination}\n    landing: {{}}\n")
    };
    let file = |pairs: &[String]| format!("listen: 127.0.0.1:0\npairs:\n{}", pairs.concat());
    let (plain, more) = (pair("one", "one.example"), pair("two", "http://two.example"));
    let served = serve(&file(std::slice::from_ref(&plain)));
    let warnings = || {
        let warnings = served.events().into_iter().filter(|event| event["level"] == "WARN");
        warnings.map(|event| ["line", "column", "message", "hint"].map(|field| event[field].to_string())).collect()
    };
    let warned = |from: usize, expected: &[(&str, &str)]| {
        let found: Vec<[String; 4]> = eventually("the warnings", || {
            let found: Vec<_> = warnings();
            (found.len() >= from + expected.len()).then_some(found)
        });
        for ([line, _, message, hint], (expected_line, problem)) in found[from..].iter().zip(expected) {
            assert!(line == expected_line && message.contains(problem), "{found:#?}");
            assert!(hint.len() > 20, "what to do is said, too: {hint}");
        }
        assert_eq!(found.len(), from + expected.len(), "{found:#?}");
        found.len()
    };
    let (accepts, unencrypted) = ("this landing accepts a plain", "unencrypted");
    let mut said = warned(0, &[("6", accepts)]);
    // The same again, also in another line.
    for again in [plain.clone(), plain.replace("    landing", "# moved\n\n    landing")] {
        assert_eq!(served.reload(&file(&[again]))["message"], READ_AGAIN);
    }
    assert_eq!(served.reload(&file(&[more.clone(), plain.clone()]))["message"], READ_AGAIN);
    said = warned(said, &[("5", unencrypted), ("6", accepts)]);
    // A faulty file says nothing about what works; what has gone and comes back is new.
    served.reload("pairs: []");
    served.reload(&file(std::slice::from_ref(&plain)));
    assert_eq!(served.reload(&file(&[plain, more]))["message"], READ_AGAIN);
    said = warned(said, &[("9", unencrypted), ("10", accepts)]);
    // What is new of many pairs is said once.
    let many: Vec<String> = (0..100).map(|number| pair(&format!("p{number}"), "many.example")).collect();
    assert_eq!(served.reload(&file(&many))["message"], READ_AGAIN);
    warned(said, &[("6", accepts)]);
    let events = served.events();
    let last = events.iter().rfind(|event| event["level"] == "WARN").unwrap();
    assert_eq!((&last["more"], &last["file"]), (&99.into(), &"crosslink.yaml".into()));
    assert_eq!(events.iter().filter(|event| event["more"].is_number()).count(), 1, "{events:?}");
}

#[test]
fn an_address_from_the_command_line_is_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crosslink.yaml"), leading_to("one.example")).unwrap();
    let served = serve_in(folder, &["--listen", "127.0.0.1:0", "--admin", "off"]);
    let before = served.events().len();
    served.reload(&leading_to("two.example"));
    assert_eq!(served.events().len(), before + 1, "{:?}", served.events());
}

#[test]
fn counters_live_on() {
    let served = serve(&leading_to("one.example"));
    let counted = r#"crosslink_handoffs_total{pair="own",identity="named"}"#;
    served.destination();
    let rest = "origin: www.yoursite.com, destination: two.example, links: { x: / }";
    served.reload(&format!(
        "pairs: [{{ name: first, origin: a.example, destination: b.example }}, {{ name: own, {rest} }}]\n"
    ));
    let page = get(served.service.admin(), "localhost", "/").body;
    assert!(page.contains("<code>named</code></th><td class=\"number\">1</td>"), "the page forgot: {page}");
    assert!((served.metric(counted) - 1.0).abs() < 1e-9);
    served.destination();
    assert!((served.metric(counted) - 2.0).abs() < 1e-9);
    served.reload(&leading_to("three.example"));
    served.destination();
    assert!((served.metric(counted) - 3.0).abs() < 1e-9);
}

fn watched(host: &str) -> String {
    format!("watch: true\n{}", leading_to(host))
}

/// Waits until the link leads to a host.
#[track_caller]
fn leads_to(served: &Served, host: &str) {
    eventually(host, || (served.destination() == format!("https://{host}/?kmi=bob")).then_some(()));
}

#[test]
fn a_watched_file_is_taken_when_it_changes() {
    let served = serve(&watched("one.example"));
    // In place,
    served.write(&watched("two.example"));
    leads_to(&served, "two.example");
    // by a file that takes its place,
    fs::write(served.path("next"), watched("three.example")).unwrap();
    fs::rename(served.path("next"), served.path("crosslink.yaml")).unwrap();
    leads_to(&served, "three.example");
    // and after it was gone.
    fs::remove_file(served.path("crosslink.yaml")).unwrap();
    eventually("its absence", || (!served.is_fine()).then_some(()));
    served.write(&watched("three.example"));
    eventually("its return", || served.is_fine().then_some(()));
    leads_to(&served, "three.example");
}

#[test]
fn a_watched_file_that_is_faulty_is_said_once() {
    let served = serve(&watched("one.example"));
    served.write("pairs:");
    assert_eq!(served.result(0)["message"], FAULTY);
    // Long enough for several looks.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(served.results().len(), 1);
    assert_eq!(served.destination(), "https://one.example/?kmi=bob");
}

#[test]
fn a_file_that_is_only_touched_is_not_read_again() {
    let served = serve(&watched("one.example"));
    fs::write(served.path("crosslink.yaml"), watched("one.example")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(served.results().len(), 0);
    served.write(&watched("two.example"));
    leads_to(&served, "two.example");
    served.result(0);
    assert_eq!(served.results().len(), 1);
}

/// A `ConfigMap` and a `Secret`, as Kubernetes puts them into a container: a link to a link to a dated folder, and the
/// one in the middle is replaced by a rename.
#[test]
fn a_folder_that_kubernetes_swaps_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let publish = |folder: &Path, dated: &str, config: &str| {
        fs::create_dir(folder.join(dated)).unwrap();
        fs::write(folder.join(dated).join("crosslink.yaml"), config).unwrap();
        symlink(dated, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    publish(folder.path(), "..2026_11_22_00_10_52.1", &watched("one.example"));
    symlink("..data/crosslink.yaml", folder.path().join("crosslink.yaml")).unwrap();
    let served = serve_in(folder, &["--admin", "127.0.0.1:0"]);
    assert_eq!(served.destination(), "https://one.example/?kmi=bob");
    publish(served.folder.path(), "..2026_11_22_00_11_52.2", &watched("two.example"));
    leads_to(&served, "two.example");
    // Its owner removes the old folder afterwards.
    fs::remove_dir_all(served.path("..2026_11_22_00_10_52.1")).unwrap();
    publish(served.folder.path(), "..2026_11_22_00_12_52.3", &watched("three.example"));
    leads_to(&served, "three.example");
    served.result(1);
    assert_eq!(served.results().len(), 2);
}

#[test]
fn a_key_that_changes_or_comes_late_is_seen() {
    let served = serve(&watched("one.example"));
    let pair = "pairs: [{ origin: www.yoursite.com, destination: ok.example, links: { x: / }, landing: {} }]\n";
    let key = served.path("key");
    served.write(&format!("watch: true\nlisten: 127.0.0.1:0\nkeys: [{{ id: a, file: {} }}]\n{pair}", key.display()));
    assert_eq!(served.result(0)["message"], FAULTY, "there is no key yet");
    let keygen = || fs::write(&key, crosslink().arg("keygen").output().unwrap().stdout).unwrap();
    keygen();
    eventually("sealed hand-offs", || served.destination().starts_with("https://ok.example/?kmt=").then_some(()));
    let token = served.destination().strip_prefix("https://ok.example").unwrap().to_owned();
    keygen();
    eventually("another key", || (served.results().len() == 3).then_some(()));
    assert_eq!(served.get("ok.example", &token).set_cookie(), None);
}
