//! A sealed identity, over sockets: what it survives, and everything that it does not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crosslink::config::Config;
use crosslink::link::{Class, Decision, Land, Linker, Outcome, Visit};
use pasetors::keys::SymmetricKey;
use pasetors::version4::{LocalToken, V4};
use serde_json::Value;

use crate::support::{App, Reply, eventually, parse};

pub const ORIGIN: &str = "www.yoursite.com";
pub const HOST: &str = "ok.example";
pub const BOB: &str = "bob%40bob.com";
pub const ANONYMOUS: &str = "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D";
const OTHER_ANONYMOUS: &str = "aTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D";
const COOKIE: &str = "SameSite=Lax; Secure; Path=/; Domain=ok.example; Max-Age=34560000";

/// An id and a key, as `keys` has them.
pub type Key = (&'static str, &'static str);
pub const OLD: Key = ("2026-11", "k4.local.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8");
const NEW: Key = ("2027-01", "k4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");

pub const PAIR: &str = "
pairs:
  - name: own
    origin: www.yoursite.com
    destination: [ok.example, other.example]
    landing: {}
";

/// [`PAIR`] with more keys, and something in its `landing`.
pub fn pair(more: &str, landing: &str) -> String {
    format!(
        "
pairs:
  - name: own
    origin: www.yoursite.com
    destination: [ok.example, other.example]
    landing: {{ {landing} }}
    {more}
"
    )
}

/// Gives a configuration its keys, each in a file that lives as long as `start` takes.
pub fn with_keys<T>(keys: &[Key], text: &str, start: impl FnOnce(&str) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys.iter().enumerate().map(|(number, (id, paserk))| {
        let file = folder.path().join(number.to_string());
        std::fs::write(&file, format!("{paserk}\n")).unwrap();
        format!("  - {{ id: {id}, file: {} }}\n", file.display())
    });
    start(&format!("keys:\n{}{text}", keys.collect::<String>()))
}

/// Serves a configuration with keys.
pub fn app(keys: &[Key], text: &str) -> App {
    with_keys(keys, text, App::with)
}

/// The token that a visitor takes along to the destination.
pub fn token(app: &App, cookies: &str) -> String {
    let location = app.get(ORIGIN, "/go?to=https://ok.example/").cookie(cookies).location();
    location.strip_prefix("https://ok.example/?kmt=").unwrap_or_else(|| panic!("{location}")).to_owned()
}

/// Arrives at `/cart` with a query, which must be taken away whatever it is.
pub fn land(app: &App, query: &str, cookies: &str) -> Reply {
    clean(app.get(HOST, &format!("/cart?{query}")).cookie(cookies).send())
}

/// Demands the clean redirect.
pub fn clean(reply: Reply) -> Reply {
    assert_eq!((reply.status, reply.location()), (302, Some("https://ok.example/cart")), "{reply:?}");
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert!(reply.count("set-cookie") <= 1);
    reply
}

/// The name and the value of the cookie that is set, if one is.
pub fn cookie_of(reply: &Reply) -> Option<&str> {
    reply.set_cookie().map(|cookie| cookie.split(';').next().unwrap())
}

/// The `outcome` of every line of a log that must give away nothing.
pub fn outcomes(app: App) -> Vec<String> {
    column(&log(app), "outcome")
}

/// One value of every line.
pub fn column(lines: &[Value], name: &str) -> Vec<String> {
    lines.iter().map(|line| line[name].as_str().unwrap_or("-").to_owned()).collect()
}

