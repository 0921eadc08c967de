use xtreem_discovery::{Number, standard};

use super::*;

const X86: &str = "processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2445.428\nflags\t\t: sse2 fpu avx2\n\n\
                   processor\t: 1\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 1500.000\nflags\t\t: fpu\n";
const ARM: &str = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n";

#[test]
fn cpus_of_two_architectures_are_understood() {
    let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let hertz = |hertz| Some(Number::from_whole(hertz));
    let table = [
        (X86, 2, Some("AMD EPYC"), strings(&["avx2", "fpu", "sse2"]), hertz(2_445_428_000)),
        (ARM, 1, None, strings(&["asimd", "fp"]), None),
        ("", 0, None, vec![], None),
        ("cpu MHz: fast\nflags\nprocessor", 0, None, vec![], None),
    ];
    for (text, cores, model, flags, hertz) in table {
        let expected = parse::Cpu { cores, model: model.map(str::to_owned), flags, hertz };
        assert_eq!(parse::cpu(text), expected);
    }
    assert_eq!(parse::kilohertz("3600000\n"), hertz(3_600_000_000));
    assert_eq!(parse::kilohertz("<unknown>"), None);
}

#[test]
fn memory_is_in_bytes_and_nonsense_is_missing() {
    let table = [
        (
            "MemTotal:  24682416 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n",
            Some(25_274_793_984),
            Some(1 << 20),
        ),
        ("MemTotal: 12\nMemAvailable: -1 kB", None, None),
        ("MemTotal: 99999999999999999 kB", None, None),
        ("", None, None),
    ];
    for (text, total, available) in table {
        assert_eq!(parse::memory(text), parse::Memory { total, available }, "{text}");
    }
}

#[test]
fn load_needs_three_decimals() {
    let number = Number::from_thousandths;
    let table = [
        ("0.02 0.31 12.2 1/85 6779\n", Some([number(20), number(310), number(12_200)])),
        ("1 2 3", Some([number(1_000), number(2_000), number(3_000)])),
        ("0.02 0.31", None),
        ("a b c", None),
        ("1.x 2 3", None),
        ("-1 2 3", None),
        ("", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse::load(text), expected, "{text}");
    }
}

#[test]
fn names_of_operating_systems_lose_their_quotes() {
    let text = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\nVARIANT_ID=''\nBROKEN=\"x\n";
    let table = [
        ("ID", Some("debian")),
        ("VERSION_ID", Some("12")),
        ("NAME", Some("Debian GNU/Linux")),
        ("VARIANT_ID", None),
        ("BROKEN", Some("\"x")),
        ("MISSING", None),
    ];
    for (key, value) in table {
        assert_eq!(parse::release(text, key).as_deref(), value, "{key}");
    }
}

#[test]
fn commands_are_executable_files_of_absolute_directories() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let other = tempfile::tempdir().expect("a temporary directory");
    let make = |dir: &tempfile::TempDir, name: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::write(&path, "").expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    };
    for (name, mode) in [("tool", 0o755), ("data", 0o644), ("also", 0o700)] {
        make(&dir, name, mode);
    }
    make(&other, "tool", 0o755);
    std::os::unix::fs::symlink(other.path().join("tool"), dir.path().join("link")).expect("linked");
    std::os::unix::fs::symlink("/no/where", dir.path().join("dangling")).expect("linked");
    fs::create_dir(dir.path().join("directory")).expect("made");
    let path = format!(".:{}:{}:/no/such/directory:", dir.path().display(), other.path().display());
    assert_eq!(commands(&path), ["also", "link", "tool"]);
}

#[test]
fn too_many_commands_leave_room_for_the_other_attributes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for i in 0..500 {
        let path = dir.path().join(format!("{i:0>100}"));
        fs::write(&path, "").expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let bytes: usize = commands(&dir.path().display().to_string()).iter().map(String::len).sum();
    assert!(bytes < COMMANDS_MAX_BYTES && bytes > COMMANDS_MAX_BYTES - 200, "{bytes}");
}

#[test]
fn this_machine_tells_itself_in_standard_names() {
    let dir = Path::new("/");
    let (statics, dynamics) = (static_attributes(dir), present(dir).dynamic);
    for name in ["arch", "cpu.cores", "disk.total", "kernel", "host", "mem.total"] {
        assert!(statics.value(name).is_some(), "{name}");
    }
    for name in ["disk.free", "load.1m", "mem.free"] {
        assert!(dynamics.value(name).is_some(), "{name}");
    }
    for (attributes, is_dynamic) in [(statics, false), (dynamics, true)] {
        for (name, _) in attributes.iter() {
            assert_eq!(standard::find(name).map(|row| row.dynamic), Some(is_dynamic), "{name}");
        }
    }
}
