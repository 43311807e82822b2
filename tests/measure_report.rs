//! The page of a measurement in a real browser: its figures are those of the file, it fetches nothing, and it fits a telephone.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Running, folder, free_port, run};
use serde_json::{Value, json};
use tempfile::TempDir;

const S: u64 = 1_000_000_000;

/// A name that would become elements if the page did not escape it.
const HOSTILE: &str = "<script>document.title='fetched'</script><img src=http://fetched.example/a.png>";

/// When the measurement began.
const START: u64 = 777 * S;

/// A measurement: idle, and for each configuration capture, warm-up and five windows, then idle.
struct Machine {
    device: &'static str,
    /// Name, microseconds of an inference, watts.
    points: &'static [(&'static str, u64, f64)],
    has_sensor: bool,
    /// A window in which the machine is throttled, from 0.
    throttled: Option<usize>,
}

const MACHINES: [Machine; 3] = [
    Machine { device: "pi4", points: &[("run", 21_000, 4.5)], has_sensor: true, throttled: Some(2) },
    Machine {
        device: "pi5",
        points: &[("one thread", 12_000, 4.0), ("two threads", 8_000, 5.0), (HOSTILE, 13_000, 6.0)],
        has_sensor: true,
        throttled: None,
    },
    Machine { device: HOSTILE, points: &[("run", 9_000, 0.0)], has_sensor: false, throttled: None },
];

impl Machine {
    /// The phases with their beginnings; the last one is the end.
    fn phases(&self) -> Vec<(u64, &'static str, Option<usize>)> {
        let mut at = START;
        let mut phases = Vec::new();
        let mut add = |phase, point, seconds: u64| {
            phases.push((at, phase, point));
            at += seconds * S;
        };
        add("idle", None, 20);
        for point in 0..self.points.len() {
            add("capture", Some(point), 20);
            add("warm_up", Some(point), 10);
            (0..5).for_each(|_| add("window", Some(point), 20));
        }
        add("idle", None, 20);
        add("end", None, 0);
        phases
    }

    fn lines(&self) -> Vec<Value> {
        let phases = self.phases();
        let end = phases.last().unwrap().0;
        let points: Vec<Value> = self.points.iter().map(|point| json!({ "name": point.0 })).collect();
        let rails = if self.has_sensor {
            json!([{"name": "VDD_IN", "family": "ina3221", "coverage": "module", "period_s": 0.1, "gain": 1.0}])
        } else {
            json!([])
        };
        // Shorter windows than those of the full protocol.
        let limits = json!({"inferences": 100, "updates": 50});
        let mut lines = vec![json!({
            "record": "environment", "schema": "hardnetd.measure.v1", "device": self.device, "started_ns": START,
            "points": points, "rails": rails, "limits": limits,
        })];
        let at_time = |at: u64| phases.iter().rfind(|phase| phase.0 <= at).copied().unwrap_or(phases[0]);
        let windows: Vec<u64> = phases.iter().filter(|phase| phase.1 == "window").map(|phase| phase.0).collect();
        let hot = self.throttled.map(|window| windows[window]);
        let (mut frames, mut seq) = (0, 0);
        for tick in 0..=(end - START) / (S / 20) {
            let at = START + tick * S / 20;
            let (began, phase, point) = at_time(at);
            if began == at && phase != "end" {
                lines.push(json!({"record": "phase", "at_ns": at, "phase": phase, "point": point}));
            }
            // Numbers that look random and are the same at every run.
            let noise = (tick * 7919 % 1009) as f64 / 1009.0;
            if tick % 2 == 0 {
                let watts = match point {
                    Some(point) if phase != "capture" => self.points[point].2,
                    Some(_) => 2.6,
                    None => 2.0,
                };
                let condition = (tick % 20 == 0).then(|| {
                    let is_hot = phase == "window" && hot == Some(began) && at - began > 5 * S;
                    json!({"celsius": {"cpu": 50.0 + noise}, "khz": {"0": 1_500_000, "1": 1_700_000},
                        "throttled": if is_hot { vec!["throttled"] } else { vec![] }})
                });
                let mut sample = json!({"record": "sample", "at_ns": at, "captured": frames,
                    "rails": if self.has_sensor { vec![watts + noise / 10.0] } else { vec![] },
                    "rails_at_ns": if self.has_sensor { vec![at] } else { vec![] }});
                if let Some(condition) = condition {
                    sample["condition"] = condition;
                }
                lines.push(sample);
            }
            if let Some(point) = point {
                frames += 1;
                if phase != "capture" {
                    seq += 1;
                    // A few take much longer.
                    let factor = if seq % 211 == 0 { 3 } else { 1 };
                    let infer_us = (self.points[point].1 + (noise * 2000.0) as u64) * factor;
                    lines.push(
                        json!({"record": "inference", "at_ns": at, "stream": "a", "seq": seq, "captured_ns": at,
                        "capture_us": 0, "queue_us": 0, "preprocess_us": 0, "infer_us": infer_us,
                        "total_us": infer_us + 5000, "top": 1}),
                    );
                }
            }
        }
        lines.push(json!({"record": "end", "at_ns": end}));
        lines
    }
}

