//! The Redis protocol (RESP2), as much of it as is spoken here: commands out, items in.
//!
//! It never holds more than it is given, and believes no length: whoever reads an array counts its
//! items as they come. Invariant: an item is whole or it is not there yet; how the bytes were cut on
//! their way changes nothing.

/// The longest string that a peer is believed to send: `INFO` is some kilobytes, a name some bytes.
pub(super) const BULK_BYTES_MAX: usize = 1 << 20;
/// The longest line: a number, a status, an error.
const LINE_BYTES_MAX: usize = 4_096;
/// The longest array: more devices than any peer holds here.
const ARRAY_ITEMS_MAX: i64 = 1 << 30;

/// One item of an answer; an array is its length, and its items follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Nil,
    Array(u64),
}

/// Bytes that are not this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotResp(&'static str);

impl std::fmt::Display for NotResp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its answer is not the Redis protocol: {}", self.0)
    }
}

impl std::error::Error for NotResp {}

/// The item at the start of these bytes and how many bytes it takes; nothing where it is not whole.
pub(super) fn item(bytes: &[u8]) -> Result<Option<(Item<'_>, usize)>, NotResp> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    if !b"+-:$*".contains(kind) {
        return Err(NotResp("no such kind of item"));
    }
    let seen = rest.get(..LINE_BYTES_MAX).unwrap_or(rest);
    let Some(end) = seen.iter().position(|byte| *byte == b'\r') else {
        return if seen.len() < LINE_BYTES_MAX { Ok(None) } else { Err(NotResp("a line without an end")) };
    };
    let (line, after) = rest.split_at(end);
    match after.get(1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(NotResp("a line without its end")),
    }
    let used = 1 + end + 2;
    match kind {
        b'+' => return Ok(Some((Item::Status(line), used))),
        b'-' => return Ok(Some((Item::Error(line), used))),
        _ => {}
    }
    let number = std::str::from_utf8(line).ok().and_then(|digits| digits.parse::<i64>().ok());
    let number = number.ok_or(NotResp("not a number"))?;
    match (kind, number) {
        (b':', number) => Ok(Some((Item::Integer(number), used))),
        (_, -1) => Ok(Some((Item::Nil, used))),
        (b'*', 0..=ARRAY_ITEMS_MAX) => Ok(Some((Item::Array(number.unsigned_abs()), used))),
        (b'*', _) => Err(NotResp("an array of an impossible length")),
        (_, length) => bulk_of(bytes, used, length),
    }
}

fn bulk_of(bytes: &[u8], head: usize, length: i64) -> Result<Option<(Item<'_>, usize)>, NotResp> {
    let length = usize::try_from(length).ok().filter(|length| *length <= BULK_BYTES_MAX);
    let length = length.ok_or(NotResp("a string of an impossible length"))?;
    let Some(content) = bytes.get(head..head + length + 2) else { return Ok(None) };
    let (content, end) = content.split_at(length);
    if end != b"\r\n" {
        return Err(NotResp("a string longer than it says"));
    }
    Ok(Some((Item::Bulk(content), head + length + 2)))
}

/// Begins a command of so many words, its name included.
pub(super) fn command(out: &mut Vec<u8>, words: usize) {
    out.push(b'*');
    decimal(out, words as u64);
    out.extend_from_slice(b"\r\n");
}

/// Adds a word to a command.
#[inline]
pub(super) fn word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b'$');
    decimal(out, word.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// A whole command.
pub(super) fn whole(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    command(&mut out, words.len());
    words.iter().for_each(|text| word(&mut out, text.as_bytes()));
    out
}

/// Adds degrees given in 1e-7 degree as a word, all seven decimals.
#[inline]
pub(super) fn degrees(out: &mut Vec<u8>, e7: i32) {
    let mut text = [0; 12];
    word(out, degrees_text(&mut text, e7));
}

/// Degrees given in 1e-7 degree, all seven decimals.
#[inline]
fn degrees_text(text: &mut [u8; 12], e7: i32) -> &[u8] {
    let mut rest = e7.unsigned_abs();
    let mut first = text.len();
    let mut digits = 0;
    while digits < 8 || rest > 0 {
        first -= 1;
        if digits == 7 {
            text[first] = b'.';
            first -= 1;
        }
        text[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        digits += 1;
    }
    if e7 < 0 {
        first -= 1;
        text[first] = b'-';
    }
    &text[first..]
}

#[inline]
fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut text = [0; 20];
    let (mut first, mut rest) = (text.len(), number);
    loop {
        first -= 1;
        text[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERS: &[u8] =
        b"+OK\r\n:-12\r\n*3\r\n$0\r\n\r\n$4\r\n\r\n\0x\r\n$-1\r\n*-1\r\n-ERR no such thing\r\n";

    fn all(bytes: &[u8]) -> Vec<Item<'_>> {
        let (mut items, mut at) = (Vec::new(), 0);
        while let Some((item, used)) = item(&bytes[at..]).unwrap() {
            items.push(item);
            at += used;
        }
        assert_eq!(at, bytes.len());
        items
    }

    #[test]
    fn every_kind_of_item_is_read() {
        let expected = [
            Item::Status(b"OK"),
            Item::Integer(-12),
            Item::Array(3),
            Item::Bulk(b""),
            Item::Bulk(b"\r\n\0x"),
            Item::Nil,
            Item::Nil,
            Item::Error(b"ERR no such thing"),
        ];
        assert_eq!(all(ANSWERS), expected);
    }

    #[test]
    fn an_item_that_is_cut_anywhere_is_not_there_yet_and_is_read_once_it_is_whole() {
        let mut at = 0;
        while at < ANSWERS.len() {
            let (whole, used) = item(&ANSWERS[at..]).unwrap().unwrap();
            for cut in 0..used {
                assert_eq!(item(&ANSWERS[at..at + cut]), Ok(None), "{cut} bytes of {whole:?}");
            }
            assert_eq!(item(&ANSWERS[at..at + used]), Ok(Some((whole, used))));
            at += used;
        }
    }

    #[test]
    fn lengths_and_bytes_that_cannot_be_are_refused_at_once() {
        for bytes in [
            "$99999999999\r\n",
            "$1048577\r\n",
            "$-2\r\n",
            "$9223372036854775808\r\n",
            "$\r\n",
            "$1x\r\n",
            "*-2\r\n",
            "*1073741825\r\n",
            "*9223372036854775807\r\n",
            ":1.5\r\n",
            "$1\r\nabc",
            "+OK\rx",
            "HTTP/1.1 400\r\n",
            "\n",
        ] {
            assert!(item(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
        let endless = [b"+".as_slice(), &[b'x'; LINE_BYTES_MAX]].concat();
        assert!(item(&endless).is_err());
        assert_eq!(item(&endless[..LINE_BYTES_MAX]), Ok(None));
    }

    #[test]
    fn commands_are_written_as_the_protocol_says() {
        assert_eq!(whole(&["SET", "k", ""]), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
        let text = |e7| String::from_utf8(degrees_text(&mut [0; 12], e7).to_vec()).unwrap();
        assert_eq!(text(0), "0.0000000");
        assert_eq!(text(-1), "-0.0000001");
        assert_eq!(text(1_214_580_600), "121.4580600");
        assert_eq!(text(-1_800_000_000), "-180.0000000");
        assert_eq!(text(i32::MIN), "-214.7483648");
        let mut out = Vec::new();
        degrees(&mut out, 312_222_200);
        assert_eq!(out, b"$10\r\n31.2222200\r\n");
    }
}
