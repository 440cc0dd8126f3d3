//! Events on their way to KISSmetrics: what is accepted arrives, whatever fails.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::kissmetrics::{Kissmetrics, Mood};
use crate::machine::may_make_namespaces;
use crate::outbox_site::{KEY, Run, Site, Source, command_of, number, started, told, value};
use crate::support::{PATIENCE, Service, crosslink, eventually, needs};
use crate::tls_client;

#[test]
fn requests_are_what_the_vendor_documents() {
    let (service, _site, mut source) = started(Mood::Fine);
    for (person, what, path, rest) in [
        (
            "Xy/Z+0123456789abcdefghijkl=",
            "alias\tbob@bob.com",
            "/a",
            "&_p=Xy%2FZ%2B0123456789abcdefghijkl%3D&_n=bob%40bob.com&_t=1763769600&_d=1",
        ),
        ("a,b:c", "record\tCart Checkout", "/e", "&_p=a%2Cb%3Ac&_n=Cart%20Checkout&_t=1763769600&_d=1"),
        (
            "Zoë 日本",
            "record\tarrived\tlink\tcheckout\tpair\tshop to: pay",
            "/e",
            "&_p=Zo%C3%AB%20%E6%97%A5%E6%9C%AC&_n=arrived&_t=1763769600&_d=1&link=checkout&pair=shop%20to%3A%20pay",
        ),
        (
            "50%&_k=x#y?",
            "set\tPlan\t100% + €",
            "/s",
            "&_p=50%25%26_k%3Dx%23y%3F&_t=1763769600&_d=1&Plan=100%25%20%2B%20%E2%82%AC",
        ),
        ("-_.!~*'()", "alias\t🦀", "/a", "&_p=-_.!~*'()&_n=%F0%9F%A6%80&_t=1763769600&_d=1"),
    ] {
        source.accept(&told(person, what));
        let expected = format!("{path}?_k={KEY}{rest}");
        eventually("the request", || service.told().contains(&expected).then_some(()));
    }
    source.finish();
    assert_eq!(service.told().len(), 5);
}

/// Tells an outbox so many events, and kills it so many times meanwhile, while the service fails in every way that it
/// can. What was accepted must arrive all the same. For `endurance`.
pub fn is_killed(events: usize, kills: usize, durability: &str) {
    let service = Kissmetrics::start(Mood::Moody);
    let site = Site::new(&service.endpoint(), &format!(", parallel: 64, durability: {durability}"));
    let mut run = Run::of(events / 8);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 1..=kills {
        let mut source = Source::start(&site);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let early = usize::try_from(random >> 33).unwrap() % (events / kills);
        run.tell(&mut source, events * kill / kills - early);
        // Some are on their way when the end comes.
        for number in run.sent..run.sent + 100 {
            source.tell(number, &run.event(number));
        }
        run.sent += 100;
        thread::sleep(Duration::from_micros(random % 20_000));
        source.program.child.kill().unwrap();
        source.program.child.wait().unwrap();
        while let Ok(answer) = source.answers.recv_timeout(PATIENCE) {
            run.note(&answer);
        }
    }
    let mut source = Source::start(&site);
    run.tell(&mut source, events);
    run.arrive(&service, events / 10);
    // So that the last ones need not wait for their next try.
    service.is(Mood::Fine);
    drop(source);
    let source = Source::start(&site);
    run.arrive(&service, 0);
    run.judge(&service);
    source.finish();
    assert_eq!(site.texts(), Vec::<String>::new(), "what was delivered stays on the disk");
}

#[test]
fn what_is_accepted_is_on_the_disk() {
    if !needs(&["strace"]) {
        return;
    }
    let service = Kissmetrics::start(Mood::Silent);
    let site = Site::new(&service.endpoint(), "");
    let trace = site.folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o"]).arg(&trace);
    let mut source = Source::start_in(command_of(command), &site);
    source.accept(&told("bob", "alias\tcarol"));
    source.finish();
    let calls = fs::read_to_string(&trace).unwrap();
    let at = |what: &[&str]| {
        let found = calls.lines().position(|call| what.iter().all(|part| call.contains(part)));
        found.unwrap_or_else(|| panic!("no {what:?} in {calls}"))
    };
    // The directory has the file, the file has the record, the disk has the file, and then somebody hears of it.
    let order = [at(&["fsync", "/journal>"]), at(&["pwrite64"]), at(&["fdatasync", "= 0"]), at(&["event 0 accepted"])];
    assert!(order.is_sorted(), "{order:?} in {calls}");
}

