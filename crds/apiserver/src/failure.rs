//! What went wrong with a request, and what that means for the one who asked.

use thiserror::Error;

use crate::deadline::{DEADLINE, NoAnswer, in_time};

/// What a request does to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVerb {
    Get,
    List,
    Create,
    /// Put an object in the place of what was read.
    Replace,
    /// Change parts of an object.
    Patch,
    Delete,
}

impl ApiVerb {
    /// The verb as a label.
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
    #[error("{} of {what} failed", .verb.as_str())]
    Request {
        verb: ApiVerb,
        what: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// There was no answer in time.
    #[error("{} of {what} was not answered in {DEADLINE:?}", .verb.as_str())]
    Late { verb: ApiVerb, what: String },
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
    #[must_use]
    pub fn failure(&self) -> Failure {
        let Self::Request { verb, source, .. } = self else {
            return Failure::Passing;
        };
        let kube::Error::Api(status) = source.as_ref() else {
            return Failure::Passing;
        };
        match (status.code, verb) {
            (409, ApiVerb::Create) if status.reason == "AlreadyExists" => Failure::Exists,
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
    verb: ApiVerb,
    what: impl Into<String> + Send,
    request: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, ApiError> {
    let what = what.into();
    in_time(request).await.map_err(|problem| match problem {
        NoAnswer::Failed(source) => ApiError::Request { verb, what, source },
        NoAnswer::Late => ApiError::Late { verb, what },
    })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::{ApiError, ApiVerb, Failure};

    fn failure(verb: ApiVerb, code: u16, reason: &str) -> Failure {
        let status = Status::failure("no", reason).with_code(code);
        let source = Box::new(kube::Error::Api(status.boxed()));
        let what = "it".to_owned();
        ApiError::Request { verb, what, source }.failure()
    }

    #[test]
    fn each_code_means_one_thing() {
        let table = [
            (ApiVerb::Create, 409, "AlreadyExists", Failure::Exists),
            (ApiVerb::Create, 409, "Conflict", Failure::Stale),
            (ApiVerb::Replace, 409, "Conflict", Failure::Stale),
            (ApiVerb::Delete, 412, "", Failure::Stale),
            (ApiVerb::Patch, 404, "NotFound", Failure::Missing),
            (ApiVerb::Get, 429, "TooManyRequests", Failure::Passing),
            (ApiVerb::Get, 500, "InternalError", Failure::Passing),
            (ApiVerb::Replace, 504, "Timeout", Failure::Passing),
            (ApiVerb::Replace, 422, "Invalid", Failure::Refused),
            (ApiVerb::Patch, 403, "Forbidden", Failure::Refused),
        ];
        for (verb, code, reason, expected) in table {
            assert_eq!(failure(verb, code, reason), expected, "{verb:?} {code}");
        }
    }
}
