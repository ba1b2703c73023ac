//! A TCP stream that goes with its user: it is driven by the runtime of whoever has it, so that what the server sends wakes the thread
//! that waits for it and no other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};

#[derive(Debug)]
pub(super) struct Socket {
    /// `None` when a runtime would not take it.
    stream: Option<TcpStream>,
    /// The runtime that drives it.
    home: runtime::Id,
}

impl Socket {
    /// Of a stream that the current runtime drives.
    pub(super) fn new(stream: TcpStream) -> Socket {
        Socket { stream: Some(stream), home: Handle::current().id() }
    }

    pub(super) fn home(&self) -> runtime::Id {
        self.home
    }

    /// From now on the current runtime drives it. After an error the socket is closed.
    pub(super) fn come_here(&mut self) -> io::Result<()> {
        let here = Handle::current().id();
        if self.home == here {
            return Ok(());
        }
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        self.stream = Some(TcpStream::from_std(stream.into_std()?)?);
        self.home = here;
        Ok(())
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn runtime() -> runtime::Runtime {
        runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_socket_outlives_the_runtime_that_opened_it_once_it_has_come_to_another() {
        let (one, other) = (runtime(), runtime());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut socket = one.block_on(async { Socket::new(TcpStream::connect(address).await.unwrap()) });
        listener.set_nonblocking(true).unwrap();
        other.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            let (mut peer, _) = listener.accept().await.unwrap();
            socket.come_here().unwrap();
            assert_eq!(socket.home(), Handle::current().id());
            drop(tokio::task::spawn_blocking(move || drop(one)).await);
            peer.write_all(b"news").await.unwrap();
            let mut read = [0; 4];
            socket.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"news");
        });
    }
}
