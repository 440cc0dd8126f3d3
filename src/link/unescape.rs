//! Percent-escapes are taken off, as `percent_decode` of the library does, which goes byte by byte: here what is plain
//! is copied eight bytes at a time. That is half of what it costs, and of each request there are two.

/// Writes a text without its escapes into `room`, and gives how long it is there; nothing if a `%` has no two
/// hexadecimal digits behind it. There must be room for [`SPARE`] bytes more than the text has.
pub(super) fn unescape(text: &[u8], room: &mut [u8]) -> Option<usize> {
    let (mut rest, mut end) = (text, 0);
    while !rest.is_empty() {
        let eight = rest.first_chunk().copied().unwrap_or_else(|| last(rest));
        // Those that are not plain are written over.
        *room.get_mut(end..)?.first_chunk_mut()? = eight;
        let plain = before_escape(eight);
        (rest, end) = (rest.get(plain..)?, end + plain);
        while let [b'%', escaped @ ..] = rest {
            let [high, low, behind @ ..] = escaped else { return None };
            *room.get_mut(end)? = digit(*high)? << 4 | digit(*low)?;
            (rest, end) = (behind, end + 1);
        }
    }
    Some(end)
}

/// The last bytes of a text, fewer than eight, as if there were an escape behind them.
fn last(rest: &[u8]) -> [u8; SPARE] {
    let mut eight = [b'%'; SPARE];
    for (place, byte) in eight.iter_mut().zip(rest) {
        *place = *byte;
    }
    eight
}

/// How many bytes stand before the first `%`.
fn before_escape(eight: [u8; SPARE]) -> usize {
    // Each byte that is a `%` is zero now, and the first zero is the first byte that a subtraction of one turns from
    // below 128 to above: a borrow only reaches those behind it.
    let differ = u64::from_le_bytes(eight) ^ u64::from_le_bytes([b'%'; SPARE]);
    let ones = u64::from_le_bytes([1; SPARE]);
    let found = differ.wrapping_sub(ones) & !differ & (ones << 7);
    found.trailing_zeros() as usize / 8
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// How many bytes are looked at at a time.
pub(super) const SPARE: usize = 8;

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode;
    use proptest::prelude::*;

    use super::*;

    fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
        let mut room = vec![0; text.len() + SPARE];
        let length = unescape(text, &mut room)?;
        room.truncate(length);
        Some(room)
    }

    #[test]
    fn a_percent_sign_needs_two_digits() {
        for (text, expected) in [
            (&b""[..], Some(&b""[..])),
            (b"%41", Some(b"A")),
            (b"bob%40bob.com", Some(b"bob@bob.com")),
            (b"%2f%2F%c3%A9%00", Some(b"//\xc3\xa9\0")),
            (b"\xff%ff", Some(b"\xff\xff")),
            (b"1234567%41", Some(b"1234567A")),
            (b"12345678%41", Some(b"12345678A")),
            (b"%2541", Some(b"%41")),
            (b"%", None),
            (b"1234567%", None),
            (b"1234567%4", None),
            (b"%4g", None),
            (b"%%41", None),
            (b"%+1", None),
        ] {
            assert_eq!(unescaped(text).as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_as_the_library_does(text in "(%[0-9a-fA-F]{2}|[!-$&-~\u{80}-\u{7ff}]{0,9}|%){0,9}") {
            let digits = |at: usize| text.as_bytes().get(at + 1..at + 3);
            let is_whole = |(at, _)| digits(at).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            let expected = text.match_indices('%').all(is_whole).then(|| percent_decode(text.as_bytes()).collect());
            prop_assert_eq!(unescaped(text.as_bytes()), expected);
        }
    }
}
