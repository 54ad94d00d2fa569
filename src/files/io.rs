//! Opening files, and reading them line by line in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::FileError;

/// Bytes of a buffer between file and reader: large enough that the system calls vanish.
const BUFFER_BYTES: usize = 256 << 10;
/// The first bytes of every gzip member (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

fn is_gz(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"))
}

fn open_error(path: &str, source: io::Error) -> FileError {
    FileError::Open { path: path.to_owned(), source }
}

/// Opens a file for reading; `-` is standard input. What ends in `.gz` or starts as gzip is
/// unpacked, several members after one another too.
pub fn open(path: &str) -> Result<Box<dyn BufRead + Send>, FileError> {
    let raw: Box<dyn Read + Send> = match path {
        "-" => Box::new(io::stdin()),
        _ => Box::new(File::open(path).map_err(|e| open_error(path, e))?),
    };
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, raw);
    let packed = is_gz(path) || raw.fill_buf().map_err(|e| open_error(path, e))?.starts_with(&GZIP_MAGIC);
    if packed {
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw))))
    } else {
        Ok(Box::new(raw))
    }
}

/// A file being written. Call [`FileOut::finish`] at the end: only it reports the last errors.
pub struct FileOut(Out);

enum Out {
    Plain(BufWriter<Box<dyn Write + Send>>),
    Gz(Box<BufWriter<GzEncoder<Box<dyn Write + Send>>>>),
}

/// Makes a file, or empties it; `-` is standard output. What ends in `.gz` is packed.
pub fn create(path: &str) -> Result<FileOut, FileError> {
    let raw: Box<dyn Write + Send> = match path {
        "-" => Box::new(io::stdout()),
        _ => Box::new(File::create(path).map_err(|e| open_error(path, e))?),
    };
    Ok(FileOut(if is_gz(path) {
        let packer = GzEncoder::new(raw, Compression::default());
        Out::Gz(Box::new(BufWriter::with_capacity(BUFFER_BYTES, packer)))
    } else {
        Out::Plain(BufWriter::with_capacity(BUFFER_BYTES, raw))
    }))
}

impl FileOut {
    /// Writes what is held back and closes the file.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Out::Plain(mut out) => out.flush(),
            Out::Gz(out) => out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?.flush(),
        }
    }
}

impl Write for FileOut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Out::Plain(out) => out.write(bytes),
            Out::Gz(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Out::Plain(out) => out.flush(),
            Out::Gz(out) => out.flush(),
        }
    }
}

/// One line without its line break.
pub(super) enum Line<'a> {
    Text(&'a [u8]),
    /// Longer than the bound: read past, not held.
    TooLong,
}

/// The lines of an input, each at most `max` bytes long. LF and CRLF end a line, the last may
/// lack it; a byte order mark at the start is dropped.
pub(super) struct Lines<R> {
    input: R,
    max: usize,
    held: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, max: usize) -> Self {
        Self { input, max, held: Vec::new(), number: 0 }
    }

    /// The number of the line that was read last, counted from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line; `None` at the end.
    pub(super) fn read(&mut self) -> Result<Option<Line<'_>>, FileError> {
        self.held.clear();
        // Room for the longest line, its CR and LF.
        let bound = self.max as u64 + 2;
        let failed = |line, source| FileError::Read { line, source };
        self.number += 1;
        let read = (&mut self.input).take(bound).read_until(b'\n', &mut self.held);
        if read.map_err(|e| failed(self.number, e))? == 0 {
            self.number -= 1;
            return Ok(None);
        }
        if self.held.last() == Some(&b'\n') {
            self.held.pop();
        } else if self.held.len() as u64 == bound {
            self.input.skip_until(b'\n').map_err(|e| failed(self.number, e))?;
            return Ok(Some(Line::TooLong));
        }
        if self.held.last() == Some(&b'\r') {
            self.held.pop();
        }
        if self.held.len() > self.max {
            return Ok(Some(Line::TooLong));
        }
        let text = self.held.as_slice();
        let text = if self.number == 1 { text.strip_prefix(UTF8_BOM).unwrap_or(text) } else { text };
        Ok(Some(Line::Text(text)))
    }
}

/// A piece of foreign text fit for one line of an error: at most 64 characters, none of them a
/// control character.
pub(super) fn one_line(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], max: usize) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::new(bytes, max);
        let mut all = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            let text = match line {
                Line::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
                Line::TooLong => None,
            };
            all.push((lines.number(), text));
        }
        all
    }

    #[test]
    fn lines_end_as_they_like_and_long_ones_are_read_past() {
        let text = |n, s: &str| (n, Some(s.to_owned()));
        assert_eq!(lines(b"", 4), []);
        assert_eq!(lines(b"\xef\xbb\xbfa\r\n\ncd", 4), [text(1, "a"), text(2, ""), text(3, "cd")]);
        let long = b"abcd\nabcde\nabcd\r\nabcde\r\nabcdefghijklm\nabcd";
        let expect = [text(1, "abcd"), (2, None), text(3, "abcd"), (4, None), (5, None), text(6, "abcd")];
        assert_eq!(lines(long, 4), expect);
        let endless = io::repeat(b'x').take(1 << 22).chain(&b"\nend"[..]);
        let mut endless = Lines::new(BufReader::new(endless), 100);
        assert!(matches!(endless.read(), Ok(Some(Line::TooLong))));
        assert!(endless.held.capacity() < 1_000);
        assert!(matches!(endless.read(), Ok(Some(Line::Text(b"end")))));
    }

    #[test]
    fn packed_files_are_found_by_name_or_by_their_first_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let mut out = create(&path("a.gz")).unwrap();
        out.write_all(b"one\n").unwrap();
        out.finish().unwrap();
        let member = std::fs::read(path("a.gz")).unwrap();
        assert!(member.starts_with(&GZIP_MAGIC));
        std::fs::write(path("b"), [member.clone(), member].concat()).unwrap();
        let mut out = create(&path("c")).unwrap();
        out.write_all(b"two").unwrap();
        out.finish().unwrap();
        std::fs::write(path("d.gz"), b"not packed").unwrap();
        let text = |name: &str| io::read_to_string(open(&path(name)).unwrap());
        assert_eq!(text("a.gz").unwrap(), "one\n");
        assert_eq!(text("b").unwrap(), "one\none\n");
        assert_eq!(text("c").unwrap(), "two");
        assert!(text("d.gz").is_err());
        assert!(matches!(open(&path("none")), Err(FileError::Open { .. })));
        assert!(matches!(open(dir.path().to_str().unwrap()), Err(FileError::Open { .. })));
    }
}
