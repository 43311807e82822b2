//! The findings for each board.

use super::*;
use crate::config::{Collect, Config, Stream};
use crate::doctor::{clock, cores, devices, program, sandbox, sensors, storage};

const GOVERNOR: &str = "/sys/devices/system/cpu";

fn pi4(cpus: &str) -> Board {
    let board = Board::new(cpus);
    board
        .file("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
        .file("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")
        .file("/proc/sys/kernel/osrelease", "6.6.31+rpt-rpi-v8\n")
        .file("/sys/devices/system/cpu/online", "0-3\n")
        .file("/sys/devices/system/cpu/isolated", "3\n")
        .file("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        .file("/sys/class/thermal/thermal_zone0/temp", "55504\n")
        .file("/sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
        .file("/sys/class/video4linux/video10/name", "bcm2835-codec-decode\n")
        .device("/dev/video10", 0o660)
        .device("/dev/media0", 0o660)
        .device("/dev/dma_heap/linux,cma", 0o440)
        .device("/dev/dri/renderD128", 0o660)
        .device("/dev/vcio", 0o660);
    for core in 0..4 {
        board.file(&format!("{GOVERNOR}/cpu{core}/cpufreq/scaling_governor"), "ondemand\n");
        board.file(&format!("{GOVERNOR}/cpu{core}/cpufreq/scaling_max_freq"), "1800000\n");
    }
    board
}

#[test]
fn a_pi_4_whose_user_is_in_the_group_video_has_its_decoder() {
    let board = pi4("0-2");
    board.join_group_of("/dev/video10", "0-2");
    let context = board.context(None);
    says(&program::look(&context), "machine", State::Info, &["Raspberry Pi 4 Model B Rev 1.4"]);
    says(&program::look(&context), "system", State::Info, &["Debian GNU/Linux 12", "6.6.31+rpt-rpi-v8"]);
    let devices = devices::look(&context);
    says(&devices, "cameras and codecs", State::Ok, &["/dev/video10 (bcm2835-codec-decode)"]);
    says(&devices, "media controllers", State::Ok, &["/dev/media0"]);
    says(&devices, "DMA heaps", State::Ok, &["/dev/dma_heap/linux,cma"]);
    says(&devices, "graphics", State::Ok, &["/dev/dri/renderD128"]);
    says(&devices, "Pi firmware", State::Ok, &["/dev/vcio"]);
    says(&devices, "Jetson engines", State::Absent, &["/dev/nvmap"]);
}

#[test]
fn a_user_outside_the_group_of_a_device_is_told_which_to_join() {
    let devices = devices::look(&pi4("0-2").context(None));
    let parts = ["user 61234 may not use /dev/video10", "usermod -aG video 61234", "SupplementaryGroups=video"];
    says(&devices, "cameras and codecs", State::Warning, &parts);
    says(&devices, "Pi firmware", State::Warning, &["/dev/vcio"]);
}

#[test]
fn a_device_of_no_useful_group_needs_a_udev_rule() {
    let board = Board::new("0");
    board.device("/dev/video0", 0o600).join_group_of("/dev/video0", "0");
    let parts = ["may not use /dev/video0", "a udev rule", "MODE=\"0660\""];
    says(&devices::look(&board.context(None)), "cameras and codecs", State::Warning, &parts);
}

#[test]
fn a_weak_supply_shows_after_the_fact_and_at_once() {
    let sensors = sensors::look(&pi4("0-3").context(None));
    says(&sensors, "throttling", State::Warning, &["since the start: under-voltage, throttled", "power supply"]);
    says(&sensors, "temperature", State::Ok, &["55.5 °C", "cpu-thermal"]);
    says(&sensors, "power", State::Absent, &["cannot be measured"]);
    let board = pi4("0-3");
    let throttled = "/sys/devices/platform/soc/soc:firmware/get_throttled";
    for (text, state, part) in [
        ("0", State::Ok, "none since the start"),
        ("0xe0008", State::Warning, "now: soft temperature limit"),
        ("50005", State::Warning, "now: under-voltage, throttled"),
        ("nonsense", State::Warning, "should be a hexadecimal number"),
        ("", State::Warning, "should be a hexadecimal number"),
    ] {
        board.file(throttled, text);
        says(&sensors::look(&board.context(None)), "throttling", state, &[part]);
    }
}

#[test]
fn an_isolated_core_is_for_inference_alone() {
    let at = |cpus: &str, cores: &[u32]| cores::look(&pi4(cpus).context(Some(on_cores(cores))));
    says(&at("0-3", &[3]), "inference", State::Ok, &["on cores 3"]);
    says(&at("0-3", &[3]), "isolated", State::Ok, &["cores 3 are for inference alone"]);
    says(&at("0-3", &[2]), "isolated", State::Warning, &["inference.cores does not use 3", "inference.cores = [3]"]);
    says(&at("0-3", &[2, 3]), "isolated", State::Info, &["other work may run on 2 too"]);
    // A shell does not get the isolated core; the service must request it.
    says(&at("0-2", &[3]), "inference", State::Warning, &["as is usual for isolated cores", "CPUAffinity=0-3"]);
    let service = pi4("0-2").variable("INVOCATION_ID", "1");
    service.file("/proc/self/cgroup", "0::/system.slice/hardnetd@door.service\n");
    let findings = cores::look(&service.context(Some(on_cores(&[3]))));
    says(&findings, "inference", State::Error, &["this process may use 0-2", "CPUAffinity=0-3"]);
}

#[test]
fn cores_that_do_not_exist_or_are_too_few_are_told() {
    let at = |config: Config| cores::look(&pi4("0-3").context(Some(config)));
    says(&at(on_cores(&[3, 9])), "inference", State::Error, &["names 9; the cores of this machine are 0-3"]);
    let mut many = Config::default();
    (many.inference.workers, many.inference.threads) = (3, 2);
    says(&at(many.clone()), "inference", State::Ok, &["1 worker of 2 threads", "any of cores 0-3"]);
    many.streams = vec![Stream::default(); 4];
    says(&at(many), "inference", State::Warning, &["3 workers of 2 threads on 4 cores"]);
    let board = Board::new("0-1");
    board.file("/sys/devices/system/cpu/online", "0-1");
    let findings = cores::look(&board.context(Some(on_cores(&[1]))));
    says(&findings, "isolated", State::Info, &["other work may run on cores 1 too", "isolcpus=1"]);
    says(&findings, "frequency", State::Absent, &["no cpufreq"]);
    let any = cores::look(&board.context(Some(Config::default())));
    says(&any, "isolated", State::Absent, &[]);
    says(&any, "inference", State::Ok, &["on any of cores 0-1"]);
}

#[test]
fn a_governor_other_than_performance_is_told_with_its_cores() {
    let board = pi4("0-3");
    says(&cores::look(&board.context(None)), "frequency", State::Warning, &["ondemand on cores 0-3", "1800 MHz"]);
    for core in 1..4 {
        board.file(&format!("{GOVERNOR}/cpu{core}/cpufreq/scaling_governor"), "performance\n");
    }
    says(&cores::look(&board.context(None)), "frequency", State::Warning, &["ondemand on cores 0,", "cpupower"]);
    board.file(&format!("{GOVERNOR}/cpu0/cpufreq/scaling_governor"), "performance\n");
    says(&cores::look(&board.context(None)), "frequency", State::Ok, &["performance, at most 1800 MHz"]);
}

#[test]
fn a_pi_5_measures_power_through_its_firmware() {
    let board = Board::new("0-3");
    board
        .file("/proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
        .file("/sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled", "0\n")
        .file("/sys/class/hwmon/hwmon2/name", "rpi_volt\n")
        .device("/dev/vcio", 0o660)
        .device("/dev/vcio_gencmd", 0o660);
    let parts = ["may not read /dev/vcio_gencmd", "udev rule"];
    says(&sensors::look(&board.context(None)), "power", State::Warning, &parts);
    board.join_group_of("/dev/vcio", "0-3");
    let sensors = sensors::look(&board.context(None));
    says(&sensors, "power", State::Ok, &["the PMIC through the firmware: /dev/vcio_gencmd"]);
    says(&sensors, "throttling", State::Ok, &["none since the start"]);
    says(&devices::look(&board.context(None)), "Pi firmware", State::Ok, &["/dev/vcio, /dev/vcio_gencmd"]);
}

#[test]
fn a_pi_with_an_older_kernel_tells_its_voltage_alone() {
    let board = Board::new("0-3");
    board.file("/sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
    board.file("/sys/class/hwmon/hwmon1/name", "rpi_volt\n").file("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
    says(&sensors::look(&board.context(None)), "throttling", State::Ok, &["the voltage is right"]);
    board.file("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
    says(&sensors::look(&board.context(None)), "throttling", State::Warning, &["under-voltage", "power supply"]);
}

fn orin() -> Board {
    let board = Board::new("0-5");
    let ina = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1";
    board
        .file("/proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
        .file("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        .file("/sys/class/thermal/thermal_zone0/temp", "48093\n")
        .file("/sys/class/thermal/thermal_zone1/type", "cv0-thermal\n")
        .file("/sys/class/thermal/thermal_zone1/temp", "-256000\n")
        .file("/sys/class/hwmon/hwmon4/name", "soctherm_oc\n")
        .file("/sys/class/hwmon/hwmon4/oc1_event_cnt", "0\n")
        .file("/sys/class/hwmon/hwmon4/oc3_event_cnt", "7\n");
    for (rail, label) in [(1, "VDD_IN"), (2, "VDD_CPU_GPU_CV"), (3, "NC"), (4, "sum of shunt voltages")] {
        board.file(&format!("{ina}/in{rail}_label"), label).file(&format!("{ina}/in{rail}_input"), "5048\n");
    }
    board
}

#[test]
fn a_jetson_tells_its_rails_and_its_over_current_events() {
    let sensors = sensors::look(&orin().context(None));
    says(&sensors, "power", State::Ok, &["INA3221: ", "/in1_input", "/in2_input"]);
    assert!(!of(&sensors, "power").found.contains("in3_input"), "{sensors:#?}");
    assert!(!of(&sensors, "power").found.contains("in4_input"), "{sensors:#?}");
    says(&sensors, "throttling", State::Warning, &["7 over-current events", "nvpmodel"]);
    says(&sensors, "temperature", State::Ok, &["48.1 °C", "cpu-thermal"]);
}

#[test]
fn a_jetson_without_its_engines_is_a_container_without_devices() {
    let board = orin();
    let parts = ["on this NVIDIA Jetson Orin Nano", "--runtime nvidia"];
    says(&devices::look(&board.context(None)), "Jetson engines", State::Warning, &parts);
    board.device("/dev/nvmap", 0o660).device("/dev/nvhost-ctrl", 0o660);
    says(&devices::look(&board.context(None)), "Jetson engines", State::Warning, &["/dev/nvhost-ctrl, /dev/nvmap"]);
    board.join_group_of("/dev/nvmap", "0-5");
    says(&devices::look(&board.context(None)), "Jetson engines", State::Ok, &["/dev/nvmap"]);
}

#[test]
fn a_jetson_of_jetpack_4_has_its_rails_elsewhere() {
    let board = Board::new("0-3");
    let device = "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0";
    board.file(&format!("{device}/rail_name_0"), "POM_5V_IN\n").file(&format!("{device}/in_power0_input"), "2100\n");
    says(&sensors::look(&board.context(None)), "power", State::Ok, &["iio:device0/in_power0_input"]);
}

#[test]
fn counters_that_only_root_may_read_need_a_rule() {
    let board = Board::new("0-7");
    let counter = "/sys/class/powercap/intel-rapl:0/energy_uj";
    board.device(counter, 0o400);
    let parts = ["RAPL: user 61234 may not read", counter, "udev rule"];
    says(&sensors::look(&board.context(None)), "power", State::Warning, &parts);
    board.device(counter, 0o440).join_group_of(counter, "0-7");
    says(&sensors::look(&board.context(None)), "power", State::Ok, &[counter]);
}

#[test]
fn a_hot_board_is_told_to_be_cooled() {
    let board = Board::new("0");
    board.file("/sys/class/thermal/thermal_zone0/temp", "84000\n");
    says(&sensors::look(&board.context(None)), "temperature", State::Warning, &["84.0 °C", "cool it"]);
}

#[test]
fn devices_that_the_kernel_has_and_the_process_does_not_see_are_hidden() {
    let board = Board::new("0");
    board.file("/sys/class/video4linux/video0/name", "HD Webcam");
    let parts = ["the kernel has /sys/class/video4linux/video0", "PrivateDevices="];
    says(&devices::look(&board.context(None)), "cameras and codecs", State::Warning, &parts);
}

#[test]
fn a_clock_that_nobody_keeps_is_a_warning() {
    let board = Board::new("0");
    says(&clock::look(&board.context(None)), "synchronised", State::Warning, &["no time service", "set-ntp true"]);
    board.folder("/run/chrony").file("/run/chrony/chronyd.pid", "700");
    says(&clock::look(&board.context(None)), "synchronised", State::Info, &["chrony runs"]);
    board.file("/run/systemd/timesync/synchronized", "");
    says(&clock::look(&board.context(None)), "synchronised", State::Ok, &["systemd-timesyncd"]);
}

#[test]
fn memory_is_what_the_unit_leaves_of_it() {
    let board = Board::new("0");
    says(&storage::look(&board.context(None)), "memory", State::Info, &["does not report"]);
    board.file("/proc/meminfo", "MemTotal:  948000 kB\nMemAvailable:  600000 kB\n");
    says(&storage::look(&board.context(None)), "memory", State::Ok, &["614 MB free of 971 MB"]);
    let group = "/sys/fs/cgroup/system.slice/hardnetd.service";
    board.file("/proc/self/cgroup", "0::/system.slice/hardnetd.service\n");
    board.file(&format!("{group}/memory.max"), "max\n");
    says(&storage::look(&board.context(None)), "memory", State::Ok, &["614 MB free of 971 MB"]);
    board.file(&format!("{group}/memory.max"), "200000000\n").file(&format!("{group}/memory.current"), "50000000\n");
    let parts = ["150 MB free of the 200 MB that the unit may take", "MemoryMax="];
    says(&storage::look(&board.context(None)), "memory", State::Warning, &parts);
    board.file("/proc/meminfo", "MemTotal:  948000 kB\nMemAvailable:  50000 kB\n");
    says(&storage::look(&board.context(None)), "memory", State::Error, &["51 MB free", "inference.memory = \"lean\""]);
}

#[test]
fn folders_of_the_service_must_be_there() {
    let board = Board::new("0").variable("STATE_DIRECTORY", "/var/lib/hardnetd:/var/lib/more");
    board.folder("/var/lib/hardnetd").folder("/tmp");
    let storage = storage::look(&board.context(None));
    says(&storage[..1], "state", State::Ok, &["in /var/lib/hardnetd"]);
    says(&storage[1..], "state", State::Error, &["/var/lib/more is not a folder"]);
    says(&storage, "cache", State::Absent, &["$CACHE_DIRECTORY"]);
    says(&storage, "temporary files", State::Ok, &["/tmp"]);
}

#[test]
fn the_folder_for_uncertain_frames_must_be_there_or_the_one_above_it() {
    let board = Board::new("0");
    board.folder("/var/lib/hardnetd").folder("/media/card/kept").file("/media/file", "");
    let look = |folder: &str| {
        let collect = Collect { folder: folder.into(), ..Collect::default() };
        storage::look(&board.context(Some(Config { collect, ..Config::default() })))
    };
    const NAME: &str = "uncertain frames";
    says(&look(""), NAME, State::Absent, &["no uncertain frames are kept"]);
    says(&look("/media/card/kept"), NAME, State::Ok, &["in /media/card/kept"]);
    says(&look("/var/lib/hardnetd/kept"), NAME, State::Ok, &["in /var/lib/hardnetd"]);
    says(&look("/media/stick/kept"), NAME, State::Error, &["neither /media/stick/kept nor /media/stick is there"]);
    says(&look("/media/file"), NAME, State::Error, &["/media/file is not a folder"]);
    says(&storage::look(&board.context(None)), NAME, State::Info, &["the configuration is wrong"]);
}

#[test]
fn the_service_as_it_ships_has_nothing_to_mend() {
    let board = Board::new("0-3")
        .variable("INVOCATION_ID", "9f0c")
        .variable("NOTIFY_SOCKET", "/run/systemd/notify")
        .variable("WATCHDOG_USEC", "30000000")
        .variable("CREDENTIALS_DIRECTORY", "/run/credentials/hardnetd.service");
    board
        .file("/proc/self/cgroup", "0::/system.slice/hardnetd.service\n")
        .file("/proc/self/mountinfo", "27 1 179:2 / / ro,relatime shared:1 - ext4 /dev/root ro\n")
        .file("/proc/self/limits", "Max locked memory         8388608              8388608              bytes\n")
        .file("/run/credentials/hardnetd.service/mqtt-password", "secret\n");
    let findings = sandbox::look(&board.context(Some(Config::default())));
    assert!(findings.iter().all(|finding| finding.state < State::Warning), "{findings:#?}");
    says(&findings, "runs as", State::Ok, &["hardnetd.service, user 61234"]);
    says(&findings, "privileges", State::Ok, &["no capabilities, can gain no new ones"]);
    says(&findings, "system calls", State::Ok, &["filtered"]);
    says(&findings, "files", State::Ok, &["read-only"]);
    says(&findings, "supervision", State::Ok, &["watchdog 30 s"]);
    says(&findings, "credentials", State::Ok, &["1 in"]);
    assert!(!format!("{findings:?}").contains("secret"));
}

#[test]
fn a_service_without_a_sandbox_is_told_what_its_unit_lacks() {
    let board = Board::new("0").variable("INVOCATION_ID", "1").variable("CREDENTIALS_DIRECTORY", "/nowhere");
    board
        .file(
            "/proc/self/status",
            "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t0000000000800002\nNoNewPrivs:\t0\nSeccomp:\t0\n",
        )
        .file("/proc/self/cgroup", "0::/system.slice/hardnetd.service\n")
        .file("/proc/self/mountinfo", "27 1 179:2 / / rw,relatime - ext4 /dev/root rw\nnonsense\n");
    let findings = sandbox::look(&board.context(None));
    says(&findings, "runs as", State::Warning, &["hardnetd.service", "DynamicUser=yes"]);
    says(&findings, "privileges", State::Warning, &["dac_override, sys_nice", "NoNewPrivileges=yes"]);
    says(&findings, "system calls", State::Warning, &["SystemCallFilter="]);
    says(&findings, "files", State::Warning, &["ProtectSystem=strict"]);
    says(&findings, "credentials", State::Warning, &["/nowhere", "LoadCredential="]);
}

#[test]
fn a_shell_of_a_desktop_is_no_service() {
    let board = Board::new("0").variable("INVOCATION_ID", "1").variable("USER", "me");
    board.file("/proc/self/cgroup", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn.scope\n");
    says(&sandbox::look(&board.context(None)), "runs as", State::Info, &["user me, not as a service", "systemd-run"]);
}

#[test]
fn a_priority_that_is_not_granted_is_an_error() {
    let mut config = Config::default();
    config.inference.priority = 50;
    let line = |limit: &str| format!("Max realtime priority     {limit}                    {limit}\n");
    for (limit, state) in [("0", State::Error), ("49", State::Error), ("50", State::Ok), ("unlimited", State::Ok)] {
        let board = Board::new("0");
        board.file("/proc/self/limits", &line(limit));
        let findings = sandbox::look(&board.context(Some(config.clone())));
        let part = if state == State::Error { "LimitRTPRIO=50" } else { "= 50 is allowed" };
        says(&findings, "priority", state, &[part]);
    }
}

#[test]
fn containers_and_virtual_machines_are_told() {
    let board = Board::new("0");
    board.file("/proc/cpuinfo", "flags\t\t: fpu hypervisor avx\n");
    says(&sandbox::look(&board.context(None)), "virtual machine", State::Info, &["yes"]);
    board.file("/.dockerenv", "");
    says(&sandbox::look(&board.context(None)), "virtual machine", State::Info, &["docker"]);
    board.file("/proc/self/mountinfo", "30 27 0:5 / /dev rw,nosuid - tmpfs tmpfs rw\n");
    says(&sandbox::look(&board.context(None)), "devices", State::Info, &["a /dev of its own"]);
    let bare = Board::new("0");
    says(&sandbox::look(&bare.context(None)), "virtual machine", State::Absent, &[]);
}

#[test]
fn a_machine_that_tells_nothing_or_nonsense_breaks_nothing() {
    let nothing = Board::new("");
    let nonsense = Board::new("9999999999-x");
    let noise = "\u{0}:::-,-\n,ÿ 99999999999999999999 - - -\n";
    for path in [
        "/proc/self/status",
        "/proc/self/cgroup",
        "/proc/self/mountinfo",
        "/proc/self/limits",
        "/proc/meminfo",
        "/proc/cpuinfo",
        "/proc/device-tree/model",
        "/etc/group",
        "/etc/passwd",
        "/etc/os-release",
        "/sys/devices/system/cpu/online",
        "/sys/devices/system/cpu/isolated",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "/sys/class/thermal/thermal_zone0/temp",
        "/sys/class/hwmon/hwmon0/name",
        "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_label",
        "/dev/video0",
    ] {
        nonsense.file(path, noise);
    }
    for board in [nothing, nonsense] {
        let context = board.context(Some(on_cores(&[1])));
        for look in
            [program::look, devices::look, cores::look, sensors::look, clock::look, storage::look, sandbox::look]
        {
            let findings = look(&context);
            assert!(!findings.is_empty());
            for finding in findings {
                assert!(finding.state < State::Warning || finding.remedy.is_some(), "{finding:?}");
                assert!(!finding.found.is_empty(), "{finding:?}");
            }
        }
    }
}
