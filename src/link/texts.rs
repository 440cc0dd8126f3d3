//! Many short texts in one allocation, each known by eight bytes.

/// The texts, one behind the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    all: String,
}

/// Where one of the texts stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextAt {
    start: u32,
    length: u32,
}

impl Texts {
    /// Keeps a text.
    pub(super) fn keep(&mut self, text: &str) -> TextAt {
        let at = TextAt { start: number(self.all.len()), length: number(text.len()) };
        self.all.push_str(text);
        at
    }

    /// Keeps a text, as a part of another one that begins or ends with it: the name that a pair has by default holds
    /// two of its hosts.
    pub(super) fn keep_as_part(&mut self, text: &str, of: TextAt) -> TextAt {
        let whole = self.text(of);
        let length = number(text.len());
        if whole.starts_with(text) {
            TextAt { start: of.start, length }
        } else if whole.ends_with(text) {
            TextAt { start: of.start + (of.length - length), length }
        } else {
            self.keep(text)
        }
    }

    pub(super) fn text(&self, at: TextAt) -> &str {
        let start = at.start as usize;
        self.all.get(start..start + at.length as usize).unwrap_or_default()
    }

    /// Gives back what was reserved for more texts.
    pub(super) fn shrink(&mut self) {
        self.all.shrink_to_fit();
    }
}

/// A place or a count in 32 bits, which are enough: all of a configuration's texts are some 64 MiB at the most.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_if_it_begins_or_ends_another() {
        let mut texts = Texts::default();
        let name = texts.keep("a.example to b.example");
        for (text, length) in
            [("a.example", 22), ("b.example", 22), ("", 22), ("c.example", 31), ("xa.example to b.example", 54)]
        {
            let at = texts.keep_as_part(text, name);
            assert_eq!((texts.text(at), texts.all.len()), (text, length));
        }
        assert_eq!(texts.text(name), "a.example to b.example");
    }
}
