//! Tables of sources → configuration or refusal.

use super::fields::{FIELDS, Shown, by_flag};
use super::*;
use std::io::Write as _;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().prefix("antipode").suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_file(text: &str) -> Result<Config, Refusal> {
    let file = file(text);
    Config::load(Mode::Service, Some(file.path()), &[], &[])
}

fn load_flag(flag: &'static str, value: &str) -> Result<Config, Refusal> {
    Config::load(Mode::Service, None, &[], &[(flag, value.to_owned())])
}

/// The text of the refusal, without the name of the temporary file.
fn refusal<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    let text = result.expect_err("must be refused").to_string();
    let Some((head, rest)) = text.split_once(" of /") else { return text };
    let tail = rest.split_once(".toml").map_or("", |(_, tail)| tail);
    format!("{head} of FILE{tail}")
}

#[test]
fn later_sources_win() {
    let on_file = file("[media]\nport = 1\n");
    let path = Some(on_file.path());
    let by_env = env(&[("ANTIPODE_MEDIA_PORT", "2")]);
    let by_flag = [("--media-port", "3".to_owned())];
    let rows = [
        (false, false, false, 7882),
        (true, false, false, 1),
        (false, true, false, 2),
        (true, true, false, 2),
        (false, false, true, 3),
        (true, false, true, 3),
        (false, true, true, 3),
        (true, true, true, 3),
    ];
    for (in_file, in_env, in_flag, port) in rows {
        let env = if in_env { &by_env[..] } else { &[] };
        let flags = if in_flag { &by_flag[..] } else { &[] };
        let config = Config::load(Mode::Service, path.filter(|_| in_file), env, flags).unwrap();
        assert_eq!(config.media.port, port, "{in_file} {in_env} {in_flag}");
    }
}

#[test]
fn the_environment_names_the_file_and_a_flag_another_one() {
    let (one, two) = (file("[media]\nport = 1\n"), file("[media]\nport = 2\n"));
    let env = env(&[("ANTIPODE_CONFIG", one.path().to_str().unwrap())]);
    assert_eq!(Config::load(Mode::Service, None, &env, &[]).unwrap().media.port, 1);
    assert_eq!(Config::load(Mode::Service, Some(two.path()), &env, &[]).unwrap().media.port, 2);
}

#[test]
fn defaults_are_those_that_users_rely_on() {
    let service = Config::defaults(Mode::Service);
    let dev = Config::defaults(Mode::Dev);
    assert_eq!(service.signal.bind.to_string(), "0.0.0.0:7880");
    assert_eq!(dev.signal.bind.to_string(), "127.0.0.1:7880");
    assert_eq!((service.media.port, dev.media.port), (7882, 7882));
    assert_eq!((service.media.tcp, dev.media.tcp), (MediaTcp::Beside, MediaTcp::Beside));
    assert_eq!((service.media.loopback, dev.media.loopback), (false, true));
    assert_eq!((service.signal.dev_page, dev.signal.dev_page), (false, true));
    assert!(service.signal.keys.is_empty());
    assert_eq!(dev.signal.keys, [(DEV_KEY.to_owned(), Secret::new(DEV_SECRET))]);
}

