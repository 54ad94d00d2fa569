//! Frames out of a stream of bytes, one buffer for all of them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{FrameError, Header, Kind};

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

/// Reads frames. Every method may be dropped half-way and called again: nothing is lost.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: Vec<u8>,
    filled: usize,
    header: Option<Header>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader at the start of a frame.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: vec![0; Header::BYTES], filled: 0, header: None }
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
        if self.filled == 0 && self.header.is_none() {
            self.buffer.resize(self.buffer.len().max(Header::BYTES), 0);
            self.filled = self.stream.read(&mut self.buffer[..Header::BYTES]).await?;
            return Ok(self.filled > 0);
        }
        Ok(true)
    }

    /// The kind and content of the frame that [`begins`](Self::begins) found, or waits for.
    ///
    /// # Errors
    /// Where the header or length is not to be taken, or the stream ends or breaks first.
    pub async fn frame(&mut self) -> Result<(Kind, &[u8]), ReadError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                self.fill(Header::BYTES).await?;
                let mut bytes = [0; Header::BYTES];
                bytes.copy_from_slice(&self.buffer[..Header::BYTES]);
                let header = Header::read(bytes)?;
                self.filled = 0;
                *self.header.insert(header)
            }
        };
        self.fill(header.length).await?;
        self.filled = 0;
        self.header = None;
        Ok((header.kind, &self.buffer[..header.length]))
    }

    /// The next frame, or `None` where the stream ended between two.
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub async fn next(&mut self) -> Result<Option<(Kind, &[u8])>, ReadError> {
        if self.begins().await? { self.frame().await.map(Some) } else { Ok(None) }
    }

    /// Reads until the buffer holds `wanted` bytes of this header or content.
    async fn fill(&mut self, wanted: usize) -> Result<(), ReadError> {
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.filled < wanted {
            let read = self.stream.read(&mut self.buffer[self.filled..wanted]).await?;
            if read == 0 {
                let header = if self.header.is_some() { Header::BYTES } else { 0 };
                return Err(ReadError::Truncated(header + self.filled));
            }
            self.filled += read;
        }
        Ok(())
    }
}