#[test]
fn in_batches_too_a_kill_takes_nothing_that_was_accepted() {
    is_killed(500, 5, "batch");
}

#[test]
fn a_new_key_is_taken_up_without_a_restart() {
    let (service, site, mut source) = started(Mood::Silent);
    for person in ["bob", "anna", "eve"] {
        source.accept(&told(person, "alias\tcarol"));
    }
    drop(source);
    let served = site.serve();
    eventually("the events", || served.page("/").contains("3 events wait").then_some(()));
    let new = KEY.replace('0', "f");
    fs::write(site.folder.path().join("key"), &new).unwrap();
    served.0.program.signal("HUP");
    served.0.said("configuration read again");
    service.is(Mood::Fine);
    eventually("all of them", || (service.counted() == 3).then_some(()));
    assert!(service.told().iter().all(|target| target.starts_with(&format!("/a?_k={new}&"))), "{:?}", service.told());
    served.finish();
    assert_eq!(site.texts(), Vec::<String>::new());
}

#[test]
fn events_of_a_site_that_is_gone_wait_for_it() {
    let (service, site, mut source) = started(Mood::Silent);
    source.accept(&told("bob", "alias\tcarol"));
    drop(source);
    service.is(Mood::Fine);
    let file = site.folder.path().join("crosslink.yaml");
    fs::copy(site.folder.path().join("key"), site.folder.path().join("other")).unwrap();
    let moved = Site { config: site.config.replace("/key,", "/other,"), ..site };
    let served = moved.serve();
    served.0.said("events wait for a site that no pair has");
    let metrics = served.metrics();
    for (name, expected) in [("waiting", 1), ("dead_letters", 0), ("open_circuits", 1)] {
        assert_eq!(value(&metrics, &format!("crosslink_outbox_{name}")), expected, "{metrics}");
    }
    fs::copy(file, served.0.folder().join("crosslink.yaml")).unwrap();
    served.0.program.signal("HUP");
    eventually("the event", || (service.counted() == 1).then_some(()));
    let refused = value(&served.metrics(), "crosslink_outbox_deliveries_total{result=\"refused\"}");
    assert_eq!(refused, 0);
    served.finish();
}

#[test]
fn what_was_refused_at_a_site_that_is_gone_is_sent_to_another() {
    let (service, site, mut source) = started(Mood::Status(400));
    source.accept(&told("bob", "alias\tcarol"));
    eventually("a dead letter", || site.command(&["list"]).1.ends_with("\n1 event\n").then_some(()));
    source.finish();
    service.is(Mood::Fine);
    let other = site.folder.path().join("other");
    fs::write(&other, KEY.replace('0', "f")).unwrap();
    let moved = site.config.replace("/key,", "/other,");
    fs::write(site.folder.path().join("crosslink.yaml"), moved).unwrap();
    let (done, said) = site.command(&["retry", "--all"]);
    assert!(!done && said.contains("no pair has this site"), "{said}");
    let name = format!("file {}", other.display());
    let (done, said) = site.command(&["retry", "--all", "--to-site", "nowhere"]);
    assert!(!done && said.contains(&format!("`{name}`")), "{said}");
    assert_eq!(site.command(&["retry", "--all", "--to-site", &name]), (true, "1 event delivered\n".to_owned()));
    assert!(service.told()[0].contains(&KEY.replace('0', "f")), "{:?}", service.told());
}

#[test]
fn what_passes_is_tried_again_whatever_the_status() {
    let (service, _site, mut source) = started(Mood::Status(429));
    source.accept(&told("bob", "alias\tcarol"));
    eventually("a request", || (service.asked() > 0).then_some(()));
    service.is(Mood::Fine);
    eventually("the event", || (service.counted() == 1).then_some(()));
    source.finish();
}

