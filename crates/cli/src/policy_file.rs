//! A VO's policy as its owner writes it, in TOML.

use serde::Deserialize;
use xtreem_allocation::policy::{Limit, Policy, PolicyError, Rule, Who};
use xtreem_discovery::Requirement;
use xtreem_wire::Roles;

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(
        "rule {0:?}: exactly one of `submit = true`, `nodes-per-application`, `nodes-per-user` and `reserve` is needed"
    )]
    What(String),
    #[error("rule {rule:?}: {role:?} is no role; there are node, submit and admin")]
    Role { rule: String, role: String },
    #[error("rule {rule:?}: {key:?} is no key; `xtreem vo show FILE` prints one as the id")]
    Key { rule: String, key: String },
    #[error("rule {rule:?}: the requirement: {reason}")]
    Requirement { rule: String, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: u64,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRule {
    name: String,
    #[serde(default)]
    submit: bool,
    nodes_per_application: Option<u16>,
    nodes_per_user: Option<u32>,
    reserve: Option<String>,
    #[serde(default, rename = "for")]
    who: RawWho,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWho {
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
}

/// Reads and checks a policy.
pub fn parse(text: &str) -> Result<Policy, FileError> {
    let raw: Raw = toml::from_str(text)?;
    let rules = raw.rule.into_iter().map(rule).collect::<Result<_, _>>()?;
    let policy = Policy { version: raw.version, rules };
    policy.to_document()?;
    Ok(policy)
}

fn rule(raw: RawRule) -> Result<Rule, FileError> {
    let RawRule { name, submit, nodes_per_application, nodes_per_user, reserve, who } = raw;
    let limit = match (submit, nodes_per_application, nodes_per_user, reserve) {
        (true, None, None, None) => Limit::Submit,
        (false, Some(max), None, None) => Limit::NodesPerApplication(max),
        (false, None, Some(max), None) => Limit::NodesPerUser(max),
        (false, None, None, Some(nodes)) => {
            let requirement = Requirement::parse(&nodes)
                .map_err(|error| FileError::Requirement { rule: name.clone(), reason: error.to_string() })?;
            Limit::Reserved(requirement.into())
        }
        _ => return Err(FileError::What(name)),
    };
    let mut roles = 0;
    for role in who.roles {
        roles |= match role.as_str() {
            "node" => Roles::NODE.as_bits(),
            "submit" => Roles::SUBMIT.as_bits(),
            "admin" => Roles::ADMIN.as_bits(),
            _ => return Err(FileError::Role { rule: name, role }),
        };
    }
    let key = |key: String| key.parse().map_err(|_| FileError::Key { rule: name.clone(), key });
    let keys = who.keys.into_iter().map(key).collect::<Result<_, _>>()?;
    Ok(Rule { limit, who: Who { roles, names: who.users, keys }, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_rule_is_read() {
        let policy = parse(
            r#"
            version = 3

            [[rule]]
            name = "members"
            submit = true
            for = { roles = ["submit", "admin"] }

            [[rule]]
            name = "size"
            nodes-per-application = 64

            [[rule]]
            name = "students"
            nodes-per-user = 20
            for = { users = ["bob"] }

            [[rule]]
            name = "gpu-for-ml"
            reserve = "gpu.count >= 1"
            for = { users = ["alice"], keys = ["00112233445566778899aabbccddeeff"] }
            "#,
        )
        .expect("a good policy");
        let says: Vec<_> = policy.rules.iter().filter_map(|rule| policy.describe(&rule.name)).collect();
        assert_eq!(
            says,
            [
                "only role submit, role admin may submit applications",
                "an application may hold 64 nodes",
                "each user (of user bob) may hold 20 nodes in all",
                "nodes with gpu.count >= 1 are reserved for user alice, key 00112233445566778899aabbccddeeff",
            ]
        );
    }

    #[test]
    fn mistakes_are_named() {
        let rule = |body: &str| format!("version = 1\n[[rule]]\nname = \"a\"\n{body}");
        let table = [
            ("".to_owned(), "version"),
            ("version = 0".to_owned(), "versions begin with 1"),
            (rule(""), "exactly one of"),
            (rule("nodes-per-user = 3\nnodes-per-application = 3"), "exactly one of"),
            (rule("nodes-per-app = 3"), "nodes-per-app"),
            (rule("submit = true"), "for whom"),
            (rule("submit = true\nfor = { roles = [\"king\"] }"), "\"king\" is no role"),
            (rule("submit = true\nfor = { keys = [\"12\"] }"), "\"12\" is no key"),
            (rule("reserve = \"gpu.count >=\"\nfor = { users = [\"a\"] }"), "the requirement"),
        ];
        for (text, words) in table {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