/// The files of all machines, the page of all files, and its figures.
struct Report {
    folder: TempDir,
    lines: Vec<Vec<Value>>,
    figures: Vec<Value>,
}

impl Report {
    fn new() -> Self {
        let folder = folder();
        let lines: Vec<Vec<Value>> = MACHINES.iter().map(Machine::lines).collect();
        let files: Vec<PathBuf> = (0..lines.len()).map(|file| folder.path().join(format!("{file}.jsonl"))).collect();
        for (file, lines) in files.iter().zip(&lines) {
            fs::write(file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        let page = folder.path().join("page.html");
        let files = files.iter().map(|file| file.to_str().unwrap());
        let arguments = ["measure", "report", "--json", "--html", page.to_str().unwrap()];
        let outcome = run(arguments.into_iter().chain(files));
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let figures = serde_json::from_str::<Value>(&outcome.stdout).unwrap();
        let figures = figures.as_array().unwrap().iter().map(|file| file["figures"].clone()).collect();
        Self { folder, lines, figures }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("page.html")).unwrap()
    }

    /// The page as it would be if it might fetch things and run scripts.
    fn text_without_policy(&self) -> String {
        let text = self.text();
        let (before, policy) = text.split_once("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
        format!("{before}{}", policy.split_once('>').unwrap().1)
    }

    /// Each configuration with its numbers and figures.
    fn points(&self) -> impl Iterator<Item = (usize, usize, &Value)> {
        let files = self.figures.iter().enumerate();
        files.flat_map(|(file, figures)| {
            let points = figures["points"].as_array().unwrap().iter().enumerate();
            points.map(move |(number, point)| (file, number, point))
        })
    }

    /// The durations of the inferences in windows, each of which is a beginning and an end.
    fn durations(&self, file: usize, windows: &[(u64, u64)]) -> Vec<u64> {
        let is_inside = |line: &&Value| {
            let at = line["at_ns"].as_u64().unwrap_or_default();
            line["record"] == "inference" && windows.iter().any(|(from, to)| (*from..*to).contains(&at))
        };
        let mut durations: Vec<u64> =
            self.lines[file].iter().filter(is_inside).map(|line| line["infer_us"].as_u64().unwrap()).collect();
        durations.sort_unstable();
        durations
    }
}

/// A browser that reaches no network.
struct Browser<'a> {
    folder: &'a Path,
    /// Where nobody listens.
    proxy: u16,
}

impl<'a> Browser<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, proxy: free_port() }
    }

    /// The document that a page has become, and the addresses that it has asked for.
    fn open(&self, page: &str) -> (String, Vec<String>) {
        let log = self.folder.join("net.json");
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-extensions"])
            .arg(format!("--user-data-dir={}", self.folder.join("profile").display()))
            // Also for addresses of this machine.
            .args([&format!("--proxy-server=127.0.0.1:{}", self.proxy), "--proxy-bypass-list=<-loopback>"])
            .arg(format!("--log-net-log={}", log.display()))
            .args(["--virtual-time-budget=10000", "--dump-dom"])
            .arg(format!("file://{}", self.folder.join(page).display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let outcome = Running::start(&mut command).finish();
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let log: Value = serde_json::from_slice(&fs::read(log).unwrap()).unwrap();
        let start = &log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"];
        assert!(start.is_u64());
        let events = log["events"].as_array().unwrap().iter();
        let requests = events.filter(|event| event["type"] == *start).map(|event| &event["params"]);
        // Others are the browser's own, and ends of requests have no address.
        let of_page = requests.filter(|request| request["initiator"] != "not an origin");
        (outcome.stdout, of_page.filter_map(|request| Some(request["url"].as_str()?.to_owned())).collect())
    }
}

/// An element of a document, with the text before the next tag.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
}

