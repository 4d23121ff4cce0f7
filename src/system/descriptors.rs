//! File descriptors: the limit of this process, and which errors mean that it, or its machine, has run out of a resource.

use std::error::Error;
use std::fs::File;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most descriptors that are requested, also where the hard limit is higher: the kernel's table grows with the highest one
/// in use.
const MAX_DESCRIPTORS: u64 = 1 << 20;
/// Descriptors that clients' connections leave free, for the two connections to the bus, the 72 of HTTP, lookups of names, files
/// that are read, and the runtimes themselves.
const RESERVED_DESCRIPTORS: u64 = 160;

/// Raises the soft limit (`RLIMIT_NOFILE`), often 1,024, to the hard one. Returns the number of descriptors that this
/// process may have. Where the limit cannot be raised it stays.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(MAX_DESCRIPTORS).min(MAX_DESCRIPTORS);
    if limit.current.is_some_and(|current| current < most) {
        // The hard limit stays as it is: a process without privileges could never raise it again.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(MAX_DESCRIPTORS)
}

/// How many connections clients may have where the process may have `limit` descriptors: half of what is not reserved, because
/// each of their calls needs a connection to a target as well. At least 1.
pub fn for_clients(limit: u64) -> usize {
    usize::try_from(limit.saturating_sub(RESERVED_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(1)
}

/// Whether an error, or one of its causes, means that this process or its machine has run out of descriptors, memory, buffers
/// or local ports. Such an error tells nothing about the other end.
pub fn is_exhaustion(error: &(dyn Error + 'static)) -> bool {
    let mut codes = codes(error).into_iter();
    codes.any(is_code_of_exhaustion)
}

/// The same for an error of connecting. Resolving a name without descriptors fails with an unspecific text, such as "Name or
/// service not known": so if there is no error code, it is checked whether a descriptor is left.
pub fn is_exhaustion_in_connect(error: &(dyn Error + 'static)) -> bool {
    is_exhaustion(error) || (codes(error).is_empty() && are_exhausted())
}

/// The system's codes of an error and its causes.
fn codes(error: &(dyn Error + 'static)) -> Vec<i32> {
    let mut codes = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        cause = error.source();
        let Some(io) = error.downcast_ref::<io::Error>() else { continue };
        codes.extend(io.raw_os_error());
        // The source of such an error is the source of what it wraps, and not that itself.
        if let Some(inner) = io.get_ref() {
            cause = Some(inner);
        }
    }
    codes
}

fn is_code_of_exhaustion(code: i32) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL]
        .map(Errno::raw_os_error)
        .contains(&code)
}

/// Whether no descriptor is left now.
fn are_exhausted() -> bool {
    let opened = File::open("/dev/null").err().and_then(|error| error.raw_os_error());
    opened.is_some_and(is_code_of_exhaustion)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error that has another one as its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn exhaustion_is_found_at_any_depth() {
        for code in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL] {
            let code = || io::Error::from_raw_os_error(code.raw_os_error());
            assert!(is_exhaustion(&code()));
            assert!(is_exhaustion(&Outer(code())));
            assert!(is_exhaustion(&Outer(io::Error::other(Outer(code())))));
            assert!(is_exhaustion(&Outer(io::Error::other(code()))));
        }
    }

    #[test]
    fn what_the_other_end_says_is_none() {
        for code in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::PIPE] {
            assert!(!is_exhaustion(&Outer(io::Error::from_raw_os_error(code.raw_os_error()))), "{code}");
        }
        let lookup = io::Error::other("Name or service not known");
        assert!(!is_exhaustion_in_connect(&lookup), "while there are descriptors");
    }

    #[test]
    fn clients_leave_room_for_targets_and_for_the_rest() {
        for (limit, clients) in [(0, 1), (160, 1), (256, 48), (1_024, 432), (16_384, 8_112)] {
            assert_eq!(for_clients(limit), clients, "{limit}");
        }
    }
}
