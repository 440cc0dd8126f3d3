//! Used tokens in a real Redis that several crosslinks share, and what happens when it is away.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::sealed::{OLD, PAIR, app, cookie_of, land, outcomes, token};
use crate::support::{App, Client, Program, Service, crosslink, eventually, find, log_file, needs};

/// A Redis that listens on a socket in a folder of its own, and ends when it is dropped.
pub struct Redis {
    arguments: Vec<String>,
    folder: TempDir,
    running: Option<Program>,
}

impl Redis {
    pub fn start(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut redis = Self { arguments, folder: tempfile::tempdir().unwrap(), running: None };
        redis.resume();
        redis
    }

    /// Starts it again.
    pub fn resume(&mut self) {
        let mut command = Command::new(find("redis-server").unwrap());
        command.args(["--port", "0", "--save", "", "--unixsocket", "s"]).args(&self.arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(log_file("redis").into_file());
        self.running = Some(Program::spawn(&mut command));
    }

    pub fn kill(&mut self) {
        self.running = None;
    }

    pub fn signal(&self, name: &str) {
        self.running.as_ref().expect("a running Redis").signal(name);
    }

    /// What `replay` has to say.
    pub fn address(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("s").display())
    }

    /// A crosslink with this store, which is connected to it.
    fn app(&self, more: &str) -> App {
        let app = self.stranger(more);
        await_connection(&app);
        app
    }

    /// A crosslink with this store, connected or not.
    fn stranger(&self, more: &str) -> App {
        app(&[OLD], &format!("replay: {}\n{more}{PAIR}", self.address()))
    }
}

/// Waits until the store proves a first use.
fn await_connection(app: &App) {
    eventually("a first use that is proven", || adopts(app).then_some(()));
}

/// Whether a new token is adopted.
fn adopts(app: &App) -> bool {
    let token = token(app, "km_ni=bob");
    land(app, &format!("kmt={token}"), "").set_cookie().is_some()
}

/// How often each outcome stands in a log that must give away nothing.
fn counts<const N: usize>(app: App, names: [&str; N]) -> [usize; N] {
    let outcomes = outcomes(app);
    names.map(|name| outcomes.iter().filter(|outcome| *outcome == name).count())
}

#[test]
fn what_is_used_at_one_is_used_at_all() {
    if !needs(&["redis-server"]) {
        return;
    }
    let redis = Redis::start(&[]);
    let apps = [redis.app(""), redis.app("")];
    // On a busy machine the store is too slow at times, and then nothing is proven.
    for _ in 0..20 {
        let query = format!("kmt={}", token(&apps[0], "km_ni=bob"));
        let first = land(&apps[0], &query, "");
        assert_eq!(cookie_of(&land(&apps[1], &query, "km_ni=bob")), Some("km_ni=bob"), "a reload at the other one");
        for cookies in ["", "km_ni=eve"].iter().filter(|_| first.set_cookie().is_some()) {
            assert_eq!(cookie_of(&land(&apps[1], &query, cookies)), None);
        }
    }
    let [first, second] = apps.map(|app| counts(app, ["set", "same", "replayed"]));
    assert!(first[0] > 1 && first[1..] == [0, 0], "{first:?}");
    assert!(second[..2] == [1, 20] && second[2] > 0, "{second:?}");
}

