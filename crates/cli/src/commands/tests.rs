use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::parse as parse_words;
use super::*;

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.kind())
}

#[test]
fn the_commands_are_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_an_example_in_its_help() {
    fn check(command: &mut clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            // Hidden ones are not for people.
            let shown = command.get_subcommands_mut().filter(|inner| !inner.is_hide_set());
            shown.for_each(|inner| check(inner, &path));
        } else {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{path}: {help}");
        }
    }
    check(&mut Cli::command(), "");
}

#[test]
fn the_issues_command_lines_are_understood() {
    for line in [
        "xtreem vo create physics.example",
        "xtreem vo create physics.example --dir vo",
        "xtreem vo issue --name node7 --role node --days 365",
        "xtreem vo issue --user alice --role submit",
        "xtreem vo issue --user alice --role admin",
        "xtreem vo renew node7.pem",
        "xtreem vo renew alice.pem --days 30 --dir vo --out new.pem --json",
        "xtreem vo show node7.pem --json",
        "xtreem vo policy set policy.toml --dir vo --out policy.signed --json",
        "xtreem vo policy show --json --socket s",
        "xtreem agent --config /etc/xtreem/agent.toml --join a.example:7227 --join [fd00::1]:7227",
        "xtreem nodes cpu.cores>=4 --limit 5 --json",
        "xtreem grid cpu.cores --json --socket s",
        "xtreem run app.toml --wait --json --socket s --credential c",
        "xtreem run --wait=10m app.toml",
        "xtreem apps --json",
        "xtreem pub services/web --request --timeout 2s",
        "xtreem topics",
        "xtreem topics storage/osd --limit 5 --json --socket s",
        "xtreem show web",
        "xtreem logs web/3 --lines 7 --follow",
        "xtreem exec web/0 -- ls -l",
        "xtreem exec -t web/0 --socket s --credential c -- sh -c x",
        "xtreem mpirun app.toml",
        "xtreem mpirun app.toml -n 12 --restarts 0 --wait=10m --socket s --credential c -- --map-by node -x A",
        "xtreem mpi-hold",
        "xtreem mpi-head --slots 4 --each 2 -- -n 3 sh -c x",
        "xtreem mpi-daemon orted",
        "xtreem mpi-launch slot3 orted -mca ess env",
        "xtreem stop web",
        "xtreem sim membership --nodes 1000 --rounds 100 --seed 7 --kill 0.8@60 --churn 0.002 --loss 0.01 --json",
        "xtreem sim grid --nodes 1000 --apps 20 --faults kill,cut,split,pause,restart,loss,clock --seed 7 --json",
        "xtreem sim sweep --seeds 0..200 --nodes 1000 --apps 20 --faults none --threads 2 --json",
        "xtreem sim contention --nodes 2000 --requests 200 --slots 8 --scarce 400 --faults loss --seed 1 --json",
        "xtreem demo --json --keep --network loopback",
        "xtreem emulate --hosts 50 --dir grid --json",
        "xtreem example web",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn wrong_command_lines_are_refused() {
    let table = [
        ("xtreem", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("xtreem fly", ErrorKind::InvalidSubcommand),
        ("xtreem run", ErrorKind::MissingRequiredArgument),
        ("xtreem run app.toml --wait=soon", ErrorKind::ValueValidation),
        ("xtreem vo issue", ErrorKind::MissingRequiredArgument),
        ("xtreem vo issue --name a --user b", ErrorKind::ArgumentConflict),
        ("xtreem vo issue --name a --role king", ErrorKind::InvalidValue),
        ("xtreem nodes --limit 0", ErrorKind::ValueValidation),
        ("xtreem nodes --limit 70000", ErrorKind::ValueValidation),
        ("xtreem agent --config a --state-dir b", ErrorKind::ArgumentConflict),
        ("xtreem logs web/x", ErrorKind::ValueValidation),
        ("xtreem exec web/0", ErrorKind::MissingRequiredArgument),
        ("xtreem exec web/0 ls", ErrorKind::UnknownArgument),
        ("xtreem mpirun app.toml --map-by node", ErrorKind::UnknownArgument),
        ("xtreem mpirun app.toml -n 0", ErrorKind::ValueValidation),
        ("xtreem logs web --follow --json", ErrorKind::ArgumentConflict),
        ("xtreem sim membership --kill 0.8", ErrorKind::ValueValidation),
        ("xtreem sim grid --faults kill,fire", ErrorKind::ValueValidation),
        ("xtreem sim grid --nodes many", ErrorKind::ValueValidation),
        ("xtreem sim sweep", ErrorKind::MissingRequiredArgument),
        ("xtreem sim sweep --seeds 9..3", ErrorKind::ValueValidation),
    ];
    for (line, kind) in table {
        assert_eq!(parse(line).map(|_| ()), Err(kind), "{line}");
    }
}

#[test]
fn a_time_that_was_taken_for_the_file_is_told_with_its_equals_sign() {
    let hint = |line: &str| {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse_words(&words).err().and_then(|(_, hint)| hint)
    };
    let meant = Some("a time follows `--wait` after `=`: --wait=3s".to_owned());
    assert_eq!(hint("xtreem run --wait 3s app.toml"), meant);
    assert_eq!(hint("xtreem run app.toml --wait 3s"), meant);
    assert_eq!(hint("xtreem mpirun app.toml --wait 3s"), meant);
    assert_eq!(hint("xtreem run --wait app.toml more.toml"), None);
    assert_eq!(hint("xtreem run --wait 3s --help"), None);
}

#[test]
fn whose_credential_is_issued_is_asked_with_both_answers() {
    let words =
        Cli::try_parse_from(["xtreem", "vo", "issue"]).map(drop).expect_err("nobody is named").to_string();
    assert!(words.contains("--name <NODE>") && words.contains("--user <USER>"), "{words}");
}