#[test]
fn the_first_failure_is_said_with_its_cause() {
    let (service, _site, mut source) = started(Mood::Status(503));
    source.accept(&told("bob", "alias\tcarol"));
    let said = eventually("a warning", || Some(source.log()).filter(|log| log.contains("did not take an event")));
    assert!(said.contains(&service.endpoint()) && said.contains("status 503") && !said.contains(KEY), "{said}");
    service.is(Mood::Fine);
    eventually("the event", || (service.counted() == 1).then_some(()));
    source.finish();
}

#[test]
fn what_is_refused_and_can_not_be_set_aside_is_not_sent_again() {
    let service = Kissmetrics::start(Mood::Status(400));
    let site = Site::new(&service.endpoint(), "");
    let letters = site.journal().join("dead-letters");
    fs::create_dir(&letters).unwrap();
    let mut source = Source::start(&site);
    source.accept(&told("bob", "alias\tcarol"));
    eventually("a complaint", || source.log().contains("refused events can't be set aside").then_some(()));
    fs::remove_dir(&letters).unwrap();
    eventually("a dead letter", || site.command(&["list"]).1.ends_with("\n1 event\n").then_some(()));
    source.finish();
    assert_eq!(service.asked(), 1);
}

#[test]
fn nothing_is_lost_while_the_service_is_away() {
    let service = Kissmetrics::start(Mood::Fine);
    let site = Site::new(&service.endpoint(), "");
    let address = service.address;
    drop(service);
    let mut run = Run::of(7);
    let mut source = Source::start(&site);
    run.tell(&mut source, 50);
    // It waits for nobody who does not answer.
    let started = Instant::now();
    source.finish();
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    let mut source = Source::start(&site);
    run.tell(&mut source, 100);
    let service = Kissmetrics::at(address, Mood::Fine);
    eventually("all of them", || (service.counted() == 100).then_some(()));
    source.finish();
    run.judge(&service);
}

#[test]
fn a_service_that_is_down_is_asked_now_and_then() {
    let mut run = Run::of(500);
    let (service, _site, mut source) = started(Mood::Status(503));
    run.tell(&mut source, 500);
    let before = service.asked();
    thread::sleep(Duration::from_secs(2));
    let asked = service.asked();
    // One at a time, after a second or half of it, then after two: without a pause there would be thousands.
    assert!(asked <= before.max(30) + 4, "asked {before} times, and then {asked}");
    service.is(Mood::Fine);
    eventually("all of them", || (service.counted() == 500).then_some(()));
    source.finish();
    run.judge(&service);
}

#[test]
fn what_a_cut_left_half_written_is_taken_away_and_counted() {
    let mut run = Run::of(3);
    let (service, site, mut source) = started(Mood::Silent);
    run.tell(&mut source, 10);
    drop(source);
    let [segment] = &site.segments()[..] else { panic!("{:?}", site.segments()) };
    let whole = fs::read(segment).unwrap();
    let torn = [&whole[..], &whole[19..60]].concat();
    fs::write(segment, torn).unwrap();
    let served = site.serve();
    let metrics = served.metrics();
    assert_eq!(value(&metrics, "crosslink_outbox_waiting"), 10, "{metrics}");
    assert_eq!(value(&metrics, "crosslink_outbox_events_total{outcome=\"torn\"}"), 1, "{metrics}");
    assert_eq!(fs::read(segment).unwrap(), whole);
    service.is(Mood::Fine);
    eventually("all of them", || (service.counted() == 10).then_some(()));
    eventually("the count", || (value(&served.metrics(), "crosslink_outbox_waiting") == 0).then_some(()));
    assert_eq!(value(&served.metrics(), "crosslink_outbox_events_total{outcome=\"delivered\"}"), 10);
    run.judge(&service);
}

