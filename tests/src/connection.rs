//! A TCP connection that speaks the protocol frame by frame, and can speak it wrongly.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use highwater_protocol::frame::{SIZE_BYTES, decode_response, encode_request};
use highwater_protocol::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a test waits for what must come: long enough for a busy machine, short enough to end a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits what must come.
///
/// # Panics
/// If it does not.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Between two attempts, so that who is to make it come true has the machine.
const PAUSE: Duration = Duration::from_millis(1);

/// Tries again and again until `attempt` gives something.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    in_time(what, async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
}

/// A connection of a client that does only what it is told.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: BytesMut,
    next_correlation_id: i32,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = in_time("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: BytesMut::new(), next_correlation_id: 0 }
    }

    /// Sends a request and awaits its answer.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let sent = self.send(request, version).await;
        let (answered, response) = self.answer(version).await;
        assert_eq!(answered, sent, "an answer to another request");
        response
    }

    /// Sends a request; says by which correlation id its answer will be known.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let frame = encode_request(request, version, correlation_id, Some("scripted")).unwrap();
        self.send_bytes(&frame.into_bytes()).await;
        correlation_id
    }

    /// Awaits the next answer, which is of this kind.
    pub async fn answer<R: Response>(&mut self, version: i16) -> (i32, R) {
        let frame = self.frame().await.expect("an answer, not the end of the connection");
        decode_response(frame, version).unwrap()
    }

    /// Sends bytes as they are. A connection that is closed on the other side takes none: that is for the reading side
    /// to find out.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = in_time("room to write", self.stream.write_all(bytes)).await;
    }

    /// Sends a frame with the size it has.
    pub async fn send_frame(&mut self, frame: &[u8]) {
        let size = u32::try_from(frame.len()).unwrap().to_be_bytes();
        self.send_bytes(&[&size, frame].concat()).await;
    }

    /// Says that nothing more will be sent.
    pub async fn finish_sending(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next frame without its size; none where the connection ends.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let frame = self.whole_frame().await;
        let rest = self.received.len();
        assert!(frame.is_some() || rest == 0, "the connection ended in the middle of a frame");
        frame
    }

    /// The next frame without its size; none where the connection ends, be it in the middle of one.
    pub async fn whole_frame(&mut self) -> Option<Bytes> {
        in_time("a frame", async {
            loop {
                if let Some(size) = self.received.first_chunk::<SIZE_BYTES>() {
                    let size_bytes = usize::try_from(i32::from_be_bytes(*size)).unwrap();
                    if self.received.len() - SIZE_BYTES >= size_bytes {
                        self.received.advance(SIZE_BYTES);
                        return Some(self.received.split_to(size_bytes).freeze());
                    }
                }
                if !self.receive().await {
                    return None;
                }
            }
        })
        .await
    }

    /// Awaits the end of the connection; fails on an answer.
    pub async fn closed(mut self) {
        let frame = self.frame().await;
        assert_eq!(frame, None, "an answer where the connection was to be closed");
    }

    /// Receives once; false at the end, orderly or not.
    async fn receive(&mut self) -> bool {
        match self.stream.read_buf(&mut self.received).await {
            Ok(count) => count > 0,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("cannot read: {error}"),
        }
    }
}
