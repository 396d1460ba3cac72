//! Refusals, as problem details (RFC 9457): RFC 9725 §4.1 lets clients go by the status alone, and people by
//! the rest. No text of them repeats a token.

use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use antipode_base::limits::HTTP_RETRY_AFTER;

/// One refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// Of the offer or fragment, counted from 1.
    line: Option<usize>,
    /// The scheme and why its credentials were not enough (RFC 6750 §3).
    challenge: Option<String>,
    /// When to come again.
    later: bool,
    /// Where to go instead.
    elsewhere: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Problem { status, detail, line: None, challenge: None, later: false, elsewhere: None }
    }

    /// About one line of what was sent.
    pub(crate) fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// Nothing that another token would not mend.
    pub(crate) fn challenge(mut self, challenge: String) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Nothing that a little time would not mend.
    pub(crate) fn later(mut self) -> Self {
        self.later = true;
        self
    }

    /// Nobody else takes it.
    pub(crate) fn stay(mut self) -> Self {
        if self.elsewhere.take().is_some() {
            self.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        self
    }

    /// Another server takes it.
    pub(crate) fn elsewhere(mut self, address: String) -> Self {
        self.status = StatusCode::TEMPORARY_REDIRECT;
        self.elsewhere = Some(address);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let detail = match self.line {
            Some(line) => format!("line {line}: {}", self.detail),
            None => self.detail,
        };
        let status = self.status.as_u16();
        let mut body =
            json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
        if let Some(line) = self.line {
            body["line"] = line.into();
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let mut set = |name, value: Option<String>| {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        };
        set(WWW_AUTHENTICATE, self.challenge);
        set(LOCATION, self.elsewhere);
        set(RETRY_AFTER, self.later.then(|| HTTP_RETRY_AFTER.as_secs().to_string()));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_the_body_cannot() {
        let problem = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "full");
        let response = problem().later().challenge("Bearer".into()).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let moved = problem().elsewhere("https://b.test/whip/r?x=y".into()).into_response();
        assert_eq!(moved.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(moved.headers()[LOCATION], "https://b.test/whip/r?x=y");
        let split = problem().elsewhere("https://b.test/\r\nset-cookie: x".into()).into_response();
        assert!(!split.headers().contains_key(LOCATION), "no header is smuggled");
    }
}