#[test]
fn one_wrong_byte_takes_one_event_and_the_damaged_file_is_kept() {
    let mut run = Run::of(3);
    let (service, site, mut source) = started(Mood::Silent);
    run.tell(&mut source, 30);
    drop(source);
    let [segment] = &site.segments()[..] else { panic!("{:?}", site.segments()) };
    let damaged = with_wrong_byte(segment, "event 4\"");
    let served = site.serve();
    assert_eq!(value(&served.metrics(), "crosslink_outbox_waiting"), 29);
    assert_eq!(value(&served.metrics(), "crosslink_outbox_events_total{outcome=\"torn\"}"), 1);
    assert_eq!(fs::read(segment.with_extension("torn")).unwrap(), damaged);
    let said = served.0.events();
    assert!(said.contains("ERROR") && said.contains("00000001.torn") && said.contains("\"kept\":29"), "{said}");
    service.is(Mood::Fine);
    eventually("all others", || (service.counted() == 29).then_some(()));
    run.accepted.remove(&4);
    run.judge(&service);
}

#[test]
fn a_segment_that_is_cut_or_gone_while_it_runs_holds_up_nothing_behind_it() {
    let service = Kissmetrics::start(Mood::Status(503));
    let site = Site::new(&service.endpoint(), ", max_bytes: 1MiB");
    let (mut source, long) = (Source::start(&site), "x".repeat(1000));
    for number in 0..400 {
        source.accept(&told(&format!("{number}@yoursite.com"), &format!("record\tevent {number}\tText\t{long}")));
        if number == 20 {
            // From now on nothing is read.
            eventually("it to be down", || source.log().contains("KISSmetrics takes no events").then_some(()));
        }
    }
    let segments = site.segments();
    let (cut, gone) = (&segments[2], &segments[4]);
    let (first, second) = (events_in(cut), events_in(gone));
    let (middle, end) = (first[first.len() / 2], *first.last().unwrap());
    let bytes = fs::read(cut).unwrap();
    fs::write(cut, &bytes[..place(&bytes, &format!("\"event {middle}\""))]).unwrap();
    fs::rename(gone, site.folder.path().join("gone")).unwrap();
    service.is(Mood::Fine);
    let lost: HashSet<usize> = (middle..=end).chain(second).collect();
    eventually("all others", || (service.counted() >= 400 - lost.len()).then_some(()));
    let told: HashSet<_> = service.told().iter().map(|target| number(target)).collect();
    assert_eq!(told, (0..400).filter(|number| !lost.contains(number)).collect());
    for file in [cut, gone] {
        let name = file.file_name().unwrap().to_str().unwrap();
        let said = source.log();
        assert!(said.lines().any(|line| line.contains("is damaged, and passed over") && line.contains(name)), "{said}");
    }
    source.finish();
}

/// The numbers of the events in a segment.
fn events_in(segment: &PathBuf) -> Vec<usize> {
    let text = String::from_utf8_lossy(&fs::read(segment).unwrap()).into_owned();
    text.split("\"event ").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn no_dead_letter_is_lost_when_a_segment_is_mended() {
    let (service, site, mut source) = started(Mood::Status(400));
    source.accept(&told("bad0", "alias\tcarol"));
    eventually("a dead letter", || site.command(&["list"]).1.ends_with("\n1 event\n").then_some(()));
    service.is(Mood::Silent);
    for person in ["good0", "good1", "good2", "good3", "good4", "bad1", "tail"] {
        source.accept(&told(person, "alias\tcarol"));
    }
    drop(source);
    with_wrong_byte(&site.segments()[0], "good2");
    service.is(Mood::Status(400));
    let source = Source::start(&site);
    eventually("seven dead letters", || site.command(&["list"]).1.ends_with("\n7 events\n").then_some(()));
    source.finish();
    service.is(Mood::Fine);
    assert_eq!(site.command(&["retry", "--all"]), (true, "7 events delivered\n".to_owned()));
    assert_eq!(service.counted(), 7);
    assert_eq!(site.command(&["list"]), (true, "0 events\n".to_owned()));
}

#[test]
fn a_damaged_header_stops_nobody() {
    let (service, site, mut source) = started(Mood::Silent);
    source.accept(&told("bob", "alias\tanna"));
    drop(source);
    let [segment] = &site.segments()[..] else { panic!("{:?}", site.segments()) };
    with_wrong_byte(segment, "crosslink");
    fs::write(site.journal().join("dead-letters"), "this was never a file of dead letters").unwrap();
    service.is(Mood::Fine);
    let served = site.serve();
    eventually("the event", || (service.counted() == 1).then_some(()));
    assert!(served.0.events().contains("00000001.torn"), "{}", served.0.events());
    assert!(site.journal().join("dead-letters.torn").exists());
}

#[test]
fn of_damaged_dead_letters_all_others_stay_and_it_is_said() {
    let (_service, site, mut source) = started(Mood::Status(400));
    for number in 0..3 {
        source.accept(&told(&format!("bob{number}@bob.com"), "alias\tcarol"));
    }
    eventually("three dead letters", || site.command(&["list"]).1.ends_with("\n3 events\n").then_some(()));
    source.finish();
    let file = site.journal().join("dead-letters");
    // The one in the middle: they were refused in any order.
    let mut letters = ["bob0@", "bob1@", "bob2@"];
    letters.sort_by_key(|text| place(&fs::read(&file).unwrap(), text));
    let damaged = with_wrong_byte(&file, letters[1]);
    let (done, said) = site.command(&["list"]);
    assert!(!done && said.contains("\n2 events\n") && said.contains("can't be read: 1"), "{said}");
    let (_, ids) = site.command(&["list"]);
    let first = ids.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert!(site.command(&["drop", first]).0);
    assert_eq!(fs::read(file.with_extension("torn")).unwrap(), damaged);
    let (done, said) = site.command(&["list"]);
    assert!(done && said.ends_with("\n1 event\n"), "{said}");
    with_wrong_byte(&file, "bob");
    let served = site.serve();
    let said = served.0.events();
    assert!(said.contains("ERROR") && said.contains("dead-letters.torn-2"), "{said}");
}

/// Changes one bit of a file where a text stands, and gives what the file holds then.
fn with_wrong_byte(file: &PathBuf, text: &str) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    let at = place(&bytes, text);
    bytes[at] ^= 1;
    fs::write(file, &bytes).unwrap();
    bytes
}

