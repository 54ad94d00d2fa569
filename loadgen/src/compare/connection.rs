//! A connection to a peer that speaks the Redis protocol.
//!
//! It blocks, and answers are handed on item by item as they come, so that an answer of any length
//! needs no memory. Invariant: an error of the peer's is an error here.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::resp::{self, BULK_BYTES_MAX, Item};

/// How long a peer may be silent that owes an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// A connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// Room for what comes; `read..filled` came and is not dealt with.
    buffer: Vec<u8>,
    read: usize,
    filled: usize,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Connection {
    pub(super) fn unix(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| format!("the socket {}", path.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::of(stream))
    }

    pub(super) fn tcp(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("a connection over loopback")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::of(stream))
    }

    fn of(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: vec![0; READ_BYTES], read: 0, filled: 0 }
    }

    /// Sends commands.
    pub(super) fn send(&mut self, commands: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(commands).context("it takes no more commands")
    }

    /// Reads one answer to its last byte.
    pub(super) fn answer(&mut self, mut visit: impl FnMut(Item<'_>)) -> anyhow::Result<()> {
        let mut owed = 1_u64;
        while owed > 0 {
            // A read may bring thousands of items.
            let mut at = self.read;
            while owed > 0
                && let Some((item, used)) = resp::item(self.buffer.get(at..self.filled).unwrap_or_default())?
            {
                match item {
                    Item::Error(why) => bail!("it says: {}", String::from_utf8_lossy(why)),
                    Item::Array(items) => owed = owed.saturating_add(items),
                    _ => {}
                }
                visit(item);
                owed -= 1;
                at += used;
            }
            self.read = at;
            if owed > 0 {
                self.more()?;
            }
        }
        Ok(())
    }

    /// Reads so many answers that are each a status or a number, and gives the numbers' sum.
    pub(super) fn numbers(&mut self, answers: u64) -> anyhow::Result<i64> {
        let mut sum = 0_i64;
        for _ in 0..answers {
            self.answer(|item| {
                if let Item::Integer(number) = item {
                    sum = sum.saturating_add(number);
                }
            })?;
        }
        Ok(sum)
    }

    /// Sends one command and gives its answer as text.
    pub(super) fn ask(&mut self, words: &[&str]) -> anyhow::Result<String> {
        self.send(&resp::whole(words))?;
        let mut text = Vec::new();
        self.answer(|item| {
            if let Item::Status(line) | Item::Bulk(line) = item
                && text.len() < BULK_BYTES_MAX
            {
                text.extend_from_slice(line);
            }
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn more(&mut self) -> anyhow::Result<()> {
        // What is left is less than an item.
        self.buffer.copy_within(self.read..self.filled, 0);
        (self.read, self.filled) = (0, self.filled - self.read);
        if self.filled == self.buffer.len() {
            ensure!(self.filled <= 2 * BULK_BYTES_MAX, "it sends an item without end");
            self.buffer.resize(2 * self.filled, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => bail!("it closed the connection"),
            Ok(came) => self.filled += came,
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => return Err(why).context("it does not answer"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::thread;

    use super::*;

    fn talk(answers: &'static [u8], step: usize) -> Connection {
        let (here, mut there) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            answers.chunks(step).try_for_each(|part| there.write_all(part))?;
            there.shutdown(Shutdown::Write)?;
            std::io::copy(&mut there, &mut std::io::sink())
        });
        Connection::of(here)
    }

    #[test]
    fn answers_are_the_same_however_they_come() {
        for step in [1, 2, 3, 7, 1_000] {
            let mut peer =
                talk(b"*2\r\n:0\r\n*2\r\n$3\r\nabc\r\n$1\r\nd\r\n:4\r\n+OK\r\n:5\r\n+PONG\r\n", step);
            let mut names = Vec::new();
            peer.answer(|item| {
                if let Item::Bulk(name) = item {
                    names.push(name.to_vec());
                }
            })
            .unwrap();
            assert_eq!(names, [b"abc".to_vec(), b"d".to_vec()]);
            assert_eq!(peer.numbers(3).unwrap(), 9);
            assert_eq!(peer.ask(&["PING"]).unwrap(), "PONG");
        }
    }

    #[test]
    fn errors_nonsense_and_a_closed_connection_end_it() {
        for answer in ["-ERR unknown command\r\n", "nonsense", "*3\r\n:1\r\n", "*1073741824\r\n:1\r\n", ""] {
            assert!(talk(answer.as_bytes(), 4).numbers(1).is_err(), "{answer:?}");
        }
    }
}
