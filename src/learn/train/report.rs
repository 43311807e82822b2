//! The page about a training: one HTML file with its curves, the confusion matrix and the worst mistakes as pictures.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use super::assess::Answer;
use super::data::Set;
use super::log::Epoch;
use super::options::TrainOptions;
use super::raster::{Area, Raster};

/// Name of the file in the folder of a training.
pub const FILE: &str = "report.html";

/// Most classes of a confusion matrix; above, the most frequent mistakes are listed.
const MATRIX: usize = 40;

/// Rows of the list of mistakes, and pictures.
const LISTED: usize = 30;

/// The longer side of a picture in pixels.
const SIDE: usize = 160;

/// What a page is about.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Name of the network.
    pub name: &'a str,
    /// The pictures for testing.
    pub set: &'a Set,
    /// Number of pictures for training.
    pub pictures: usize,
    /// How it is trained.
    pub options: &'a TrainOptions,
}

/// The page after the last of `epochs`, whose test gave `answers`.
#[must_use]
pub fn page(subject: &Subject<'_>, epochs: &[Epoch], answers: &[Answer]) -> String {
    let mut page = String::new();
    let name = escaped(subject.name);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Training of {name}</title>\n\
         <style>{STYLE}</style></head>\n<body>\n<h1>Training of {name}</h1>\n"
    );
    summary(&mut page, subject, epochs);
    let loss = [
        Curve { name: "training", values: epochs.iter().map(|epoch| epoch.loss).collect() },
        Curve { name: "test", values: epochs.iter().map(|epoch| epoch.test.loss.unwrap_or(f64::NAN)).collect() },
    ];
    let share = |of: fn(&Epoch) -> f64| epochs.iter().map(|epoch| of(epoch) * 100.0).collect();
    let top1 = [
        Curve { name: "training", values: share(|epoch| epoch.train_top1) },
        Curve { name: "test", values: share(|epoch| epoch.test.top1) },
    ];
    page.push_str("<div class=\"curves\">\n");
    let most = loss
        .iter()
        .flat_map(|curve| &curve.values)
        .copied()
        .filter(|loss| loss.is_finite())
        .fold(f64::MIN_POSITIVE, f64::max);
    chart(&mut page, "Mean loss of a picture", "", 1.05 * most, &loss);
    chart(&mut page, "Pictures with the right class first", " %", 100.0, &top1);
    page.push_str("</div>\n");
    let labels = &subject.set.labels;
    match labels.len() {
        ..=MATRIX => matrix(&mut page, labels, &confusion(subject.set, answers)),
        _ => frequent(&mut page, subject.set, answers),
    }
    mistakes(&mut page, subject.set, answers);
    page.push_str("</body></html>\n");
    page
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--a:#2a6fdb;--b:#d9822b;--right:42,140,80;--wrong:217,70,43}\
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse}\
td,th{padding:.15rem .5rem;border:1px solid var(--line);text-align:right;font-weight:normal}\
.facts td,.facts th,th.row,.list td{text-align:left}.matrix{font-size:.8rem;overflow-x:auto}\
.matrix thead th{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left}\
.curves{display:flex;flex-wrap:wrap;gap:2rem}figure{margin:0}figcaption{font-size:.8rem;max-width:11rem}\
.mistakes{display:flex;flex-wrap:wrap;gap:1rem}.mistakes img{max-width:11rem;min-width:6rem;display:block}\
svg{width:34rem;max-width:100%;height:auto}svg text{font-size:12px;fill:currentColor}small{opacity:.7;overflow-wrap:anywhere}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn summary(page: &mut String, subject: &Subject<'_>, epochs: &[Epoch]) {
    let Subject { set, pictures, options, .. } = subject;
    let mut facts = vec![
        ("Epochs", format!("{} of {}", epochs.last().map_or(0, |epoch| epoch.epoch), options.epochs)),
        ("Pictures", format!("{pictures} for training, {} for testing", set.samples.len())),
        ("Classes", set.labels.len().to_string()),
        ("Optimizer", format!("{}, rate {}, batches of {}", options.optimizer, options.rate, options.batch)),
    ];
    if let Some(best) = epochs.iter().rfind(|epoch| epoch.best) {
        facts.push(("Best", format!("{} after epoch {}", percent(best.test.top1), best.epoch)));
    }
    if let Some(last) = epochs.last() {
        facts.push(("Last, top-1", percent(last.test.top1)));
        // With five classes or fewer it is always 100 %.
        if set.labels.len() > 5 {
            facts.push(("Last, top-5", percent(last.test.top5)));
        }
    }
    page.push_str("<table class=\"facts\">\n");
    for (name, value) in facts {
        let _ = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&value));
    }
    page.push_str("</table>\n");
}

/// A line of a chart: a value per epoch.
struct Curve {
    name: &'static str,
    values: Vec<f64>,
}

