use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn vo() -> VoKey {
    VoKey::create("physics.example").expect("a VO")
}

#[test]
fn identities_survive_their_files_and_only_the_owner_reads_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let vo = vo();
    vo.save(&path("root.pem")).expect("a new file");
    let loaded = VoKey::load(&path("root.pem")).expect("own file");
    assert_eq!(loaded.root(), vo.root());
    let node = loaded.issue_node("node7", 365).expect("an identity");
    node.save(&path("node7.pem")).expect("a new file");
    let again = Identity::load(&path("node7.pem")).expect("own file");
    assert_eq!((again.id(), again.name(), again.roles()), (node.id(), "node7", Roles::NODE));
    assert!(again.leaf().is_some());
    let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("an identity");
    alice.save(&path("alice.pem")).expect("a new file");
    assert!(Identity::load(&path("alice.pem")).expect("own file").leaf().is_none());
    for name in ["root.pem", "node7.pem", "alice.pem"] {
        let mode = fs::metadata(path(name)).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(vo.save(&path(name)).is_err(), "{name} must not be overwritten");
    }
}

#[test]
fn unusable_files_say_what_is_wrong_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("id.pem");
    let message = |write: &dyn Fn()| {
        let _ = fs::remove_file(&path);
        write();
        Identity::load(&path).map(|_| ()).expect_err("an unusable file").to_string()
    };
    let text = |content: &str| {
        fs::write(&path, content).expect("a writable directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
    };
    let vo = vo();
    let whole = |identity: &Identity| {
        identity.save(&path).expect("a new file");
        fs::read_to_string(&path).expect("own file")
    };
    let expired = vo.issue("old", Roles::NODE, 1_700_000_000, 1).expect("an identity");
    let table: [(&dyn Fn(), &str); 8] = [
        (&|| (), "No such file"),
        (&|| text("hello"), "no PEM blocks"),
        (&|| vo.save(&path).expect("a new file"), "is it a VO's root key?"),
        (&|| expired.save(&path).expect("a new file"), "expired on 2023-11-15"),
        (
            &|| {
                expired.save(&path).expect("a new file");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("own file");
            },
            "chmod 600",
        ),
        (
            &|| {
                // The key of one node with everything else of another.
                let (a, b) = (vo.issue_node("a", 1).expect("one"), vo.issue_node("b", 1).expect("two"));
                let (a, b) = (whole(&a), {
                    fs::remove_file(&path).expect("own file");
                    whole(&b)
                });
                let end = "-----END PRIVATE KEY-----";
                let key = &a[..a.find(end).expect("a key block")];
                let rest = &b[b.find(end).expect("a key block")..];
                text(&format!("{key}{rest}"));
            },
            "credential is of another key",
        ),
        (
            &|| {
                let other = VoKey::create("other.example").expect("a VO");
                let mut identity = vo.issue_node("a", 1).expect("an identity");
                identity.ca = other.ca.clone();
                identity.save(&path).expect("a new file");
            },
            "credential is of another VO",
        ),
        (
            &|| {
                let text_of = whole(&vo.issue_node("a", 1).expect("an identity"));
                let cut = text_of.find("-----BEGIN XTREEM").expect("a credential block");
                text(&text_of[..cut]);
            },
            "no credential",
        ),
    ];
    for (write, expected) in table {
        let message = message(write);
        assert!(message.contains(expected) && message.contains("id.pem"), "{expected}: {message}");
    }
}

#[test]
fn who_renews_an_expired_credential_stays_who_he_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("id.pem");
    let vo = vo();
    for roles in [Roles::NODE, Roles::SUBMIT | Roles::ADMIN] {
        let _ = fs::remove_file(&path);
        let old = vo.issue("old", roles, 1_700_000_000, 1).expect("an identity");
        old.save(&path).expect("a new file");
        assert!(matches!(Identity::load(&path), Err(LoadError::Expired { .. })));
        let read = Identity::load_timeless(&path).expect("whole but for its dates");
        let renewed = vo.renew(&read, 30).expect("an identity");
        renewed.replace(&path).expect("own file");
        let now = Identity::load(&path).expect("valid again");
        assert_eq!((now.id(), now.name(), now.roles()), (old.id(), "old", roles));
        assert_eq!(now.leaf().is_some(), roles.has(Roles::NODE));
        assert_eq!(fs::read_dir(dir.path()).expect("own directory").count(), 1, "nothing is left over");
        let mode = fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = VoKey::create("other.example").expect("a VO");
        assert!(matches!(other.renew(&read, 30), Err(MakeError::OtherVo { .. })));
    }
}

#[test]
fn impossible_members_are_not_issued() {
    let vo = vo();
    assert!(matches!(vo.issue_node("n", 0), Err(MakeError::Days { days: 0 })));
    assert!(matches!(vo.issue_node("n", 4_000), Err(MakeError::Days { days: 4_000 })));
    assert!(matches!(vo.issue_node("", 1), Err(MakeError::Claims(_))));
    assert!(matches!(vo.issue_user("u", Roles::NODE, 1), Err(MakeError::NoUserRole)));
}
