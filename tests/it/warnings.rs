//! What works, but was perhaps not meant so: what `check` warns of in a file with a key, and what it leaves alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crosslink::config::{Place, render_warnings};

use crate::sealed::{OLD, with_keys};
use crate::support::parse;

/// What these files are warned of on the way, and `tests/data/warnings.yaml` is for.
const ASIDE: [&str; 3] = ["this landing accepts a plain", "everybody on this machine", "the identity travels"];

/// What each other warning points at and says.
fn warnings(text: &str) -> Vec<String> {
    let pointed_at = |Place { line, column, length }| -> String {
        let [line, column, length] = [line, column, length].map(|number| number as usize);
        text.lines().nth(line - 1).unwrap().chars().skip(column - 1).take(length).collect()
    };
    let warnings = parse(text).warnings.into_iter();
    let others = warnings.filter(|warning| !ASIDE.iter().any(|aside| warning.problem.starts_with(aside)));
    others.map(|warning| format!("{}: {}", pointed_at(warning.at), warning.problem)).collect()
}

/// Demands one warning for each of these beginnings, in their order, and no other.
#[track_caller]
fn assert_warned(text: &str, expected: &[&str]) {
    let found = with_keys(&[OLD], text, warnings);
    let as_expected = found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
    assert!(as_expected && found.len() == expected.len(), "{text}\nexpected {expected:#?}\nfound {found:#?}");
}

#[test]
fn tokens_are_not_remembered_where_only_they_are_believed() {
    for (replay, accept, expected) in [
        ("off", "sealed", &["off: used tokens are not remembered: whoever has one lands with it again"][..]),
        ("off", "plain", &[]),
        ("memory", "sealed", &[]),
    ] {
        let pair = format!("{{ origin: www.yoursite.com, destination: ok.example, landing: {{ accept: {accept} }} }}");
        assert_warned(&format!("replay: {replay}\npairs: [{pair}]"), expected);
    }
}

#[test]
fn a_hand_off_is_plain_beside_keys_and_nobody_said_so() {
    let plain = "www.yoursite.com: there are keys, but identities leave in plain text here";
    for (more, expected) in
        [("", &[plain][..]), (", hand_off: plain", &[]), (", hand_off: sealed", &[]), (", landing: {}", &[])]
    {
        assert_warned(&format!("pairs: [{{ origin: www.yoursite.com, destination: ok.example{more} }}]"), expected);
    }
    let two = "
pairs:
  - { origin: www.yoursite.com, destination: ok.example }
  - { origin: www.yourshop.example, destination: ok.example }
";
    assert_warned(two, &[plain, "www.yourshop.example: there are keys"]);
    assert_eq!(warnings(two).len(), 0, "without keys nothing can be sealed");
}

#[test]
fn a_plain_identity_sets_the_cookie_of_a_sealed_landing() {
    let shared = ["plain: here a plain `kmi` sets the cookie `km_ni` for all of shop.example, also for `sealed`, "];
    for (sealed, destination, plain, is_shared) in [
        ("{}", "help.shop.example", "{ accept: plain }", true),
        ("{}", "'*.help.shop.example'", "{ accept: plain }", true),
        ("{}", "help.shop.example:8443", "{ accept: plain, domain: .shop.example }", true),
        ("{ domain: host }", "help.shop.example", "{ accept: plain }", true),
        ("{}", "help.shop.example", "{ accept: plain, domain: host }", false),
        ("{}", "help.shop.example", "{ accept: plain, domain: .help.shop.example }", false),
        ("{}", "help.shop.example", "{ accept: plain, cookie: other }", false),
        ("{}", "help.other.example", "{ accept: plain }", false),
        ("{}", "help.shop.example", "{}", false),
        ("{ accept: plain }", "help.shop.example", "{ accept: plain }", false),
    ] {
        let text = format!(
            "
pairs:
  - {{ name: plain, origin: www.yoursite.com, destination: {destination}, landing: {plain} }}
  - {{ name: sealed, origin: www.yoursite.com, destination: pay.shop.example, landing: {sealed} }}
"
        );
        assert_warned(&text, if is_shared { &shared } else { &[] });
    }
}

