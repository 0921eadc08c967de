//! What the emulated hosts declare themselves to be.
//!
//! A declared attribute stands over what the machine measures; such a host says so by its attribute
//! `emulated`.

use xtreem_base::Rng;
use xtreem_discovery::Attributes;

/// One host's declared attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub site: &'static str,
    pub cores: u16,
    pub memory_gib: u16,
    pub disk_gib: u16,
    pub arch: &'static str,
}

const fn host(site: &'static str, cores: u16, memory_gib: u16, disk_gib: u16, arch: &'static str) -> Profile {
    Profile { site, cores, memory_gib, disk_gib, arch }
}

/// The first sixteen hosts, twelve of which meet the requirement of `examples/web/app.toml`.
const PROFILES: [Profile; 16] = [
    host("rennes", 8, 16, 500, "x86_64"),
    host("rennes", 4, 8, 250, "x86_64"),
    host("rennes", 2, 4, 100, "x86_64"),
    host("rennes", 16, 64, 2_000, "x86_64"),
    host("amsterdam", 8, 32, 500, "x86_64"),
    host("amsterdam", 64, 256, 4_000, "aarch64"),
    host("amsterdam", 4, 16, 250, "x86_64"),
    host("amsterdam", 12, 48, 1_000, "x86_64"),
    host("berlin", 4, 8, 100, "x86_64"),
    host("berlin", 8, 4, 250, "x86_64"),
    host("berlin", 32, 128, 2_000, "x86_64"),
    host("berlin", 6, 24, 500, "x86_64"),
    host("pisa", 8, 8, 500, "x86_64"),
    host("pisa", 4, 32, 250, "riscv64"),
    host("pisa", 24, 96, 4_000, "x86_64"),
    host("pisa", 4, 12, 100, "x86_64"),
];

// Further hosts are drawn. A value that stands twice is drawn twice as often: small machines are common.
pub const SITES: [&str; 8] = ["rennes", "amsterdam", "berlin", "pisa", "lyon", "oslo", "madrid", "ljubljana"];
pub const CORES: [u16; 10] = [2, 4, 4, 8, 8, 8, 16, 16, 32, 64];
pub const GIB_PER_CORE: [u16; 4] = [1, 2, 4, 8];
pub const DISK_GIB: [u16; 8] = [100, 250, 250, 500, 500, 1_000, 2_000, 4_000];
const ARCHES: [&str; 8] = ["x86_64", "x86_64", "x86_64", "x86_64", "x86_64", "x86_64", "aarch64", "riscv64"];

/// The host with this number, counted from 1. `seed` decides the seventeenth and all further ones.
pub fn profile(index: u16, seed: u64) -> Profile {
    if let Some(profile) = PROFILES.get(usize::from(index.saturating_sub(1))) {
        return *profile;
    }
    let mut rng = Rng::derive(seed, index.into(), "profile");
    let cores = any(&mut rng, &CORES);
    Profile {
        site: any(&mut rng, &SITES),
        cores,
        memory_gib: cores * any(&mut rng, &GIB_PER_CORE),
        disk_gib: any(&mut rng, &DISK_GIB),
        arch: any(&mut rng, &ARCHES),
    }
}

/// One of a list that is not empty.
pub fn any<T: Copy, const N: usize>(rng: &mut Rng, of: &[T; N]) -> T {
    of[rng.below(N as u32) as usize]
}

impl Profile {
    /// As lines of `agent.toml`.
    pub fn toml(&self) -> String {
        let Profile { site, cores, memory_gib, disk_gib, arch } = self;
        format!(
            "site = \"{site}\"\n\n[attributes]\n\"cpu.cores\" = {cores}\n\"mem.total\" = \"{memory_gib}GiB\"\n\
             \"disk.total\" = \"{disk_gib}GiB\"\narch = \"{arch}\"\n"
        )
    }

    /// As the agent will tell them.
    pub fn attributes(&self) -> Attributes {
        let gib = |size: u16| u64::from(size) << 30;
        let mut attributes = Attributes::new();
        // Five short names with short values are within the limits of attributes.
        let _ = attributes.set("site", self.site);
        let _ = attributes.set("cpu.cores", u64::from(self.cores));
        let _ = attributes.set("mem.total", gib(self.memory_gib));
        let _ = attributes.set("disk.total", gib(self.disk_gib));
        let _ = attributes.set("arch", self.arch);
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_discovery::Requirement;

    #[test]
    fn twelve_of_the_sixteen_hosts_fit_the_web_example() {
        let app: toml::Table = toml::from_str(super::super::story::WEB_APP).expect("the example");
        let requirement = Requirement::parse(app["requirement"].as_str().expect("text")).expect("parses");
        let fits = |profile: &Profile| requirement.matches(&profile.attributes());
        assert_eq!(PROFILES.iter().filter(|profile| fits(profile)).count(), 12);
        assert!(fits(&profile(1, 1)), "the demo submits on the first host, which takes part like any other");
    }

    #[test]
    fn the_seed_decides_what_further_hosts_are() {
        let grid = |seed| (1..=200).map(|index| profile(index, seed)).collect::<Vec<_>>();
        assert_eq!(grid(1), grid(1));
        assert_eq!(grid(1)[..16], grid(2)[..16]);
        assert_ne!(grid(1), grid(2));
        let sites: std::collections::BTreeSet<_> = grid(1).iter().map(|profile| profile.site).collect();
        assert_eq!(sites.len(), SITES.len());
    }

    #[test]
    fn what_the_emulator_knows_is_what_the_agent_is_told() {
        for index in 1..=40 {
            let profile = profile(index, 3);
            let text = format!("emulated = true\n{}", profile.toml());
            let config = xtreem_agent::Config::parse("agent.toml".as_ref(), &text).expect("a configuration");
            assert_eq!(config.declared, profile.attributes());
        }
    }
}