/// The lines of a log, in which no identity, cookie, token or key of these tests may be.
pub fn log(app: App) -> Vec<Value> {
    let log = app.log();
    for secret in ["bob", "eve", "TTEi", "km_", "kmi", "kmt", "v4.local", "k4.local", "cHFyc3R1", "AAAAAAAA"] {
        assert!(!log.contains(secret), "`{secret}` in {log}");
    }
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let longest = log.split(|letter| !is_word(letter)).map(str::len).max();
    assert!(longest < Some(40), "as long as a part of a token: {log}");
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Demands that every line has the same outcome.
#[track_caller]
fn all_were(app: App, outcome: &str) {
    let outcomes = outcomes(app);
    assert!(!outcomes.is_empty() && outcomes.iter().all(|found| found == outcome), "{outcomes:?}");
}

#[test]
fn a_sealed_hand_off_is_a_token_alone_and_becomes_a_cookie() {
    let app = app(&[OLD], PAIR);
    for (identity, class) in [(BOB, "named"), (ANONYMOUS, "anonymous")] {
        let location = app
            .get(ORIGIN, "/go?to=https%3A%2F%2Fok.example%2Fcart%3Fa%3D1%26kmi%3Deve%26b%3D%252B%2B%3Bc%23top")
            .cookie(&format!("km_ni={identity}"))
            .location();
        let rest = location.strip_prefix("https://ok.example/cart?a=1&b=%2B+;c&kmt=").unwrap();
        let token = rest.strip_suffix("#top").unwrap();
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{token}");
        assert!(class == "named" || token.len() < 200, "{} characters", token.len());
        assert!(!location.contains("bob") && !location.contains("TTEi"), "{location}");

        let reply = app.get(HOST, &format!("/cart?a=1&b=%2B+;c&kmt={token}")).send();
        assert_eq!((reply.status, reply.location()), (302, Some("https://ok.example/cart?a=1&b=%2B+;c")));
        assert_eq!(reply.set_cookie(), Some(format!("km_ni={identity}; {COOKIE}").as_str()));
    }
    let log = log(app);
    assert_eq!(column(&log, "outcome"), ["handed_off", "set", "handed_off", "set"]);
    assert_eq!(column(&log, "identity"), ["named", "named", "anonymous", "anonymous"]);
}

#[test]
fn every_hand_off_has_a_token_of_its_own() {
    let app = app(&[OLD], PAIR);
    assert_ne!(token(&app, "km_ni=bob"), token(&app, "km_ni=bob"));
    log(app);
}

#[test]
fn a_visitor_without_an_identity_gets_no_token() {
    let app = app(&[OLD], PAIR);
    for (cookies, why) in [("", "absent"), ("km_ni=null", "unusable")] {
        let location = app.get(ORIGIN, "/go?to=https://ok.example/").cookie(cookies).location();
        assert_eq!(location, "https://ok.example/", "{why}");
    }
    assert_eq!(column(&log(app), "identity"), ["absent", "unusable"]);
}

#[test]
fn every_change_of_a_character_is_a_clean_redirect_without_a_cookie() {
    let app = app(&[OLD], PAIR);
    let token = token(&app, "km_ni=bob");
    let refused = |changed: &str| assert_eq!(cookie_of(&land(&app, &format!("kmt={changed}"), "")), None, "{changed}");
    let with = |at: usize, other: &str| {
        let mut changed = token.clone();
        changed.replace_range(at..=at, other);
        changed
    };
    for at in 0..token.len() {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        refused(&with(at, other));
        refused(&with(at, ""));
    }
    // The last characters of both parts hold bits that mean nothing; even those may not change.
    let letters = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_', '=', '.', '%', '+']);
    for other in letters.map(String::from) {
        for at in [token.rfind('.').unwrap() - 1, token.len() - 1] {
            let changed = with(at, &other);
            if changed != token {
                refused(&changed);
            }
        }
    }
    for changed in [format!("{token}A"), format!("{token}."), format!("{token}="), format!("A{token}")] {
        refused(&changed);
    }
    assert_eq!(cookie_of(&land(&app, &format!("kmt={token}"), "")), Some("km_ni=bob"), "none of this used it up");
    let outcomes = outcomes(app);
    let (last, changed) = outcomes[1..].split_last().unwrap();
    assert_eq!(last, "set");
    assert!(changed.iter().all(|outcome| ["forged", "invalid"].contains(&outcome.as_str())), "{changed:?}");
}

#[test]
fn a_token_for_one_destination_is_forged_at_another() {
    let app = app(&[OLD], PAIR);
    let token = token(&app, "km_ni=bob");
    let reply = app.get("other.example", &format!("/cart?kmt={token}")).send();
    assert_eq!((reply.status, reply.location()), (302, Some("https://other.example/cart")));
    assert_eq!(reply.set_cookie(), None);
    assert_eq!(outcomes(app), ["handed_off", "forged"]);
}

#[test]
fn both_sides_mean_the_same_destination_however_it_is_written() {
    let app = app(
        &[OLD],
        "
pairs:
  - origin: www.yoursite.com
    destination:
      - ok.example
      - \"*.wild.example\"
      - ports.example:8443
      - https://paths.example/shop
      - bücher.example
      - 127.0.0.1
      - \"[::1]:8080\"
    landing: {}
  - origin: www.yoursite.com
    destination: http://plain.example
    landing: {}
",
    );
    let table = [
        ("https://OK.example/", "ok.example"),
        ("https://ok.example/", "OK.example"),
        ("https://ok.example:443/", "ok.example"),
        ("https://ok.example/", "ok.example:443"),
        ("https://a.b.wild.example/", "a.b.wild.example"),
        ("https://ports.example:8443/", "ports.example:8443"),
        ("https://paths.example/shop", "paths.example"),
        ("https://b%C3%BCcher.example/", "xn--bcher-kva.example"),
        ("https://127.1/", "127.0.0.1"),
        ("https://[0:0::1]:8080/", "[::1]:8080"),
        ("http://plain.example/", "plain.example"),
        ("http://plain.example/", "plain.example:80"),
    ];
    for (to, host) in table {
        let location = app.get(ORIGIN, &format!("/go?to={to}")).cookie("km_ni=bob").location();
        let (_, query) = location.split_once('?').unwrap();
        let reply = app.get(host, &format!("/?{query}")).send();
        assert_eq!(cookie_of(&reply), Some("km_ni=bob"), "{to} at {host}");
    }
    assert!(outcomes(app).chunks(2).all(|two| two == ["handed_off", "set"]));
}

#[test]
fn hosts_below_one_wildcard_do_not_share_tokens() {
    let pairs = "pairs: [{ origin: www.yoursite.com, destination: \"*.wild.example\", landing: {} }]";
    let app = app(&[OLD], pairs);
    let location = app.get(ORIGIN, "/go?to=https://a.wild.example/").cookie("km_ni=bob").location();
    let (_, query) = location.split_once('?').unwrap();
    assert_eq!(app.get("b.wild.example", &format!("/?{query}")).send().set_cookie(), None);
    assert_eq!(cookie_of(&app.get("a.wild.example", &format!("/?{query}")).send()), Some("km_ni=bob"));
    assert_eq!(outcomes(app), ["handed_off", "forged", "set"]);
}

#[test]
fn a_token_is_used_once_but_a_browser_may_reload() {
    let app = app(&[OLD], PAIR);
    let query = format!("kmt={}", token(&app, &format!("km_ni={BOB}")));
    let bob = format!("km_ni={BOB}");
    assert_eq!(cookie_of(&land(&app, &query, "")), Some(bob.as_str()));
    assert_eq!(cookie_of(&land(&app, &query, &bob)), Some(bob.as_str()), "a reload");
    for other in ["", "km_ni=eve", "km_ni=null", &format!("km_ai={ANONYMOUS}")] {
        assert_eq!(cookie_of(&land(&app, &query, other)), None, "{other}");
    }
    assert_eq!(cookie_of(&land(&app, &query, &bob)), Some(bob.as_str()), "another reload");
    let expected = ["handed_off", "set", "same", "replayed", "replayed", "replayed", "replayed", "same"];
    assert_eq!(outcomes(app), expected);
}

#[test]
fn of_many_at_once_one_browser_gets_the_cookie() {
    let app = app(&[OLD], PAIR);
    let query = format!("kmt={}", token(&app, "km_ni=bob"));
    let adopted = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| *adopted.lock().unwrap() += usize::from(land(&app, &query, "").set_cookie().is_some()));
        }
    });
    assert_eq!(adopted.into_inner().unwrap(), 1);
    let replayed = outcomes(app).iter().filter(|outcome| *outcome == "replayed").count();
    assert_eq!(replayed, 15);
}

