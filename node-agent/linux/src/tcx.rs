//! BPF programs that are attached to a link by `bpf(2)` itself (tcx, Linux 6.6 and later; Cilium attaches so): they are in
//! no netlink listing, and the kernel is asked for them by `BPF_PROG_QUERY`. By `aya`, because the call has no safe
//! wrapper in the crates that are here already; nothing is loaded.

use aya::programs::tc::{SchedClassifier, TcAttachType, TcError};
use aya::programs::{ProgramError, ProgramInfo};
use postern_host::bypass::{Bypass, Direction};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::HostResult;

use crate::host::LinuxHost;

/// The kernel's answer to a query for the programs of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TcxAnswer {
    /// None at this place.
    Clean,
    /// The first program's name; empty where it has none, or where only `SYS_ADMIN` may ask for it.
    Program(String),
    /// The kernel has no tcx.
    NoTcx,
    /// A seccomp profile or a missing capability keeps this process from asking.
    Refused(HostCause),
}

/// The first program of a link. A refused question counts as no program here, because it would call every pod bypassed:
/// [`LinuxHost::knows_tcx`] reports the refusal once for the node.
pub(crate) fn find(link: &str) -> Result<Option<Bypass>, HostCause> {
    for (place, direction) in [
        (TcAttachType::Ingress, Direction::Ingress),
        (TcAttachType::Egress, Direction::Egress),
    ] {
        if let TcxAnswer::Program(name) = ask(link, place)? {
            return Ok(Some(Bypass::Tcx { direction, name }));
        }
    }
    Ok(None)
}

impl LinuxHost {
    /// Has the kernel tcx, and may this process ask which programs are there?
    ///
    /// # Errors
    /// [`HostError::ReadPaths`]: the kernel was asked and refused to answer.
    pub async fn knows_tcx(&self) -> HostResult<bool> {
        let failed = |source| HostError::ReadPaths { source };
        match ask("lo", TcAttachType::Ingress).map_err(failed)? {
            TcxAnswer::Clean | TcxAnswer::Program(_) => Ok(true),
            TcxAnswer::NoTcx => Ok(false),
            TcxAnswer::Refused(source) => Err(failed(source)),
        }
    }
}

fn ask(link: &str, place: TcAttachType) -> Result<TcxAnswer, HostCause> {
    match SchedClassifier::query_tcx(link, place) {
        Ok((_, programs)) => Ok(programs.first().map_or(TcxAnswer::Clean, named)),
        Err(error) => answered(error),
    }
}

fn named(program: &ProgramInfo) -> TcxAnswer {
    TcxAnswer::Program(String::from_utf8_lossy(program.name()).into_owned())
}

fn answered(error: ProgramError) -> Result<TcxAnswer, HostCause> {
    let (call, cause) = match error {
        ProgramError::SyscallError(failed) => (failed.call, HostCause::from(failed.io_error)),
        ProgramError::TcError(TcError::IoError(error)) => ("if_nametoindex", error.into()),
        _ => {
            return Err(HostCause::Answer {
                what: "the kernel's answer about tcx programs is not understood",
            });
        }
    };
    let HostCause::Errno { errno: number } = cause else {
        return Err(cause);
    };
    match (call, number) {
        // The link went since it was listed.
        (_, errno::ENODEV) => Ok(TcxAnswer::Clean),
        ("bpf_prog_query", errno::EINVAL) => Ok(TcxAnswer::NoTcx),
        // Every kernel that Postern runs on has `bpf(2)`: ENOSYS comes from a seccomp profile.
        ("bpf_prog_query", errno::EPERM | errno::EACCES | errno::ENOSYS) => {
            Ok(TcxAnswer::Refused(cause))
        }
        ("bpf_prog_query" | "if_nametoindex", _) => Err(cause),
        // A program is attached, and only `SYS_ADMIN` may ask for its name.
        (_, errno::EPERM | errno::EACCES) => Ok(TcxAnswer::Program(String::new())),
        // It went between the two questions.
        (_, errno::ENOENT) => Ok(TcxAnswer::Clean),
        _ => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::sys::SyscallError;

    use super::*;

    fn refused(call: &'static str, number: i32) -> Result<TcxAnswer, HostCause> {
        let io_error = io::Error::from_raw_os_error(number);
        answered(SyscallError { call, io_error }.into())
    }

    #[test]
    fn a_refused_question_is_told_from_a_kernel_without_tcx_and_from_a_program_without_a_name() {
        let query = "bpf_prog_query";
        assert_eq!(refused(query, errno::EINVAL), Ok(TcxAnswer::NoTcx));
        let not_permitted = TcxAnswer::Refused(HostCause::errno(errno::EPERM));
        assert_eq!(refused(query, errno::EPERM), Ok(not_permitted));
        let nameless = TcxAnswer::Program(String::new());
        assert_eq!(refused("bpf_prog_get_fd_by_id", errno::EPERM), Ok(nameless));
        assert_eq!(refused(query, errno::ENODEV), Ok(TcxAnswer::Clean));
        let by_seccomp = TcxAnswer::Refused(HostCause::errno(errno::ENOSYS));
        assert_eq!(refused(query, errno::ENOSYS), Ok(by_seccomp));
        let name = "bpf_prog_get_fd_by_id";
        assert_eq!(
            refused(name, errno::ENOENT),
            Ok(TcxAnswer::Clean),
            "it went"
        );
        assert!(refused(name, errno::ENOMEM).is_err());
        assert!(refused(query, errno::ENOMEM).is_err());
    }
}
