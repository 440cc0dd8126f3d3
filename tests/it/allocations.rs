//! A decision asks for memory twice: for the URL that the visitor wants, and for the one that he gets.

use crosslink::link::{Decision, Visit};

use crate::support::{CONFIG, parse};

#[test]
fn a_plain_hand_off_allocates_twice_and_its_location_has_nothing_to_spare() {
    let linker = parse(CONFIG).linker;
    let escaped = "to=https%3A%2F%2Fok.example%2Fcart%3Fsku%3Dwidget-9000%26kmi%3Dold%26ref%3Dhome%23pay";
    for (path, query, cookies) in [
        ("/go", escaped, &b"_ga=GA1.2; km_ai=fTTEiDDx9uNZXWYzrFM8hVkBqQY%3D; km_ni=bob%40bob.com; km_vs=1"[..]),
        ("/go", escaped, b"_ga=GA1.2; km_ai=fTTEiDDx9uNZXWYzrFM8hVkBqQY%3D"),
        ("/go", escaped, b"km_ni=null; _ga=GA1.2"),
        ("/go", escaped, b"km_ni=alice@shop.example"),
        ("/go", "to=https://a.b.wild.example/cart?x=y", b"km_ni=bob%40bob.com"),
        ("/go", "to=https://ports.example:8443/", b"km_ni=bob%40bob.com"),
        ("/go/checkout", "", b"km_ni=bob%40bob.com"),
        ("/go/checkout/red/shoes", "size=42", b"km_ni=bob%40bob.com"),
        ("/go/query/red", "size=42", b"km_ni=bob%40bob.com"),
    ] {
        let visit = Visit {
            query: Some(query).filter(|query| !query.is_empty()),
            cookies: &[b"first=1", cookies],
            fetch_mode: Some(b"navigate"),
            fetch_dest: Some(b"document"),
            ..Visit::of("www.yoursite.com", path)
        };
        let mut decision = None;
        let count = allocation_counter::measure(|| decision = Some(linker.decide(&visit))).count_total;
        let Some(Decision::HandOff(hand_off)) = decision else { panic!("{path}?{query} is no hand-off") };
        let location = hand_off.destination.into_location();
        assert_eq!(count, 2, "{location}");
        assert_eq!(location.capacity(), location.len(), "{location}");
    }
}
