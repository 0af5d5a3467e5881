//! Frames over TCP: four bytes of size, then the frame.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::{Link, Outgoing, Sink, Source};
use crate::metadata::BrokerAddress;

/// What is read at once when nothing is known of the next frame.
const READ_AHEAD_BYTES: usize = 32 * 1024;

/// Connects; writing gets a task of its own, so that a full socket never holds back reading.
pub(crate) async fn open(
    address: &BrokerAddress,
    connect_timeout: Duration,
    max_response_bytes: usize,
) -> io::Result<Link> {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let stream = tokio::time::timeout(connect_timeout, connecting).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {connect_timeout:?}"))
    })??;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let (frames_in, frames_out) = mpsc::unbounded_channel();
    tokio::spawn(write_frames(write, frames_out));
    Ok(Link {
        sink: Sink::Tcp(frames_in),
        source: Source::Tcp(FrameReader { read, buffer: BytesMut::new(), max_response_bytes }),
    })
}

/// Ends when the connection is dropped or the socket fails; the reader learns of a failure from the socket itself.
async fn write_frames(mut socket: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(Outgoing { mut frame, written }) = frames.recv().await {
        let outcome = socket.write_all_buf(&mut frame).await;
        let failure = outcome.as_ref().err().map(io::Error::kind);
        if let Some(written) = written {
            written(outcome);
        }
        let Some(failure) = failure else { continue };
        // Those behind it were not even begun.
        frames.close();
        while let Ok(Outgoing { written, .. }) = frames.try_recv() {
            if let Some(written) = written {
                written(Err(failure.into()));
            }
        }
    }
}

/// Cuts what a socket delivers into response frames.
pub(crate) struct FrameReader {
    read: OwnedReadHalf,
    buffer: BytesMut,
    max_response_bytes: usize,
}

impl FrameReader {
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let missing = match self.buffer.first_chunk::<4>() {
                None => 4 - self.buffer.len(),
                Some(size) => {
                    let size = self.checked_size(i32::from_be_bytes(*size))?;
                    if self.buffer.len() >= 4 + size {
                        self.buffer.advance(4);
                        return Ok(Some(self.buffer.split_to(size).freeze()));
                    }
                    4 + size - self.buffer.len()
                }
            };
            self.buffer.reserve(missing.max(READ_AHEAD_BYTES));
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    fn checked_size(&self, size: i32) -> io::Result<usize> {
        usize::try_from(size).ok().filter(|size| *size <= self.max_response_bytes).ok_or_else(|| {
            let limit = self.max_response_bytes;
            let what = match other_protocol(size) {
                Some(other) => format!("this is {other}, no Kafka broker"),
                None => format!("a response of {size} bytes, the limit is {limit}"),
            };
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }
}

/// What is spoken where an answer begins with the text of this, not with the size of a frame.
const fn other_protocol(size: i32) -> Option<&'static str> {
    match &size.to_be_bytes() {
        b"HTTP" => Some("an HTTP server"),
        b"SSH-" => Some("an SSH server"),
        // An alert of TLS 1.0 or later, for what we sent is no handshake.
        [21, 3, ..] => Some("a server that wants TLS"),
        _ => None,
    }
}