impl Element {
    fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }

    fn number(&self, attribute: &str) -> f64 {
        self.get(attribute).parse().unwrap_or_else(|_| panic!("{attribute} of {self:?}"))
    }

    fn is_of(&self, file: usize, point: usize) -> bool {
        self.get("data-file") == file.to_string() && self.get("data-point") == point.to_string()
    }
}

fn unescaped(text: &str) -> String {
    let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&nbsp;", "\u{a0}"), ("&amp;", "&")];
    names.iter().fold(text.to_owned(), |text, (name, of)| text.replace(name, of))
}

/// The elements of a document as Chromium writes it: attributes are in quotation marks, which they do not contain.
fn elements(document: &str) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut rest = document;
    while let Some((_, tag)) = rest.split_once('<') {
        rest = tag;
        let end = tag.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(tag.len());
        let name = tag[..end].to_owned();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        rest = &tag[end..];
        let mut attributes = BTreeMap::new();
        loop {
            rest = rest.trim_start();
            if rest.starts_with('>') || rest.is_empty() {
                break;
            }
            let (attribute, value) = rest.split_once("=\"").unwrap();
            let (value, after) = value.split_once('"').unwrap();
            attributes.insert(attribute.to_owned(), unescaped(value));
            rest = after;
        }
        let text = rest.trim_start_matches('>').split('<').next().unwrap_or_default();
        elements.push(Element { name, attributes, text: unescaped(text) });
    }
    elements
}

/// Those from the element with this id to the next one that has the other id.
fn section<'a>(elements: &'a [Element], id: &str, next: &str) -> &'a [Element] {
    let at = |id: &str| elements.iter().position(|element| element.get("id") == id).expect(id);
    &elements[at(id)..at(next)]
}

/// The elements after the first that `is_first` accepts, up to the next of its name.
fn inside(elements: &[Element], is_first: impl Fn(&Element) -> bool) -> &[Element] {
    let first = elements.iter().position(is_first).expect("an element");
    let name = &elements[first].name;
    let length = elements[first + 1..].iter().position(|element| element.name == *name);
    length.map_or(&elements[first..], |length| &elements[first..first + 1 + length])
}

/// What a person reads is the figure, to half of its last digit.
fn reads(element: &Element, figure: f64) {
    let text = element.text.split_whitespace().next().unwrap_or_default();
    let read: f64 = text.parse().unwrap_or_else(|_| panic!("{element:?}"));
    assert!((read - figure).abs() <= 0.0006 * figure.abs(), "{element:?}: {figure}");
}

/// The figure with this path of names, such as `infer_ms.p50`.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| match name.parse::<usize>() {
        Ok(index) => &value[index],
        Err(_) => &value[name],
    })
}

fn valid_windows(point: &Value) -> Vec<(u64, u64)> {
    let windows = point["windows"].as_array().unwrap().iter();
    let valid = windows.filter(|window| window["reasons"].as_array().unwrap().is_empty());
    valid.map(|window| (window["from_ns"].as_u64().unwrap(), window["to_ns"].as_u64().unwrap())).collect()
}

