use xtreem_client::api::CollectionSpec;

use super::*;

fn web() -> Program {
    Program {
        command: vec!["xtreem".into(), "example".into(), "web".into()],
        env: vec![("GREETING".into(), "hello".into())],
        files: vec![FileRef {
            path: "data/page.html".into(),
            digest: Digest::from_bytes([7; 32]),
            len: 12,
            executable: false,
        }],
        ports: vec![PortRef { name: "http-main".into(), port: 0 }],
        collections: vec![CollectionRef { name: "all".into(), spec: CollectionSpec::Ranks {} }],
        exec: ExecBy::Slots,
    }
}

#[test]
fn a_program_round_trips_through_its_payload() {
    let payload = web().to_payload().unwrap();
    assert_eq!(Program::from_payload(&payload), Ok(web()));
    assert_eq!(web().ports[0].variable(), "XTREEM_PORT_HTTP_MAIN");
}

#[test]
fn a_file_that_says_nothing_of_commands_allows_them_to_its_owner_alone() {
    let program = web();
    let mut e = minicbor::Encoder::new(Vec::new());
    let Program { command, env, files, ports, collections, .. } = &program;
    e.array(5).and_then(|e| e.encode(command)).and_then(|e| e.encode(env)).unwrap();
    e.encode(files).and_then(|e| e.encode(ports)).and_then(|e| e.encode(collections)).unwrap();
    let expected = Program { exec: ExecBy::Owner, ..program.clone() };
    assert_eq!(Program::from_payload(&e.into_writer()), Ok(expected));
    assert_eq!(Program::default().exec, ExecBy::Owner);
}

/// Makes a good program a bad one.
type Break = Box<dyn Fn(&mut Program)>;

#[test]
fn impossible_programs_are_refused() {
    let file = |path: &str| FileRef { path: path.into(), ..web().files[0].clone() };
    let port = |name: &str, port| PortRef { name: name.into(), port };
    let table: Vec<(&str, Break)> = vec![
        ("empty", Box::new(|p| p.command.clear())),
        ("empty", Box::new(|p| p.command[0].clear())),
        ("temporary", Box::new(move |p| p.files[0] = file(".xtreem-tmp/x"))),
        ("zero byte", Box::new(|p| p.command.push("a\0b".into()))),
        ("4096 bytes", Box::new(|p| p.command.push("x".repeat(4_097)))),
        ("too many", Box::new(|p| p.command = vec!["x".into(); 257])),
        ("belong to the agent", Box::new(|p| p.env[0].0 = "XTREEM_TOKEN".into())),
        ("letters, digits", Box::new(|p| p.env[0].0 = "A=B".into())),
        ("digit", Box::new(|p| p.env[0].0 = "1A".into())),
        ("twice", Box::new(|p| p.env.push(p.env[0].clone()))),
        ("inside", Box::new(move |p| p.files[0] = file("../x"))),
        ("inside", Box::new(move |p| p.files[0] = file("/etc/passwd"))),
        ("inside", Box::new(move |p| p.files[0] = file("a//b"))),
        ("inside", Box::new(move |p| p.files[0] = file("a/./b"))),
        ("zero byte", Box::new(move |p| p.files[0] = file("a\0"))),
        ("255 bytes", Box::new(move |p| p.files[0] = file(""))),
        ("below another", Box::new(move |p| p.files = vec![file("a/b"), file("a")])),
        ("twice", Box::new(|p| p.files.push(p.files[0].clone()))),
        ("16 GiB", Box::new(|p| p.files[0].len = FILE_MAX_BYTES + 1)),
        ("letters, digits", Box::new(move |p| p.ports[0] = port("a b", 1))),
        ("twice", Box::new(move |p| p.ports = vec![port("a-b", 1), port("A_b", 2)])),
        ("letters, digits", Box::new(|p| p.collections[0].name = "a b".into())),
        ("given twice", Box::new(|p| p.collections.push(p.collections[0].clone()))),
        ("7 are possible", Box::new(|p| p.collections[0].spec = CollectionSpec::Ring { copies: 8 })),
        ("too many", Box::new(|p| p.collections = vec![p.collections[0].clone(); COLLECTIONS_MAX + 1])),
        ("another port has its number", Box::new(move |p| p.ports = vec![port("a", 1), port("b", 1)])),
    ];
    for (expected, break_it) in table {
        let mut program = web();
        break_it(&mut program);
        let error = program.to_payload().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
        let mut raw = Vec::new();
        minicbor::encode(&program, &mut raw).unwrap();
        assert!(Program::from_payload(&raw).is_err(), "decoded although: {error}");
    }
}

#[test]
fn a_payload_that_is_too_large_is_refused_on_both_sides() {
    let mut program = web();
    program.env = (0..ENV_MAX).map(|i| (format!("V{i}"), "x".repeat(1_000))).collect();
    assert!(matches!(program.to_payload(), Err(ProgramError::TooLarge(_))));
    assert!(matches!(Program::from_payload(&[0; PAYLOAD_MAX_BYTES + 1]), Err(ProgramError::TooLarge(_))));
}

proptest::proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(bytes in proptest::collection::vec(0u8.., 0..300)) {
        let _ = Program::from_payload(&bytes);
    }

    #[test]
    fn a_flipped_bit_is_refused_or_another_good_program(at in 0usize..80, bit in 0u8..8) {
        let mut payload = web().to_payload().unwrap();
        let at = at % payload.len();
        payload[at] ^= 1 << bit;
        if let Ok(program) = Program::from_payload(&payload) {
            program.check().unwrap();
        }
    }
}