/// A chart over the epochs, as SVG. The vertical axis goes from 0 to `most`.
fn chart(page: &mut String, title: &str, unit: &str, most: f64, curves: &[Curve]) {
    const WIDTH: f64 = 540.0;
    const HEIGHT: f64 = 240.0;
    const LEFT: f64 = 52.0;
    const BOTTOM: f64 = 24.0;
    const COLOURS: [&str; 2] = ["var(--a)", "var(--b)"];
    let epochs = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0);
    let x = |index: usize| LEFT + (WIDTH - LEFT - 10.0) * index as f64 / epochs.saturating_sub(1).max(1) as f64;
    let y = |value: f64| (HEIGHT - BOTTOM) * (1.0 - value / most);
    let _ = writeln!(page, "<section><h2>{title}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for mark in 0..=4 {
        let value = most * f64::from(mark) / 4.0;
        let _ = writeln!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"var(--line)\"/>\
             <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{value:.3$}{unit}</text>",
            y(value),
            LEFT - 6.0,
            y(value) + if mark == 4 { 11.0 } else { 4.0 },
            if most < 20.0 { 2 } else { 0 }
        );
    }
    let marks = if epochs > 1 { vec![0, epochs - 1] } else { vec![0] };
    for index in marks {
        let anchor = if index == 0 { "start" } else { "end" };
        let _ = writeln!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">epoch {}</text>",
            x(index),
            HEIGHT - 6.0,
            index + 1
        );
    }
    for (number, (curve, colour)) in curves.iter().zip(COLOURS).enumerate() {
        let finite = curve.values.iter().enumerate().filter(|(_, value)| value.is_finite());
        let points: Vec<String> = finite.map(|(index, value)| format!("{:.1},{:.1}", x(index), y(*value))).collect();
        let _ = writeln!(
            page,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        // A line of one point is not drawn.
        if let [point] = points.as_slice() {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = writeln!(page, "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>");
        }
        if curves.len() > 1 {
            let left = WIDTH - 90.0 * (curves.len() - number) as f64;
            let _ = writeln!(
                page,
                "<text x=\"{left}\" y=\"{}\" style=\"fill:{colour}\">{}</text>",
                HEIGHT - 40.0,
                curve.name
            );
        }
    }
    page.push_str("</svg></section>\n");
}

/// `[class][answer]`: pictures of a class that the model takes for another.
fn confusion(set: &Set, answers: &[Answer]) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; set.labels.len()]; set.labels.len()];
    for answer in answers {
        counts[set.samples[answer.sample].class][answer.class] += 1;
    }
    counts
}

fn matrix(page: &mut String, labels: &[String], counts: &[Vec<usize>]) {
    page.push_str("<h2>Confusion matrix</h2>\n<p>A row holds the pictures of a class, a column what the model takes them for.</p>\n");
    page.push_str("<div class=\"matrix\"><table><thead><tr><th></th>");
    for label in labels {
        let _ = write!(page, "<th>{}</th>", escaped(label));
    }
    page.push_str("<th>recall</th></tr></thead>\n<tbody>\n");
    for (row, (label, counts)) in labels.iter().zip(counts).enumerate() {
        let _ = write!(page, "<tr><th class=\"row\">{}</th>", escaped(label));
        let all: usize = counts.iter().sum();
        for (column, count) in counts.iter().enumerate() {
            let colour = if row == column { "right" } else { "wrong" };
            let share = *count as f64 / all.max(1) as f64;
            let shade = if *count > 0 { 0.12 + 0.6 * share } else { 0.0 };
            let text = if *count > 0 { count.to_string() } else { String::new() };
            let _ = write!(page, "<td style=\"background:rgba(var(--{colour}),{shade:.2})\">{text}</td>");
        }
        let recall = if all > 0 { percent(counts[row] as f64 / all as f64) } else { "-".to_owned() };
        let _ = writeln!(page, "<td>{recall}</td></tr>");
    }
    page.push_str("</tbody></table></div>\n");
}

/// The pairs of classes that are confused most often: there may be too many classes for a matrix.
fn frequent(page: &mut String, set: &Set, answers: &[Answer]) {
    let labels = &set.labels;
    let (mut of_class, mut of_pair) = (vec![0_usize; labels.len()], HashMap::<(usize, usize), usize>::new());
    for answer in answers {
        let class = set.samples[answer.sample].class;
        of_class[class] += 1;
        if class != answer.class {
            *of_pair.entry((class, answer.class)).or_default() += 1;
        }
    }
    let mut pairs: Vec<(usize, usize, usize)> =
        of_pair.into_iter().map(|((class, answer), count)| (count, class, answer)).collect();
    pairs.sort_by_key(|&(count, class, answer)| (std::cmp::Reverse(count), class, answer));
    page.push_str("<h2>Most frequent mistakes</h2>\n<table class=\"list\">\n<tr><td>Pictures of</td><td>taken for</td><td>how many</td></tr>\n");
    for (count, class, answer) in pairs.into_iter().take(LISTED) {
        let all = of_class[class];
        let (class, answer) = (escaped(&labels[class]), escaped(&labels[answer]));
        let _ = writeln!(page, "<tr><td>{class}</td><td>{answer}</td><td>{count} of {all}</td></tr>");
    }
    page.push_str("</table>\n");
}

