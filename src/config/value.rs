//! Values that several sections read: words, truths, times, numbers and sizes.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use super::fault::Faults;
use super::text::Text;

/// One of some words.
pub(super) fn word<T: Copy>(text: Option<&Text>, default: T, words: &[(&str, T)], faults: &mut Faults) -> T {
    let Some(text) = text else { return default };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return *value;
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let problem = match text.value.as_str() {
        "" => "a word is missing here".to_owned(),
        other => format!("`{other}` is not known here"),
    };
    let hint = match known.iter().find(|word| word.eq_ignore_ascii_case(&text.value)) {
        Some(word) => format!("write it in small letters: `{word}`"),
        None => format!("write one of: {}", known.join(", ")),
    };
    faults.add(text, problem, hint);
    default
}

/// `true` or `false`.
pub(super) fn truth(text: Option<&Text>, faults: &mut Faults) -> bool {
    word(text, false, &[("true", true), ("false", false)], faults)
}

/// A time such as `10s`, `5m` or `400d`.
pub(super) fn duration(
    text: Option<&Text>,
    default: Duration,
    range: RangeInclusive<Duration>,
    faults: &mut Faults,
) -> Duration {
    let Some(text) = text else { return default };
    match humantime::parse_duration(&text.value) {
        Ok(duration) if range.contains(&duration) => return duration,
        Ok(_) => {
            let [least, most] = [range.start(), range.end()].map(|end| in_words(*end));
            faults.add(text, format!("`{}` is out of range", text.value), format!("write {least} to {most}"));
        }
        Err(_) => faults.add(
            text,
            format!("`{}` is no time", text.value),
            "write a number with its unit: `500ms`, `10s`, `5m`, `2h` or `400d`",
        ),
    }
    default
}

/// `400d`, as it can be written, instead of a year, a month and some days.
fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        days if days > 0 && days % A_DAY.as_secs() == 0 => format!("{}d", days / A_DAY.as_secs()),
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// A whole number.
pub(super) fn number(text: Option<&Text>, default: usize, range: RangeInclusive<usize>, faults: &mut Faults) -> usize {
    in_range(text, default, range, "a whole number", faults)
}

/// A size such as `32KiB`, in bytes.
pub(super) fn bytes(
    text: Option<&Text>,
    default: ByteSize,
    range: RangeInclusive<ByteSize>,
    faults: &mut Faults,
) -> usize {
    let what = format!("a size, such as {}", default.to_string().replace(".0 ", ""));
    let size = in_range(text, default, range, &what, faults);
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

fn in_range<T: FromStr + PartialOrd + Display>(
    text: Option<&Text>,
    default: T,
    range: RangeInclusive<T>,
    what: &str,
    faults: &mut Faults,
) -> T {
    let Some(text) = text else { return default };
    match text.value.parse::<T>() {
        Ok(value) if range.contains(&value) => return value,
        _ => faults.add(
            text,
            format!("`{}` does not fit here", text.value),
            format!("write {what}, {} to {}", range.start(), range.end()),
        ),
    }
    default
}

pub(super) const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