fn place(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap()
}

#[test]
fn commands_of_root_leave_the_files_to_the_service() {
    let (_service, site, mut source) = started(Mood::Status(400));
    for _ in 0..2 {
        source.accept(&told("bob", "alias\tcarol"));
    }
    eventually("two dead letters", || site.command(&["list"]).1.ends_with("\n2 events\n").then_some(()));
    source.finish();
    let nobody = |file: &PathBuf| std::os::unix::fs::chown(file, Some(65_534), Some(65_534)).is_ok();
    let file = site.journal().join("dead-letters");
    if ![&site.journal(), &file].into_iter().all(nobody) {
        eprintln!("left out: only root gives files away");
        return;
    }
    fs::remove_file(site.journal().join("dead-letters.lock")).unwrap();
    let (_, listed) = site.command(&["list"]);
    let id = listed.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(site.command(&["drop", id]), (true, "1 event dropped\n".to_owned()));
    for name in ["dead-letters", "dead-letters.lock"] {
        let metadata = fs::metadata(site.journal().join(name)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), 65_534, "{name}");
    }
}

#[test]
fn a_full_outbox_refuses_new_events_or_drops_the_oldest() {
    let service = Kissmetrics::start(Mood::Silent);
    for (when_full, oldest) in [("refuse_new", "event 0"), ("drop_oldest", "event 3999")] {
        let site =
            Site::new(&service.endpoint(), &format!(", max_bytes: 1MiB, durability: batch, when_full: {when_full}"));
        let mut source = Source::start(&site);
        let long = "x".repeat(1000);
        let mut refused = 0;
        for number in 0..4000 {
            source.tell(
                number,
                &told(&format!("{number}@yoursite.com"), &format!("record\tevent {number}\tText\t{long}")),
            );
            let answer = source.answers.recv_timeout(PATIENCE).unwrap();
            refused += usize::from(answer == format!("{number} Full"));
        }
        let bytes: u64 = site.segments().iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes <= 1024 * 1024, "{bytes}");
        assert_eq!(refused > 0, when_full == "refuse_new", "{refused} refused");
        assert!(site.texts().iter().any(|text| text.contains(&format!("\"{oldest}\""))), "{when_full}");
        drop(source);
    }
}

