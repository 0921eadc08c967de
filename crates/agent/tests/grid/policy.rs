//! A VO's policy on real agents: signed once, in force everywhere, kept over a restart.

use xtreem_allocation::policy::{Limit, Rule, Who};
use xtreem_client::ClientError;
use xtreem_client::api::{PolicyReply, ProgressLine};

use crate::lab::{Lab, until};
use crate::shell;

fn rule(name: &str, limit: Limit, users: &[&str]) -> Rule {
    let names = users.iter().map(|user| (*user).to_owned()).collect();
    Rule { name: name.to_owned(), limit, who: Who { names, ..Who::default() } }
}

fn workers() -> Limit {
    Limit::Reserved("role == \"worker\"".into())
}

fn refused(result: Result<PolicyReply, ClientError>, status: u16) {
    let error = result.expect_err("a refusal");
    assert_eq!(error.status(), Some(status), "{error}");
}

impl Lab {
    async fn set_policy(&self, version: u64, rules: Vec<Rule>) {
        let reply = self.agents[1].client.set_policy(self.policy(version, rules)).await.expect("in force");
        assert_eq!(reply.policy.map(|policy| policy.version), Some(version));
        self.all_have(version).await;
    }

    async fn all_have(&self, version: u64) {
        until("the policy is in force everywhere", async || {
            for agent in &self.agents {
                let policy = agent.client.policy().await.ok().and_then(|reply| reply.policy);
                if policy.is_none_or(|policy| policy.version != version) {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

pub async fn a_policy_is_in_force_everywhere_and_its_refusals_name_the_rule() {
    let mut lab = Lab::of(3).await;
    assert_eq!(lab.agents[0].client.policy().await.expect("an answer").policy, None);
    lab.set_policy(1, vec![rule("size", Limit::NodesPerApplication(1), &[])]).await;
    let error = lab.try_submit(&lab.application("two", 2, &shell("true"))).await.unwrap_err();
    let words = "refused by VO rule \"size\": an application may hold 1 node, and this one wants 2";
    assert_eq!((error.status(), error.to_string().as_str()), (Some(403), words));

    // Whom the nodes are reserved for is in the credential that signed the application.
    lab.set_policy(2, vec![rule("workers-for-bob", workers(), &["bob"])]).await;
    let why = "nodes with role == \"worker\" are reserved for user bob";
    until("the report names the rule for both workers", async || {
        let lines = lab.submit(&lab.application("one", 1, &shell("exec sleep 600"))).await;
        let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
        let told = report.forbidden.iter().map(|kept| (&*kept.rule, kept.count, kept.why.as_deref()));
        told.eq([("workers-for-bob", 2, Some(why))])
    })
    .await;
    lab.set_policy(3, vec![rule("workers-for-alice", workers(), &["alice"])]).await;
    let lines = lab.place(&lab.application("one", 1, &shell("exec sleep 600"))).await;
    assert!(matches!(lines.last(), Some(ProgressLine::Complete { running: 1, .. })), "{lines:?}");

    let client = &lab.agents[2].client;
    refused(client.set_policy(lab.policy(2, vec![])).await, 409);
    let same = vec![rule("workers-for-alice", workers(), &["alice"])];
    client.set_policy(lab.policy(3, same)).await.expect("the very same policy does no harm");
    // One of the two digests is the higher one: neither other policy of this version may come in.
    for rules in [vec![], vec![rule("size", Limit::NodesPerApplication(1), &[])]] {
        let error = client.set_policy(lab.policy(3, rules)).await.expect_err("a second one of version 3");
        let words = "another policy of version 3 is in force: two policies never share a version";
        assert_eq!((error.status(), error.to_string().as_str()), (Some(409), words));
    }
    refused(client.set_policy(Lab::stranger().policy(9, vec![])).await, 403);
    refused(client.set_policy(vec![1, 2, 3]).await, 400);
    let last = lab.agents[2].id.clone();
    lab.terminate(&last).await;
    lab.restart(&last).await;
    lab.all_have(3).await;
}

pub async fn a_user_who_holds_enough_is_refused_more_until_some_end() {
    let lab = Lab::of(4).await;
    lab.set_policy(1, vec![rule("fair", Limit::NodesPerUser(2), &["alice"])]).await;
    let first = lab.application("first", 2, &shell("exec sleep 600"));
    lab.place(&first).await;
    let lines = lab.submit(&lab.application("second", 1, &shell("exec sleep 600"))).await;
    let Some(ProgressLine::Failed { error }) = lines.last() else { panic!("{lines:?}") };
    let words = "refused by VO rule \"fair\": a user may hold 2 nodes in all; 2 are held already, and 1 more is wanted";
    assert_eq!(error.error, words);
    let id = first.record.id.to_string();
    lab.agents[0].client.publish(&id, lab.stopped(&first)).await.expect("stopped");
    until("the user has room again", async || {
        let lines = lab.submit(&lab.application("second", 1, &shell("exec sleep 600"))).await;
        matches!(lines.last(), Some(ProgressLine::Complete { running: 1, .. }))
    })
    .await;
}

/// Two nodes that did not know of each other were given two policies of one version.
pub async fn two_policies_of_one_version_are_told_on_every_node_that_saw_both() {
    let mut lab = Lab::stranger();
    let rules = |max| vec![rule("size", Limit::NodesPerApplication(max), &[])];
    for number in 0..2 {
        let signed = lab.policy(7, rules(number + 1));
        lab.start_with_policy(number as usize, &signed).await;
    }
    until("both have the same one and say that there are two", async || {
        let mut digests = Vec::new();
        for agent in &lab.agents {
            let node = agent.client.node().await.expect("an answer");
            let policy = agent.client.policy().await.expect("an answer").policy.expect("a policy");
            let is_told = node.troubles.iter().any(|trouble| trouble.contains("with version = 8"));
            if !is_told || policy.rival.is_none() || !agent.log().contains("two policies of version 7") {
                return false;
            }
            digests.push(policy.digest);
        }
        digests[0] == digests[1]
    })
    .await;
}
