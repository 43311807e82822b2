//! Makes text from files, folders, networks and the environment safe for a terminal, a log or a table.
//!
//! A name in a file can contain escape sequences that a terminal obeys, line feeds that forge log lines, and characters
//! that reverse the direction of the text after them. All text from outside the program passes through this module
//! before it is printed. JSON has its own escape syntax and does not need it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Maximum characters of one word, that is, of text without white space. The rest is counted and left out.
pub const MAX_WORD: usize = 512;

/// Maximum characters of one text.
pub const MAX_TEXT: usize = 1 << 16;

/// Whether `c` is safe to show on a terminal: it is not a control character (C0, DEL, C1), does not end a line (U+2028,
/// U+2029) and does not change the direction of text (marks, embeddings, overrides, isolates).
///
/// ```
/// use hardnetd::printable::is_printable;
///
/// assert!(is_printable('ü') && is_printable(' '));
/// assert!(!is_printable('\u{1b}') && !is_printable('\n') && !is_printable('\u{202e}'));
/// ```
#[must_use]
pub const fn is_printable(c: char) -> bool {
    !matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with every unprintable character escaped, as in `\n` and `\u{1b}`, and nothing left out.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut out, c));
    Cow::Owned(out)
}

/// `text` on one line: [`escaped`], with words cut to [`MAX_WORD`] characters and the whole to [`MAX_TEXT`].
///
/// ```
/// use hardnetd::printable::line;
///
/// assert_eq!(line("conv1\n\u{1b}[31m"), "conv1\\n\\u{1b}[31m");
/// assert_eq!(line(&"a".repeat(600)), format!("{}…(+88)", "a".repeat(512)));
/// ```
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    // A text this short cannot contain a word that is too long.
    if text.len() <= MAX_WORD {
        return escaped(text);
    }
    Cow::Owned(Line(text).to_string())
}

/// `text` of several lines, each formatted as by [`line()`]. Lines after the first are indented, so that none of them
/// looks like a separate message.
#[must_use]
pub fn block(text: &str) -> String {
    let mut lines = text.lines();
    let mut out = line(lines.next().unwrap_or_default()).into_owned();
    for next in lines {
        if out.len() > MAX_TEXT {
            out.push_str("\n  …");
            break;
        }
        out.push_str(if next.starts_with("  ") { "\n" } else { "\n  " });
        out.push_str(&line(next));
    }
    out
}

/// Displays its content on one line, as [`line()`] does, without copying it.
#[derive(Debug, Clone, Copy)]
pub struct Line<T>(pub T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(formatter, format_args!("{}", self.0))
    }
}

/// Writes `text` to `out` on one line, as [`line()`] formats it.
///
/// # Errors
/// Any error of `out`.
pub fn write(out: &mut dyn fmt::Write, text: fmt::Arguments<'_>) -> fmt::Result {
    let mut escape = Escape { out, word: 0, all: 0 };
    escape.write_fmt(text)?;
    escape.end()
}

/// Escapes the text written to it.
struct Escape<'a> {
    out: &'a mut dyn fmt::Write,
    /// Characters of the current word.
    word: usize,
    /// Characters so far, without those left out of words.
    all: usize,
}

impl Escape<'_> {
    /// Writes how much of the word was left out.
    fn end_word(&mut self) -> fmt::Result {
        let word = std::mem::take(&mut self.word);
        match word.checked_sub(MAX_WORD) {
            None | Some(0) => Ok(()),
            Some(_) if self.all > MAX_TEXT => Ok(()),
            Some(more) => write!(self.out, "…(+{more})"),
        }
    }

    fn end(&mut self) -> fmt::Result {
        self.end_word()?;
        match self.all.checked_sub(MAX_TEXT) {
            None | Some(0) => Ok(()),
            Some(more) => write!(self.out, "…(+{more})"),
        }
    }
}

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_whitespace() {
                self.end_word()?;
            } else {
                self.word += 1;
            }
            if self.word > MAX_WORD {
                continue;
            }
            self.all += 1;
            if self.all <= MAX_TEXT {
                escape(c, |c| self.out.write_char(c))?;
            }
        }
        Ok(())
    }
}

fn push(out: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = escape(c, |c| {
        out.push(c);
        Ok(())
    });
}

/// Passes the characters that represent `c` to `write`.
fn escape(c: char, mut write: impl FnMut(char) -> fmt::Result) -> fmt::Result {
    match c {
        c if is_printable(c) => write(c),
        '\n' | '\r' | '\t' => c.escape_default().try_for_each(write),
        c => c.escape_unicode().try_for_each(write),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_other_text_is_as_it_was() {
        for (text, expected) in [
            ("", ""),
            ("Hündin 日 \\ 'a' \"b\"", "Hündin 日 \\ 'a' \"b\""),
            ("a\u{1b}]0;title\u{7}b", "a\\u{1b}]0;title\\u{7}b"),
            ("a\r\nhardnetd: all is well\t!", "a\\r\\nhardnetd: all is well\\t!"),
            ("\u{0}\u{7f}\u{9b}31m", "\\u{0}\\u{7f}\\u{9b}31m"),
            ("\u{202e}gpj\u{2066}\u{2069}\u{2028}\u{200f}", "\\u{202e}gpj\\u{2066}\\u{2069}\\u{2028}\\u{200f}"),
        ] {
            assert_eq!(escaped(text), expected);
            assert_eq!(line(text), expected);
            assert_eq!(Line(text).to_string(), expected);
        }
        for c in '\0'..=char::MAX {
            let text = line(c.encode_utf8(&mut [0; 4])).into_owned();
            assert!(text.chars().all(|c| is_printable(c) && !c.is_control()), "{c:?}: {text}");
        }
    }

    #[test]
    fn words_and_texts_that_are_too_long_are_cut_and_the_rest_is_counted() {
        let long = "x".repeat(1_000_000);
        let text = line(&format!("the tensor `{long}` is there twice")).into_owned();
        assert!(text.starts_with("the tensor `xxx") && text.ends_with("x…(+999490) is there twice"), "{text}");
        assert!(text.len() < 600);
        let words = line(&"word ".repeat(100_000)).into_owned();
        assert!(words.ends_with(&format!("…(+{})", 500_000 - MAX_TEXT)), "{}", words.len());
        assert!(line(&long).len() < 600 && escaped(&long).len() == long.len());
    }

    #[test]
    fn lines_of_a_block_are_indented_and_escaped() {
        assert_eq!(block("2 problems:\n  a\u{1b}\nb"), "2 problems:\n  a\\u{1b}\n  b");
        assert_eq!(block(""), "");
        assert!(block(&"line\n".repeat(100_000)).len() < 2 * MAX_TEXT);
    }
}
