//! Errors as they cross the socket: the same codes as `protocol/src/errors.ts`.

use std::io;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    InvalidArgument,
    InvalidContent,
    LimitExceeded,
    NotFound,
    Forbidden,
    NoSpace,
    Busy,
    AlreadyExists,
    Unsupported,
    Internal,
}

/// What went wrong, with what it was about, and what can be done.
#[derive(Debug, Clone, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub code: Code,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Says what was being done when the system refused, and gives its errno a stable code.
pub trait Context<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| {
            let cause: io::Error = cause.into();
            let code = match cause.raw_os_error() {
                Some(libc::ENOENT) => Code::NotFound,
                Some(libc::EBUSY) => Code::Busy,
                Some(libc::ENOSPC | libc::EDQUOT) => Code::NoSpace,
                Some(libc::EACCES | libc::EPERM | libc::EROFS) => Code::Forbidden,
                Some(libc::ENODEV | libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTBLK) => Code::Unsupported,
                Some(libc::EUCLEAN | libc::EBADMSG) => Code::InvalidContent,
                _ => Code::Internal,
            };
            Error::new(code, format!("{}: {cause}", doing()))
        })
    }
}
