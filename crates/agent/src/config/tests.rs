use super::*;
use xtreem_discovery::{Number, Value};
use xtreem_pubsub::Pattern;
use xtreem_pubsub::keeper::Rule;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/xtreem/agent.toml"), text)
}

#[test]
fn an_empty_file_is_an_ordinary_agent() {
    let config = parse("").unwrap();
    assert_eq!(config.state_dir, Path::new(DEFAULT_STATE_DIR));
    assert_eq!(config.control.path, Path::new(DEFAULT_CONTROL));
    assert_eq!((config.control.mode, config.bind.port()), (0o600, DEFAULT_PORT));
    assert!(!config.emulated && config.identity.is_none() && config.join.is_empty());
}

#[test]
fn a_full_file_says_everything() {
    let config = parse(
        r#"
state_dir = "state"
identity = "node7.identity"
bind = "127.0.0.1:0"
advertise = "10.0.0.7"
join = ["10.0.0.1:7227", "node2.example:7227"]
name = "node7"
site = "amsterdam"
rack = "r7"
emulated = true
cyclon_period = "1.5s"
trie_period = "9s"
isolation = "process-group"
run_as = "nobody"

[attributes]
gpu.count = 2
"mem.total" = "8GiB"
load.1m = 0.25
ecc = true
cpu.flags = ["avx2"]
fabric.speed = "10GHz"
asset = "12"

[offer]
cores = 0.5
memory = "4GiB"
disk = "1TB"

[control]
path = "/run/xtreem.sock"
mode = "0660"

[pubsub]
retained_lease = "7d"
replay = [{ topics = "log/**", events = 1000, seconds = 60 }]

[log]
filter = "debug"
"#,
    )
    .unwrap();
    assert_eq!(config.state_dir, Path::new("/etc/xtreem/state"));
    assert_eq!(config.identity.as_deref(), Some(Path::new("/etc/xtreem/node7.identity")));
    assert_eq!(config.advertise, Some(IpAddr::from([10, 0, 0, 7])));
    assert_eq!(config.cyclon_period, Some(Duration::from_millis(1_500)));
    assert_eq!(config.trie_period, Some(Duration::from_secs(9)));
    assert_eq!(config.isolation, Wanted::ProcessGroup);
    assert_eq!(config.run_as.as_deref(), Some("nobody"));
    let offer =
        Offer { cores_milli: Some(500), memory_bytes: Some(4 << 30), disk_bytes: Some(1_000_000_000_000) };
    assert_eq!(config.offer, offer);
    assert_eq!(config.control, Control { path: "/run/xtreem.sock".into(), mode: 0o660 });
    assert_eq!(config.pubsub.retained_lease, Duration::from_secs(7 * 86_400));
    let topics = Pattern::new("log/**").unwrap();
    let rule = Rule { topics, events: 1_000, lease: Duration::from_secs(60) };
    assert_eq!((config.pubsub.replay, config.pubsub.tcp), (vec![rule], None));
    let declared = [
        ("asset", Value::from("12")),
        ("cpu.flags", Value::from(vec!["avx2".to_owned()])),
        ("ecc", Value::from(true)),
        ("fabric.speed", Value::from(10_000_000_000)),
        ("gpu.count", Value::from(2)),
        ("load.1m", Value::from(Number::from_thousandths(250))),
        ("mem.total", Value::from(8 << 30)),
        ("rack", Value::from("r7")),
        ("site", Value::from("amsterdam")),
    ];
    let found: Vec<_> = config.declared.iter().map(|(name, value)| (name, value.clone())).collect();
    assert_eq!(found, declared);
}

#[test]
fn wrong_files_are_refused_with_line_and_reason() {
    let table = [
        ("\nstate_dri = \"x\"", 2, "state_dri"),
        ("[offer]\ncpus = 3", 2, "cpus"),
        ("bind = \n", 1, ""),
        ("\n\nbind = \"localhost\"", 3, "is no address"),
        ("advertise = \"0.0.0.0\"", 1, "reach this node"),
        ("advertise = \"10.0.0.7:7227\"", 1, "reach this node"),
        ("join = [\n\"a:1\",\n\"b\"]", 3, "HOST:PORT"),
        ("join = [\"a:0\"]", 1, "HOST:PORT"),
        ("name = \"a b\"", 1, "letters"),
        ("cyclon_period = \"1s\"", 1, "emulated"),
        ("emulated = true\ncyclon_period = \"1ms\"", 2, "100ms"),
        ("trie_period = \"1s\"", 1, "emulated"),
        ("isolation = \"none\"", 1, "process-group"),
        ("run_as = \"root\"", 1, "other than root"),
        ("run_as = \"0\"", 1, "other than root"),
        ("[offer]\nmemory = \"8gb\"", 2, "no size"),
        ("[offer]\nmemory = 24", 2, "24 is no size: expected a number with a unit, as \"8GiB\""),
        ("[offer]\ncores = -1", 2, "cores"),
        ("[control]\nmode = \"0066\"", 2, "permission"),
        ("[control]\nmode = \"abc\"", 2, "permission"),
        ("[control]\nmode = 660", 2, "from \"0600\" to \"0777\""),
        ("[pubsub]\nguests = [\"a/**\"]", 2, "add an address"),
        ("[pubsub]\nretained_lease = \"31d\"", 2, "\"1m\" to \"30d\""),
        ("[pubsub]\nreplay = [{ topics = \"a/*/b\", events = 1, seconds = 1 }]", 2, "expected topics"),
        ("[pubsub]\nreplay = [{ topics = \"a\", events = 0, seconds = 1 }]", 2, "from 1 to 10000"),
        ("[pubsub]\nreplay = [{ topics = \"a\", events = 1, seconds = 86401 }]", 2, "from 1 to 86400"),
        ("[attributes]\nrack = 1\nCaps = 1", 3, "lower-case"),
        ("[attributes]\nmem.total = \"8 gigs\"", 2, "known unit"),
        ("[attributes]\nrack = 1\ncpu.cores = \"x\"", 3, "known unit"),
        ("[attributes]\narch = 3", 2, "expected a text"),
        ("[attributes]\ncpu.cores = -3", 2, "negative"),
        ("[attributes]\nmem.free = \"1GiB\"", 2, "measured"),
        ("[attributes]\noffer.cores = 1", 2, "[offer]"),
        ("[attributes]\nslots.used = 1", 2, "counts"),
        ("[attributes]\nborn = 1979-05-27", 2, "no attribute value"),
        ("[attributes]\nlist = [1]", 2, "texts only"),
    ];
    for (text, line, reason) in table {
        match parse(text).expect_err(text) {
            ConfigError::Wrong(wrong) => {
                let place = format!(" --> /etc/xtreem/agent.toml:{line}:");
                assert!(wrong.to_string().contains(&place), "{text:?}: {wrong}");
                assert!(wrong.reason.contains(reason), "{text:?}: {wrong} should say {reason:?}");
            }
            other => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nowhere/agent.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/agent.toml"), "{error}");
}
