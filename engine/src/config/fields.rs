//! The one table of fields: how each is called, parsed, shown and explained.

use std::collections::BTreeSet;
use std::path::PathBuf;

use antipode_base::limits::{AUDIO_TOP_MAX, SHARDS_MAX};
use antipode_signaling::config::{STUN_SCHEMES, TURN_SCHEMES};

use super::ice::{host_and_port, ice_urls, turn_secret, turn_ttl, whip_redirect};
use super::{Config, ControlAddress, LogFormat, MediaTcp, Runtime, Secret};
use super::{Fault, Origin, Refusal, Value};

/// The longest path of a Unix socket that the kernel takes: `sun_path` less its final zero.
pub(crate) const UNIX_PATH_MAX: usize = 107;
/// Characters of the shortest control secret that is taken.
const CONTROL_SECRET_MIN: usize = 16;
/// Cores that have a number: as many as the kernel's own `CPU_SETSIZE`.
const CORES_MAX: i64 = 1_024;

/// A field's value as the file would hold it.
pub(crate) enum Shown {
    /// Unset; the text says what holds instead.
    Unset(&'static str),
    /// A TOML value.
    Plain(toml::Value),
    /// One that must not be seen.
    Secret(toml::Value),
}

/// One thing that can be set.
pub(crate) struct Field {
    /// Section and name in the file.
    pub(crate) path: &'static str,
    /// Its environment variable.
    pub(crate) env: &'static str,
    /// Its flag. Secrets have none: a command line is seen by every user of the host.
    pub(crate) flag: Option<&'static str>,
    /// What values it takes, with the unit.
    pub(crate) takes: &'static str,
    /// What it is for.
    pub(crate) help: &'static str,
    set: fn(&mut Config, &Value) -> Result<(), Fault>,
    pub(crate) shown: fn(&Config) -> Shown,
}

impl Field {
    /// Puts `value` into `config`.
    pub(crate) fn set(
        &self,
        config: &mut Config,
        value: &Value,
        origin: &Origin,
    ) -> Result<(), Refusal> {
        (self.set)(config, value).map_err(|fault| Refusal::at(self.path, origin, fault))
    }
}

/// The field of a path such as `media.port`.
pub(crate) fn by_path(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

/// The field of a flag such as `--media-port`.
pub(crate) fn by_flag(flag: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.flag == Some(flag))
}

/// In the order in which they are shown; the fields of one section stand together.
pub(crate) const FIELDS: &[Field] = &[
    Field {
        path: "signal.bind",
        env: "ANTIPODE_BIND",
        flag: Some("--bind"),
        takes: "address:port (TCP)",
        help: "where HTTP and the WebSocket are served",
        set: |c, v| v.socket_address().map(|address| c.signal.bind = address),
        shown: |c| plain(c.signal.bind.to_string()),
    },
    Field {
        path: "signal.keys",
        env: "ANTIPODE_KEYS",
        flag: None,
        takes: "table of key = secret; in the environment `key: secret`, several between commas",
        help: "API keys that sign access tokens",
        set: |c, v| keys(v).map(|keys| c.signal.keys = keys),
        shown: show_keys,
    },
    Field {
        path: "signal.connects_per_s",
        env: "ANTIPODE_CONNECTS_PER_S",
        flag: None,
        takes: "count a second, 0 to 100000; 0 switches the limit off, as behind a proxy",
        help: "new connections from one address that are served",
        set: |c, v| connects(v).map(|rate| c.signal.connects_per_s = rate),
        shown: |c| plain(i64::from(c.signal.connects_per_s)),
    },
    Field {
        path: "signal.spread",
        env: "ANTIPODE_SPREAD",
        flag: Some("--spread"),
        takes: "true or false",
        help: "every join goes to the next shard, for tests; else small rooms stay on one shard",
        set: |c, v| v.boolean().map(|flag| c.signal.spread = flag),
        shown: |c| plain(c.signal.spread),
    },
    Field {
        path: "signal.dev_page",
        env: "ANTIPODE_DEV_PAGE",
        flag: None,
        takes: "true or false",
        help: "the page mints tokens for whoever asks: for development only",
        set: |c, v| v.boolean().map(|flag| c.signal.dev_page = flag),
        shown: |c| plain(c.signal.dev_page),
    },
    Field {
        path: "room.audio_top",
        env: "ANTIPODE_ROOM_AUDIO_TOP",
        flag: None,
        takes: "count, 0 to 16; 0 is all",
        help: "microphones that a member hears at once, the loudest; recorders and agents hear all",
        set: |c, v| audio_top(v).map(|count| c.room.audio_top = count),
        shown: |c| plain(i64::from(c.room.audio_top)),
    },
    Field {
        path: "whip.redirect",
        env: "ANTIPODE_WHIP_REDIRECT",
        flag: None,
        takes: "base address of another server, as https://two.example.org",
        help: "where WHIP and WHEP clients are sent when there is no room for them here",
        set: |c, v| whip_redirect(v).map(|base| c.whip.redirect = Some(base)),
        shown: |c| match &c.whip.redirect {
            None => Shown::Unset("nowhere: they are told to come again"),
            Some(base) => plain(base.as_str()),
        },
    },
    Field {
        path: "ice.stun",
        env: "ANTIPODE_ICE_STUN",
        flag: None,
        takes: "list of stun:host:port",
        help: "STUN servers that clients are told of; they need none to reach Antipode",
        set: |c, v| ice_urls(v, &STUN_SCHEMES, "STUN").map(|all| c.ice.stun = all),
        shown: |c| list(c.ice.stun.iter().cloned()),
    },
    Field {
        path: "ice.turn",
        env: "ANTIPODE_ICE_TURN",
        flag: None,
        takes: "list of turn:host:port or turns:host:port, with ?transport=tcp for TCP",
        help: "TURN servers that clients are told of",
        set: |c, v| ice_urls(v, &TURN_SCHEMES, "TURN").map(|all| c.ice.turn = all),
        shown: |c| list(c.ice.turn.iter().cloned()),
    },
    Field {
        path: "ice.turn_secret",
        env: "ANTIPODE_ICE_TURN_SECRET",
        flag: None,
        takes: "text",
        help: "the static-auth-secret of the TURN servers, to make each client its credentials",
        set: |c, v| turn_secret(v).map(|secret| c.ice.turn_secret = Some(secret)),
        shown: |c| match &c.ice.turn_secret {
            None => Shown::Unset("none: ice.turn must be empty"),
            Some(secret) => Shown::Secret(secret.reveal().into()),
        },
    },
    Field {
        path: "ice.turn_ttl_s",
        env: "ANTIPODE_ICE_TURN_TTL_S",
        flag: None,
        takes: "seconds, 60 to 604800",
        help: "how long such credentials are good; longer than a call",
        set: |c, v| turn_ttl(v).map(|ttl| c.ice.turn_ttl_s = ttl),
        shown: |c| plain(i64::from(c.ice.turn_ttl_s)),
    },
    Field {
        path: "media.bind",
        env: "ANTIPODE_MEDIA_BIND",
        flag: None,
        takes: "IP address; :: is every address, of IPv4 too",
        help: "where the media sockets are bound; one address costs the kernel less for each send",
        set: |c, v| v.ip().map(|ip| c.media.bind = ip),
        shown: |c| plain(c.media.bind.to_string()),
    },
    Field {
        path: "media.port",
        env: "ANTIPODE_MEDIA_PORT",
        flag: Some("--media-port"),
        takes: "UDP port, 0 to 65535; 0 lets the kernel choose",
        help: "the one port of all media, shared by all shards",
        set: |c, v| v.port().map(|port| c.media.port = port),
        shown: |c| plain(i64::from(c.media.port)),
    },
    Field {
        path: "media.tcp",
        env: "ANTIPODE_MEDIA_TCP",
        flag: Some("--media-tcp"),
        takes: "address:port (TCP), or off; port 0 lets the kernel choose",
        help: "where clients whose network lets no UDP through connect (ICE-TCP)",
        set: |c, v| media_tcp(v).map(|tcp| c.media.tcp = tcp),
        shown: |c| match c.media.tcp {
            MediaTcp::Beside => {
                Shown::Unset("media.bind with port 7881, or any when media.port is 0")
            }
            MediaTcp::At(address) => plain(address.to_string()),
            MediaTcp::Off => plain("off"),
        },
    },
    Field {
        path: "media.advertise",
        env: "ANTIPODE_ADVERTISE",
        flag: Some("--advertise"),
        takes: "list of IP addresses; empty is every address of the host",
        help: "the addresses that clients are told to send media to",
        set: |c, v| advertise(v).map(|all| c.media.advertise = all),
        shown: |c| list(c.media.advertise.iter().map(ToString::to_string)),
    },
    Field {
        path: "media.loopback",
        env: "ANTIPODE_MEDIA_LOOPBACK",
        flag: None,
        takes: "true or false",
        help: "tell clients the loopback addresses too",
        set: |c, v| v.boolean().map(|flag| c.media.loopback = flag),
        shown: |c| plain(c.media.loopback),
    },
    Field {
        path: "media.stun_discover",
        env: "ANTIPODE_STUN_DISCOVER",
        flag: Some("--stun-discover"),
        takes: "host:port of a STUN server",
        help: "learn the public address behind a one-to-one NAT at the start, and tell clients that",
        set: |c, v| host_and_port(v).map(|server| c.media.stun_discover = Some(server)),
        shown: |c| match &c.media.stun_discover {
            None => Shown::Unset("nobody is asked"),
            Some(server) => plain(server.clone()),
        },
    },
    Field {
        path: "node.shards",
        env: "ANTIPODE_SHARDS",
        flag: Some("--shards"),
        takes: "count, 1 to 256",
        help: "how many shards the node has",
        set: |c, v| shards(v).map(|count| c.node.shards = Some(count)),
        shown: |c| c.node.shards.map_or(Shown::Unset("one for each core"), |n| plain(i64::from(n))),
    },
    Field {
        path: "node.cores",
        env: "ANTIPODE_CORES",
        flag: Some("--cores"),
        takes: "list of core numbers, ranges such as 2-5 too",
        help: "the cores that shards are pinned to, one shard for each",
        set: |c, v| cores(v).map(|all| c.node.cores = all),
        shown: |c| match c.node.cores.is_empty() {
            true => Shown::Unset("the cores that the process may use"),
            false => list(c.node.cores.iter().map(|core| *core as i64)),
        },
    },
    Field {
        path: "node.pin",
        env: "ANTIPODE_PIN",
        flag: None,
        takes: "true or false",
        help: "each shard stays on its core; false permits more shards than cores",
        set: |c, v| v.boolean().map(|flag| c.node.pin = flag),
        shown: |c| plain(c.node.pin),
    },
    Field {
        path: "node.runtime",
        env: "ANTIPODE_RUNTIME",
        flag: Some("--runtime"),
        takes: "auto, glommio or epoll",
        help: "what waits for packets; auto takes glommio where the host permits io_uring",
        set: |c, v| v.word("runtime", RUNTIMES).map(|runtime| c.node.runtime = runtime),
        shown: |c| word(c.node.runtime, RUNTIMES),
    },
    Field {
        path: "control.address",
        env: "ANTIPODE_CONTROL",
        flag: Some("--control"),
        takes: "unix:/path or tcp:host:port",
        help: "signaling listens here and nodes dial it; dev makes a private one for each run",
        set: |c, v| control_address(v).map(|address| c.control.address = address),
        shown: |c| plain(c.control.address.to_string()),
    },
    Field {
        path: "control.secret",
        env: "ANTIPODE_CONTROL_SECRET",
        flag: None,
        takes: "text of 16 characters or more",
        help: "what a node proves to signaling that it holds; needed on tcp:",
        set: |c, v| control_secret(v).map(|secret| c.control.secret = Some(secret)),
        shown: |c| match &c.control.secret {
            None => Shown::Unset("on unix: a random one, kept in a file beside the socket"),
            Some(secret) => Shown::Secret(secret.reveal().into()),
        },
    },
    Field {
        path: "log.filter",
        env: "ANTIPODE_LOG",
        flag: Some("--log"),
        takes: "off, error, warn, info, debug, trace, or target=level between commas",
        help: "which log lines are written, to standard error",
        set: |c, v| log_filter(v).map(|filter| c.log.filter = filter),
        shown: |c| plain(c.log.filter.clone()),
    },
    Field {
        path: "log.format",
        env: "ANTIPODE_LOG_FORMAT",
        flag: None,
        takes: "text or json",
        help: "how log lines look",
        set: |c, v| v.word("log format", FORMATS).map(|format| c.log.format = format),
        shown: |c| word(c.log.format, FORMATS),
    },
];

const RUNTIMES: &[(&str, Runtime)] =
    &[("auto", Runtime::Auto), ("glommio", Runtime::Glommio), ("epoll", Runtime::Epoll)];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

fn plain(value: impl Into<toml::Value>) -> Shown {
    Shown::Plain(value.into())
}

fn list<T: Into<toml::Value>>(items: impl Iterator<Item = T>) -> Shown {
    Shown::Plain(toml::Value::Array(items.map(Into::into).collect()))
}

fn word<T: Copy + PartialEq>(value: T, words: &[(&'static str, T)]) -> Shown {
    let found = words.iter().find(|(_, each)| *each == value);
    plain(found.map_or("", |(word, _)| word))
}

fn show_keys(config: &Config) -> Shown {
    if config.signal.keys.is_empty() {
        return Shown::Unset("none: antipode signal refuses to start");
    }
    let pair = |(key, secret): &(String, Secret)| (key.clone(), secret.reveal().into());
    Shown::Secret(toml::Value::Table(config.signal.keys.iter().map(pair).collect()))
}

/// Never shows what it could not read: half of it is a secret.
fn keys(value: &Value) -> Result<Vec<(String, Secret)>, Fault> {
    const MEND: &str = "Give `key: secret` in ANTIPODE_KEYS, or key = \"secret\" in [signal.keys]";
    let mut pairs: Vec<(String, String)> = match value {
        Value::Raw(text) => {
            let entries = text.split([',', '\n']).filter(|entry| !entry.trim().is_empty());
            let pair = |entry: &str| {
                let (key, secret) = entry.split_once(':')?;
                Some((key.trim().to_owned(), secret.trim().to_owned()))
            };
            entries.map(pair).collect::<Option<_>>()
        }
        Value::Pairs(pairs) => pairs
            .iter()
            .map(|(key, secret)| match secret {
                Value::Text(secret) => Some((key.clone(), secret.clone())),
                _ => None,
            })
            .collect(),
        _ => None,
    }
    .ok_or_else(|| Fault::new("this is no table of keys and secrets", MEND))?;
    if pairs.is_empty() || pairs.iter().any(|(key, secret)| key.is_empty() || secret.is_empty()) {
        return Err(Fault::new("a key or a secret is empty", MEND));
    }
    let different: BTreeSet<_> = pairs.iter().map(|(key, _)| key).collect();
    if different.len() < pairs.len() {
        return Err(Fault::new("a key stands twice", "Leave one of the two out"));
    }
    // A TOML table has no order, and which key comes first must not depend on the source.
    pairs.sort();
    Ok(pairs.into_iter().map(|(key, secret)| (key, Secret::new(secret))).collect())
}

fn media_tcp(value: &Value) -> Result<MediaTcp, Fault> {
    let mend = "Give one like [::]:7881 or 0.0.0.0:7881, or off";
    if value.text("address with a port").is_ok_and(|text| text.trim() == "off") {
        return Ok(MediaTcp::Off);
    }
    value.parse("address with a port", mend).map(MediaTcp::At)
}

fn advertise(value: &Value) -> Result<Vec<std::net::IpAddr>, Fault> {
    let mut all = vec![];
    for item in value.list("list of IP addresses")? {
        let ip = item.ip()?;
        if ip.is_unspecified() || ip.is_multicast() {
            let mend = "Name the addresses themselves, or none for every address of the host";
            return Err(Fault::new(format!("nobody can send to {ip}"), mend));
        }
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    Ok(all)
}

fn shards(value: &Value) -> Result<u16, Fault> {
    let count = value.integer("count of shards", 1, SHARDS_MAX as i64)?;
    Ok(u16::try_from(count).expect("the range was checked"))
}

fn cores(value: &Value) -> Result<Vec<usize>, Fault> {
    let mut all = vec![];
    for item in value.list("list of cores")? {
        let range = match &item {
            Value::Raw(text) | Value::Text(text) => text.split_once('-'),
            _ => None,
        };
        let (first, last) = match range {
            Some((first, last)) => {
                (core(&Value::Raw(first.into()))?, core(&Value::Raw(last.into()))?)
            }
            None => (core(&item)?, core(&item)?),
        };
        if last < first {
            return Err(item.fault("range of cores", "Put the lower number first"));
        }
        all.extend(first..=last);
    }
    let different: BTreeSet<_> = all.iter().collect();
    if different.len() < all.len() {
        return Err(Fault::new("a core stands twice", "Name each core once"));
    }
    Ok(all)
}

fn audio_top(value: &Value) -> Result<u8, Fault> {
    let count = value.integer("count of microphones", 0, i64::from(AUDIO_TOP_MAX))?;
    Ok(u8::try_from(count).expect("the range was checked"))
}

fn connects(value: &Value) -> Result<u32, Fault> {
    let rate = value.integer("count a second", 0, 100_000)?;
    Ok(u32::try_from(rate).expect("the range was checked"))
}

fn core(value: &Value) -> Result<usize, Fault> {
    let number = value.integer("core", 0, CORES_MAX - 1)?;
    Ok(usize::try_from(number).expect("the range was checked"))
}

fn control_address(value: &Value) -> Result<ControlAddress, Fault> {
    let mend = "Give unix:/path/of/a.sock or tcp:host:port";
    let noun = "control address";
    let text = value.text(noun)?.trim();
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') {
            return Err(value.fault(noun, "Give the whole path of the socket, from the root"));
        }
        if path.len() > UNIX_PATH_MAX {
            let fault = format!("a path of {} bytes, the kernel takes {UNIX_PATH_MAX}", path.len());
            return Err(Fault::new(fault, "Put the socket into a folder with a shorter path"));
        }
        return Ok(ControlAddress::Unix(PathBuf::from(path)));
    }
    let place = text.strip_prefix("tcp:").and_then(|rest| rest.rsplit_once(':'));
    let Some((host, port)) = place else { return Err(value.fault(noun, mend)) };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let Ok(port) = port.parse() else { return Err(value.fault(noun, mend)) };
    if host.is_empty() {
        return Err(value.fault(noun, mend));
    }
    Ok(ControlAddress::Tcp { host: host.to_owned(), port })
}

fn control_secret(value: &Value) -> Result<Secret, Fault> {
    let mend = "Give a random text, as `openssl rand -hex 32` makes it";
    match value {
        Value::Raw(text) | Value::Text(text) if text.len() >= CONTROL_SECRET_MIN => {
            Ok(Secret::new(text))
        }
        Value::Raw(_) | Value::Text(_) => {
            Err(Fault::new(format!("shorter than {CONTROL_SECRET_MIN} characters"), mend))
        }
        _ => Err(Fault::new("this is no text", mend)),
    }
}

fn log_filter(value: &Value) -> Result<String, Fault> {
    let text = value.text("log filter")?;
    let mend = "Give a level such as info, or target=level between commas";
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(value.fault("log filter", mend)),
    }
}