#[test]
fn figures_in_a_browser_are_those_of_the_file_and_nothing_is_fetched() {
    let report = Report::new();
    let browser = Browser::new(report.folder.path());
    let (document, requests) = browser.open("page.html");
    let elements = elements(&document);

    // Nothing is fetched, and nothing of a name has become an element.
    assert_eq!(requests, Vec::<String>::new());
    for element in &elements {
        assert!(
            !["script", "img", "link", "iframe", "object", "image", "use"].contains(&&*element.name),
            "{element:?}"
        );
        let target = [element.get("href"), element.get("src")].concat();
        assert!(target.is_empty() || target.starts_with('#'), "{element:?}");
        assert!(element.attributes.keys().all(|name| !name.starts_with("on")), "{element:?}");
    }
    assert!(elements.iter().any(|element| element.name == "title" && element.text.contains("pi4, pi5, <script>")));

    summary(&report, section(&elements, "summary", "energy"));
    windows(&report, section(&elements, "windows", "environment"));
    energy(&report, section(&elements, "energy", "tradeoff"));
    front(&report, section(&elements, "tradeoff", "latency"));
    latency(&report, section(&elements, "latency", "time"));
    time(&report, section(&elements, "time", "windows"));

    // A page that fetches something is found, and the policy of this one forbids it.
    let image = "<img src=\"http://fetched.example/b.png\"></body>";
    for (name, text, requests) in [
        ("forbidden.html", report.text(), vec![]),
        ("open.html", report.text_without_policy(), vec!["http://fetched.example/b.png"]),
    ] {
        fs::write(report.folder.path().join(name), text.replace("</body>", image)).unwrap();
        assert_eq!(browser.open(name).1, requests, "{name}");
    }
}

fn summary(report: &Report, elements: &[Element]) {
    for (file, number, point) in report.points() {
        let row = inside(elements, |element| element.name == "tr" && element.is_of(file, number));
        let cells: Vec<&Element> = row.iter().filter(|element| element.name == "td").collect();
        assert_eq!(cells.len(), 9);
        assert_eq!(cells[0].number("data-value"), point["valid"]["windows"].as_f64().unwrap());
        for cell in &cells[1..] {
            let figure = &point["valid"][cell.get("data-figure")];
            if figure.is_null() {
                assert_eq!(MACHINES[file].device, HOSTILE, "{cell:?}");
                continue;
            }
            for name in ["median", "min", "max"] {
                assert_eq!(cell.number(&format!("data-{name}")), figure[name].as_f64().unwrap(), "{cell:?}");
            }
            reads(cell, cell.number("data-median"));
        }
    }
    let reasons = elements.iter().filter(|element| element.text == "unavailable: no sensor of power").count();
    assert_eq!(reasons, 4);
}