#[test]
fn a_full_outbox_is_seen_until_there_is_room() {
    let service = Kissmetrics::start(Mood::Silent);
    let site = Site::new(&service.endpoint(), ", max_bytes: 1MiB").with_api();
    let served = site.serve();
    let event = format!(r#"{{"person":"bob","event":"Paid","properties":{{"Text":"{}"}}}}"#, "x".repeat(5000));
    let list = format!("[{}]", vec![event; 50].join(","));
    let full = (0..100).find(|number: &u32| served.post(&number.to_string(), &list) == 503);
    assert!((3..5).contains(&full.unwrap()), "{full:?}");
    let accepting = || value(&served.metrics(), "crosslink_outbox_accepting");
    assert_eq!(accepting(), 0);
    assert!(served.page("/").contains("the outbox is full"));
    served.0.said("the outbox is full: no events are accepted");
    service.is(Mood::Fine);
    eventually("room", || (accepting() == 1).then_some(()));
    served.0.said("the outbox has room again");
    assert_eq!(served.0.events().matches("the outbox is full").count(), 1);
}

#[test]
fn on_a_full_disk_events_are_refused_until_there_is_room() {
    if !needs(&["prlimit"]) {
        return;
    }
    let service = Kissmetrics::start(Mood::Fine);
    let site = Site::new(&service.endpoint(), "");
    // The signal that comes with a limit would end the program; a full disk sends none.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    let mut source = Source::start_in(command_of(command), &site);
    source.accept(&told("bob", "alias\tanna"));
    let process = source.program.id().to_string();
    let limit = |bytes: &str| {
        let limited = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}")]).status();
        assert!(limited.unwrap().success());
    };
    limit("100:");
    assert_eq!(source.ask(&told("bob", "alias\teve")), "NoRoom");
    assert_eq!(source.ask(&told("bob", "alias\teve")), "NoRoom");
    limit("unlimited:");
    // It is seen without an event that tries.
    eventually("room", || source.log().contains("can be written again").then_some(()));
    source.accept(&told("bob", "alias\tcarol"));
    source.finish();
    let names: Vec<_> = service
        .told()
        .iter()
        .map(|target| target.split("&_n=").nth(1).unwrap().split('&').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["anna", "carol"]);
}

#[test]
fn a_disk_that_the_journal_filled_has_room_once_its_events_are_delivered() {
    if !needs(&["unshare", "mount"]) || !may_make_namespaces() {
        return;
    }
    let service = Kissmetrics::start(Mood::Silent);
    let site = Site::new(&service.endpoint(), "");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=256k none \"$0\" && exec \"$@\""]).arg(site.journal());
    let mut source = Source::start_in(command_of(command), &site);
    let event = |number: usize| told("bob", &format!("record\tevent {number}\tText\t{}", "x".repeat(1000)));
    let mut accepted = HashSet::new();
    let refused =
        (0..1000).find(|number| source.ask(&event(*number)) != "accepted" || !accepted.insert(*number)).unwrap();
    assert!((100..256).contains(&refused), "{refused} had room");
    service.is(Mood::Fine);
    // Some more ask again and again, so that it never has nothing to do.
    for number in refused..refused + 300 {
        eventually("room", || (source.ask(&event(number)) == "accepted").then_some(()));
        accepted.insert(number);
    }
    source.finish();
    let told: HashSet<_> = service.told().iter().map(|target| number(target)).collect();
    assert!(accepted.is_subset(&told), "{} accepted, {} arrived", accepted.len(), told.len());
}

#[test]
fn what_is_refused_can_be_looked_at_sent_again_and_dropped() {
    let (service, site, mut source) = started(Mood::Status(404));
    for number in 0..3 {
        source.accept(&told(&format!("bob{number}@bob.com"), "alias\tcarol@carol.com"));
    }
    eventually("three dead letters", || site.command(&["list"]).1.ends_with("\n3 events\n").then_some(()));
    let (_, listed) = site.command(&["list"]);
    assert!(!listed.contains('@') && !listed.contains(KEY), "{listed}");
    let ids: Vec<&str> = listed.lines().skip(1).take(3).map(|line| line.split(' ').next().unwrap()).collect();
    let (_, shown) = site.command(&["show", ids[1]]);
    assert!(shown.contains("\n  alias: carol@carol.com\n") && !shown.contains(KEY), "{shown}");
    let (done, said) = site.command(&["retry", ids[0]]);
    assert!(!done && said.contains("0 events delivered") && said.contains("stays: status 404"), "{said}");
    service.is(Mood::Fine);
    assert_eq!(site.command(&["retry", ids[0]]), (true, "1 event delivered\n".to_owned()));
    assert_eq!(site.command(&["drop", ids[1]]), (true, "1 event dropped\n".to_owned()));
    assert_eq!(site.command(&["retry", "--all"]), (true, "1 event delivered\n".to_owned()));
    assert_eq!(site.command(&["list"]), (true, "0 events\n".to_owned()));
    assert_eq!(service.told().len(), 2);
    assert!(!site.command(&["drop", "9-9"]).0);
    source.finish();
}

