//! The form of a text file that an edit must keep: byte order mark and line endings.

const BYTE_ORDER_MARK: char = '\u{feff}';

/// How the lines of a text end, and whether it begins with a byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextForm {
    mark: bool,
    crlf: bool,
}

impl TextForm {
    /// Takes the form off: the text has neither a mark nor carriage returns at the ends of lines. A text with mixed line endings
    /// stays as it is, because its form could not be restored.
    pub(super) fn take(raw: &str) -> (Self, String) {
        let text = raw.strip_prefix(BYTE_ORDER_MARK);
        let mark = text.is_some();
        let text = text.unwrap_or(raw);
        let lines = text.matches('\n').count();
        let crlf = lines > 0 && text.matches("\r\n").count() == lines;
        let text = if crlf { text.replace("\r\n", "\n") } else { text.to_owned() };
        (Self { mark, crlf }, text)
    }

    /// Gives an edited text this form again.
    pub(super) fn restore(self, text: &str) -> String {
        let text = if self.crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
        if self.mark { format!("{BYTE_ORDER_MARK}{text}") } else { text }
    }
}

/// Adds lines to the end of a text, which may lack its last newline.
pub(super) fn append_lines(text: &str, lines: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{gap}{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_restored() {
        for raw in ["", "a\nb\n", "a\r\nb\r\n", "\u{feff}a\r\nb", "a\r\nb\n", "a\rb"] {
            let (form, text) = TextForm::take(raw);
            assert_eq!(form.restore(&text), raw, "{raw:?}");
        }
        let (form, text) = TextForm::take("\u{feff}a\r\n");
        assert_eq!(text, "a\n");
        assert_eq!(form.restore("a\nb\n"), "\u{feff}a\r\nb\r\n");
    }

    #[test]
    fn lines_are_added_after_a_last_line_without_newline() {
        assert_eq!(append_lines("", "a\n"), "a\n");
        assert_eq!(append_lines("x", "a\n"), "x\na\n");
        assert_eq!(append_lines("x\n", "a\n"), "x\na\n");
    }
}
