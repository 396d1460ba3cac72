//! Reading the fields that name other servers: STUN, TURN, and one more of ours.

use antipode_signaling::config::{is_base_address, is_ice_url};

use super::{Fault, Secret, Value};

/// STUN or TURN servers that one client is told of.
const ICE_URLS_MAX: usize = 16;

pub(super) fn ice_urls(
    value: &Value,
    schemes: &[&str; 2],
    what: &str,
) -> Result<Vec<String>, Fault> {
    let mut all: Vec<String> = vec![];
    for item in value.list("list of addresses")? {
        let noun = format!("address of a {what} server");
        let url = item.text(&noun)?.trim();
        if !is_ice_url(url, schemes) {
            return Err(item.fault(&noun, &format!("Give one like {}:host:3478", schemes[0])));
        }
        if !all.iter().any(|known| known == url) {
            all.push(url.to_owned());
        }
    }
    if all.len() > ICE_URLS_MAX {
        let fault = format!("{} servers; clients try each of them", all.len());
        return Err(Fault::new(fault, format!("Name at most {ICE_URLS_MAX}")));
    }
    Ok(all)
}

pub(super) fn whip_redirect(value: &Value) -> Result<String, Fault> {
    let noun = "base address of a server";
    let base = value.text(noun)?.trim();
    if is_base_address(base) {
        Ok(base.to_owned())
    } else {
        Err(value.fault(noun, "Give one like https://two.example.org, without a path"))
    }
}

pub(super) fn turn_secret(value: &Value) -> Result<Secret, Fault> {
    match value {
        Value::Raw(text) | Value::Text(text) if !text.is_empty() => Ok(Secret::new(text)),
        _ => Err(Fault::new("this is no text", "Give the static-auth-secret of the TURN server")),
    }
}

pub(super) fn turn_ttl(value: &Value) -> Result<u32, Fault> {
    let ttl = value.integer("count of seconds", 60, 604_800)?;
    Ok(u32::try_from(ttl).expect("the range was checked"))
}

pub(super) fn host_and_port(value: &Value) -> Result<String, Fault> {
    let noun = "STUN server";
    let text = value.text(noun)?.trim();
    let fits = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && !bare && port.parse::<std::num::NonZeroU16>().is_ok()
    });
    let mend = "Give host:port, such as stun.example.org:3478 or [2001:db8::1]:3478";
    if fits { Ok(text.to_owned()) } else { Err(value.fault(noun, mend)) }
}
