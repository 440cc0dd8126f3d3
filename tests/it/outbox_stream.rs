//! Events that wait in a real Redis which several crosslinks share.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::kissmetrics::{Kissmetrics, Mood};
use crate::outbox_site::{Run, Site, Source, told, value};
use crate::redis::Redis;
use crate::support::{Client, PATIENCE, eventually, needs};

/// A configuration whose events wait in a store. `more` stands under `outbox`.
fn site(store: &Redis, service: &Kissmetrics, more: &str) -> Site {
    let place = format!("stream: '{}/crosslink'", store.address());
    Site::at(tempfile::tempdir().unwrap(), &place, &service.endpoint(), more)
}

/// A store, a service in some mood, and a configuration with both; `None` where no store can be started.
fn started(mood: Mood, more: &str) -> Option<(Redis, Kissmetrics, Site)> {
    if !needs(&["redis-server"]) {
        return None;
    }
    let (store, service) = (Redis::start(&[]), Kissmetrics::start(mood));
    let site = site(&store, &service, more);
    Some((store, service, site))
}

/// Waits until so many crosslinks have all the parts.
fn await_owners(store: &Redis, number: usize) {
    eventually("all parts to have their owners", || {
        let owners = owners(store);
        (owners.len() == 16 && HashSet::<String>::from_iter(owners).len() == number).then_some(())
    });
}

/// What the store says.
fn ask<T: redis::FromRedisValue>(store: &Redis, words: &[&str]) -> T {
    let client = redis::Client::open(store.address()).unwrap();
    // A store that has just been started listens in a moment.
    let mut connection = eventually("the store", || client.get_connection().ok());
    let (name, arguments) = words.split_first().unwrap();
    redis::cmd(name).arg(arguments).query(&mut connection).unwrap()
}

/// To whom the parts belong.
fn owners(store: &Redis) -> Vec<String> {
    let owners: Vec<Option<String>> =
        (0..16).map(|part| ask(store, &["GET", &format!("crosslink:{part}:owner")])).collect();
    owners.into_iter().flatten().collect()
}

/// Waits until nothing is in the stream.
fn await_emptiness(store: &Redis) {
    eventually("an empty stream", || {
        let left: u64 = (0..16).map(|part| ask::<u64>(store, &["XLEN", &format!("crosslink:{part}")])).sum();
        (left == 0).then_some(())
    });
    assert_eq!(ask::<u64>(store, &["GET", "crosslink:bytes"]), 0);
}

#[test]
fn of_two_that_share_a_stream_one_is_killed_and_nothing_is_lost() {
    let Some((store, service, site)) = started(Mood::Moody, ", parallel: 64") else { return };
    let mut sources = [(); 2].map(|()| Source::start(&site));
    await_owners(&store, 2);
    let mut run = Run::of(50);
    for kill in 0..4 {
        for turn in 0..4 {
            let accepted = run.accepted.len() + 50;
            run.tell(&mut sources[turn % 2], accepted);
        }
        let source = &mut sources[kill % 2];
        for number in run.sent..run.sent + 50 {
            source.tell(number, &run.event(number));
        }
        run.sent += 50;
        thread::sleep(Duration::from_millis(kill as u64 * 5));
        source.program.child.kill().unwrap();
        source.program.child.wait().unwrap();
        while let Ok(answer) = source.answers.recv_timeout(PATIENCE) {
            run.note(&answer);
        }
        // The third time at once, with the dead one's parts still its own, and else after the other one has them.
        if kill != 2 {
            await_owners(&store, 1);
        }
        sources[kill % 2] = Source::start(&site);
    }
    run.arrive(&service, 50);
    service.is(Mood::Fine);
    run.arrive(&service, 0);
    run.judge(&service);
    await_emptiness(&store);
    for source in sources {
        source.finish();
    }
    assert_eq!(owners(&store), Vec::<String>::new());
    assert_eq!(ask::<u64>(&store, &["ZCARD", "crosslink:members"]), 0);
}

