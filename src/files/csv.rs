//! One line of CSV (RFC 4180) into its fields.
//!
//! A row is one line: a field with a line break inside is not taken, so that a lost quote
//! spoils its own row and not the rest of the file.

/// The fields of one row, reused from row to row.
#[derive(Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A quoted field that does not end before a comma or the end of its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QuoteError;

impl Row {
    /// Reads the fields of a line.
    pub(super) fn split(&mut self, line: &[u8]) -> Result<(), QuoteError> {
        self.bytes.clear();
        self.ends.clear();
        if !line.contains(&b'"') {
            for field in line.split(|&c| c == b',') {
                self.push(field);
            }
            return Ok(());
        }
        let mut rest = line;
        loop {
            rest = match rest.strip_prefix(b"\"") {
                Some(quoted) => self.push_quoted(quoted)?,
                None => {
                    let end = rest.iter().position(|&c| c == b',').unwrap_or(rest.len());
                    let (field, tail) = rest.split_at(end);
                    self.push(field);
                    tail
                }
            };
            match rest.split_first() {
                None => return Ok(()),
                Some((b',', tail)) => rest = tail,
                Some(_) => return Err(QuoteError),
            }
        }
    }

    fn push(&mut self, field: &[u8]) {
        self.bytes.extend_from_slice(field);
        self.ends.push(self.bytes.len());
    }

    /// Takes a field whose opening quote was read; gives what follows its closing quote.
    fn push_quoted<'a>(&mut self, mut rest: &'a [u8]) -> Result<&'a [u8], QuoteError> {
        loop {
            let quote = rest.iter().position(|&c| c == b'"').ok_or(QuoteError)?;
            let (text, tail) = rest.split_at(quote);
            self.bytes.extend_from_slice(text);
            match tail.strip_prefix(b"\"\"") {
                Some(tail) => {
                    self.bytes.push(b'"');
                    rest = tail;
                }
                None => {
                    self.ends.push(self.bytes.len());
                    return Ok(tail.strip_prefix(b"\"").unwrap_or(tail));
                }
            }
        }
    }

    /// How many fields.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field by number; empty where the row has none.
    pub(super) fn get(&self, field: usize) -> &[u8] {
        let start = field.checked_sub(1).and_then(|f| self.ends.get(f)).copied().unwrap_or(0);
        self.ends.get(field).and_then(|&end| self.bytes.get(start..end)).unwrap_or(&[])
    }

    /// A field as text without the blanks around it; `None` where it is not UTF-8.
    pub(super) fn text(&self, field: usize) -> Option<&str> {
        std::str::from_utf8(self.get(field)).ok().map(str::trim)
    }

    /// All fields as text, for a header; what is not UTF-8 is an empty name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|field| self.text(field).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_as_rfc_4180_says() {
        let mut row = Row::default();
        let cases: [(&str, Option<&[&str]>); 10] = [
            ("a,b", Some(&["a", "b"])),
            ("", Some(&[""])),
            (",", Some(&["", ""])),
            ("\"a,b\",c", Some(&["a,b", "c"])),
            ("\"\",\"x\"", Some(&["", "x"])),
            ("\"say \"\"hi\"\"\",", Some(&["say \"hi\"", ""])),
            ("a\"b,c", Some(&["a\"b", "c"])),
            ("\"a,b", None),
            ("\"a\"b,c", None),
            ("x,\"", None),
        ];
        for (line, fields) in cases {
            let split = row.split(line.as_bytes());
            let got: Vec<&str> = row.names().collect();
            match fields {
                Some(fields) => assert_eq!((split, got.as_slice()), (Ok(()), fields), "{line}"),
                None => assert_eq!(split, Err(QuoteError), "{line}"),
            }
        }
        assert_eq!(row.get(99), b"");
    }
}