#[test]
fn what_was_set_aside_can_be_taken_away_on_a_full_disk() {
    if !needs(&["unshare", "mount"]) || !may_make_namespaces() {
        return;
    }
    let (service, site, mut source) = started(Mood::Status(404));
    for number in 0..3 {
        source.accept(&told(&format!("bob{number}"), "alias\tcarol"));
    }
    eventually("three dead letters", || site.command(&["list"]).1.ends_with("\n3 events\n").then_some(()));
    source.finish();
    service.is(Mood::Fine);
    let (_, listed) = site.command(&["list"]);
    let id = listed.lines().nth(1).unwrap().split(' ').next().unwrap();
    let letters = site.folder.path().join("letters");
    fs::copy(site.journal().join("dead-letters"), &letters).unwrap();
    // On a disk that is full but for them, a command, and then what is left.
    let on_full_disk = |arguments: &str| {
        let script = format!(
            "mount -t tmpfs -o size=64k none $1 && cp $2 $1/dead-letters
             head -c 1000000 /dev/zero 2>&- > $1/rest
             for command in '{arguments}' list; do $0 outbox $command --config $3; done"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(crosslink().get_program());
        command.args([&site.journal(), &letters, &site.folder.path().join("crosslink.yaml")]);
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said = on_full_disk(&format!("retry {id}"));
    assert!(said.contains("1 event delivered\n") && said.contains("\n3 events\n"), "{said}");
    assert!(said.contains("hint: nothing was taken away: make room on its disk"), "{said}");
    assert_eq!(on_full_disk("retry --all"), "3 events delivered\n0 events\n");
    assert_eq!(on_full_disk("drop --all"), "3 events dropped\n0 events\n");
}

#[test]
fn the_service_is_believed_by_its_certificate() {
    if !needs(&["openssl"]) {
        return;
    }
    let folder = tls_client::folder();
    let service = Kissmetrics::over_tls(folder.path(), "DNS:localhost");
    let ca = folder.path().join("ca.pem");
    for (host, more, is_believed) in [
        ("localhost", format!(", ca_file: {}", ca.display()), true),
        ("127.0.0.1", format!(", ca_file: {}", ca.display()), false),
        ("localhost", String::new(), false),
    ] {
        let site = Site::new(&format!("https://{host}:{}", service.address.port()), &more);
        let before = service.asked();
        let mut source = Source::start(&site);
        source.accept(&told("bob", "alias\tanna"));
        source.finish();
        assert_eq!(service.asked() > before, is_believed, "{host} with {more}");
        assert_eq!(site.texts().is_empty(), is_believed, "{host} with {more}");
    }
}

#[test]
fn only_one_program_has_an_outbox_and_no_key_is_anywhere() {
    let (_service, site, mut source) = started(Mood::Status(404));
    source.accept(&told("bob", "alias\tanna"));
    let mut second = crosslink();
    second.args(["serve", "--admin", "off", "--config"]).arg(site.folder.path().join("crosslink.yaml"));
    let mut second = Service::start(&mut second);
    assert_eq!(second.exit(), Some(1));
    assert!(second.events().contains("another crosslink uses it"), "{}", second.events());
    eventually("a dead letter", || site.command(&["list"]).1.ends_with("\n1 event\n").then_some(()));
    for file in fs::read_dir(site.journal()).unwrap() {
        let file = file.unwrap();
        let bytes = fs::read(file.path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(KEY), "{}", file.path().display());
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{}", file.path().display());
    }
    source.finish();
}
