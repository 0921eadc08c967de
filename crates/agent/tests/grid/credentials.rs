//! Credentials end while the grid runs, and are renewed.

use xtreem_client::ClientError;

use crate::lab::{Lab, until};
use crate::{all_run, holder, shell};

pub async fn an_application_outlives_its_owners_credential_and_ends_by_a_renewed_one() {
    let mut lab = Lab::of(4).await;
    lab.user_has(6);
    let app = lab.application("lasting", 2, &shell("echo $XTREEM_SLOT runs; exec sleep 600"));
    lab.place(&app).await;
    let (id, client) = (app.record.id.to_string(), lab.agents[0].client.clone());
    until("both slots run", async || client.app(&id).await.is_ok_and(|shown| all_run(&shown))).await;
    let before = client.app(&id).await.expect("it runs");
    until("the owner's credential has ended", async || lab.is_user_over()).await;
    let refused = client.publish(&id, lab.stopped(&app)).await.expect_err("an expired credential");
    assert!(matches!(&refused, ClientError::Refused { status: 403, .. }), "{refused}");
    assert!(refused.to_string().contains("expired"), "{refused}");

    lab.kill(&holder(&before, 1));
    until("another node has the lost slot", async || {
        client.app(&id).await.is_ok_and(|now| all_run(&now) && now.slots[1].epoch > before.slots[1].epoch)
    })
    .await;
    lab.renew_user();
    client.publish(&id, lab.stopped(&app)).await.expect("the same owner");
    until("it is stopped", async || lab.programs().is_empty()).await;
}

pub async fn a_renewed_node_is_the_node_that_it_was() {
    let mut lab = Lab::of(2).await;
    let worker = lab.agents[1].id.clone();
    let app = lab.application("lasting", 1, &shell("exec sleep 600"));
    lab.place(&app).await;
    let (id, client) = (app.record.id.to_string(), lab.agents[0].client.clone());
    until("it runs", async || client.app(&id).await.is_ok_and(|shown| all_run(&shown))).await;

    lab.kill(&worker);
    lab.node_has(&worker, 8);
    let credential = lab.restart(&worker).await.credential;
    assert_eq!(credential.not_after - credential.not_before, 2 * 86_400, "a day and the one before");
    until("it warns", async || lab.agent_log(&worker).contains("this node's credential expires on")).await;
    until("it runs again", async || client.app(&id).await.is_ok_and(|shown| all_run(&shown))).await;
    until("the node's credential has ended, and others believe it no more", async || {
        let silent = client.app(&id).await.is_ok_and(|shown| !all_run(&shown));
        silent && lab.status(&lab.agents[0].id).await.counters["net.expired"] > 0
    })
    .await;
    let status = lab.status(&worker).await;
    let troubles = &status.troubles;
    assert!(troubles.iter().any(|trouble| trouble.contains("credential expired on")), "{troubles:?}");
    assert!(status.is_out_of_date);
    until("both logs say so", async || {
        lab.agent_log(&worker).contains("this node's credential expired on")
            && lab.agent_log(&lab.agents[0].id).contains("the credential of a node has expired")
    })
    .await;
    let refused = lab.agents[1].client.accept_loss().await.expect_err("the other one is well");
    assert!(refused.to_string().contains("dates part this node from the others"), "{refused}");

    lab.kill(&worker);
    lab.node_has(&worker, 86_400);
    let again = lab.restart(&worker).await;
    assert_eq!(again.id, worker);
    until("the slot is the renewed node's, and runs", async || {
        let shown = client.app(&id).await;
        shown.is_ok_and(|shown| all_run(&shown) && holder(&shown, 0) == worker)
    })
    .await;
    assert!(lab.agent_log(&worker).contains("taken up from the disk"));
}