fn windows(report: &Report, elements: &[Element]) {
    for (file, number, point) in report.points() {
        let table = inside(elements, |element| element.name == "section" && element.is_of(file, number));
        for (index, window) in point["windows"].as_array().unwrap().iter().enumerate() {
            let of_window = || table.iter().filter(|element| element.get("data-window") == (index + 1).to_string());
            let head = of_window().find(|element| element.name == "th").unwrap();
            for (attribute, name) in [("data-from-ns", "from_ns"), ("data-to-ns", "to_ns")] {
                assert_eq!(head.get(attribute).parse::<u64>().unwrap(), window[name].as_u64().unwrap());
            }
            let reasons: Vec<&str> =
                window["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap()).collect();
            let verdict = if reasons.is_empty() { "valid".to_owned() } else { reasons.join(", ") };
            assert_eq!((head.get("data-verdict"), head.get("class") == "invalid"), (&*verdict, verdict != "valid"));
            // The samples and results of the file that the figures come from.
            let range = window["from_ns"].as_u64().unwrap()..=window["to_ns"].as_u64().unwrap();
            let samples = report.lines[file].iter().filter(|line| line["record"] == "sample");
            let samples = samples.filter(|line| range.contains(&line["at_ns"].as_u64().unwrap())).count();
            let results = report.durations(file, &[(*range.start(), *range.end())]).len();
            let mut seen = 0;
            for cell in of_window().filter(|element| element.name == "td") {
                let figure = at(window, cell.get("data-figure"));
                match cell.get("data-figure") {
                    "time" => continue,
                    "celsius" => assert_eq!(cell.number("data-first"), figure[0].as_f64().unwrap()),
                    "samples" => assert_eq!(cell.number("data-value"), samples as f64),
                    "inferences" => assert_eq!(cell.number("data-value"), results as f64),
                    _ => {
                        assert_eq!(cell.number("data-value"), figure.as_f64().unwrap(), "{cell:?}");
                        reads(cell, cell.number("data-value"));
                    }
                }
                seen += 1;
            }
            assert_eq!(seen, if MACHINES[file].has_sensor { 22 } else { 18 }, "{}", MACHINES[file].device);
        }
    }
    let invalid = elements.iter().filter(|element| element.get("data-verdict") == "throttled").count();
    assert_eq!(invalid, 1);
}

fn energy(report: &Report, elements: &[Element]) {
    for (file, number, point) in report.points() {
        let group = inside(elements, |element| element.name == "div" && element.is_of(file, number));
        let bars: Vec<&Element> = group.iter().filter(|element| element.name == "g").collect();
        assert_eq!(bars.len(), if MACHINES[file].has_sensor { 3 } else { 0 });
        for bar in bars {
            for name in ["median", "min", "max"] {
                let figure = &point["valid"][bar.get("data-figure")][name];
                assert_eq!(bar.number(&format!("data-{name}")), figure.as_f64().unwrap(), "{bar:?}");
            }
        }
    }
}

fn front(report: &Report, elements: &[Element]) {
    let costs = |point: &Value| {
        let of = |name: &str| point["valid"][name]["median"].as_f64();
        Some((of("infer_p50_ms")?, of("gross_j")?))
    };
    let mut fronts = 0;
    for (file, number, point) in report.points() {
        let marker = elements.iter().find(|element| element.name == "g" && element.is_of(file, number));
        let Some((ms, joules)) = costs(point) else {
            assert!(marker.is_none());
            continue;
        };
        let marker = marker.unwrap();
        assert_eq!((marker.number("data-infer-p50-ms"), marker.number("data-gross-j")), (ms, joules));
        let others = report.points().filter(|(of, other, _)| *of == file && *other != number);
        let is_beaten = others.filter_map(|(.., other)| costs(other)).any(|(x, y)| x <= ms && y <= joules);
        assert_eq!(marker.get("data-front"), if is_beaten { "false" } else { "true" });
        fronts += usize::from(!is_beaten);
    }
    assert_eq!(fronts, 3, "the third configuration of the second machine is slower and takes more");
}

fn latency(report: &Report, elements: &[Element]) {
    for (file, number, point) in report.points() {
        let figure = inside(elements, |element| element.name == "figure" && element.is_of(file, number));
        let durations = report.durations(file, &valid_windows(point));
        let bars: Vec<&Element> = figure.iter().filter(|element| element.name == "rect").collect();
        assert!(bars.len() > 10);
        for bar in &bars {
            let from = bar.number("data-from-us") as u64;
            let to = bar.attributes.get("data-to-us").map_or(u64::MAX, |to| to.parse().unwrap());
            let count = durations.iter().filter(|us| (from..to).contains(*us)).count();
            assert_eq!(bar.number("data-count"), count as f64, "{bar:?}");
        }
        let all: f64 = bars.iter().map(|bar| bar.number("data-count")).sum();
        assert_eq!(all, durations.len() as f64);
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            let mark = figure.iter().find(|element| element.get("data-figure") == name).unwrap();
            let rank = (share * durations.len() as f64).ceil() as usize;
            assert_eq!(mark.number("data-value"), durations[rank - 1] as f64 / 1000.0);
        }
    }
}