#[test]
fn a_whole_file_is_read() {
    let config = load_file(
        "[signal]\nbind = \"[::1]:80\"\nkeys = { a = \"x\", b = \"y\" }\nconnects_per_s = 7\nspread = true\n\
         dev_page = true\n[room]\naudio_top = 3\n\
         [whip]\nredirect = \"https://two.test\"\n\
         [ice]\nstun = [\"stun:stun.test\"]\n\
         turn = [\"turn:turn.test:3478\", \"turns:[::1]:5349?transport=tcp\"]\n\
         turn_secret = \"north\"\nturn_ttl_s = 3600\n\
         [media]\nbind = \"192.0.2.1\"\nport = 0x1F00\ntcp = \"[::1]:7\"\n\
         advertise = [\"192.0.2.1\", \"2001:db8::1\"]\nloopback = true\n\
         stun_discover = \"stun.test:3478\"\n\
         [node]\nshards = 3\ncores = [1, \"3-4\"]\npin = false\nruntime = \"epoll\"\n\
         [control]\naddress = \"tcp:[2001:db8::2]:7884\"\nsecret = \"0123456789abcdef\"\n\
         [log]\nfilter = \"warn,antipode=debug\"\nformat = \"json\"\n",
    )
    .unwrap();
    let want = Config {
        signal: SignalFields {
            bind: "[::1]:80".parse().unwrap(),
            keys: vec![("a".into(), Secret::new("x")), ("b".into(), Secret::new("y"))],
            connects_per_s: 7,
            spread: true,
            dev_page: true,
        },
        room: RoomFields { audio_top: 3 },
        whip: WhipFields { redirect: Some("https://two.test".into()) },
        ice: IceFields {
            stun: vec!["stun:stun.test".into()],
            turn: vec!["turn:turn.test:3478".into(), "turns:[::1]:5349?transport=tcp".into()],
            turn_secret: Some(Secret::new("north")),
            turn_ttl_s: 3_600,
        },
        media: MediaFields {
            bind: "192.0.2.1".parse().unwrap(),
            port: 0x1F00,
            tcp: MediaTcp::At("[::1]:7".parse().unwrap()),
            advertise: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            loopback: true,
            stun_discover: Some("stun.test:3478".into()),
        },
        node: NodeFields {
            shards: Some(3),
            cores: vec![1, 3, 4],
            pin: false,
            runtime: Runtime::Epoll,
        },
        control: ControlFields {
            address: ControlAddress::Tcp { host: "2001:db8::2".into(), port: 7884 },
            secret: Some(Secret::new("0123456789abcdef")),
        },
        log: LogFields { filter: "warn,antipode=debug".into(), format: LogFormat::Json },
    };
    assert_eq!(config, want);

    // What is shown with its secrets is a file that says the same.
    let again = load_file(&show(&want, Secrets::Revealed)).unwrap();
    assert_eq!(again, want);
    for mode in [Mode::Service, Mode::Dev] {
        let mut config = Config::defaults(mode);
        config.media.tcp = if mode == Mode::Dev { MediaTcp::Off } else { MediaTcp::Beside };
        config.control.address = ControlAddress::Unix("/x/y.sock".into());
        assert_eq!(load_file(&show(&config, Secrets::Revealed)).unwrap(), config, "{mode:?}");
    }
}

#[test]
fn shown_secrets_are_redacted() {
    let mut config = Config::defaults(Mode::Dev);
    config.signal.keys = vec![("visible".into(), Secret::new("hidden-one"))];
    config.control.secret = Some(Secret::new("hidden-two-hidden"));
    config.ice.turn_secret = Some(Secret::new("hidden-three"));
    for text in [show(&config, Secrets::Redacted), format!("{config:?}")] {
        assert!(!text.contains("hidden"), "{text}");
        assert!(text.contains("visible"), "{text}");
    }
}

#[test]
fn a_file_that_will_not_do_names_field_line_and_mend() {
    let rows = [
        (
            "[media]\nprot = 7882\n",
            "media.prot (line 2 of FILE): there is no such field. \
             Did you mean media.port? --show-config prints every field.",
        ),
        (
            "\n\n[mdeia]\n",
            "mdeia (line 3 of FILE): there is no such field. \
             Did you mean media? --show-config prints every field.",
        ),
        (
            "zzzzz = 1\n",
            "zzzzz (line 1 of FILE): there is no such field. \
             Take it out; --show-config prints every field.",
        ),
        (
            "[media]\nport = 70000\n",
            "media.port (line 2 of FILE): 70000 is no UDP port. \
             Give a whole number from 0 to 65535.",
        ),
        (
            "[media]\nport = \"7882\"\n",
            "media.port (line 2 of FILE): \"7882\" is no UDP port. \
             Give a whole number from 0 to 65535.",
        ),
        (
            "[signal]\nbind = \"localhost\"\n",
            "signal.bind (line 2 of FILE): \"localhost\" is no address with a port. \
             Give one like 0.0.0.0:7880 or [::]:7880.",
        ),
        (
            "[media]\ntcp = \"7881\"\n",
            "media.tcp (line 2 of FILE): \"7881\" is no address with a port. \
             Give one like [::]:7881 or 0.0.0.0:7881, or off.",
        ),
        (
            "[node]\ncores = [1, 1]\n",
            "node.cores (line 2 of FILE): a core stands twice. Name each core once.",
        ),
        (
            "[node]\ncores = [\"5-2\"]\n",
            "node.cores (line 2 of FILE): \"5-2\" is no range of cores. Put the lower number first.",
        ),
        (
            "[node]\nshards = 2\ncores = [1]\n",
            "node.shards: 2 shards and 1 cores contradict one another. \
             Leave out --shards, or name as many cores in --cores.",
        ),
        (
            "[control]\naddress = \"run.sock\"\n",
            "control.address (line 2 of FILE): \"run.sock\" is no control address. \
             Give unix:/path/of/a.sock or tcp:host:port.",
        ),
    ];
    for (text, want) in rows {
        assert_eq!(refusal(load_file(text)), want, "{text}");
    }
    assert!(refusal(load_file("[media]\nport = \n")).starts_with("the file (line 2 of FILE): "));
    let missing = Config::load(Mode::Service, Some(Path::new("/nowhere.toml")), &[], &[]);
    assert!(refusal(missing).starts_with("--config /nowhere.toml: "));
}

