//! Takes what the host grants anyway: the soft limit of file descriptors goes up to the hard one.
//!
//! The usual soft limit of 1,024 descriptors protects programs that use `select`, which none of ours
//! does; the hard limit is the one that the operator means. A node raises its own limits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For a process that holds one descriptor for each client.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        // The start goes on; a client that finds no descriptor left is refused and logged.
        tracing::warn!(%error, "cannot raise the soft limit of file descriptors to the hard one");
    }
}