/// The wrong answers, the most confident first.
fn mistakes(page: &mut String, set: &Set, answers: &[Answer]) {
    let mut wrong: Vec<&Answer> =
        answers.iter().filter(|answer| answer.class != set.samples[answer.sample].class).collect();
    wrong.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.sample.cmp(&b.sample)));
    let _ = writeln!(page, "<h2>Worst mistakes</h2>");
    if wrong.is_empty() {
        page.push_str("<p>None.</p>\n");
        return;
    }
    let _ = writeln!(
        page,
        "<p>{} of {} pictures; the most confident first.</p>\n<div class=\"mistakes\">",
        wrong.len(),
        answers.len()
    );
    for answer in wrong.into_iter().take(LISTED) {
        let sample = &set.samples[answer.sample];
        let Some(picture) = sample.usable().and_then(|raster| thumbnail(&raster)) else { continue };
        let _ = writeln!(
            page,
            "<figure><img alt=\"\" src=\"data:image/png;base64,{}\"><figcaption>{}, taken for {} ({})<br><small>{}</small>\
             </figcaption></figure>",
            STANDARD.encode(picture),
            escaped(&set.labels[sample.class]),
            escaped(&set.labels[answer.class]),
            percent(answer.score.into()),
            escaped(&sample.path.display().to_string())
        );
    }
    page.push_str("</div>\n");
}

/// A small PNG of a picture. None if it cannot be encoded.
fn thumbnail(raster: &Raster) -> Option<Vec<u8>> {
    let scale = (SIDE as f64 / raster.width.max(raster.height) as f64).min(1.0);
    let side = |pixels: usize| ((pixels as f64 * scale).round() as usize).max(1);
    let (width, height) = (side(raster.width), side(raster.height));
    let whole = Area { left: 0.0, top: 0.0, width: raster.width as f64, height: raster.height as f64 };
    let values = raster.resized(whole, [height, width]);
    let bytes: Vec<u8> = values.iter().map(|value| (value * 255.0).round() as u8).collect();
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    encoder.write_image(&bytes, width as u32, height as u32, ExtendedColorType::Rgb8).ok()?;
    Some(png)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::PathBuf;

    use super::super::log::Test;
    use super::super::options::tests::options;
    use super::super::sample::Sample;
    use super::*;

    fn set(classes: usize) -> Set {
        let raster = Raster { width: 400, height: 200, data: vec![90; 400 * 200 * 3] };
        let sample = |class| Sample::in_memory(PathBuf::from(format!("<{class}>.png")), class, raster.clone());
        let labels = (0..classes).map(|class| format!("a & {class}")).collect();
        Set { labels, others: Vec::new(), samples: (0..classes).map(sample).collect(), root: PathBuf::new() }
    }

    fn epoch(epoch: u64, loss: f64) -> Epoch {
        let test = Test { pictures: 3, top1: 2.0 / 3.0, top5: 1.0, loss: Some(loss / 2.0) };
        Epoch { epoch, step: epoch, rate: 0.1, loss, train_top1: 0.5, also_top1: Vec::new(), test, best: epoch == 2 }
    }

    fn made(classes: usize) -> String {
        let (set, options) = (set(classes), options());
        let subject = Subject { name: "mini<", set: &set, pictures: 7, options: &options };
        let answer = |sample: usize| Answer { sample, class: sample.min(1), score: 0.75, is_near: true, loss: 0.5 };
        let answers: Vec<Answer> = (0..classes).map(answer).collect();
        page(&subject, &[epoch(1, 2.0), epoch(2, f64::NAN), epoch(3, 0.5)], &answers)
    }

    #[test]
    fn a_page_has_curves_the_matrix_and_the_mistakes_as_pictures() {
        let page = made(3);
        assert!(page.contains("66.67 % after epoch 2") && page.contains("Confusion matrix"), "{page}");
        assert_eq!(page.matches("<polyline").count(), 4);
        assert_eq!(page.matches("data:image/png;base64,iVBOR").count(), 1);
        assert!(page.contains("a &amp; 2, taken for a &amp; 1 (75.00 %)") && page.contains("&lt;2&gt;.png"), "{page}");
        assert!(!page.contains("mini<") && !page.contains("NaN"), "{page}");
        for outside in ["src=\"http", "href=", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn many_classes_have_a_list_of_mistakes_instead_of_a_matrix() {
        let page = made(50);
        assert!(page.contains("Most frequent mistakes") && !page.contains("Confusion matrix"));
        assert!(page.contains("<td>a &amp; 2</td><td>a &amp; 1</td><td>1 of 1</td>"), "{page}");
        assert_eq!(page.matches("data:image/png").count(), LISTED);
    }
}