#[test]
fn rooms_and_servers_that_will_not_do_name_field_line_and_mend() {
    let rows = [
        (
            "[room]\naudio_top = 17\n",
            "room.audio_top (line 2 of FILE): 17 is no count of microphones. \
             Give a whole number from 0 to 16.",
        ),
        (
            "[whip]\nredirect = \"two.test\"\n",
            "whip.redirect (line 2 of FILE): \"two.test\" is no base address of a server. \
             Give one like https://two.example.org, without a path.",
        ),
        (
            "[ice]\nturn = [\"stun:a\"]\n",
            "ice.turn (line 2 of FILE): \"stun:a\" is no address of a TURN server. \
             Give one like turn:host:3478.",
        ),
        (
            "[ice]\nturn = [\"turn:a\"]\n",
            "ice.turn_secret: not set, and the servers of ice.turn let nobody in without it. \
             Set ANTIPODE_ICE_TURN_SECRET to the static-auth-secret of the TURN servers.",
        ),
        (
            "[ice]\nturn_ttl_s = 10\n",
            "ice.turn_ttl_s (line 2 of FILE): 10 is no count of seconds. \
             Give a whole number from 60 to 604800.",
        ),
    ];
    for (text, want) in rows {
        assert_eq!(refusal(load_file(text)), want, "{text}");
    }
}

#[test]
fn flags_and_environment_that_will_not_do_name_themselves() {
    let rows = [
        ("--shards", "0", "node.shards (--shards): \"0\" is no count of shards. "),
        ("--shards", "257", "node.shards (--shards): \"257\" is no count of shards. "),
        ("--shards", "two", "node.shards (--shards): \"two\" is no count of shards. "),
        ("--runtime", "tokio", "node.runtime (--runtime): \"tokio\" is no runtime. Give one of: "),
        ("--advertise", "0.0.0.0", "media.advertise (--advertise): nobody can send to 0.0.0.0. "),
        ("--advertise", "10.0.0.1,x", "media.advertise (--advertise): \"x\" is no IP address. "),
        (
            "--stun-discover",
            "a",
            "media.stun_discover (--stun-discover): \"a\" is no STUN server. ",
        ),
        (
            "--stun-discover",
            "::1:1",
            "media.stun_discover (--stun-discover): \"::1:1\" is no STUN ",
        ),
        (
            "--stun-discover",
            "a:0",
            "media.stun_discover (--stun-discover): \"a:0\" is no STUN server. ",
        ),
        ("--control", "unix:a", "control.address (--control): \"unix:a\" is no control address. "),
        ("--control", "tcp:a", "control.address (--control): \"tcp:a\" is no control address. "),
        ("--log", "a=b=c", "log.filter (--log): \"a=b=c\" is no log filter. "),
    ];
    for (flag, value, want) in rows {
        let text = refusal(load_flag(flag, value));
        assert!(text.starts_with(want), "{text}");
    }
    let long = format!("unix:/{}", "x".repeat(107));
    assert!(refusal(load_flag("--control", &long)).contains("108 bytes"));
    let by_env = env(&[("ANTIPODE_PIN", "maybe")]);
    let text = refusal(Config::load(Mode::Service, None, &by_env, &[]));
    assert!(text.starts_with("node.pin (ANTIPODE_PIN): \"maybe\" is no yes or no. "), "{text}");
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let by_env = [
        ("ANTIPODE_KEYS", "hush"),
        ("ANTIPODE_KEYS", "key:hush,key:hush"),
        ("ANTIPODE_KEYS", ":hush"),
        ("ANTIPODE_CONTROL_SECRET", "hush"),
    ];
    for (name, value) in by_env {
        let text = refusal(Config::load(Mode::Service, None, &env(&[(name, value)]), &[]));
        assert!(text.contains(name) && !text.contains("hush"), "{text}");
    }
    let files = [
        "[signal]\nkeys = \"hush\"\n",
        "[signal]\nkeys = [\"hush\"]\n",
        "[signal.keys]\na = [\"hush\"]\n",
        "[signal.keys]\na = \"hush\n",
        "[signal.keys]\na = hush\n",
        "[ice]\nturn_secret = [\"hush\"]\n",
        "[control]\nsecret = \"hush\"\n",
        "[control]\nsecret = [\"hush\"]\n",
        "[control]\nsecret = hush\n",
    ];
    for text in files {
        let text = refusal(load_file(text));
        assert!(text.contains(" of FILE") && !text.contains("hush"), "{text}");
    }
}

