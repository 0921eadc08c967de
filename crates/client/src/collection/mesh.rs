//! Ranks in rows and columns.

use std::ops::Deref;

use super::Ranks;
use crate::api::{NeighbourView, RankHolder};
use crate::{ClientError, SlotClient};

/// Members in rows and columns, in as many dimensions as the shape has sides. It has all that [`Ranks`] has.
///
/// With `[collections.plate]`, `kind = "mesh"` and `shape = [2, 4]` in `app.toml`:
/// ```no_run
/// use std::time::Duration;
/// use xtreem_client::SlotClient;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let plate = SlotClient::from_env()?.mesh("plate").await?;
/// plate.settled(Duration::from_secs(60)).await?;
/// println!("at {:?}", plate.at().await?);
/// for neighbour in plate.neighbours().await? {
///     println!("dimension {} way {}: rank {}", neighbour.dimension, neighbour.way, neighbour.rank);
/// }
/// println!("slot {} is in the corner", plate.place(&[0, 0]).await?.slot);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Mesh(Ranks);

impl SlotClient {
    /// Opens a collection of kind `mesh`.
    pub async fn mesh(&self, name: &str) -> Result<Mesh, ClientError> {
        self.opened(name, "mesh").await.map(|collection| Mesh(Ranks::new(collection)))
    }
}

impl Deref for Mesh {
    type Target = Ranks;

    fn deref(&self) -> &Ranks {
        &self.0
    }
}

impl Mesh {
    /// Where this member stands; `None` while it has no rank, or has one that the shape has no place for.
    pub async fn at(&self) -> Result<Option<Vec<u32>>, ClientError> {
        Ok(self.show().await?.place.map(|place| place.at))
    }

    /// Who stands beside this member: at most two in each dimension.
    pub async fn neighbours(&self) -> Result<Vec<NeighbourView>, ClientError> {
        Ok(self.show().await?.place.map(|place| place.neighbours).unwrap_or_default())
    }

    /// Who stands at a place.
    ///
    /// # Errors
    /// Status 404 when nobody does, 503 or 504 when it is not known just now.
    pub async fn place(&self, at: &[u32]) -> Result<RankHolder, ClientError> {
        let at = at.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        self.get(self.asked("/places").and("at", at)).await
    }
}