#[test]
fn a_token_is_used_up_too_where_another_identity_stays() {
    let app = app(&[OLD], &pair("", "existing: keep"));
    let query = format!("kmt={}", token(&app, "km_ni=bob"));
    for cookies in ["km_ni=eve", "km_ni=eve", ""] {
        assert_eq!(cookie_of(&land(&app, &query, cookies)), None);
    }
    assert_eq!(outcomes(app), ["handed_off", "kept", "kept", "replayed"]);
}

#[test]
fn replay_can_be_off_and_its_memory_full() {
    let table = [
        ("replay: off", ["set", "set", "set"]),
        ("replay_entries: 1", ["set", "replayed", "unproven"]),
        ("replay_entries: 1\nreplay_unavailable: accept", ["set", "replayed", "set"]),
    ];
    for (replay, expected) in table {
        let app = app(&[OLD], &format!("{replay}\n{PAIR}"));
        let [first, second] = ["km_ni=bob", "km_ni=eve"].map(|cookies| token(&app, cookies));
        for token in [&first, &first, &second] {
            land(&app, &format!("kmt={token}"), "");
        }
        assert_eq!(outcomes(app)[2..], expected, "{replay}");
    }
}

#[test]
fn plain_identities_are_taken_out_where_only_sealed_ones_count() {
    let queries = ["kmi=bob", "km_i=bob", "%6bmi=bob", "kmi=bob%40bob.com", "kmi", "kmi=null"];
    let sealed = app(&[OLD], PAIR);
    for query in queries {
        assert_eq!(cookie_of(&land(&sealed, query, "")), None, "{query}");
        assert_eq!(cookie_of(&land(&sealed, query, "km_ni=bob")), None, "{query}");
    }
    all_were(sealed, "unsealed");

    let plain = app(&[OLD], &pair("", "accept: plain"));
    for query in &queries[..3] {
        assert_eq!(cookie_of(&land(&plain, query, "")), Some("km_ni=bob"), "{query}");
    }
    let query = format!("kmt={}", token(&plain, "km_ni=bob"));
    assert_eq!(cookie_of(&land(&plain, &query, "")), Some("km_ni=bob"), "sealed ones count there too");
    log(plain);
}

