//! Many pairs are served as one is.

use std::fmt::Write;

use crate::support::App;

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
