//! Classes of requirements: those built in, with random windows, and those that a user brings.

use xtreem_base::Rng;
use xtreem_discovery::Requirement;

use super::data::{ATTRIBUTES, RANGE, Ranks};

/// Requirements of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Class {
    /// So many random attributes, each bounded to a random stretch of so many parts of its 65,536 ranks.
    Windows { name: &'static str, attributes: usize, width: u32 },
    /// One line of ranks.
    Line(String),
}

/// The classes of the model (docs/design/selection.md, "Model") that hold enough matches on both data sets.
pub const BUILTIN: [Class; 5] = [
    Class::Windows { name: "3x.3", attributes: 3, width: RANGE * 3 / 10 },
    Class::Windows { name: "4x.3", attributes: 4, width: RANGE * 3 / 10 },
    Class::Windows { name: "5x.3", attributes: 5, width: RANGE * 3 / 10 },
    Class::Windows { name: "1x.125", attributes: 1, width: RANGE / 8 },
    Class::Windows { name: "3x.5", attributes: 3, width: RANGE / 2 },
];

/// Reads requirements, one a line; empty lines and those that begin with `#` are left out.
pub fn read(text: &str) -> Result<Vec<Class>, String> {
    let is_class = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let classes: Vec<Class> =
        text.lines().map(str::trim).filter(is_class).map(|line| Class::Line(line.into())).collect();
    if classes.is_empty() { Err("no requirement in the file".into()) } else { Ok(classes) }
}

impl Class {
    pub fn name(&self) -> &str {
        match self {
            Class::Windows { name, .. } => name,
            Class::Line(line) => line,
        }
    }

    /// A requirement of this class, in values.
    pub fn requirement(&self, ranks: &Ranks, rng: &mut Rng) -> Result<Requirement, String> {
        let text = match self {
            Class::Windows { attributes, width, .. } => windows(*attributes, *width, rng),
            Class::Line(line) => line.clone(),
        };
        Requirement::parse(&ranks.translate(&text)?).map_err(|error| format!("{text:?}: {error}"))
    }
}

fn windows(attributes: usize, width: u32, rng: &mut Rng) -> String {
    let mut order: [usize; ATTRIBUTES] = std::array::from_fn(|i| i);
    rng.shuffle(&mut order);
    let window = |i: &usize| {
        let low = rng.below(RANGE - width);
        format!("a{i} in {low}..{}", low + width)
    };
    order[..attributes].iter().map(window).collect::<Vec<_>>().join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::data::Data;

    #[test]
    fn classes_have_the_shares_they_say() {
        let machines = Data::Uniform.machines(20_000, 1);
        let ranks = Ranks::new(&machines);
        let mut rng = Rng::new(1);
        let matches = |class: &Class, rng: &mut Rng| {
            let requirement = class.requirement(&ranks, rng).unwrap();
            let attributes = machines.iter().map(crate::selection::world::attributes_of);
            attributes.filter(|attributes| requirement.matches(attributes)).count()
        };
        assert!((2_300..=2_700).contains(&matches(&BUILTIN[3], &mut rng)));
        assert!((400..=700).contains(&matches(&BUILTIN[0], &mut rng)));
        let lines = read("# ranks\n\na0 < 32768\n").unwrap();
        assert!((9_900..=10_100).contains(&matches(&lines[0], &mut rng)));
        assert!(read("# nothing\n").is_err());
        assert!(Class::Line("a0 <".into()).requirement(&ranks, &mut rng).is_err());
    }
}
