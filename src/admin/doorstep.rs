//! Bounds what a stranger can make the admin port keep: opensrv collects a packet whole before it looks at it, so
//! before the login only as many bytes are read as a login takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

/// A login with its attributes stays far below this.
const LOGIN_BYTES_MAX: usize = 64 * 1024;

pub(crate) struct Doorstep<R> {
    inner: R,
    read: usize,
    /// Cancelled by the login.
    logged_in: CancellationToken,
}

impl<R> Doorstep<R> {
    pub(crate) fn new(inner: R, logged_in: CancellationToken) -> Doorstep<R> {
        Doorstep { inner, read: 0, logged_in }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Doorstep<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if !self.logged_in.is_cancelled() {
            self.read += buffer.filled().len() - before;
            if self.read > LOGIN_BYTES_MAX {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "no login is that long")));
            }
        }
        Poll::Ready(Ok(()))
    }
}
