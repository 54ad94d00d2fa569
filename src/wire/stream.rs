//! Frames out of a stream of bytes. A frame's content is copied out of the transport once, into
//! memory of its own that can be handed on.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Encoding, FrameError, Header, Kind};

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended inside a frame.
    #[error("the stream ended after {0} bytes of a frame")]
    Truncated(usize),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Broken(#[from] io::Error),
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: Kind,
    /// How its content is written; one that the kind has.
    pub encoding: Encoding,
    /// Its content, within the kind's bound.
    pub content: Bytes,
}

/// Reads frames. Every method may be dropped half-way and called again: nothing is lost.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    head: [u8; Header::BYTES],
    head_filled: usize,
    /// The header, once it has come.
    header: Option<Header>,
    content: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader at the start of a frame.
    pub fn new(stream: R) -> Self {
        Self { stream, head: [0; Header::BYTES], head_filled: 0, header: None, content: BytesMut::new() }
    }

    /// The stream, for its other uses.
    pub fn stream_mut(&mut self) -> &mut R {
        &mut self.stream
    }

    /// Waits for the first byte of a frame; `false` where the stream ended before it.
    ///
    /// # Errors
    /// Where the stream broke.
    pub async fn begins(&mut self) -> Result<bool, ReadError> {
        if self.head_filled == 0 && self.header.is_none() {
            self.head_filled = self.stream.read(&mut self.head).await?;
            return Ok(self.head_filled > 0);
        }
        Ok(true)
    }

    /// The frame that [`begins`](Self::begins) found, or waits for.
    ///
    /// # Errors
    /// Where the header or length is not to be taken, or the stream ends or breaks first.
    pub async fn frame(&mut self) -> Result<Frame, ReadError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                while self.head_filled < Header::BYTES {
                    let read = self.stream.read(&mut self.head[self.head_filled..]).await?;
                    if read == 0 {
                        return Err(ReadError::Truncated(self.head_filled));
                    }
                    self.head_filled += read;
                }
                let header = Header::read(self.head)?;
                // Memory of its own for each frame: a small one keeps no large one's alive.
                self.content = BytesMut::with_capacity(header.length);
                self.head_filled = 0;
                *self.header.insert(header)
            }
        };
        while self.content.len() < header.length {
            let left = header.length - self.content.len();
            let read = self.stream.read_buf(&mut (&mut self.content).limit(left)).await?;
            if read == 0 {
                return Err(ReadError::Truncated(Header::BYTES + self.content.len()));
            }
        }
        self.header = None;
        let content = std::mem::take(&mut self.content).freeze();
        Ok(Frame { kind: header.kind, encoding: header.encoding, content })
    }

    /// The next frame, or `None` where the stream ended between two.
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        if self.begins().await? { self.frame().await.map(Some) } else { Ok(None) }
    }
}
