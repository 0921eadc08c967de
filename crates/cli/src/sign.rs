//! Records that a user signs: new applications, and the word that stops one.

use std::sync::Arc;

use xtreem_allocation::{Application, Record, Wanted};
use xtreem_base::{AppId, Digest, NodeId};
use xtreem_client::OperatorClient;
use xtreem_client::api::RecordView;
use xtreem_net::{Identity, sign_record};

use crate::app_file::AppFile;
use crate::exit::{Exit, Failure};

/// A new application with a fresh id, signed by `user`, to be submitted through the node `submitter`.
pub fn application(app: &AppFile, user: &Identity, submitter: NodeId) -> Result<Application, Failure> {
    let spec = app.spec().map_err(Failure::usage)?;
    let encoded = encoded(&spec)?;
    let mut record = Record {
        id: fresh_id()?,
        owner: user.id(),
        name: app.name.clone(),
        spec_digest: Digest::from_bytes(*blake3::hash(&encoded).as_bytes()),
        slots: app.nodes,
        generation: 1,
        wanted: Wanted::Running,
        proof: Arc::from([]),
        submitter,
    };
    sign_record(user, &mut record);
    Ok(Application { record, spec: Arc::new(spec) })
}

/// The node behind an agent: it places what is submitted through it.
pub async fn submitter(client: &OperatorClient) -> Result<NodeId, Failure> {
    let id = client.node().await?.id;
    id.parse().map_err(|_| Failure::new(Exit::Failed, "the agent's answer has a wrong node id"))
}

/// The record that stops the application of `current` for good.
pub fn stopped(current: &RecordView, user: &Identity) -> Result<Record, Failure> {
    let wrong = |what: &str| Failure::new(Exit::Failed, format!("the agent's answer has a wrong {what}"));
    let mut record = Record {
        id: current.id.parse().map_err(|_| wrong("application id"))?,
        owner: current.owner.parse().map_err(|_| wrong("owner"))?,
        name: current.name.clone(),
        spec_digest: current.spec_digest.parse().map_err(|_| wrong("digest"))?,
        slots: current.slots,
        generation: current.generation.saturating_add(1),
        wanted: Wanted::Stopped,
        proof: Arc::from([]),
        submitter: current.submitter.parse().map_err(|_| wrong("submitter"))?,
    };
    sign_record(user, &mut record);
    Ok(record)
}

/// CBOR of a value.
pub fn encoded<T: minicbor::Encode<()>>(value: &T) -> Result<Vec<u8>, Failure> {
    minicbor::to_vec(value).map_err(|e| Failure::new(Exit::Failed, format!("cannot be encoded: {e}")))
}

fn fresh_id() -> Result<AppId, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(Exit::Failed, format!("the system gives no random bytes: {e}")))?;
    Ok(AppId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use xtreem_agent::program::Program;
    use xtreem_allocation::{Resources, Restart};
    use xtreem_client::api::WantedView;
    use xtreem_net::{Roles, VoKey, verify_record, verify_spec};

    fn app() -> AppFile {
        AppFile {
            name: "web".to_owned(),
            nodes: 6,
            requirement: "cpu.cores >= 4".parse().expect("a requirement"),
            placement: String::new(),
            set: None,
            resources: Resources::SLOT_DEFAULT,
            colocate: false,
            restart: Restart::OnFailure,
            program: Program { command: vec!["true".to_owned()], ..Program::default() },
            files: Vec::new(),
        }
    }

    #[test]
    fn nodes_believe_what_the_command_signs() {
        let vo = VoKey::create("physics.example").expect("a VO");
        let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
        let application = application(&app(), &alice, NodeId::from_bytes([3; 16])).expect("an application");
        assert_eq!(verify_record(&vo.root(), now, &application.record), Ok(()));
        assert_eq!(verify_spec(&application), Ok(()));
        let bytes = encoded(&application).expect("bytes");
        assert_eq!(minicbor::decode::<Application>(&bytes).expect("own bytes"), application);

        let running = &application.record;
        let view = RecordView {
            id: running.id.to_string(),
            owner: running.owner.to_string(),
            name: running.name.clone(),
            spec_digest: running.spec_digest.to_string(),
            slots: running.slots,
            generation: running.generation,
            wanted: WantedView::Running,
            submitter: running.submitter.to_string(),
        };
        let stopped = stopped(&view, &alice).expect("a record");
        assert_eq!(verify_record(&vo.root(), now, &stopped), Ok(()));
        assert!(stopped.is_stopped() && stopped.version() > running.version());
    }

    #[test]
    fn every_submission_has_its_own_id() {
        let alice = VoKey::create("v").expect("a VO").issue_user("alice", Roles::SUBMIT, 1).expect("a user");
        let id =
            || application(&app(), &alice, NodeId::from_bytes([3; 16])).expect("an application").record.id;
        assert_ne!(id(), id());
    }
}
