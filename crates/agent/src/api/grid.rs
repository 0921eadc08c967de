//! `GET /v1/grid`: what this node knows of all nodes together.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use xtreem_client::api::{GridAttribute, GridBar, GridEstimate, GridReply};
use xtreem_discovery::schema::{Scale, Schema, UNKNOWN};
use xtreem_discovery::{Attributes, Value};
use xtreem_membership::aggregation::{Estimate, Fraction, WHOLE, parts_per};

use super::error::ApiError;
use crate::agent::Agent;

pub(super) async fn grid(State(agent): State<Arc<Agent>>) -> Result<Json<GridReply>, ApiError> {
    let picture = agent.node(|node, now, _| node.grid_estimate(now)).await?;
    let own = agent.attributes();
    let estimate = picture.last.as_ref().zip(picture.schema.as_ref());
    Ok(Json(GridReply {
        vo: agent.net.identity().root().id().to_string(),
        epoch: picture.epoch,
        round: picture.age,
        rounds: picture.rounds,
        estimate: estimate.map(|(estimate, schema)| GridEstimate {
            epoch: estimate.epoch,
            heard: picture.is_heard,
            nodes: estimate.size.nodes,
            nodes_error: f64::from(estimate.size.error_ppm) / 1e6,
            attributes: attributes(estimate, schema, &own),
        }),
    }))
}

fn attributes(estimate: &Estimate, schema: &Schema, own: &Attributes) -> Vec<GridAttribute> {
    let fixed = schema.dimensions().iter().map(|dimension| (&*dimension.name, dimension.scale));
    let dynamic = schema.dynamics().iter().map(|dynamic| (&*dynamic.name, dynamic.scale));
    let all = fixed.chain(dynamic).enumerate();
    all.filter_map(|(at, (name, scale))| attribute(estimate, at, name, scale, own)).collect()
}

fn attribute(
    estimate: &Estimate,
    at: usize,
    name: &str,
    scale: Scale,
    own: &Attributes,
) -> Option<GridAttribute> {
    let error = estimate.curve_error(at)?;
    let bars: Vec<GridBar> = match scale {
        Scale::Category => {
            own.value(name).and_then(|value| own_text(estimate, at, scale, value)).into_iter().collect()
        }
        Scale::Logarithmic | Scale::Linear { .. } => numbers(estimate, at, scale)?,
    };
    let missing = as_part(estimate.share(at, UNKNOWN, UNKNOWN)?);
    let told: f64 = bars.iter().map(|bar| bar.share).sum();
    Some(GridAttribute {
        name: name.to_owned(),
        bars,
        missing,
        // Numbers are all told; what rounding leaves is nobody.
        others: if scale == Scale::Category { (1.0 - told - missing).max(0.0) } else { 0.0 },
        error_max: as_part(error.max),
        error_mean: as_part(error.mean),
    })
}

/// A bar for each bin that has nodes in it.
fn numbers(estimate: &Estimate, at: usize, scale: Scale) -> Option<Vec<GridBar>> {
    let ends = estimate.bounds().rows.get(at)?.codes.into_iter().chain([u16::MAX]);
    let mut low = UNKNOWN + 1;
    let mut bars = Vec::new();
    for high in ends.filter(|end| *end > UNKNOWN) {
        let share = estimate.share(at, low, high)?;
        let number = scale.number_at(low);
        let (value, thousandths) = (number.to_string(), Some(number.as_thousandths()));
        bars.push(bar(estimate, value, thousandths, low == high, share));
        low = high.saturating_add(1);
    }
    bars.retain(|bar| bar.nodes > 0);
    Some(bars)
}

/// How many have the same text or flag as this node: codes of others cannot be turned back into texts.
fn own_text(estimate: &Estimate, at: usize, scale: Scale, value: &Value) -> Option<GridBar> {
    let code = scale.code(value);
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(_) | Value::List(_) => return None,
    };
    Some(bar(estimate, text, None, true, estimate.share(at, code, code)?))
}

fn bar(
    estimate: &Estimate,
    value: String,
    thousandths: Option<i64>,
    exact: bool,
    share: Fraction,
) -> GridBar {
    let nodes = parts_per(estimate.size.nodes.into(), share) as u32;
    GridBar { value, thousandths, exact, nodes, share: as_part(share) }
}

fn as_part(share: Fraction) -> f64 {
    f64::from(share) / f64::from(WHOLE)
}