#[test]
fn keys_of_the_environment() {
    let rows: [(&str, &[(&str, &str)]); 3] = [
        ("a: b", &[("a", "b")]),
        ("a:b:c, d:e", &[("a", "b:c"), ("d", "e")]),
        ("c: d\na: b\n", &[("a", "b"), ("c", "d")]),
    ];
    for (text, want) in rows {
        let env = env(&[("ANTIPODE_KEYS", text)]);
        let keys = Config::load(Mode::Service, None, &env, &[]).unwrap().signal.keys;
        let found: Vec<_> = keys.iter().map(|(key, s)| (key.as_str(), s.reveal())).collect();
        assert_eq!(found, want, "{text:?}");
    }
}

#[test]
fn a_name_that_looks_like_ours_is_told() {
    let env = env(&[("ANTIPODE_SHARD", "2"), ("ANTIPODE_SHARDS", "2"), ("PATH", "/bin")]);
    assert_eq!(Config::strangers(&env), ["ANTIPODE_SHARD"]);
}

#[test]
fn the_table_of_fields_is_sound() {
    for field in FIELDS {
        let (section, name) = field.path.split_once('.').expect(field.path);
        assert!(!section.is_empty() && !name.contains('.'), "{}", field.path);
        assert!(field.env.starts_with("ANTIPODE_"), "{}", field.env);
        let same = FIELDS.iter().filter(|each| each.env == field.env || each.path == field.path);
        assert_eq!(same.count(), 1, "{}", field.path);
        if let Some(flag) = field.flag {
            assert_eq!(by_flag(flag).unwrap().path, field.path);
        }
    }
}

/// The table of docs/configuration.md, row by row, as the fields say it.
#[test]
fn the_documented_fields_are_the_fields() {
    let default = |config: &Config, field: &super::fields::Field| match (field.shown)(config) {
        Shown::Unset(instead) => instead.to_owned(),
        Shown::Plain(value) => format!("`{value}`"),
        Shown::Secret(value) => format!("`{value}`"),
    };
    let (service, dev) = (Config::defaults(Mode::Service), Config::defaults(Mode::Dev));
    let row = |field: &super::fields::Field| {
        let (usual, in_dev) = (default(&service, field), default(&dev, field));
        let defaults = if usual == in_dev { usual } else { format!("{usual}; in dev {in_dev}") };
        let flag = field.flag.map_or("–".to_owned(), |flag| format!("`{flag}`"));
        format!(
            "| `{}` | `{}` | {flag} | {} | {defaults} | {} |",
            field.path, field.env, field.takes, field.help
        )
    };
    let want: Vec<String> = FIELDS.iter().map(row).collect();
    let doc = include_str!("../../../docs/configuration.md");
    let found: Vec<&str> = doc.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(found, want, "the table of docs/configuration.md should be:\n{}", want.join("\n"));
}
