//! A simulated grid takes gigabytes and hits them at random: on huge pages, whose addresses are translated in
//! the processor's small tables, it runs about a fifth faster (`docs/figures.md`). glibc decides when a
//! program starts whether its allocator asks the kernel for them, so the program starts itself once more.
//!
//! Source: glibc manual, "Memory Allocation Tunables", `glibc.malloc.hugetlb`.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Goes on as the same process with the same arguments on huge pages; simply goes on where there are none, or
/// where the user has set such tunables already.
pub fn take_huge_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os(TUNABLES).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        use std::os::unix::process::CommandExt as _;
        let mut again = std::process::Command::new(program);
        again.args(std::env::args_os().skip(1)).env(TUNABLES, "glibc.malloc.hugetlb=1");
        // Comes back only when it fails, and then small pages do.
        let _ = again.exec();
    }
}