#[test]
fn a_use_is_remembered_for_longer_than_any_clock_opens_the_token() {
    if !needs(&["redis-server", "redis-cli"]) {
        return;
    }
    let redis = Redis::start(&[]);
    drop(redis.app(""));
    let cli = |words: &[&str]| {
        let socket = redis.folder.path().join("s");
        let output = Command::new("redis-cli").arg("-s").arg(socket).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let keys = cli(&["KEYS", "crosslink:used:*"]);
    // It is opened until 150 s after its issue, by clocks that differ by 60 s at most.
    let left: u32 = cli(&["TTL", keys.lines().next().expect("a key")]).parse().unwrap();
    assert!((181..=211).contains(&left), "{left}");
}

#[test]
fn of_many_at_once_at_two_crosslinks_one_browser_gets_the_cookie() {
    if !needs(&["redis-server"]) {
        return;
    }
    let redis = Redis::start(&[]);
    let apps = [redis.app(""), redis.app("replay_unavailable: refuse\n")];
    for _ in 0..20 {
        let query = format!("kmt={}", token(&apps[0], "km_ni=bob"));
        let adopted = AtomicUsize::new(0);
        thread::scope(|scope| {
            for app in apps.iter().cycle().take(8) {
                scope.spawn(|| adopted.fetch_add(land(app, &query, "").count("set-cookie"), Ordering::SeqCst));
            }
        });
        // A store that is slow for once lets nobody in; two would be a hole.
        assert!(adopted.into_inner() <= 1);
    }
}

#[test]
fn over_tcp_with_a_password_from_a_file() {
    if !needs(&["redis-server"]) {
        return;
    }
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    // Redis can't choose a free port by itself; in the moment before it listens somebody else may take this one.
    let (_redis, port) = eventually("a free port", || {
        let port = free();
        let mut redis = Redis::start(&["--port", &port, "--requirepass", "open-sesame"]);
        let is_up = eventually("Redis", || {
            let ended = redis.running.as_mut().unwrap().child.try_wait().unwrap().is_some();
            let address = format!("127.0.0.1:{port}");
            (ended || std::net::TcpStream::connect(address).is_ok()).then_some(!ended)
        });
        is_up.then_some((redis, port))
    });
    let folder = tempfile::tempdir().unwrap();
    let with_password = |password: &str, file: &Path| {
        std::fs::write(file, password).unwrap();
        let store = format!("replay: redis://127.0.0.1:{port}/2\nreplay_password: {{ file: {} }}\n", file.display());
        app(&[OLD], &(store + PAIR))
    };
    let right = with_password("open-sesame\n", &folder.path().join("right"));
    await_connection(&right);
    let wrong = with_password("open-barley", &folder.path().join("wrong"));
    assert!(!adopts(&wrong));
    assert_eq!(counts(wrong, ["handed_off", "unproven"]), [1, 1]);
}

#[test]
fn without_the_store_everybody_still_gets_where_he_wants() {
    if !needs(&["redis-server"]) {
        return;
    }
    let mut redis = Redis::start(&[]);
    redis.kill();
    let [refusing, accepting] = ["", "replay_unavailable: accept\n"].map(|more| redis.stranger(more));
    let bob = "km_ni=bob";
    for (app, adopted) in [(refusing, None), (accepting, Some(bob))] {
        let query = format!("kmt={}", token(&app, bob));
        assert_eq!(cookie_of(&land(&app, &query, "")), adopted);
        assert_eq!(cookie_of(&land(&app, &query, bob)), Some(bob), "a reload");
        let expected = if adopted.is_some() { "set" } else { "unproven" };
        assert_eq!(outcomes(app), ["handed_off", expected, "same"]);
    }
}

#[test]
fn a_full_store_proves_nothing() {
    if !needs(&["redis-server"]) {
        return;
    }
    let redis = Redis::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let app = redis.stranger("");
    assert!(!adopts(&app));
    assert_eq!(counts(app, ["handed_off", "unproven"]), [1, 1]);
}

#[test]
fn a_store_that_hangs_costs_a_moment_and_comes_back() {
    if !needs(&["redis-server"]) {
        return;
    }
    let redis = Redis::start(&[]);
    let app = redis.app("");
    redis.signal("STOP");
    assert!((0..5).all(|_| !adopts(&app)));
    redis.signal("CONT");
    await_connection(&app);
    let [unproven, replayed] = counts(app, ["unproven", "replayed"]);
    assert!(unproven >= 5 && replayed == 0, "{unproven} {replayed}");
}

/// Visitors come all the time, each with a token of his own that he shows at both crosslinks.
#[test]
fn killed_and_started_again_under_load_it_stops_nobody() {
    if !needs(&["redis-server"]) {
        return;
    }
    // It writes down each use before it answers, so that a restart forgets none.
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let apps = [redis.app(""), redis.app("")];
    let [done, adopted] = [(); 2].map(|()| AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (apps, done, adopted, is_over) = (&apps, &done, &adopted, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    // Both demand their redirect.
                    let query = format!("kmt={}", token(&apps[worker % 2], "km_ni=bob"));
                    let cookies = apps.each_ref().map(|app| land(app, &query, "").count("set-cookie"));
                    adopted.fetch_add(cookies[0], Ordering::SeqCst);
                    assert!(cookies != [1, 1], "a token was adopted twice");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let more = |count: &AtomicUsize, what| {
            let goal = count.load(Ordering::SeqCst) + 50;
            eventually(what, || (count.load(Ordering::SeqCst) >= goal).then_some(()));
        };
        for _ in 0..3 {
            more(&adopted, "adopted tokens");
            redis.kill();
            more(&done, "visits without a store");
            redis.resume();
        }
        more(&adopted, "adopted tokens again");
        is_over.store(true, Ordering::SeqCst);
    });
    for app in apps {
        let found = outcomes(app);
        assert!(found.iter().all(|outcome| ["handed_off", "set", "replayed", "unproven"].contains(&outcome.as_str())));
        assert!(found.iter().any(|outcome| outcome == "unproven"), "the store was away");
    }
}

#[test]
fn the_operator_is_told_once_a_minute_and_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("replay: redis+unix://{}/nobody\n", folder.path().display());
    let text = format!("listen: 127.0.0.1:0\nkeys: [{{ id: \"{}\", env: KEY }}]\n{store}{PAIR}", OLD.0);
    let mut command = crosslink();
    command.env("KEY", OLD.1);
    let mut service = Service::serve(command, &text, None);
    let address = service.listening(1)[0];
    let ask = |host: &str, target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: km_ni=bob\r\n\r\n");
        Client::connect(address).send(head.as_bytes()).reply().unwrap()
    };
    for _ in 0..3 {
        let location = ask("www.yoursite.com", "/go?to=https://ok.example/cart").location().unwrap().to_owned();
        assert_eq!(ask("ok.example", location.strip_prefix("https://ok.example").unwrap()).status, 302);
    }
    service.program.signal("TERM");
    assert!(service.program.child.wait().unwrap().success());
    let events = std::fs::read_to_string(&service.stderr).unwrap();
    let told: Vec<&str> = events.lines().filter(|event| event.contains("can't be proven")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(events.contains("the store of used tokens can't be used"), "{events}");
}
