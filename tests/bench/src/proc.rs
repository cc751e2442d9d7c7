//! What the kernel counts for a process: CPU and memory.

use std::fs;

use crate::Res;

/// The CPU time of all threads of a process, ns. It is exact only while the process waits.
pub(crate) fn cpu_ns(pid: u32) -> Res<u64> {
    let fine = schedstat(pid, 0)?;
    if fine > 0 { Ok(fine) } else { ticks(pid).map(|ticks| ticks * 10_000_000) }
}

/// How long the threads of a process were ready but had no processor, ns: what other processes cost it.
pub(crate) fn run_delay_ns(pid: u32) -> Res<u64> {
    schedstat(pid, 1)
}

/// The sum of one field over all threads.
fn schedstat(pid: u32, field: usize) -> Res<u64> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    // A thread that ends meanwhile has no file.
    let texts = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    Ok(texts.filter_map(|text| text.split_whitespace().nth(field)?.parse::<u64>().ok()).sum())
}

/// utime + stime, in ticks of 10 ms: for kernels without `schedstat`.
fn ticks(pid: u32) -> Res<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The name of the program, in parentheses, may contain blanks.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let times: Vec<u64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    if times.len() == 2 { Ok(times.iter().sum()) } else { Err(format!("{path} has no times")) }
}

/// The largest resident set so far, in MiB.
pub(crate) fn peak_mib(pid: u32) -> Res<f64> {
    status(pid, "VmHWM:")
}

/// The resident set now, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Res<f64> {
    status(pid, "VmRSS:")
}

fn status(pid: u32, field: &str) -> Res<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| format!("{path} has no {field}"))
}

/// The child processes of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The model of the processor and the number of cores.
pub(crate) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or(std::env::consts::ARCH);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}