#[test]
fn a_plain_identity_sets_a_cookie_that_a_sealed_landing_heeds() {
    let on = |hosts: &str| format!("plain: here a plain `kmi` sets the cookie `km_ni` {hosts}, also for `sealed`, ");
    let (site, host) = (on("for all of shop.example"), on("on every port of pay.shop.example"));
    let below = on("on every port of shop.example");
    let (plain, alone) = ("{ accept: plain }", "{ accept: plain, domain: host }");
    for (first, landing, second, sealed, expected) in [
        // A cookie knows no ports.
        ("pay.shop.example:8443", alone, "pay.shop.example", "{}", Some(&host)),
        ("http://pay.shop.example:8080", alone, "pay.shop.example", "{ domain: host }", Some(&host)),
        ("pay.shop.example:8443", alone, "'*.shop.example'", "{}", Some(&host)),
        ("'*.shop.example:8443'", alone, "pay.shop.example", "{}", Some(&below)),
        ("'*.shop.example:8443'", alone, "'*.pay.shop.example'", "{}", Some(&below)),
        ("'*.shop.example:8443'", alone, "shop.example", "{}", None),
        ("shop.example:8443", alone, "'*.shop.example'", "{}", None),
        ("bucket.s3.amazonaws.com:8443", alone, "'*.amazonaws.com'", "{}", None),
        // A domain below a `*.`.
        (
            "a.help.shop.example:8443",
            "{ accept: plain, domain: .help.shop.example }",
            "'*.shop.example'",
            "{}",
            Some(&on("for all of help.shop.example")),
        ),
        // The other cookies by which the sealed landing knows a visitor.
        ("help.shop.example", plain, "pay.shop.example", "{ cookie: own, anonymous_cookie: km_ni }", Some(&site)),
        ("help.shop.example", plain, "pay.shop.example", "{ cookie: own, existing: keep_named }", Some(&site)),
        ("help.shop.example", plain, "pay.shop.example", "{ cookie: own, existing: keep }", Some(&site)),
        ("help.shop.example", plain, "pay.shop.example", "{ cookie: own, existing: replace }", None),
        ("help.shop.example", plain, "pay.shop.example", "{ cookie: own }", None),
    ] {
        let text = format!(
            "
pairs:
  - {{ name: plain, origin: www.yoursite.com, destination: {first}, landing: {landing} }}
  - {{ name: sealed, origin: www.yourshop.example, destination: {second}, landing: {sealed} }}
"
        );
        assert_warned(&text, &expected.into_iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn only_the_first_of_two_pairs_is_ever_asked() {
    let counts = |at: &str, entry: &str, setting: &str| {
        format!("{at}: `first` comes before this pair: from a.example to https://{entry} its `{setting}` counts")
    };
    let idle = |at: &str, setting: &str| counts(at, "ok.example", setting);
    for (first, second, expected) in [
        ("ok.example", "ok.example, hand_off: plain", vec![idle("plain", "hand_off")]),
        ("ok.example", "ok.example, bind_user_agent: true", vec![idle("true", "bind_user_agent")]),
        ("ok.example", "ok.example, consent: { gpc: ignore }", vec![idle("ignore", "consent.gpc")]),
        (
            "ok.example",
            "ok.example, consent: { require_cookie: { name: agreed, contains: yes } }",
            vec![idle("agreed", "consent.require_cookie")],
        ),
        ("ok.example", "ok.example, parameter: who", vec![idle("who", "parameter")]),
        ("ok.example", "ok.example, identity: { cookies: [who] }", vec![idle("[", "identity.cookies")]),
        ("ok.example", "ok.example, identity: { header: X-User }", vec![idle("X-User", "identity.header")]),
        ("ok.example", "ok.example, mint: { cookie: visitor }", vec![idle("visitor", "mint")]),
        ("ok.example, consent: { gpc: ignore }", "ok.example", vec![idle("second", "consent.gpc")]),
        ("'*.ok.example'", "'a.b.ok.example', hand_off: plain", vec![counts("plain", "a.b.ok.example", "hand_off")]),
        ("'*.ok.example'", "'*.b.ok.example', hand_off: plain", vec![counts("plain", "*.b.ok.example", "hand_off")]),
        ("ok.example", "https://ok.example/a, hand_off: plain", vec![counts("plain", "ok.example/a", "hand_off")]),
        ("ok.example/a", "ok.example/a/b, hand_off: plain", vec![counts("plain", "ok.example/a/b", "hand_off")]),
        // What the first pair leaves over is the second one's.
        ("ok.example/a", "ok.example, hand_off: plain", vec![]),
        ("ok.example/a", "ok.example/ab, hand_off: plain", vec![]),
        ("'*.ok.example'", "ok.example, hand_off: plain", vec![]),
        ("a.ok.example", "'*.ok.example', hand_off: plain", vec![]),
        ("ok.example:8443", "ok.example, hand_off: plain", vec![]),
        ("http://ok.example", "ok.example, hand_off: plain", vec![]),
        ("'*.amazonaws.com'", "bucket.s3.amazonaws.com, hand_off: plain", vec![]),
        ("ok.example", "ok.example", vec![]),
    ] {
        let text = format!(
            "
trusted_proxies: 127.0.0.1
pairs:
  - {{ name: first, origin: a.example, hand_off: sealed, destination: {first} }}
  - {{ name: second, origin: [b.example, a.example], destination: {second} }}
"
        );
        let text = if second.contains("hand_off") {
            text
        } else {
            text.replace("name: second", "name: second, hand_off: sealed")
        };
        assert_warned(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn everybody_may_say_who_he_is() {
    let everybody = "everybody is trusted to say who he is, in the header that `identity` names";
    for (trusted, header, expected) in [
        ("0.0.0.0/0", "header: X-User", vec![format!("0.0.0.0/0: {everybody}")]),
        ("[127.0.0.1, '::/0']", "header: X-User", vec![format!("[: {everybody}")]),
        ("10.0.0.0/8", "header: X-User", vec![]),
        ("0.0.0.0/0", "cookies: [who]", vec![]),
    ] {
        let pair =
            format!("{{ origin: a.example, destination: ok.example, hand_off: plain, identity: {{ {header} }} }}");
        let text = format!("trusted_proxies: {trusted}\npairs: [{pair}]");
        assert_warned(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn an_outbox_is_told_nothing_or_not_safe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    for name in ["token", "key"] {
        // As an editor on Windows writes it.
        fs::write(folder.path().join(name), "\u{feff}0f1e2d3c4b5a69788796a5b4c3d2e1f0\r\n").unwrap();
    }
    let nothing = "{: of this pair's visitors nothing is told: it has neither a `landing`";
    let api = format!("api: {{ token_file: {path}/token }}");
    for (top, pair, expected) in [
        ("", ", landing: { accept: sealed }, kissmetrics: { KEY }", &[][..]),
        ("", ", hand_off: plain, kissmetrics: { KEY }", &[nothing]),
        (&*api, ", hand_off: plain, kissmetrics: { KEY }", &[]),
        ("", ", hand_off: plain, kissmetrics: { KEY, events: { left: Left } }", &[]),
        (
            "",
            ", hand_off: plain, kissmetrics: { KEY, events: { left: Left, arrived: Here } }",
            &["Here: nobody is seen to arrive without a `landing`"],
        ),
        ("", ", landing: {}, kissmetrics: { KEY, events: {} }", &["{: no event has a name here, so none is recorded"]),
        (&*api, ", hand_off: plain", &["{: no pair has `kissmetrics`, so there is nobody to tell"]),
        (
            &*format!("admin: 0.0.0.0:0\n{api}"),
            ", landing: {}, kissmetrics: { KEY }",
            &[
                "0.0.0.0:0: the admin port is open to other machines",
                "{: the token of the API travels to the admin port unencrypted",
            ],
        ),
    ] {
        let pair = pair.replace("KEY", &format!("key_file: {path}/key"));
        let text = format!(
            "{top}\noutbox: {{ directory: {path} }}\npairs: [{{ origin: a.example, destination: ok.example{pair} }}]"
        );
        assert_warned(&text, expected);
    }
}

#[test]
fn the_directory_of_an_outbox_is_looked_at_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("somebody's");
    fs::write(&file, "precious").unwrap();
    let journal = folder.path().join("journal");
    fs::create_dir(&journal).unwrap();
    for name in [".writable".to_owned(), format!(".writable-{}", std::process::id())] {
        symlink(&file, journal.join(name)).unwrap();
    }
    let pairs = "pairs: [{ origin: a.example, destination: ok.example, hand_off: plain }]";
    let text = format!("outbox: {{ directory: {} }}\n{pairs}", journal.display());
    assert_warned(&text, &[]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(fs::read_dir(&journal).unwrap().count(), 2);
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o777)).unwrap();
    let problems: Vec<_> = parse(&text.replace(", hand_off: plain", "")).warnings;
    assert!(problems.iter().any(|warning| warning.problem.ends_with("can write into this directory")), "{problems:?}");
    assert_warned(&format!("outbox: {{ directory: . }}\n{pairs}"), &[".: which directory this is depends on where"]);
}

#[test]
fn pairs_of_other_origins_are_asked_for_themselves() {
    let text = "
pairs:
  - { name: first, origin: a.example, destination: ok.example, hand_off: sealed }
  - { name: second, origin: [b.example, 'a.example:8443'], destination: ok.example, hand_off: plain }
";
    assert_warned(text, &[]);
}

#[test]
fn what_says_the_same_of_many_places_is_shown_once() {
    let pair = |number| format!("  - {{ origin: a.example, destination: b{number}.example, landing: {{}} }}\n");
    for (pairs, title) in [
        (1, "test:2:60: warning: this landing accepts a plain `kmi`, which anyone can write into a link\n"),
        (
            100,
            "test:2:60: warning: this landing accepts a plain `kmi`, which anyone can write into a link (and 99 more like it)\n",
        ),
    ] {
        let text = format!("pairs:\n{}", (0..pairs).map(pair).collect::<String>());
        let shown = render_warnings("test", &text, &parse(&text).warnings);
        assert!(shown.starts_with(title), "{shown}");
        assert_eq!(shown.matches("warning:").count(), 1, "{shown}");
    }
}