#[test]
fn one_that_is_held_up_mixes_nothing_when_it_goes_on() {
    let Some((store, service, site)) = started(Mood::Moody, ", parallel: 64") else { return };
    let mut sources = [(); 2].map(|()| Source::start(&site));
    await_owners(&store, 2);
    let mut run = Run::of(20);
    run.tell(&mut sources[0], 200);
    sources[0].program.signal("STOP");
    await_owners(&store, 1);
    run.tell(&mut sources[1], 300);
    sources[0].program.signal("CONT");
    run.tell(&mut sources[0], 400);
    service.is(Mood::Fine);
    await_owners(&store, 2);
    run.arrive(&service, 0);
    run.judge(&service);
    await_emptiness(&store);
    sources.into_iter().for_each(Source::finish);
}

#[test]
fn what_one_accepts_another_delivers() {
    let Some((store, service, site)) = started(Mood::Silent, "") else { return };
    let mut run = Run::of(7);
    let mut source = Source::start(&site);
    run.tell(&mut source, 100);
    source.finish();
    service.is(Mood::Fine);
    let other = Source::start(&site);
    eventually("all of them", || run.missing(&service).is_empty().then_some(()));
    run.judge(&service);
    await_emptiness(&store);
    other.finish();
}

#[test]
fn what_another_had_read_of_a_person_is_taken_over_a_part_at_a_time() {
    let Some((store, service, site)) = started(Mood::Silent, "") else { return };
    let mut run = Run::of(1);
    let mut source = Source::start(&site);
    await_owners(&store, 1);
    run.tell(&mut source, 350);
    let read = |part: u32| {
        let pending = ["XPENDING", &format!("crosslink:{part}"), "crosslink", "-", "+", "1000"];
        ask::<Vec<redis::Value>>(&store, &pending).len()
    };
    eventually("all to be read", || (0..16).find(|part| read(*part) == 350));
    source.program.child.kill().unwrap();
    service.is(Mood::Fine);
    let other = Source::start(&site);
    eventually("all of them", || run.missing(&service).is_empty().then_some(()));
    run.judge(&service);
    await_emptiness(&store);
    assert_eq!(ask::<Vec<String>>(&store, &["KEYS", "crosslink:*:claim"]), Vec::<String>::new());
    other.finish();
}

#[test]
fn what_another_version_has_added_stays_for_it() {
    let Some((store, service, site)) = started(Mood::Fine, "") else { return };
    let strange = r#"{"site":"s","person":"bob","what":{"unset":["Plan"]},"at":0,"accepted":0}"#;
    let _: String = ask(&store, &["XADD", "crosslink:3", "1-3", "event", strange]);
    let _: String = ask(&store, &["SET", "crosslink:last", "1"]);
    // The second one gets it when the first one has ended.
    for number in 1..3 {
        let mut source = Source::start(&site);
        source.accept(&told("bob", &format!("record\tevent {number}")));
        eventually("the event", || (service.counted() == number).then_some(()));
        eventually("a word of it", || source.log().contains("of another version").then_some(()));
        source.finish();
    }
    assert_eq!(ask::<u64>(&store, &["XLEN", "crosslink:3"]), 1);
}

#[test]
fn an_event_waits_for_the_key_that_it_was_meant_for() {
    let Some((store, service, site)) = started(Mood::Silent, "") else { return };
    let mut source = Source::start(&site);
    source.accept(&told("bob", "alias\tcarol"));
    source.finish();
    service.is(Mood::Fine);
    let file = site.folder.path().join("key");
    let own = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, own.replace('0', "f")).unwrap();
    let mut other = Source::start(&site);
    eventually("a warning", || other.log().contains("events wait for a site that no pair has").then_some(()));
    other.accept(&told("bob", "alias\teve"));
    eventually("its own", || (service.told().len() == 1).then_some(()));
    other.finish();
    std::fs::write(&file, &own).unwrap();
    let source = Source::start(&site);
    eventually("the first one", || (service.told().len() == 2).then_some(()));
    source.finish();
    let keys: Vec<bool> = service.told().iter().map(|target| target.contains(own.trim())).collect();
    assert_eq!(keys, [false, true]);
    await_emptiness(&store);
}

