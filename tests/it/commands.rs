//! The commands: exit code, stdout and stderr of each, as they stand in `tests/it/snapshots`.

use std::fs;
use std::process::Command;

use insta::assert_snapshot;

use crate::sealed::OLD;
use crate::support::{App, Service, crosslink, repository};

/// Everything that a command says, with what it was asked in front.
fn said(arguments: &[&str]) -> String {
    said_by(crosslink().current_dir(repository("")).args(arguments), arguments)
}

fn said_by(command: &mut Command, arguments: &[&str]) -> String {
    let output = command.env("COLUMNS", "100").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    format!(
        "$ crosslink {}\n-- exit {}\n-- stdout\n{}-- stderr\n{}",
        arguments.join(" "),
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr)
    )
}

#[test]
fn help_tells_a_newcomer_where_to_start() {
    for command in ["", "serve", "check", "explain", "demo"] {
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        assert_snapshot!(format!("help_{command}"), said(&arguments));
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for (name, arguments) in [
        ("nothing", &[][..]),
        ("unknown_command", &["run"]),
        ("no_url", &["explain"]),
        ("bad_url", &["explain", "https://a b/"]),
        ("bad_header", &["explain", "https://www.yoursite.com/", "--header", "no colon"]),
        ("bad_peer", &["explain", "https://www.yoursite.com/", "--peer", "localhost"]),
        ("bad_listen", &["serve", "--listen", "somewhere"]),
        ("public_demo", &["demo", "--listen", "0.0.0.0:8080"]),
    ] {
        let said = said(arguments);
        assert!(said.contains("-- exit 2\n"), "{said}");
        assert_snapshot!(format!("usage_{name}"), said);
    }
}

#[test]
fn the_shipped_configurations_pass() {
    for file in ["config/crosslink.yaml", "config/minimal.yaml"] {
        let name = file.replace(['/', '.'], "_");
        assert_snapshot!(format!("check_{name}"), said(&["check", "--config", file]));
    }
}

#[test]
fn warnings_do_not_fail_a_check() {
    assert_snapshot!(said(&["check", "--config", "tests/data/warnings.yaml"]));
}

#[test]
fn warnings_say_where_a_key_protects_less_than_it_seems() {
    let arguments = ["check", "--config", "tests/data/warnings_sealed.yaml"];
    let mut command = crosslink();
    command.current_dir(repository("")).args(arguments).env("CROSSLINK_TEST_KEY", OLD.1);
    assert_snapshot!(said_by(&mut command, &arguments));
}

#[test]
fn a_missing_configuration_exits_with_78() {
    assert_snapshot!("missing_named", said(&["check", "--config", "nowhere.yaml"]));
    let nowhere = tempfile::tempdir().unwrap();
    let arguments = ["serve"];
    let said = said_by(crosslink().current_dir(&nowhere).args(arguments), &arguments);
    assert_snapshot!("missing_default", said);
}

#[test]
fn the_environment_names_the_configuration() {
    let output = crosslink()
        .env("CROSSLINK_CONFIG", repository("config/minimal.yaml"))
        .current_dir("/")
        .args(["explain", "https://www.yoursite.com/go?to=https://yoursite.3rd-party-checkout.com/"])
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn an_address_that_is_taken_exits_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["serve", "--config", "config/minimal.yaml", "--admin", "off", "--listen", &address];
    let mut service = Service::start(crosslink().current_dir(repository("")).args(arguments));
    assert_eq!(service.exit(), Some(1));
    let said = std::fs::read_to_string(&service.stderr).unwrap();
    assert!(said.contains(&format!("crosslink: cannot listen on {address}: ")) && said.contains("hint:"), "{said}");
}

#[test]
fn explain_tells_each_step() {
    let shop = "https://www.yourshop.example";
    let checkout = "https://checkout.yourshop.example";
    let anonymous = "km_ai=fTTEiDDx9uNZXWYzrFM8hVkBqQY%3D";
    for (name, exit, url, more) in [
        ("link", 0, format!("{shop}/go/checkout"), &["--cookie", "a=1; km_ni=bob%40bob.com"][..]),
        ("anonymous", 0, format!("{shop}/go/help?a=1#top"), &["--cookie", &format!("km_ni=null; {anonymous}")]),
        ("no_identity", 0, format!("{shop}/go?to={checkout}/cart"), &[]),
        ("unusable", 0, format!("{shop}/go/checkout"), &["--cookie", "km_ni=%zz; km_ai=guest"]),
        ("head", 0, format!("{shop}/go/checkout"), &["--cookie", "km_ni=bob", "--method", "HEAD"]),
        ("landing_set", 0, format!("{checkout}/cart?a=1&kmi=bob%40bob.com"), &[]),
        ("landing_kept", 0, format!("{checkout}/cart?kmi=bob"), &["--cookie", "km_ni=eve"]),
        ("landing_replaced", 0, format!("{checkout}/cart?kmi=bob"), &["--cookie", anonymous]),
        ("landing_invalid", 0, format!("{checkout}/cart?kmi=null"), &[]),
        ("landing_several", 0, format!("{checkout}/cart?kmi=a&km_i=b"), &[]),
        ("landing_token", 0, format!("{checkout}/cart?kmt=abc"), &[]),
        ("identify", 0, format!("{checkout}/-/identify/cart?a=1&kmi=bob%40bob.com"), &[]),
        ("identify_nothing", 0, format!("{checkout}/-/identify"), &["--header", "X-Original-URI: /cart?a=1"]),
        ("identify_not_found", 1, format!("{shop}/-/identify"), &["--header", "X-Forwarded-Uri: /cart?kmi=bob"]),
        ("bad_host", 1, format!("{shop}/go/checkout"), &["--header", "Host: a", "--header", "Host: b"]),
        ("unknown_host", 1, "https://elsewhere.example/go/checkout".to_owned(), &[]),
        ("not_found", 1, "https://yoursite.3rd-party-checkout.com/cart?kmi=bob".to_owned(), &[]),
        ("unknown_link", 1, format!("{shop}/go/chekout"), &[]),
        ("missing_to", 1, format!("{shop}/go"), &[]),
        ("repeated_to", 1, format!("{shop}/go?to=https://a.example&to=https://b.example"), &[]),
        ("bad_to", 1, format!("{shop}/go?to=//evil.example"), &[]),
        ("bad_path", 1, format!("{shop}/go/checkout/..%2fadmin"), &[]),
        ("dot_segment", 1, format!("{shop}/go/checkout/%2E?a=1#top"), &[]),
        ("not_allowed", 1, format!("{shop}/go?to=https://evil.example"), &[]),
        ("not_allowed_port", 1, format!("{shop}/go?to={checkout}:8443"), &[]),
        ("method_not_allowed", 1, format!("{shop}/go/checkout"), &["--method", "PUT"]),
        ("forget", 0, format!("{checkout}/go/forget"), &["--method", "POST"]),
        ("forget_nothing", 0, format!("{shop}/go/forget"), &["--method", "POST"]),
        ("forget_post_only", 1, format!("{checkout}/go/forget"), &[]),
        (
            "forget_cross_site",
            1,
            format!("{shop}/go/forget"),
            &["--method", "POST", "--header", "Sec-Fetch-Site: cross-site"],
        ),
        ("prefetch", 1, format!("{shop}/go/checkout"), &["--header", "Sec-Purpose: prefetch;prerender"]),
    ] {
        let arguments: Vec<&str> = ["explain", &url].into_iter().chain(more.iter().copied()).collect();
        let said = said(&arguments);
        assert!(said.contains(&format!("-- exit {exit}\n")), "{said}");
        assert_snapshot!(format!("explain_{name}"), said);
    }
}

#[test]
fn explain_tells_what_becomes_of_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let config = "trusted_proxies: 10.0.0.0/8
pairs: [{ origin: www.yourshop.example, destination: ok.example, links: { go: / }, identity: { header: X-User, cookies: [who] } }]";
    fs::write(folder.path().join("crosslink.yaml"), config).unwrap();
    let link = ["explain", "https://www.yourshop.example/go/go", "--config", "crosslink.yaml", "--cookie", "who=eve"];
    for (name, more) in [
        ("taken", &["--header", "X-User: bob", "--peer", "10.1.2.3"][..]),
        ("untrusted", &["--header", "X-User: bob", "--peer", "::ffff:11.1.2.3"]),
        ("no_peer", &["--header", "X-User: bob"]),
        ("repeated", &["--header", "X-User: bob", "--header", "x-user: bob", "--peer", "10.1.2.3"]),
        ("unusable", &["--header", "X-User: guest", "--peer", "10.1.2.3"]),
        ("absent", &["--peer", "10.1.2.3"]),
    ] {
        let arguments: Vec<&str> = link.iter().chain(more).copied().collect();
        assert_snapshot!(
            format!("explain_header_{name}"),
            said_by(crosslink().current_dir(&folder).args(&arguments), &arguments)
        );
    }
}

