//! What one publisher means otherwise than everybody else. Lines stay where they are.

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;

/// The offer as others would have written it.
pub(super) fn offer(offer: String, headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if agent.contains("OBS-Studio") { largest_last(&offer) } else { offer }
}

/// OBS numbers its encoders from the largest picture down (`a=simulcast:send 0;1;2`). Those who number
/// their rids otherwise begin with the smallest, and so does whoever reads names that tell nothing.
fn largest_last(offer: &str) -> String {
    let mut out = String::with_capacity(offer.len());
    for line in offer.split_inclusive('\n') {
        let end = line.trim_end_matches(['\r', '\n']).len();
        match line[..end].strip_prefix("a=simulcast:send ") {
            Some(rids) if rids.split(';').all(|rid| rid.parse::<u8>().is_ok()) => {
                let turned: Vec<&str> = rids.split(';').rev().collect();
                out.push_str(&format!("a=simulcast:send {}{}", turned.join(";"), &line[end..]));
            }
            _ => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn obs_begins_with_the_largest() {
        let text = "v=0\r\na=rid:0 send\r\na=simulcast:send 0;1;2\r\na=simulcast:send q;f\r\nm=x";
        let mut headers = HeaderMap::new();
        assert_eq!(offer(text.to_owned(), &headers), text);
        let obs = HeaderValue::from_static("Mozilla/5.0 (OBS-Studio/32.1.0; Linux x86_64; en-US)");
        headers.insert(USER_AGENT, obs);
        assert_eq!(offer(text.to_owned(), &headers), text.replace("0;1;2", "2;1;0"));
    }
}
