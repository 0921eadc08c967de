//! What the emulated hosts declare themselves to be.

/// One host's declared attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub site: &'static str,
    pub cores: u16,
    pub memory_gib: u16,
    pub arch: &'static str,
}

const fn host(site: &'static str, cores: u16, memory_gib: u16, arch: &'static str) -> Profile {
    Profile { site, cores, memory_gib, arch }
}

/// Sixteen hosts, twelve of which meet the requirement of `examples/web/app.toml`. Larger grids repeat them.
const PROFILES: [Profile; 16] = [
    host("rennes", 8, 16, "x86_64"),
    host("rennes", 4, 8, "x86_64"),
    host("rennes", 2, 4, "x86_64"),
    host("rennes", 16, 64, "x86_64"),
    host("amsterdam", 8, 32, "x86_64"),
    host("amsterdam", 64, 256, "aarch64"),
    host("amsterdam", 4, 16, "x86_64"),
    host("amsterdam", 12, 48, "x86_64"),
    host("berlin", 4, 8, "x86_64"),
    host("berlin", 8, 4, "x86_64"),
    host("berlin", 32, 128, "x86_64"),
    host("berlin", 6, 24, "x86_64"),
    host("pisa", 8, 8, "x86_64"),
    host("pisa", 4, 32, "riscv64"),
    host("pisa", 24, 96, "x86_64"),
    host("pisa", 4, 12, "x86_64"),
];

/// The host with this number, counted from 1.
pub fn profile(index: u16) -> Profile {
    PROFILES[usize::from(index.saturating_sub(1)) % PROFILES.len()]
}

impl Profile {
    /// As lines of `agent.toml`.
    pub fn toml(&self) -> String {
        let Profile { site, cores, memory_gib, arch } = self;
        format!(
            "site = \"{site}\"\n\n[attributes]\n\"cpu.cores\" = {cores}\n\"mem.total\" = \"{memory_gib}GiB\"\narch = \
             \"{arch}\"\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_discovery::{Attributes, Requirement};

    #[test]
    fn twelve_of_the_sixteen_hosts_fit_the_web_example() {
        let app: toml::Table = toml::from_str(super::super::story::WEB_APP).expect("the example");
        let requirement = Requirement::parse(app["requirement"].as_str().expect("text")).expect("parses");
        let fits = |profile: &Profile| {
            let mut attributes = Attributes::new();
            attributes.set("cpu.cores", u64::from(profile.cores)).expect("within limits");
            attributes.set("mem.total", u64::from(profile.memory_gib) << 30).expect("within limits");
            attributes.set("arch", profile.arch).expect("within limits");
            requirement.matches(&attributes)
        };
        assert_eq!(PROFILES.iter().filter(|profile| fits(profile)).count(), 12);
        assert!(fits(&profile(1)), "the demo submits on the first host, which takes part like any other");
    }

    #[test]
    fn a_larger_grid_repeats_the_hosts() {
        assert_eq!(profile(17), profile(1));
    }
}
