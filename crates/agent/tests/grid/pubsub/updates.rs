//! Several last values change at once or not at all, whatever agent is asked, and when one is killed.

use std::path::PathBuf;

use xtreem_client::OperatorClient;
use xtreem_client::pubsub::{Change, HashId, PubSub, PubSubError};

use super::Client;
use crate::lab::{Agent, Lab};
use crate::ring::one_ring;

const FROM: &str = "bank/a";
const TO: &str = "bank/b";

async fn bus(socket: PathBuf) -> PubSub {
    OperatorClient::new(socket).pubsub().await.expect("it listens")
}

fn socket(agent: &Agent) -> PathBuf {
    agent.dir().join("state/control.sock")
}

async fn balance(bus: &mut PubSub, of: &str) -> Result<(HashId, u64), PubSubError> {
    let event = bus.read_value(of).await?.expect("there is a balance");
    Ok((event.id, std::str::from_utf8(&event.payload).expect("text").parse().expect("a number")))
}

/// Moves one from one account to the other, so often; how often it was in vain.
async fn transfers(socket: PathBuf, name: &'static str, count: u32) -> Result<u32, PubSubError> {
    let mut bus = bus(socket).await;
    let (mut done, mut conflicts) = (0, 0);
    while done < count {
        let (from, had) = balance(&mut bus, FROM).await?;
        let (to, has) = balance(&mut bus, TO).await?;
        let changes = [
            Change::set(FROM, (had - 1).to_string().as_bytes()).expect(Some(from)),
            Change::set(TO, (has + 1).to_string().as_bytes()).expect(Some(to)),
        ];
        match bus.update(&format!("{name}-{done}-{conflicts}"), &changes).await {
            Ok(_) => done += 1,
            Err(PubSubError::Refused { code, .. }) if code == "conflict" => conflicts += 1,
            Err(other) => return Err(other),
        }
    }
    Ok(conflicts)
}

pub async fn transfers_by_two_agents_keep_the_sum_and_a_retry_after_a_death_does_nothing_twice() {
    let mut lab = Lab::of(5).await;
    one_ring(&lab).await;
    // As the page for users has it.
    let mut by_hand = Client::of(&lab.agents[4]).await;
    let changes = "\"hand/a\" absent 3\n100\n\"hand/b\" absent 1\n0\n";
    by_hand.say(&format!("UPDATE open-1\nPayload-length: 42\n{changes}\n")).await;
    assert_eq!(by_hand.next().await.split_at(17).0, "OK UPDATE open-1 ");
    by_hand.say("READ \"hand/a\"\n").await;
    let value = by_hand.next().await;
    assert!(value.starts_with("VALUE \"hand/a\" "), "{value}");
    let mut operator = bus(socket(&lab.agents[3])).await;
    let first = [Change::set(FROM, b"1000").expect(None), Change::set(TO, b"0").expect(None)];
    let ids = operator.update("first", &first).await.expect("made");
    assert_eq!(operator.update("first", &first).await.expect("known"), ids);
    let both = [1, 2].map(|nth| transfers(socket(&lab.agents[nth]), ["one", "two"][nth - 1], 15));
    for done in futures_of(both).await {
        done.expect("made");
    }
    assert_eq!(balance(&mut operator, FROM).await.expect("read").1, 970);
    assert_eq!(balance(&mut operator, TO).await.expect("read").1, 30);
    // Each change comes once, as an event.
    let mut watcher = Client::of(&lab.agents[0]).await;
    watcher.say(&format!("SUBSCRIBE \"{TO}\"\n")).await;
    assert_eq!((watcher.next().await, watcher.next().await), ("30".into(), format!("OK SUBSCRIBE \"{TO}\"")));
    // One agent dies while it is at it; the last update of its client is repeated at another one.
    let id = lab.agents[1].id.clone();
    let dying = tokio::spawn(transfers(socket(&lab.agents[1]), "dying", 10_000));
    for number in 31..36 {
        assert_eq!(watcher.next().await, number.to_string());
    }
    lab.kill(&id);
    assert!(dying.await.expect("it ends").is_err());
    let mut other = bus(socket(&lab.agents[2])).await;
    // A part of the ring has no owner for a moment.
    let (from, to) = loop {
        match (balance(&mut other, FROM).await, balance(&mut other, TO).await) {
            (Ok(from), Ok(to)) if from.1 + to.1 == 1_000 => break (from, to),
            _ => {}
        }
    };
    assert!(to.1 >= 35, "{to:?}");
    let changes = [
        Change::set(FROM, (from.1 - 1).to_string().as_bytes()).expect(Some(from.0)),
        Change::set(TO, (to.1 + 1).to_string().as_bytes()).expect(Some(to.0)),
    ];
    let mut ids = Vec::new();
    for agent in [2, 3, 4, 2] {
        let mut bus = bus(socket(&lab.agents[agent])).await;
        loop {
            match bus.update("again", &changes).await {
                Ok(made) => break ids.push(made),
                Err(PubSubError::Refused { code, words }) => {
                    assert_eq!(code, "indefinite", "{words}");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(ids.iter().all(|it| *it == ids[0]), "{ids:?}");
    assert_eq!(balance(&mut other, FROM).await.expect("read").1, from.1 - 1);
    assert_eq!(balance(&mut other, TO).await.expect("read").1, to.1 + 1);
}

/// Both at once.
async fn futures_of<T: Send + 'static>(both: [impl Future<Output = T> + Send + 'static; 2]) -> [T; 2] {
    let [one, two] = both.map(tokio::spawn);
    [one.await.expect("it ends"), two.await.expect("it ends")]
}
