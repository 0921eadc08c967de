//! Graphics processors: from NVIDIA's driver by name, otherwise from the PCI class of the DRM devices.

use std::fs;
use std::path::Path;

use super::text;

/// Models of the GPUs of the machine whose file system begins at `root`, in the order of their addresses.
pub(super) fn read(root: &Path) -> Vec<String> {
    let names = |dir: &str| {
        let entries = fs::read_dir(root.join(dir)).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let nvidia = names("proc/driver/nvidia/gpus");
    if !nvidia.is_empty() {
        let models = nvidia.iter().map(|dir| nvidia_model(&text(dir.join("information"))));
        return models.map(|model| model.unwrap_or_else(|| "nvidia".to_owned())).collect();
    }
    let cards = names("sys/class/drm")
        .into_iter()
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_card));
    cards.filter_map(|card| pci_model(&text(card.join("device/uevent")))).collect()
}

/// `card0`; not its connectors (`card0-HDMI-A-1`) and not `renderD128`, the same device again.
fn is_card(name: &str) -> bool {
    name.strip_prefix("card").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

fn nvidia_model(information: &str) -> Option<String> {
    let model = information.lines().find_map(|line| line.strip_prefix("Model:"))?.trim();
    Some(model.to_owned()).filter(|model| !model.is_empty())
}

/// Maker and device number, such as `amd 73bf`; `None` for what only draws a server's or virtual screen.
fn pci_model(uevent: &str) -> Option<String> {
    let id = uevent.lines().find_map(|line| line.strip_prefix("PCI_ID="))?;
    let (vendor, device) = id.split_once(':')?;
    // Numbers of the PCI ID repository, <https://pci-ids.ucw.cz>.
    let maker = match vendor.to_ascii_lowercase().as_str() {
        "1002" => "amd",
        "10de" => "nvidia",
        "8086" => "intel",
        _ => return None,
    };
    Some(format!("{maker} {}", device.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        // A path of a file below `root` has a parent.
        fs::create_dir_all(path.parent().unwrap()).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn drivers_and_devices_are_told_from_screens_and_connectors() {
        let machine = tempfile::tempdir().expect("a temporary directory");
        let root = machine.path();
        assert!(read(root).is_empty(), "no GPU");
        write(root, "sys/class/drm/card0/device/uevent", "DRIVER=ast\nPCI_CLASS=30000\nPCI_ID=1A03:2000\n");
        write(root, "sys/class/drm/card0-VGA-1/device/uevent", "PCI_ID=1002:73BF\n");
        write(root, "sys/class/drm/renderD128/device/uevent", "PCI_ID=1002:73BF\n");
        write(root, "sys/class/drm/card1/device/uevent", "DRIVER=amdgpu\nPCI_ID=1002:73BF\n");
        write(root, "sys/class/drm/card2/device/uevent", "garbage");
        assert_eq!(read(root), ["amd 73bf"]);
        let information = "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 84\n";
        write(root, "proc/driver/nvidia/gpus/0000:07:00.0/information", information);
        write(root, "proc/driver/nvidia/gpus/0000:0f:00.0/information", "");
        assert_eq!(read(root), ["NVIDIA A100-SXM4-40GB", "nvidia"]);
    }
}
