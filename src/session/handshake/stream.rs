//! A client's connection: plain, or TLS once the client asked for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// The transport of a session.
#[derive(Debug)]
pub(crate) enum ClientStream<S> {
    Plain(S),
    // Boxed: the TLS state is a kilobyte.
    Tls(Box<TlsStream<S>>),
}

/// What TLS says of a client, for as long as its connection lasts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Channel {
    pub(crate) encrypted: bool,
    /// The client's own, in DER, verified.
    pub(super) certificate: Option<Arc<[u8]>>,
}

impl<S> ClientStream<S> {
    pub(crate) fn channel(&self) -> Channel {
        match self {
            ClientStream::Plain(_) => Channel::default(),
            ClientStream::Tls(stream) => {
                let first = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                Channel { encrypted: true, certificate: first.map(|certificate| Arc::from(&**certificate)) }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            ClientStream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_flush(context),
            ClientStream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            ClientStream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