#[test]
fn explain_and_check_tell_of_identities_that_are_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = "pairs:
  - { origin: [www.yoursite.com, localhost], destination: ok.example, links: { go: / }, mint: { cookie: visitor } }
  - { origin: www.yoursite.com, destination: other.example, mint: { cookie: visitor } }";
    fs::write(folder.path().join("crosslink.yaml"), config).unwrap();
    let link = ["explain", "https://www.yoursite.com/go/go", "--config", "crosslink.yaml"];
    let browser = ["--header", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"];
    for (name, arguments) in [
        ("explain_mint", [&link[..], &browser].concat()),
        ("explain_mint_bot", [&link[..], &["--cookie", "km_ni=guest"]].concat()),
        (
            "explain_mint_kept",
            [&link[..], &browser, &["--cookie", "visitor=0123456789abcdef0123456789abcdef"]].concat(),
        ),
        ("check_mint", vec!["check", "--config", "crosslink.yaml"]),
    ] {
        assert_snapshot!(name, said_by(crosslink().current_dir(&folder).args(&arguments), &arguments));
    }
}

/// A browser would resolve them before it asks; whoever explains a line of an attack wants to know what the server
/// does.
#[test]
fn explain_reads_dot_segments_as_the_server_does() {
    let config = fs::read_to_string(repository("config/crosslink.yaml")).unwrap();
    let app = App::with(&config);
    for target in
        ["/go/checkout/%2e", "/go/checkout/..", "/go/./checkout", "/go/a/../checkout", "/x/.%2E/go/checkout?a=1"]
    {
        let reply = app.get("www.yourshop.example", target).send();
        let explained = said(&["explain", &format!("https://www.yourshop.example{target}")]);
        assert!(explained.contains(&format!("\nHTTP/1.1 {}", reply.status)), "{target}: {explained}");
        assert_eq!(reply.location(), explained.lines().find_map(|line| line.strip_prefix("location: ")), "{target}");
        assert!(reply.status >= 400, "{target}: {}", reply.status);
    }
}

#[test]
fn the_demo_takes_a_free_port_if_its_own_is_taken() {
    // Whether or not this socket gets the port, it is taken then.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8080");
    let mut demo = Service::start(crosslink().arg("demo"));
    let address = demo.announced("http://www.yoursite.localhost:");
    assert!(!address.contains(":8080"), "{address}");
    demo.program.signal("TERM");
    assert_eq!(demo.exit(), Some(0));
}
