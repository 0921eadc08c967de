//! The members of an application as sources of files, and the files that a guardian keeps.

use std::io;
use std::sync::Arc;

use xtreem_allocation::Spec;
use xtreem_base::AppId;
use xtreem_net::{Contact, Named, Service};

use crate::agent::Agent;
use crate::deploy::{self, Peers, Reader, Writer};
use crate::program::Program;

/// The nodes of one application, as sources of files.
pub(crate) struct Members<'a> {
    pub(crate) agent: &'a Arc<Agent>,
    pub(crate) app: AppId,
}

/// Members asked for at a time.
const MEMBERS_SAMPLED: usize = 8;

impl Peers for Members<'_> {
    async fn open(&self, source: Contact) -> io::Result<(Reader, Writer)> {
        let opened = self.agent.net.open(source, Service::PIECES).await;
        let (send, receive) = opened.map_err(io::Error::other)?;
        Ok((Box::new(receive), Box::new(send)))
    }

    async fn more(&self) -> Vec<Contact> {
        let app = self.app;
        let peers = self.agent.net.call_named(move |node, _, _| node.app_peers(app, MEMBERS_SAMPLED)).await;
        // A node that has stopped knows no members.
        let Ok(Named { what: peers, contacts }) = peers else { return Vec::new() };
        contacts.all_of(peers).map(|(_, contact)| contact).collect()
    }
}

/// Rounds in which a guardian asks for an application's files; each ends after some seconds without a new
/// piece. Our guess: the holders of a fresh application are still fetching them themselves.
const KEEP_ROUNDS: u32 = 5;

/// Brings the files of an application that this node guards into its store, so that the application can be
/// started again when all its holders have died.
pub(crate) fn keep_files(agent: &Arc<Agent>, app: AppId, spec: Arc<Spec>, sources: Vec<Contact>) {
    let agent = agent.clone();
    tokio::spawn(async move {
        let Ok(program) = Program::from_payload(&spec.payload) else { return };
        let members = Members { agent: &agent, app };
        let mut rng = crate::agent::random();
        for round in 1..=KEEP_ROUNDS {
            match deploy::fetch_all(&agent.store, &members, &program.files, &sources, &mut rng, &|| {}).await
            {
                Ok(()) => return tracing::debug!(?app, "the files of a guarded application are here"),
                Err(missing) if round == KEEP_ROUNDS => {
                    tracing::warn!(?app, %missing, "guarded without its files")
                }
                Err(_) => {}
            }
        }
    });
}
