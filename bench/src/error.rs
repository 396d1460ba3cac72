//! Why a run fails. Each is one line for the operator; none repeats a token or a secret.

use std::io;

use antipode_base::limits::BENCH_STEP_TIMEOUT;

/// See the module's documentation.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A flag's value will not do.
    #[error("{flag}: {fault}")]
    Flag {
        /// Which.
        flag: &'static str,
        /// What is wrong, and the mend.
        fault: String,
    },
    /// The host lacks something.
    #[error("this host does not grant {what}: {error}")]
    Host {
        /// What was asked for.
        what: &'static str,
        /// What the kernel says.
        error: io::Error,
    },
    /// Fewer file descriptors than clients.
    #[error(
        "{clients} clients need {needed} file descriptors and this process may have {granted}: \
         raise the hard limit (ulimit -Hn)"
    )]
    Descriptors {
        /// Clients of the run.
        clients: u64,
        /// What they need.
        needed: u64,
        /// The hard limit.
        granted: u64,
    },
    /// Nobody listens there, or no way leads there.
    #[error("cannot reach {url}: {error}")]
    Unreachable {
        /// Without its query.
        url: String,
        /// What the kernel or the resolver says.
        error: String,
    },
    /// It does not let us in.
    #[error("{url} refuses the key, the secret or the room (HTTP {status}): {reason}")]
    Unauthorized {
        /// Without its query.
        url: String,
        /// 401 or 403.
        status: u16,
        /// The server's words.
        reason: String,
    },
    /// It speaks HTTP, and not what was asked for.
    #[error("{url} answers HTTP {status} where {wanted} was asked for: {reason}")]
    Http {
        /// Without its query.
        url: String,
        /// The status.
        status: u16,
        /// What would have been right.
        wanted: &'static str,
        /// The server's words.
        reason: String,
    },
    /// It speaks something else.
    #[error("{url} does not speak {wanted}: {fault}")]
    Foreign {
        /// Without its query.
        url: String,
        /// The protocol.
        wanted: &'static str,
        /// What showed it.
        fault: String,
    },
    /// A description that did not fit.
    #[error("the server's description cannot be used: {0}")]
    Description(String),
    /// The server ended a client's session.
    #[error("the server ended the session: {0}")]
    Ended(String),
    /// A step took too long.
    #[error("{0} took longer than {limit} s", limit = BENCH_STEP_TIMEOUT.as_secs())]
    Slow(&'static str),
    /// A file cannot be read or written.
    #[error("{path}: {fault}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        fault: String,
    },
    /// A thread of the harness ended: a defect of ours.
    #[error("a worker thread of the harness ended")]
    WorkerGone,
    /// The run went through and its result is a failure.
    #[error("{0}")]
    Verdict(String),
}

impl BenchError {
    /// For `map_err`: what this host did not grant.
    pub fn host(what: &'static str) -> impl FnOnce(io::Error) -> BenchError {
        move |error| BenchError::Host { what, error }
    }

    /// For `map_err`: what is wrong with a file.
    pub fn file<E: std::fmt::Display>(path: &std::path::Path) -> impl FnOnce(E) -> BenchError {
        let path = path.display().to_string();
        move |error| BenchError::File { path, fault: error.to_string() }
    }
}