#[test]
fn a_token_beside_anything_else_is_not_believed() {
    let app = app(&[OLD], PAIR);
    let token = token(&app, "km_ni=bob");
    for query in [format!("kmt={token}&kmi=eve"), format!("km_i=bob&kmt={token}"), format!("kmt={token}&kmt={token}")] {
        assert_eq!(cookie_of(&land(&app, &query, "")), None);
    }
    assert_eq!(cookie_of(&land(&app, &format!("kmt={token}"), "")), Some("km_ni=bob"));
    assert_eq!(outcomes(app), ["handed_off", "invalid", "invalid", "invalid", "set"]);
}

#[test]
fn a_hand_off_can_stay_plain_beside_keys() {
    let app = app(&[OLD], &pair("hand_off: plain", "accept: plain"));
    let location = app.get(ORIGIN, "/go?to=https://ok.example/").cookie("km_ni=bob").location();
    assert_eq!(location, "https://ok.example/?kmi=bob");
    log(app);
}

#[test]
fn another_user_agent_is_forged_where_it_is_bound() {
    let app = app(&[OLD], &pair("bind_user_agent: true", ""));
    let token_for = |agent: &[u8]| {
        let ask = app.get(ORIGIN, "/go?to=https://ok.example/").field("User-Agent", agent).cookie("km_ni=bob");
        ask.location().rsplit('=').next().unwrap().to_owned()
    };
    let land_as = |token: &str, agent: Option<&[u8]>| {
        let target = format!("/cart?kmt={token}");
        let ask = app.get(HOST, &target);
        let reply = clean(agent.map_or_else(|| app.get(HOST, &target), |agent| ask.field("User-Agent", agent)).send());
        reply.set_cookie().is_some()
    };
    let token = token_for(b"Firefox/1");
    assert!(!land_as(&token, Some(b"Firefox/2")));
    assert!(!land_as(&token, Some(b"")));
    assert!(!land_as(&token, None));
    assert!(land_as(&token, Some(b"Firefox/1")));
    assert!(land_as(&token_for(b"\xff \xe9"), Some(b"\xff \xe9")));
    assert_eq!(outcomes(app), ["handed_off", "forged", "forged", "forged", "set", "handed_off", "set"]);
}

#[test]
fn the_user_agent_does_not_matter_where_it_is_not_bound() {
    let app = app(&[OLD], PAIR);
    let target = format!("/cart?kmt={}", token(&app, "km_ni=bob"));
    assert!(clean(app.get(HOST, &target).field("User-Agent", b"rewritten").send()).set_cookie().is_some());
    log(app);
}

