//! The grid as a whole, drawn.

use xtreem_client::api::{GridAttribute, GridBar, GridReply};
use xtreem_discovery::standard::{self, Kind, Unit};

use super::nodes::number;
use super::{Table, count};

/// Most bars that are drawn of one attribute; the lowest neighbours are joined until they are no more.
const BARS_MAX: usize = 16;
/// Characters of the longest bar.
const BAR_LEN: f64 = 40.0;

/// Size, VO and the distribution of each attribute.
pub fn grid(grid: &GridReply) -> String {
    let Some(estimate) = &grid.estimate else {
        let running = match grid.epoch {
            0 => "none has begun".to_owned(),
            epoch => format!("round {} of {} of epoch {epoch} runs", grid.round, grid.rounds),
        };
        return format!(
            "VO  {}\n\nHow many nodes there are is not known yet: no epoch has ended here ({running}).\n",
            grid.vo
        );
    };
    let size =
        format!("about {}, ± {}", count(estimate.nodes as usize, "node"), percent(estimate.nodes_error));
    let mut text = Table::new(["grid", &size]);
    text.row(["VO", &grid.vo]);
    let now = format!("{}; round {} of {} of epoch {}", estimate.epoch, grid.round, grid.rounds, grid.epoch);
    text.row(["as of epoch".to_owned(), format!("{now} runs")]);
    if estimate.heard {
        text.row(["source", "one other node: no epoch has ended here yet"]);
    }
    let attributes: String =
        estimate.attributes.iter().map(|one| format!("\n{}", attribute(one, estimate.nodes))).collect();
    format!("{text}{attributes}")
}

fn attribute(attribute: &GridAttribute, nodes: u32) -> String {
    let name = &attribute.name;
    let mut rows: Vec<(String, u32, f64)> = joined(&attribute.bars)
        .iter()
        .map(|bar| {
            let label = match bar.thousandths {
                // A bin that begins between two whole numbers begins with the upper one.
                Some(thousandths) if !bar.exact && is_counted(name) => {
                    (thousandths + 999).div_euclid(1_000).to_string()
                }
                Some(thousandths) => number(name, thousandths, &bar.value),
                None => bar.value.clone(),
            };
            (if bar.exact { label } else { format!("from {label}") }, bar.nodes, bar.share)
        })
        .collect();
    for (label, share) in [("others", attribute.others), ("without it", attribute.missing)] {
        rows.push((label.to_owned(), (share * f64::from(nodes)).round() as u32, share));
    }
    rows.retain(|(_, nodes, _)| *nodes > 0);
    let most = rows.iter().map(|(_, _, share)| *share).fold(f64::MIN_POSITIVE, f64::max);
    let error = format!("± {} at most", percent(attribute.error_max));
    let mut table = Table::new([name, "NODES", "SHARE", &error]);
    for (label, nodes, share) in rows {
        let len = (share / most * BAR_LEN).ceil() as usize;
        table.row([label, nodes.to_string(), percent(share), "█".repeat(len)]);
    }
    table.to_string()
}

/// Whether the attribute is a number of things; loads are the standard numbers that are not.
fn is_counted(name: &str) -> bool {
    let is_plain = standard::find(name).is_some_and(|known| known.kind == Kind::Number(Unit::Plain));
    is_plain && !name.starts_with("load.")
}

/// Bars next to each other are put together, the lowest first.
fn joined(bars: &[GridBar]) -> Vec<GridBar> {
    let mut bars = bars.to_vec();
    while bars.len() > BARS_MAX {
        let pairs = bars.windows(2).map(|pair| pair[0].nodes.saturating_add(pair[1].nodes));
        let lowest = pairs.enumerate().min_by_key(|(_, nodes)| *nodes);
        let Some((at, _)) = lowest else { break };
        let next = bars.remove(at + 1);
        let bar = &mut bars[at];
        (bar.nodes, bar.share, bar.exact) = (bar.nodes + next.nodes, bar.share + next.share, false);
    }
    bars
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use xtreem_client::api::GridEstimate;

    use super::*;

    fn bar(value: &str, thousandths: Option<i64>, nodes: u32) -> GridBar {
        GridBar { value: value.into(), thousandths, exact: true, nodes, share: f64::from(nodes) / 100.0 }
    }

    fn reply(attributes: Vec<GridAttribute>) -> GridReply {
        let estimate = GridEstimate { epoch: 6, heard: false, nodes: 100, nodes_error: 0.012, attributes };
        GridReply { vo: "ab".into(), epoch: 7, round: 4, rounds: 30, estimate: Some(estimate) }
    }

    fn cores(bars: Vec<GridBar>) -> GridAttribute {
        let name = "cpu.cores".to_owned();
        GridAttribute { name, bars, missing: 0.05, others: 0.0, error_max: 0.004, error_mean: 0.001 }
    }

    #[test]
    fn the_grid_is_drawn_with_counts_shares_and_errors() {
        let bars = vec![bar("4", Some(4_000), 60), bar("16 \u{1b}", Some(16_000), 35)];
        let text = grid(&reply(vec![cores(bars)]));
        let expected = format!(
            "grid         about 100 nodes, ± 1.2 %\n\
             VO           ab\n\
             as of epoch  6; round 4 of 30 of epoch 7 runs\n\
             \n\
             cpu.cores   NODES  SHARE   ± 0.4 % at most\n\
             4           60     60.0 %  {}\n\
             16 ?        35     35.0 %  {}\n\
             without it  5      5.0 %   {}\n",
            "█".repeat(40),
            "█".repeat(24),
            "█".repeat(4)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_counted_begins_with_whole_numbers() {
        let from = |name: &str, thousandths: i64| {
            let bars = vec![GridBar { exact: false, ..bar("1.024", Some(thousandths), 60) }];
            attribute(&GridAttribute { name: name.into(), ..cores(bars) }, 100)
        };
        assert!(from("cpu.cores", 1_024).contains("\nfrom 2 "), "{}", from("cpu.cores", 1_024));
        assert!(from("cpu.cores", 2_000).contains("\nfrom 2 "));
        assert!(from("load.1m", 1_024).contains("\nfrom 1.024 "));
    }

    #[test]
    fn too_many_bars_are_joined_and_lose_nobody() {
        let bars: Vec<GridBar> = (1..=40).map(|i| bar(&i.to_string(), Some(i * 1_000), i as u32)).collect();
        let joined = joined(&bars);
        assert_eq!(joined.len(), BARS_MAX);
        assert_eq!(joined.iter().map(|bar| bar.nodes).sum::<u32>(), 40 * 41 / 2);
        assert!(!joined[0].exact && joined.is_sorted_by_key(|bar| bar.thousandths));
    }

    #[test]
    fn before_an_epoch_has_ended_nothing_is_made_up() {
        let unknown = GridReply { estimate: None, ..reply(vec![]) };
        let text = grid(&unknown);
        assert!(text.contains("not known yet") && text.contains("round 4 of 30 of epoch 7 runs"), "{text}");
        assert!(grid(&GridReply { epoch: 0, ..unknown }).contains("none has begun"));
        let mut heard = reply(vec![]);
        heard.estimate.as_mut().unwrap().heard = true;
        assert!(grid(&heard).contains("one other node"));
    }
}
