//! Tables in Markdown, and numbers as people read them.

use std::fmt;

/// A table. Columns of numbers stand at the right, but for the first, which names the row.
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with these columns.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes out the columns in which no row has a number.
    pub fn without_empty_columns(mut self) -> Self {
        for position in (0..self.head.len()).rev() {
            let is_empty = self.rows.iter().all(|row| row.get(position).is_none_or(|cell| cell == NONE));
            if is_empty {
                self.head.remove(position);
                self.rows.iter_mut().filter(|row| position < row.len()).for_each(|row| drop(row.remove(position)));
            }
        }
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| {} |", self.head.join(" | "))?;
        let is_number =
            |cell: &str| cell == NONE || cell.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let rule = (0..self.head.len()).map(|position| {
            let are_numbers = self.rows.iter().all(|row| row.get(position).is_none_or(|cell| is_number(cell)));
            if are_numbers && position > 0 { "---:|" } else { "---|" }
        });
        writeln!(out, "|{}", rule.collect::<String>())?;
        for row in &self.rows {
            writeln!(out, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// With that many digits behind the point, and a comma before each three others.
pub fn number(value: Option<f64>, digits: usize) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return NONE.to_owned() };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole.split_at(whole.find(|letter: char| letter.is_ascii_digit()).unwrap_or(0));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

/// Bytes as MiB.
pub fn mebibytes(bytes: Option<f64>) -> String {
    number(bytes.map(|bytes| bytes / 1024.0 / 1024.0), 1)
}

/// What stands where there is no number.
pub const NONE: &str = "–";