fn time(report: &Report, elements: &[Element]) {
    for (file, machine) in MACHINES.iter().enumerate() {
        let figure =
            inside(elements, |element| element.name == "figure" && element.get("data-file") == file.to_string());
        let samples: Vec<&Value> = report.lines[file].iter().filter(|line| line["record"] == "sample").collect();
        let of = |path: &str| samples.iter().filter_map(|line| at(line, path).as_f64()).collect::<Vec<f64>>();
        for (key, values) in [("watts", of("rails.0")), ("celsius", of("condition.celsius.cpu"))] {
            let plot = figure.iter().find(|element| element.get("data-plot") == key).unwrap();
            if values.is_empty() {
                assert_eq!(plot.text, "unavailable: no sensor of power");
                continue;
            }
            assert_eq!(plot.number("data-count"), values.len() as f64, "{key}");
            assert!(plot.number("data-places") <= 1000.0);
            assert_eq!(plot.number("data-max"), values.iter().copied().reduce(f64::max).unwrap());
            assert_eq!(plot.number("data-min"), values.iter().copied().reduce(f64::min).unwrap());
        }
        let mhz = figure.iter().find(|element| element.get("data-plot") == "mhz").unwrap();
        assert_eq!((mhz.number("data-min"), mhz.number("data-max")), (1600.0, 1600.0));
        // The phases are behind each curve.
        let curves = if machine.has_sensor { 3 } else { 2 };
        let phases = figure.iter().filter(|element| !element.get("data-phase").is_empty()).count();
        assert_eq!(phases, (machine.phases().len() - 1) * curves);
        let shaded = figure.iter().filter(|element| element.get("class").contains("hatched")).count();
        assert_eq!(shaded, machine.throttled.map_or(0, |_| curves));
    }
}

#[test]
fn the_page_is_no_wider_than_a_telephone_or_a_window_and_its_text_is_readable() {
    let report = Report::new();
    // A copy that may run a script, in frames of both widths, since a browser may refuse to make a window this narrow.
    let script = "<script>addEventListener('load', () => {
        const wide = [...document.querySelectorAll('body *')].filter(it => !it.closest('.scroll, .patterns')
            && it.getBoundingClientRect().right > innerWidth + 1);
        const small = [...document.querySelectorAll('text')].filter(it => getComputedStyle(it).display != 'none'
            && it.getBoundingClientRect().height < 10 && it.textContent);
        parent.postMessage([innerWidth, document.documentElement.scrollWidth, wide.map(it => it.outerHTML.slice(0, 200)),
            small.map(it => it.textContent)], '*');
    })</script>";
    let text = report.text_without_policy().replace("</body>", &format!("{script}</body>"));
    fs::write(report.folder.path().join("open.html"), text).unwrap();
    let frames = "<body><script>addEventListener('message', it => {
            const found = document.createElement('pre'); found.textContent = JSON.stringify(it.data); document.body.append(found);
        })</script><iframe src=open.html width=390 height=844></iframe><iframe src=open.html width=1280 height=900></iframe>";
    fs::write(report.folder.path().join("frames.html"), frames).unwrap();
    let (document, _) = Browser::new(report.folder.path()).open("frames.html");
    let found: Vec<Value> = elements(&document)
        .iter()
        .filter(|element| element.name == "pre")
        .map(|element| serde_json::from_str(&element.text).unwrap())
        .collect();
    let mut widths: Vec<u64> = found.iter().map(|found| found[0].as_u64().unwrap()).collect();
    widths.sort_unstable();
    assert_eq!(widths, [390, 1280], "{document}");
    for found in found {
        assert!(found[1].as_u64() <= found[0].as_u64(), "{found}");
        assert_eq!((&found[2], &found[3]), (&json!([]), &json!([])), "{}", found[0]);
    }
}

#[test]
fn a_report_replaces_no_measurement_and_says_what_cannot_be_written() {
    let report = Report::new();
    let file = report.folder.path().join("0.jsonl");
    let before = fs::read(&file).unwrap();
    let file = file.to_str().unwrap();
    for flag in ["--html", "--csv"] {
        let outcome = run(["measure", "report", file, flag, file]);
        assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
        assert!(outcome.message().contains("it would replace the measurement"), "{}", outcome.stderr);
        let outcome = run(["measure", "report", file, flag, "/no/such/folder/page"]);
        assert_eq!(outcome.code(), 74, "{}", outcome.stderr);
        assert!(outcome.message().contains("cannot write /no/such/folder/page"), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
    let both = report.folder.path().join("both");
    let both = both.to_str().unwrap();
    let outcome = run(["measure", "report", file, "--html", both, "--csv", both]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(!Path::new(both).exists());
    assert_eq!(fs::read(file).unwrap(), before);
}
