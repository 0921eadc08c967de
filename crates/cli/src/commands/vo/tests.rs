use super::*;

fn in_directory(work: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().expect("a directory");
    work(directory.path());
}

fn issue_to(
    dir: &Path,
    name: Option<&str>,
    user: Option<&str>,
    role: Option<Role>,
    out: &Path,
) -> Result<Exit, Failure> {
    issue(&Issue {
        name: name.map(str::to_owned),
        user: user.map(str::to_owned),
        role,
        days: 30,
        dir: Some(dir.to_owned()),
        out: Some(out.to_owned()),
        json: true,
    })
}

#[test]
fn a_vo_issues_credentials_that_its_root_believes() {
    in_directory(|directory| {
        let vo = directory.join("vo");
        let create = Create { name: "physics.example".to_owned(), dir: Some(vo.clone()), json: true };
        assert_eq!(super::create(&create), Ok(Exit::Success));
        let again = super::create(&create).expect_err("keys are never overwritten");
        assert_eq!(again.exit, Exit::Usage, "{again}");
        let (node, user) = (directory.join("n.pem"), directory.join("u.pem"));
        assert_eq!(issue_to(&vo, Some("node7"), None, None, &node), Ok(Exit::Success));
        assert_eq!(issue_to(&vo, None, Some("alice"), Some(Role::Admin), &user), Ok(Exit::Success));
        let root = VoKey::load(&vo.join(ROOT)).expect("own file").root();
        let (node, user) =
            (Identity::load(&node).expect("own file"), Identity::load(&user).expect("own file"));
        assert_eq!((node.root(), user.root()), (&root, &root));
        assert_eq!(role_names(node.roles()), ["node"]);
        assert_eq!(role_names(user.roles()), ["submit", "admin"]);
    });
}

#[test]
fn roles_belong_to_nodes_or_to_users() {
    assert!(roles(false, Some(Role::Submit)).is_err() && roles(true, Some(Role::Node)).is_err());
    assert_eq!(roles(false, None), Ok(None));
    assert_eq!(roles(true, None), Ok(Some(Roles::SUBMIT)));
}

#[test]
fn the_only_vo_is_found_and_several_are_refused_with_the_choices() {
    in_directory(|directory| {
        let none = only_vo(&directory.join("none")).expect_err("no VO");
        assert!(none.to_string().contains("vo create"), "{none}");
        for name in ["a.example", "b.example"] {
            let root = directory.join(name);
            fs::create_dir(&root).expect("a directory");
            fs::write(root.join(ROOT), "").expect("a file");
            if name == "a.example" {
                assert_eq!(only_vo(directory), Ok(root));
            }
        }
        let several = only_vo(directory).expect_err("two VOs");
        assert!(several.message.contains("a.example") && several.message.contains("b.example"));
    });
}

#[test]
fn names_that_could_leave_their_directory_are_refused() {
    for name in ["", "..", ".hidden", "a/b", "-x", "a b", &"n".repeat(49)] {
        assert!(check_name(name).is_err(), "{name}");
    }
    assert_eq!(check_name("node-7_b.example"), Ok(()));
}

