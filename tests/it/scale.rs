//! Many pairs are served as one is.

use std::fmt::Write;

use crate::support::App;

#[test]
fn a_hundred_thousand_pairs_are_served() {
    let mut config = "pairs:\n".to_owned();
    for pair in 0..50_000 {
        let [braces, lines] = [2 * pair, 2 * pair + 1];
        writeln!(config, "  - {{ origin: www.shop{braces}.example, destination: pay.shop{braces}.example }}").unwrap();
        writeln!(config, "  - origin: www.shop{lines}.example\n    destination: pay.shop{lines}.example").unwrap();
    }
    // The last of these has settings of its own, and so is none of those that need no YAML library.
    config.push_str("    parameter: uid\n");
    let app = App::with(&config);
    for (pair, parameter) in [(0, "kmi"), (1, "kmi"), (50_000, "kmi"), (99_998, "kmi"), (99_999, "uid")] {
        let host = format!("www.shop{pair}.example");
        let to = format!("https://pay.shop{pair}.example/cart");
        let location = app.get(&host, &format!("/go?to={to}")).cookie("km_ni=x").location();
        assert_eq!(location, format!("{to}?{parameter}=x"));
        let neighbour = format!("/go?to=https://pay.shop{}.example/", (pair + 1) % 100_000);
        assert_eq!(app.get(&host, &neighbour).send().code(), "not_allowed");
    }
    assert_eq!(app.get("www.shop100000.example", "/go").send().code(), "unknown_host");
}

#[test]
fn a_hundred_thousand_hosts_of_one_pair_are_served() {
    let mut config = "pairs:\n  - origin: www.yoursite.com\n    destination:\n".to_owned();
    for host in 0..100_000 {
        writeln!(config, "      - pay.shop{host}.example").unwrap();
    }
    config.push_str("      - \"*.wild.example\"\n");
    let app = App::with(&config);
    for host in ["pay.shop0.example", "pay.shop50000.example", "pay.shop99999.example", "a.b.wild.example"] {
        let location = app.get("www.yoursite.com", &format!("/go?to=https://{host}/")).cookie("km_ni=x").location();
        assert_eq!(location, format!("https://{host}/?kmi=x"));
    }
    for host in ["pay.shop100000.example", "shop0.example", "a.pay.shop0.example", "wild.example"] {
        let refused = app.get("www.yoursite.com", &format!("/go?to=https://{host}/")).send();
        assert_eq!(refused.code(), "not_allowed", "{host}");
    }
}

#[test]
fn a_thousand_pairs_with_ten_links_each_are_served() {
    let mut config = "pairs:\n".to_owned();
    for pair in 0..1000 {
        writeln!(config, "  - origin: www.shop{pair}.example\n    destination: pay.shop{pair}.example\n    links:")
            .unwrap();
        for link in 0..10 {
            writeln!(config, "      link{link}: /path/{link}").unwrap();
        }
    }
    let app = App::with(&config);
    for pair in [0, 1, 499, 999] {
        let host = format!("www.shop{pair}.example");
        for link in [0, 9] {
            let location = app.get(&host, &format!("/go/link{link}")).cookie("km_ni=x").location();
            assert_eq!(location, format!("https://pay.shop{pair}.example/path/{link}?kmi=x"));
        }
        let neighbour = format!("/go?to=https://pay.shop{}.example/", (pair + 1) % 1000);
        assert_eq!(app.get(&host, &neighbour).send().code(), "not_allowed");
    }
}