#[test]
fn while_the_store_is_away_events_are_refused_and_visitors_led_on() {
    if !needs(&["redis-server"]) {
        return;
    }
    let mut store = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let service = Kissmetrics::start(Mood::Silent);
    let site = site(&store, &service, "");
    let mut run = Run::of(3);
    let mut source = Source::start(&site);
    run.tell(&mut source, 20);
    store.kill();
    assert_eq!(source.ask(&run.event(9999)), "NoRoom");
    let mut served = site.serve();
    let address = served.0.listening(1)[0];
    let head = "GET /go?to=https://checkout.yoursite.com/ HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";
    assert_eq!(Client::connect(address).send(head.as_bytes()).reply().unwrap().status, 302);
    store.resume();
    service.is(Mood::Fine);
    eventually("the store", || (source.ask(&run.event(20)) == "accepted").then_some(()));
    run.accepted.insert(20);
    eventually("all of them", || run.missing(&service).is_empty().then_some(()));
    await_emptiness(&store);
    assert!(!service.told().iter().any(|target| target.contains("9999")));
    source.finish();
    served.finish();
}

#[test]
fn a_store_that_hangs_holds_nobody_up_and_comes_back() {
    let Some((store, service, site)) = started(Mood::Fine, "") else { return };
    let mut source = Source::start(&site);
    source.accept(&told("bob", "alias\tanna"));
    store.signal("STOP");
    assert_eq!(source.ask(&told("bob", "alias\teve")), "NoRoom");
    store.signal("CONT");
    eventually("the store", || (source.ask(&told("bob", "alias\tcarol")) == "accepted").then_some(()));
    eventually("carol", || service.told().iter().any(|target| target.contains("carol")).then_some(()));
    await_emptiness(&store);
    source.finish();
}

