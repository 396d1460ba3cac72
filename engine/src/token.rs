//! `antipode token`: prints an access token and nothing else.

use std::io::{Write, stdout};
use std::time::{SystemTime, UNIX_EPOCH};

use antipode_base::limits::NAME_MAX;
use antipode_signaling::ApiKey;
use antipode_signaling::token::{TokenRequest, mint};

use crate::cli::TokenArgs;
use crate::config::{Config, DEV_KEY, DEV_SECRET, Mode, Refusal};
use crate::ending::Ending;

/// The longest life of a token, in seconds: ten years.
const TTL_S_MAX: u64 = 10 * 365 * 24 * 3600;

/// Prints the token that `args` ask for.
///
/// # Errors
/// A value that will not do, or no clock or standard output to work with.
pub(crate) fn run(args: &TokenArgs, env: &[(String, String)]) -> Result<(), Ending> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Ending::failed)?;
    let request = request(args, now.as_secs())?;
    let token = mint(&api_key(args, env)?, &request);
    writeln!(stdout(), "{token}").map_err(Ending::failed)
}

fn request(args: &TokenArgs, now_s: u64) -> Result<TokenRequest, Refusal> {
    let name = args.name.as_deref().unwrap_or_default();
    for (flag, text) in [("--room", &*args.room), ("--identity", &args.identity), ("--name", name)]
    {
        let empty = text.is_empty() && flag != "--name";
        if empty || text.len() > NAME_MAX {
            let fault = format!("{} bytes", text.len());
            return Err(Refusal::new(flag, fault, format!("Give 1 to {NAME_MAX} bytes of text")));
        }
    }
    let ttl_s = ttl_s(&args.ttl).ok_or_else(|| {
        let fault = format!("\"{}\" is no time", args.ttl);
        Refusal::new("--ttl", fault, "Give one such as 90s, 30m, 6h or 7d, ten years at most")
    })?;
    let mut request = TokenRequest::new(&args.room, &args.identity, now_s, ttl_s);
    name.clone_into(&mut request.name);
    request.permissions.publish = !args.no_publish;
    request.permissions.publish_data = !args.no_publish;
    request.permissions.subscribe = !args.no_subscribe;
    Ok(request)
}

/// Seconds of a time such as `6h`. A unit must be there: a bare number has misled people before.
fn ttl_s(text: &str) -> Option<u64> {
    let (last, unit) = text.char_indices().last()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    // `parse` would take a leading plus sign.
    let digits = text[..last].chars().all(|c| c.is_ascii_digit()).then_some(&text[..last])?;
    let seconds = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (1..=TTL_S_MAX).contains(&seconds).then_some(seconds)
}

/// The key of the flags, else the first one configured, else that of development: it opens a `dev`
/// server and no other.
fn api_key(args: &TokenArgs, env: &[(String, String)]) -> Result<ApiKey, Refusal> {
    if let (Some(key), Some(secret)) = (&args.key, &args.secret) {
        if key.is_empty() || secret.is_empty() {
            return Err(Refusal::new("--key", "it or --secret is empty", "Give both, or neither"));
        }
        return Ok(ApiKey { key: key.clone(), secret: secret.clone() });
    }
    let config = Config::load(Mode::Service, args.config.as_deref(), env, &[])?;
    Ok(match config.signal.keys.first() {
        Some((key, secret)) => ApiKey { key: key.clone(), secret: secret.reveal().to_owned() },
        None => ApiKey { key: DEV_KEY.to_owned(), secret: DEV_SECRET.to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live() {
        let rows = [
            ("90s", Some(90)),
            ("30m", Some(1_800)),
            ("6h", Some(21_600)),
            ("7d", Some(604_800)),
            ("0s", None),
            ("6", None),
            ("h", None),
            ("", None),
            ("+6h", None),
            ("-6h", None),
            ("6.5h", None),
            ("6µ", None),
            ("3651d", None),
            ("99999999999999999999d", None),
        ];
        for (text, want) in rows {
            assert_eq!(ttl_s(text), want, "{text:?}");
        }
    }
}
