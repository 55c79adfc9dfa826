//! What went wrong with a request, and what that means for the one who asked.

use std::time::Duration;

use thiserror::Error;

/// The longest time that any single request may take.
const LONGEST: Duration = Duration::from_secs(10);

/// A request of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Read one object.
    Get,
    /// Read many.
    List,
    /// Make an object.
    Create,
    /// Put an object in the place of what was read.
    Replace,
    /// Change parts of an object.
    Patch,
    /// Delete an object.
    Delete,
}

impl Act {
    /// The act as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Why a request was not done.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The API server, or the way to it, said no.
    #[error("{} of {what} failed", .act.as_str())]
    Request {
        /// The act.
        act: Act,
        /// Kind and name.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// There was no answer in time.
    #[error("{} of {what} was not answered in {LONGEST:?}", .act.as_str())]
    Late {
        /// The act.
        act: Act,
        /// Kind and name.
        what: String,
    },
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Somebody was faster: what was read is old. Look again.
    Stale,
    /// There is no such object.
    Missing,
    /// There is one already.
    Exists,
    /// The server is busy or broken, or the way to it is. Try later.
    Passing,
    /// The server refuses it for good: trying again changes nothing until something else does.
    Refused,
}

impl ApiError {
    /// What it means.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let Self::Request { act, source, .. } = self else {
            return Failure::Passing;
        };
        let kube::Error::Api(status) = source.as_ref() else {
            return Failure::Passing;
        };
        match (status.code, act) {
            (409, Act::Create) if status.reason == "AlreadyExists" => Failure::Exists,
            (409 | 412, _) => Failure::Stale,
            (404, _) => Failure::Missing,
            (429 | 500..=599, _) => Failure::Passing,
            _ => Failure::Refused,
        }
    }
}

/// Waits for a request, not for ever.
///
/// # Errors
/// [`ApiError`].
pub async fn within<T>(
    act: Act,
    what: impl Into<String> + Send,
    request: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, ApiError> {
    let what = what.into();
    match tokio::time::timeout(LONGEST, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ApiError::Request {
            act,
            what,
            source: Box::new(source),
        }),
        Err(_) => Err(ApiError::Late { act, what }),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::{Act, ApiError, Failure};

    fn failure(act: Act, code: u16, reason: &str) -> Failure {
        let status = Status::failure("no", reason).with_code(code);
        let source = Box::new(kube::Error::Api(status.boxed()));
        let what = "it".to_owned();
        ApiError::Request { act, what, source }.failure()
    }

    #[test]
    fn each_code_means_one_thing() {
        let table = [
            (Act::Create, 409, "AlreadyExists", Failure::Exists),
            (Act::Create, 409, "Conflict", Failure::Stale),
            (Act::Replace, 409, "Conflict", Failure::Stale),
            (Act::Delete, 412, "", Failure::Stale),
            (Act::Patch, 404, "NotFound", Failure::Missing),
            (Act::Get, 429, "TooManyRequests", Failure::Passing),
            (Act::Get, 500, "InternalError", Failure::Passing),
            (Act::Replace, 504, "Timeout", Failure::Passing),
            (Act::Replace, 422, "Invalid", Failure::Refused),
            (Act::Patch, 403, "Forbidden", Failure::Refused),
        ];
        for (act, code, reason, expected) in table {
            assert_eq!(failure(act, code, reason), expected, "{act:?} {code}");
        }
    }
}