#[test]
fn what_a_program_asks_again_under_the_same_name_counts_once() {
    let Some((store, service, site)) = started(Mood::Fine, "") else { return };
    let served = site.with_api().serve();
    let post = |name: &str| served.post(name, &format!(r#"{{"person":"bob","event":"{name}"}}"#));
    let state = || ask::<Option<String>>(&store, &["GET", "crosslink:last"]);
    eventually("the store", || (post("order-1") == 202).then_some(()));
    eventually("the first one", || (service.told().len() == 1).then_some(()));
    store.signal("STOP");
    // It takes a second until nobody waits for the answer any more.
    assert_eq!(post("order-2"), 503);
    store.signal("CONT");
    eventually("what it was told before", || (state().as_deref() == Some("2")).then_some(()));
    eventually("the store", || (post("order-2") == 202).then_some(()));
    eventually("the second one, twice", || (service.told().len() == 3).then_some(()));
    assert_eq!(service.counted(), 2, "{:?}", service.told());
    await_emptiness(&store);
}

#[test]
fn it_is_seen_whether_the_store_is_there_without_an_event() {
    if !needs(&["redis-server"]) {
        return;
    }
    let mut store = Redis::start(&[]);
    let service = Kissmetrics::start(Mood::Silent);
    let site = site(&store, &service, "").with_api();
    store.kill();
    let served = site.serve();
    let accepting = |is_so: i64| {
        eventually("it to be seen", || {
            (value(&served.metrics(), "crosslink_outbox_accepting") == is_so).then_some(served.page("/"))
        })
    };
    assert!(accepting(0).contains("its store is away"));
    store.resume();
    assert!(accepting(1).contains("0 events wait"));
    eventually("the store", || (served.post("order-1", r#"{"person":"bob","event":"Paid"}"#) == 202).then_some(()));
    let old = || (value(&served.metrics(), "crosslink_outbox_oldest_seconds") > 0).then_some(());
    eventually("an old event", old);
    store.kill();
    assert!(accepting(0).contains("1 events wait, the oldest for "));
    old().unwrap();
    assert_eq!(served.post("order-2", r#"{"person":"bob","event":"Paid"}"#), 503);
    served.0.said("\"task\":\"take events\"");
    served.0.said("no events are accepted");
    store.resume();
    accepting(1);
}

#[test]
fn the_password_of_the_store_comes_from_a_file() {
    if !needs(&["redis-server"]) {
        return;
    }
    let store = Redis::start(&["--requirepass", "open-sesame"]);
    let service = Kissmetrics::start(Mood::Fine);
    for (password, answer) in [("open-sesame\n", "accepted"), ("open-barley\n", "NoRoom")] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, password).unwrap();
        let place = format!("stream: '{}/crosslink', password: {{ file: {} }}", store.address(), file.display());
        let site = Site::at(folder, &place, &service.endpoint(), "");
        let mut source = Source::start(&site);
        if answer == "accepted" {
            // The store listens in a moment.
            eventually("the store", || (source.ask(&told("bob", "alias\tanna")) == answer).then_some(()));
            eventually("the request", || (!service.told().is_empty()).then_some(()));
        } else {
            assert_eq!(source.ask(&told("bob", "alias\teve")), answer);
            let (done, said) = site.command(&["list"]);
            assert!(!done && !said.contains("open-barley") && said.contains("`outbox.password`"), "{said}");
        }
        source.finish();
    }
    assert_eq!(service.told().len(), 1);
}

#[test]
fn a_full_stream_refuses_new_events_or_drops_the_oldest() {
    if !needs(&["redis-server"]) {
        return;
    }
    let service = Kissmetrics::start(Mood::Silent);
    let long = "x".repeat(1000);
    for when_full in ["refuse_new", "drop_oldest"] {
        let store = Redis::start(&[]);
        let site = site(&store, &service, &format!(", max_bytes: 1MiB, when_full: {when_full}"));
        let mut source = Source::start(&site);
        let mut refused = 0;
        for number in 0..2000 {
            let person = format!("{number}@yoursite.com");
            let answer = source.ask(&told(&person, &format!("record\tevent {number}\tText\t{long}")));
            refused += usize::from(answer == "Full");
        }
        assert_eq!(refused > 0, when_full == "refuse_new", "{refused} refused");
        let events: Vec<String> = (0..16)
            .flat_map(|part| ask::<Vec<redis::Value>>(&store, &["XRANGE", &format!("crosslink:{part}"), "-", "+"]))
            .map(|entry| format!("{entry:?}"))
            .collect();
        let has = |name: &str| {
            events.iter().any(|event| event.contains(&format!("{name}\"")) || event.contains(&format!("{name}\\\"")))
        };
        assert!((800..1000).contains(&events.len()), "{}", events.len());
        assert_eq!([has("event 0"), has("event 1999")], [when_full == "refuse_new", when_full == "drop_oldest"]);
        assert!(ask::<u64>(&store, &["GET", "crosslink:bytes"]) <= 1024 * 1024);
        drop(source);
    }
}

#[test]
fn what_is_refused_is_found_from_anywhere() {
    let Some((store, service, site)) = started(Mood::Status(404), "") else { return };
    let mut source = Source::start(&site);
    for number in 0..3 {
        source.accept(&told(&format!("bob{number}@bob.com"), "alias\tcarol@carol.com"));
    }
    eventually("three dead letters", || site.command(&["list"]).1.ends_with("\n3 events\n").then_some(()));
    source.finish();
    let (_, listed) = site.command(&["list"]);
    let ids: Vec<&str> = listed.lines().skip(1).take(3).map(|line| line.split(' ').next().unwrap()).collect();
    assert!(site.command(&["show", ids[1]]).1.contains("\n  alias: carol@carol.com\n"));
    service.is(Mood::Fine);
    assert_eq!(site.command(&["retry", ids[0]]), (true, "1 event delivered\n".to_owned()));
    assert_eq!(site.command(&["drop", ids[1]]), (true, "1 event dropped\n".to_owned()));
    assert_eq!(site.command(&["retry", "--all"]), (true, "1 event delivered\n".to_owned()));
    assert_eq!(site.command(&["list"]), (true, "0 events\n".to_owned()));
    // What another version has written.
    let _: u64 = ask(&store, &["HSET", "crosslink:dead", "odd", "{}"]);
    let _: u64 = ask(&store, &["INCRBY", "crosslink:dead:bytes", "2"]);
    assert!(!site.command(&["list"]).0);
    let dropped = "0 events dropped\n1 event dropped that could not be read\n";
    assert_eq!(site.command(&["drop", "--all"]), (true, dropped.to_owned()));
    assert_eq!(site.command(&["list"]), (true, "0 events\n".to_owned()));
    assert_eq!(ask::<u64>(&store, &["GET", "crosslink:dead:bytes"]), 0);
    await_emptiness(&store);
}