#[test]
fn an_anonymous_identity_lands_as_km_ai_only_where_that_is_asked_for() {
    let without = app(&[OLD], PAIR);
    let with = app(&[OLD], &pair("", "anonymous_cookie: km_ai"));
    let [ni, ai] = ["km_ni", "km_ai"].map(|name| format!("{name}={ANONYMOUS}"));
    let bob = "km_ni=bob".to_owned();
    for (app, carried, there, expected) in [
        (&without, &ai, "", &ni),
        (&without, &ni, "", &ni),
        (&without, &ai, ai.as_str(), &ni),
        (&without, &bob, "", &bob),
        (&with, &ai, "", &ai),
        (&with, &ni, "", &ai),
        (&with, &ai, ai.as_str(), &ai),
        (&with, &ai, &format!("km_ai={OTHER_ANONYMOUS}"), &ai),
        (&with, &bob, "", &bob),
        (&with, &bob, ai.as_str(), &bob),
        (&with, &ai, &format!("km_ni={OTHER_ANONYMOUS}"), &ni),
        (&with, &ai, "km_ni=eve", &ni),
        (&with, &ai, ni.as_str(), &ni),
    ] {
        let query = format!("kmt={}", token(app, carried));
        assert_eq!(cookie_of(&land(app, &query, there)), Some(expected.as_str()), "{carried} to {there}");
    }
    log(without);
    log(with);
}

#[test]
fn a_plain_identity_never_lands_as_km_ai() {
    let app = app(&[OLD], &pair("", "accept: plain, anonymous_cookie: km_ai"));
    let expected = format!("km_ni={ANONYMOUS}");
    assert_eq!(cookie_of(&land(&app, &format!("kmi={ANONYMOUS}"), "")), Some(expected.as_str()));
    log(app);
}

#[test]
fn a_browser_reloads_with_km_ai_too() {
    let app = app(&[OLD], &pair("", "anonymous_cookie: km_ai"));
    let ai = format!("km_ai={ANONYMOUS}");
    let query = format!("kmt={}", token(&app, &ai));
    assert_eq!(cookie_of(&land(&app, &query, "")), Some(ai.as_str()));
    assert_eq!(cookie_of(&land(&app, &query, &ai)), Some(ai.as_str()));
    assert_eq!(outcomes(app), ["handed_off", "set", "same"]);
}

#[test]
fn a_token_that_renewed_a_cookie_is_used_up_too() {
    let app = app(&[OLD], PAIR);
    let query = format!("kmt={}", token(&app, "km_ni=bob"));
    assert!(cookie_of(&land(&app, &query, "km_ni=bob")).is_some());
    assert!(cookie_of(&land(&app, &query, "")).is_none());
    assert!(cookie_of(&land(&app, &query, "km_ni=bob")).is_some());
    assert_eq!(outcomes(app), ["handed_off", "same", "replayed", "same"]);
}

#[test]
fn a_browser_reloads_with_any_anonymous_cookie() {
    let app = app(&[OLD], &pair("identity: { cookies: [km_ni] }", "anonymous_cookie: visitor_id"));
    let query = format!("kmt={}", token(&app, &format!("km_ni={ANONYMOUS}")));
    let own = format!("visitor_id={ANONYMOUS}");
    assert_eq!(cookie_of(&land(&app, &query, "")), Some(own.as_str()));
    assert_eq!(cookie_of(&land(&app, &query, &own)), Some(own.as_str()));
    assert_eq!(outcomes(app), ["handed_off", "set", "same"]);
}

#[test]
fn a_sealed_arrival_replaces_unless_told_otherwise() {
    let named = "km_ni=eve";
    let anonymous = &format!("km_ni={OTHER_ANONYMOUS}");
    for (rule, there, outcome) in [
        ("", named, "replaced"),
        ("", anonymous, "replaced"),
        ("existing: replace", named, "replaced"),
        ("existing: keep_named", named, "kept"),
        ("existing: keep_named", anonymous, "replaced"),
        ("existing: keep", anonymous, "kept"),
        ("existing: keep", "km_ni=bob", "same"),
        ("existing: keep", "", "set"),
    ] {
        let app = app(&[OLD], &pair("", rule));
        let query = format!("kmt={}", token(&app, "km_ni=bob"));
        let expected = (outcome != "kept").then_some("km_ni=bob");
        assert_eq!(cookie_of(&land(&app, &query, there)), expected, "{rule} {there}");
        assert_eq!(outcomes(app), ["handed_off", outcome], "{rule} {there}");
    }
}

