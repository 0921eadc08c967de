//! Answers that are no success.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use xtreem_client::api::{ErrorBody, ErrorKind};
use xtreem_discovery::ParseError;
use xtreem_net::Stopped;

use crate::waiting::TooMany;

/// A status and what the body says.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    pub(crate) body: ErrorBody,
}

impl ApiError {
    /// Nothing happened.
    pub(crate) fn definite(status: StatusCode, error: impl ToString) -> Self {
        ApiError {
            status,
            body: ErrorBody { error: error.to_string(), kind: ErrorKind::Definite, hint: None },
        }
    }

    /// It may have happened.
    pub(crate) fn indefinite(status: StatusCode, error: impl ToString) -> Self {
        ApiError {
            status,
            body: ErrorBody { error: error.to_string(), kind: ErrorKind::Indefinite, hint: None },
        }
    }

    pub(crate) fn bad_request(error: impl ToString) -> Self {
        Self::definite(StatusCode::BAD_REQUEST, error)
    }

    /// A text that is neither requirement nor set query, with the place of the mistake in it.
    pub(crate) fn requirement(error: &ParseError) -> Self {
        ApiError::bad_request(format!("the requirement: {error}"))
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<TooMany> for ApiError {
    fn from(error: TooMany) -> Self {
        Self::definite(StatusCode::TOO_MANY_REQUESTS, error)
    }
}

impl From<Stopped> for ApiError {
    fn from(error: Stopped) -> Self {
        Self::indefinite(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

/// For paths that the API does not have.
pub(crate) async fn no_such_path() -> ApiError {
    ApiError::definite(StatusCode::NOT_FOUND, "the API has no such path")
        .with_hint("agent and command may be of different versions")
}

/// For methods that a path does not have.
pub(crate) async fn no_such_method() -> ApiError {
    ApiError::definite(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method")
}