#[test]
fn a_renewed_credential_has_the_id_of_the_old_one() {
    in_directory(|directory| {
        let vo = directory.join("vo");
        let create = Create { name: "physics.example".to_owned(), dir: Some(vo.clone()), json: true };
        super::create(&create).expect("a VO");
        let (file, new) = (directory.join("u.pem"), directory.join("new.pem"));
        issue_to(&vo, None, Some("alice"), Some(Role::Admin), &file).expect("a credential");
        let old = Identity::load(&file).expect("own file");
        let renew = |days, out: Option<&Path>| {
            let (out, dir) = (out.map(Path::to_owned), Some(vo.clone()));
            super::renew(&Renew { file: file.clone(), days, dir, out, json: true })
        };
        renew(90, Some(&new)).expect("a new file");
        assert_eq!(renew(90, Some(&new)).expect_err("keys are never overwritten").exit, Exit::Usage);
        assert_eq!(Identity::load(&file).expect("as it was").member().not_after(), old.member().not_after());
        renew(60, None).expect("in its place");
        for (file, days) in [(&new, 90), (&file, 60)] {
            let renewed = Identity::load(file).expect("own file");
            assert_eq!((renewed.id(), renewed.name(), renewed.roles()), (old.id(), "alice", old.roles()));
            assert!(renewed.member().not_after() >= old.member().not_after() + (days - 31) * 86_400);
        }
        let (real, link) = (directory.join("real.pem"), &file);
        fs::rename(link, &real).expect("moved");
        std::os::unix::fs::symlink("real.pem", link).expect("a link");
        renew(70, None).expect("in its place");
        assert!(link.is_symlink());
        let renewed = Identity::load(&real).expect("own file");
        assert!(renewed.member().not_after() >= old.member().not_after() + 39 * 86_400);
        let shorter = renew(3, None).expect_err("60 days are left").to_string();
        assert!(shorter.contains("give more days"), "{shorter}");
        assert!(renew(0, None).expect_err("no days").to_string().contains("0 days"));
    });
}

#[test]
fn a_line_is_renewed_by_a_line_and_the_key_stays() {
    in_directory(|directory| {
        let vo = directory.join("vo");
        let create = Create { name: "physics.example".to_owned(), dir: Some(vo.clone()), json: true };
        super::create(&create).expect("a VO");
        let file = directory.join("n.pem");
        issue_to(&vo, Some("node7"), None, None, &file).expect("a credential");
        let old = Identity::load(&file).expect("own file");
        let answer =
            root_key(Some(&vo)).expect("a key").renew_text(&old.public_text(), 90).expect("of this VO");
        let accept_line = |text: String, out: &Path| {
            let (text, state_dir) = (Some(text), directory.join("none"));
            invite::accept(&invite::Accept { text, state_dir, out: Some(out.to_owned()) })
        };
        let accept = |out: &Path| accept_line(answer.to_text(), out);
        assert_eq!(accept(&file), Ok(Exit::Success));
        let new = Identity::load(&file).expect("own file");
        assert_eq!(new.id(), old.id());
        assert!(new.member().not_after() > old.member().not_after());
        let pasted = format!("echo {} | xtreem vo accept --out FILE\n", answer.to_text());
        assert_eq!(accept_line(pasted, &file), Ok(Exit::Success), "with the command around it");
        let asked = accept_line(old.public_text(), &file).expect_err("it is to be renewed first");
        assert!(asked.to_string().contains("no renewal yet"), "{asked}");
        let missing = accept(&directory.join("other.pem")).expect_err("no such file");
        assert!(missing.to_string().contains("other.pem"), "{missing}");
        let line = Renew { file: old.public_text().into(), days: 90, dir: Some(vo), out: None, json: true };
        assert_eq!(renew(&line), Ok(Exit::Success));
        let indented =
            Renew { file: format!(" {}", old.public_text()).into(), dir: line.dir.clone(), ..line };
        assert_eq!(renew(&indented), Ok(Exit::Success));
        let again = Renew { file: answer.to_text().into(), dir: indented.dir.clone(), ..indented };
        assert!(renew(&again).expect_err("a renewal").to_string().contains("a renewal already"));
        let line = Renew { file: old.public_text().into(), ..again };
        let out = Renew { out: Some(file), ..line };
        assert_eq!(renew(&out).expect_err("a line has no key").exit, Exit::Usage);
    });
}

#[test]
fn a_state_directory_that_cannot_be_used_is_to_be_named_by_the_option() {
    in_directory(|directory| {
        let file = directory.join("file");
        fs::write(&file, "").expect("written");
        let identity =
            VoKey::create("physics.example").and_then(|vo| vo.issue_node("node7", 1)).expect("a node");
        let invitation = xtreem_net::Invitation { identity, join: vec!["127.0.0.1:7227".to_owned()] };
        let text = Some(invitation.to_text().expect("text"));
        let failure =
            invite::accept(&invite::Accept { text, state_dir: file, out: None }).expect_err("a file");
        let words = failure.to_string();
        assert!(words.contains("name a writable one as `--state-dir`"), "{words}");
    });
}