const NOW: u64 = 1_795_000_000;
const VISIT: Visit<'static> =
    Visit { query: Some("to=https://ok.example/"), cookies: &[b"km_ni=bob"], now: NOW, ..Visit::of(ORIGIN, "/go") };

fn linker(keys: &[Key]) -> Linker {
    let Config { linker, .. } = with_keys(keys, PAIR, parse);
    linker
}

/// A hand-off at a time, which must carry; gives the query that the visitor takes along.
fn hand_off_at(linker: &Linker, now: u64) -> String {
    let Decision::HandOff(hand_off) = linker.decide(&Visit { now, ..VISIT }) else { panic!("no hand-off at {now}") };
    assert_eq!(hand_off.carried, Ok(Class::Named));
    hand_off.destination.target().query().unwrap().to_owned()
}

/// A landing at a time, which must be clean, and has a cookie only if it is adopted.
fn land_at(linker: &Linker, query: &str, now: u64) -> Outcome {
    let visit = Visit { query: Some(query), now, ..Visit::of(HOST, "/cart") };
    let Decision::Land(Land { location, outcome, set_cookie, first_use, .. }) = linker.decide(&visit) else {
        panic!("no landing at {now}")
    };
    assert_eq!(location, "https://ok.example/cart");
    assert_eq!((set_cookie.is_some(), first_use.is_some()), (outcome == Outcome::Set, outcome == Outcome::Set));
    outcome
}

#[test]
fn a_token_ends_150_seconds_after_its_issue() {
    let linker = linker(&[OLD]);
    let query = hand_off_at(&linker, NOW);
    for (now, expected) in [
        (NOW - 31, Outcome::Invalid),
        (NOW - 30, Outcome::Set),
        (NOW, Outcome::Set),
        (NOW + 150, Outcome::Set),
        (NOW + 151, Outcome::Expired),
        (NOW + 86_400, Outcome::Expired),
        (u64::MAX, Outcome::Expired),
    ] {
        assert_eq!(land_at(&linker, &query, now), expected, "{now}");
    }
}

#[test]
fn a_clock_that_is_wrong_keeps_nobody_from_the_shop() {
    let linker = linker(&[OLD]);
    for (issued, landed, expected) in [
        (NOW + 86_400, NOW, Outcome::Invalid),
        (NOW, NOW + 86_400, Outcome::Expired),
        (0, NOW, Outcome::Expired),
        (NOW, 0, Outcome::Invalid),
        (u64::MAX, NOW, Outcome::Invalid),
    ] {
        let query = hand_off_at(&linker, issued);
        assert_eq!(land_at(&linker, &query, landed), expected, "{issued} {landed}");
    }
}

/// A token as anybody with the key can make it.
fn foreign(payload: &str, assertion: &str) -> String {
    let secret = SymmetricKey::<V4>::try_from(OLD.1).unwrap();
    let sealed = LocalToken::encrypt(&secret, payload.as_bytes(), Some(OLD.0.as_bytes()), Some(assertion.as_bytes()));
    format!("kmt={}", sealed.unwrap())
}

