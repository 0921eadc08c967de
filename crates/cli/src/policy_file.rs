//! A VO's policy as its owner writes it, in TOML.

use serde::Deserialize;
use toml::Spanned;
use xtreem_agent::complaint::{Complaint, Source};
use xtreem_allocation::policy::{Limit, Policy, Rule, Who};
use xtreem_discovery::Requirement;
use xtreem_pubsub::Pattern;
use xtreem_wire::Roles;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: Spanned<u64>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRule {
    name: Spanned<String>,
    #[serde(default)]
    submit: bool,
    nodes_per_application: Option<u16>,
    nodes_per_user: Option<u32>,
    reserve: Option<Spanned<String>>,
    publish: Option<Spanned<String>>,
    subscribe: Option<Spanned<String>>,
    #[serde(default, rename = "for")]
    who: RawWho,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWho {
    #[serde(default)]
    roles: Vec<Spanned<String>>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    keys: Vec<Spanned<String>>,
}

/// Reads and checks a policy.
pub fn parse(source: Source<'_>) -> Result<Policy, Complaint> {
    let Raw { version, rule: rules } = source.toml()?;
    let mut policy = Policy { version: *version.get_ref(), rules: Vec::new() };
    let check =
        |policy: &Policy, span| policy.to_document().map_err(|e| source.complaint(span, e.to_string()));
    check(&policy, version.span())?;
    for raw in rules {
        let span = raw.name.span();
        policy.rules.push(rule(&source, raw)?);
        // Of all rules so far only this one can break what the others keep.
        check(&policy, span)?;
    }
    Ok(policy)
}

fn rule(source: &Source<'_>, raw: RawRule) -> Result<Rule, Complaint> {
    let RawRule { name, submit, nodes_per_application, nodes_per_user, reserve, publish, subscribe, who } =
        raw;
    let topics = |topics: Spanned<String>| match Pattern::new(topics.get_ref().as_str()) {
        Ok(_) => Ok(topics.into_inner()),
        Err(error) => {
            let why = format!("{error}; expected topics as \"a/b\", \"a/*\", \"a/**\" or \"**\"");
            Err(source.complaint(topics.span(), why))
        }
    };
    let limit = match (submit, nodes_per_application, nodes_per_user, reserve, publish, subscribe) {
        (true, None, None, None, None, None) => Limit::Submit,
        (false, Some(max), None, None, None, None) => Limit::NodesPerApplication(max),
        (false, None, Some(max), None, None, None) => Limit::NodesPerUser(max),
        (false, None, None, None, Some(to), None) => Limit::Publish(topics(to)?),
        (false, None, None, None, None, Some(to)) => Limit::Subscribe(topics(to)?),
        (false, None, None, Some(nodes), None, None) => {
            let requirement = Requirement::parse(nodes.get_ref())
                .map_err(|e| source.complaint_inside(nodes.span(), nodes.get_ref(), &e))?;
            Limit::Reserved(requirement.into())
        }
        _ => {
            let why = "a rule has exactly one of `submit = true`, `nodes-per-application`, `nodes-per-user`, \
                       `reserve`, `publish` and `subscribe`";
            return Err(source.complaint(name.span(), why));
        }
    };
    let mut roles = 0;
    for role in who.roles {
        roles |= match role.get_ref().as_str() {
            "node" => Roles::NODE.as_bits(),
            "submit" => Roles::SUBMIT.as_bits(),
            "admin" => Roles::ADMIN.as_bits(),
            other => {
                let why = format!("{other:?} is no role; there are node, submit and admin");
                return Err(source.complaint(role.span(), why));
            }
        };
    }
    let key = |key: Spanned<String>| {
        key.get_ref().parse().map_err(|_| {
            let why = format!("{:?} is no key; `xtreem vo show FILE` prints one as the id", key.get_ref());
            source.complaint(key.span(), why)
        })
    };
    let keys = who.keys.into_iter().map(key).collect::<Result<_, _>>()?;
    Ok(Rule { limit, who: Who { roles, names: who.users, keys }, name: name.into_inner() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, Complaint> {
        super::parse(Source { name: "policy.toml", text })
    }

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

            [[rule]]
            name = "desk"
            publish = "news/**"
            for = { users = ["alice"] }

            [[rule]]
            name = "board"
            subscribe = "plans/**"
            for = { roles = ["admin"] }
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
                "only user alice may publish to news/**",
                "only role admin may subscribe to plans/**",
            ]
        );
    }

    #[test]
    fn mistakes_are_named() {
        let rule = |body: &str| format!("version = 1\n[[rule]]\nname = \"a\"\n{body}");
        let table = [
            ("".to_owned(), (1, 1), "missing key `version`"),
            ("version = 0".to_owned(), (1, 11), "versions begin with 1"),
            (rule(""), (3, 8), "exactly one of"),
            (rule("nodes-per-user = 3\nnodes-per-application = 3"), (3, 8), "exactly one of"),
            (rule("nodes-per-app = 3"), (4, 1), "unknown key `nodes-per-app`"),
            (rule("submit = true"), (3, 8), "for whom"),
            (rule("publish = \"a/**\""), (3, 8), "for whom"),
            (rule("publish = \"a/*/b\"\nfor = { users = [\"a\"] }"), (4, 11), "a star stands alone"),
            (rule("submit = true\nfor = { roles = [\"king\"] }"), (5, 18), "\"king\" is no role"),
            (rule("submit = true\nfor = { keys = [\"12\"] }"), (5, 17), "\"12\" is no key"),
            (rule("reserve = \"gpu.count >=\"\nfor = { users = [\"a\"] }"), (4, 24), "expected a number"),
            (
                rule("nodes-per-user = 3\n[[rule]]\nname = \"a\"\nnodes-per-user = 4"),
                (6, 8),
                "two rules are named \"a\"",
            ),
        ];
        for (text, (line, column), words) in table {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(&format!(" --> policy.toml:{line}:{column}\n")), "{text}: {error}");
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
