//! The meaning of the kernel's and the distribution's texts: pure functions.

use xtreem_discovery::Number;

/// Most CPU features kept; x86-64 has about 150 by now.
const FLAGS_MAX: usize = 512;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    pub cores: u64,
    pub model: Option<String>,
    pub flags: Vec<String>,
    /// Clock at the time of reading.
    pub hertz: Option<Number>,
}

/// /proc/cpuinfo; x86 says `model name` and `flags`, ARM `Features` and as a rule no model.
pub(super) fn cpu(text: &str) -> Cpu {
    let mut cpu = Cpu::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let (key, value) = (key.trim(), value.trim());
        match key {
            "processor" => cpu.cores += 1,
            "model name" | "Model" if cpu.model.is_none() => cpu.model = Some(value.to_owned()),
            "flags" | "Features" if cpu.flags.is_empty() => {
                cpu.flags = value.split_ascii_whitespace().take(FLAGS_MAX).map(str::to_owned).collect();
                cpu.flags.sort();
            }
            "cpu MHz" if cpu.hertz.is_none() => {
                cpu.hertz = thousandths(value).map(|khz| Number::from_whole(khz.saturating_mul(1000)));
            }
            _ => {}
        }
    }
    cpu
}

/// One number of kHz, as in cpufreq's files, in hertz.
pub(super) fn kilohertz(text: &str) -> Option<Number> {
    let khz: u64 = text.trim().parse().ok()?;
    Some(Number::from_unsigned(khz.saturating_mul(1000)))
}

/// Bytes, from /proc/meminfo.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub total: Option<u64>,
    pub available: Option<u64>,
}

pub(super) fn memory(text: &str) -> Memory {
    let mut memory = Memory::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let kib = || value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024);
        match key {
            "MemTotal" => memory.total = kib(),
            "MemAvailable" => memory.available = kib(),
            _ => {}
        }
    }
    memory
}

/// The averages of 1, 5 and 15 minutes from /proc/loadavg.
pub(super) fn load(text: &str) -> Option<[Number; 3]> {
    let mut averages = text.split_ascii_whitespace().map(thousandths);
    let mut next = || averages.next().flatten().map(Number::from_thousandths);
    Some([next()?, next()?, next()?])
}

/// The value of a key in os-release(5), without its quotes.
pub(super) fn release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?.trim();
    let bare = ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some(bare.unwrap_or(value).to_owned()).filter(|value| !value.is_empty())
}

/// A decimal number such as `2445.428`, as thousandths; digits beyond the third are dropped.
fn thousandths(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let whole: u32 = whole.parse().ok()?;
    Some(i64::from(whole) * 1000 + fraction)
}