#[test]
fn the_format_is_what_others_build_and_the_verifier_sets_its_longest_life() {
    let linker = linker(&[OLD]);
    let here = "15:crosslink kmt 1,18:https://ok.example,";
    let expiring = |expiry: u64| format!(r#"{{"i":"bob","c":"n","e":{expiry}}}"#);
    for (expiry, assertion, expected) in [
        (NOW + 120, here, Outcome::Set),
        (NOW + 150, here, Outcome::Set),
        (NOW + 151, here, Outcome::Invalid),
        (NOW + 3600, here, Outcome::Invalid),
        (u64::MAX, here, Outcome::Invalid),
        (NOW - 30, here, Outcome::Set),
        (NOW - 31, here, Outcome::Expired),
        (0, here, Outcome::Expired),
        (NOW + 120, "15:crosslink kmt 2,18:https://ok.example,", Outcome::Forged),
        (NOW + 120, "15:crosslink kmt 1,17:http://ok.example,", Outcome::Forged),
        (NOW + 120, "crosslink kmt 1https://ok.example", Outcome::Forged),
        (NOW + 120, "", Outcome::Forged),
    ] {
        assert_eq!(land_at(&linker, &foreign(&expiring(expiry), assertion), NOW), expected, "{expiry} {assertion}");
    }
}

#[test]
fn wrong_keys_keep_nobody_from_the_shop() {
    let stolen_name = (OLD.0, NEW.1);
    for (sealing, opening, outcome) in
        [(&[NEW][..], &[OLD][..], "invalid"), (&[NEW, OLD], &[OLD], "invalid"), (&[stolen_name], &[OLD], "forged")]
    {
        let [origin, destination] = [sealing, opening].map(|keys| app(keys, PAIR));
        for _ in 0..50 {
            let token = token(&origin, "km_ni=bob");
            assert_eq!(land(&destination, &format!("kmt={token}"), "").set_cookie(), None);
        }
        all_were(origin, "handed_off");
        all_were(destination, outcome);
    }
}

#[test]
fn owners_share_a_key_and_nothing_else() {
    let origin = app(&[OLD], "pairs: [{ origin: www.yoursite.com, destination: ok.example, hand_off: sealed }]");
    let theirs = "pairs: [{ origin: a.example, destination: ok.example, landing: { domain: host } }]";
    let destination = app(&[NEW, OLD], theirs);
    let token = token(&origin, "km_ni=bob");
    assert_eq!(cookie_of(&land(&destination, &format!("kmt={token}"), "")), Some("km_ni=bob"));
    log(origin);
    log(destination);
}

/// One visitor's way over two servers, each at a step of the rotation.
fn visits(origins: &[App], destinations: &[App], at: &AtomicUsize, visitor: usize) {
    let cookie = format!("km_ni=bob{visitor}");
    let token = token(&origins[at.load(Ordering::SeqCst) / 10], &cookie);
    // Here the destination may have gone on to its next step.
    let reply = land(&destinations[at.load(Ordering::SeqCst) % 10], &format!("kmt={token}"), "");
    assert_eq!(cookie_of(&reply), Some(cookie.as_str()));
}

#[test]
fn rotation_under_load_loses_nothing_in_either_order() {
    let steps: [&[Key]; 4] = [&[OLD], &[OLD, NEW], &[NEW, OLD], &[NEW]];
    // The step of the origin in tens, that of the destination in ones.
    let origin_first = [0, 10, 11, 21, 22, 32, 33];
    let destination_first = [0, 1, 11, 12, 22, 23, 33];
    for order in [origin_first, destination_first] {
        let [origins, destinations] = [(); 2].map(|()| steps.map(|keys| app(keys, PAIR)));
        let at = AtomicUsize::new(0);
        let is_over = AtomicBool::new(false);
        let done = [(); 4].map(|()| AtomicUsize::new(0));
        thread::scope(|scope| {
            let workers = done.each_ref().map(|done| {
                let (origins, destinations, at, is_over) = (&origins, &destinations, &at, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        let visitor = done.load(Ordering::SeqCst);
                        visits(origins, destinations, at, visitor);
                        done.store(visitor + 1, Ordering::SeqCst);
                    }
                })
            });
            for step in order {
                at.store(step, Ordering::SeqCst);
                // Whoever was on the way has arrived before the next step, as keys wait for the tokens' end.
                let goals = done.each_ref().map(|done| done.load(Ordering::SeqCst) + 25);
                eventually("enough visits", || {
                    let arrived = || done.iter().zip(goals).all(|(done, goal)| done.load(Ordering::SeqCst) >= goal);
                    (arrived() || workers.iter().any(thread::ScopedJoinHandle::is_finished)).then_some(())
                });
            }
            is_over.store(true, Ordering::SeqCst);
        });
        assert!(done.iter().all(|done| done.load(Ordering::SeqCst) >= 7 * 25));
        for app in origins {
            all_were(app, "handed_off");
        }
        for app in destinations {
            all_were(app, "set");
        }
    }
}
