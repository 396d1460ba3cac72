//! One connection to signaling: dialling it, whole frames in, whole frames out, never blocking.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use antipode_base::control::{self, FrameError, ToNode, ToSignal};
use antipode_base::limits::CONTROL_BACKLOG_MAX;

use crate::config::ControlAddress;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// Reads of one lap, so that one side cannot keep the control thread from the other.
const READS_MAX: usize = 16;

/// A connected byte stream.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Connects; may take as long as `timeout` for each address of a name, so call it on a thread
    /// that may wait.
    pub(crate) fn dial(address: &ControlAddress, timeout: Duration) -> io::Result<Stream> {
        match address {
            ControlAddress::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(stream))
            }
            ControlAddress::Tcp(name) => {
                let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in name.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, timeout) {
                        Ok(stream) => {
                            stream.set_nonblocking(true)?;
                            stream.set_nodelay(true)?;
                            return Ok(Stream::Tcp(stream));
                        }
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(bytes),
            Stream::Tcp(stream) => stream.read(bytes),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Why a line is given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// The other side closed it.
    #[error("signaling closed the connection")]
    Closed,
    /// The system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side speaks something else.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The other side does not read.
    #[error("signaling has not read {CONTROL_BACKLOG_MAX} bytes")]
    Backlog,
}

/// A connection with what came in and what must go out.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Stream,
    input: Vec<u8>,
    /// Bytes of `input` that were decoded.
    decoded: usize,
    output: Vec<u8>,
    /// Bytes of `output` that were written.
    written: usize,
}

impl Line {
    pub(crate) fn new(stream: Stream) -> Self {
        Line { stream, input: Vec::new(), decoded: 0, output: Vec::new(), written: 0 }
    }

    /// Puts a frame into the output.
    ///
    /// # Errors
    /// [`LineError::Backlog`]; [`LineError::Frame`] for one that is too long, and then the line is
    /// as before.
    pub(crate) fn push(&mut self, message: &ToSignal) -> Result<(), LineError> {
        control::encode(message, &mut self.output)?;
        if self.output.len() - self.written > CONTROL_BACKLOG_MAX {
            return Err(LineError::Backlog);
        }
        Ok(())
    }

    /// Whether the stream should be waited for until it takes more.
    pub(crate) fn wants_to_write(&self) -> bool {
        self.written < self.output.len()
    }

    /// Writes what the stream takes.
    pub(crate) fn write(&mut self) -> Result<(), LineError> {
        while self.wants_to_write() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(LineError::Closed),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Moving the rest to the front costs its length, so do it when that is the smaller part.
        if self.written * 2 >= self.output.len() {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Reads what the stream has, up to a maximum.
    ///
    /// # Errors
    /// [`LineError::Closed`] after the last byte, when [`Line::next`] has nothing more to say.
    pub(crate) fn read(&mut self) -> Result<(), LineError> {
        self.input.drain(..self.decoded);
        self.decoded = 0;
        for _ in 0..READS_MAX {
            let end = self.input.len();
            self.input.resize(end + READ_BYTES, 0);
            let result = self.stream.read(&mut self.input[end..]);
            self.input.truncate(end + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => return Err(LineError::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next whole frame of what was read.
    ///
    /// # Errors
    /// [`LineError::Frame`]: nothing after it can be trusted.
    pub(crate) fn next(&mut self) -> Result<Option<ToNode>, LineError> {
        let Some((message, length)) = control::decode(&self.input[self.decoded..])? else {
            return Ok(None);
        };
        self.decoded += length;
        Ok(Some(message))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
