//! One suite as a picture: how each figure compares with git's, on a logarithmic axis.

use std::fmt::Write;

/// A figure beside git's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    /// What was measured.
    pub(crate) label: String,
    /// Both figures, in words.
    pub(crate) figures: String,
    /// Ours, as a part of git's.
    pub(crate) ratio: f64,
    /// The ratio that is to be reached.
    pub(crate) goal: Option<f64>,
}

/// The ends of the axis; what lies outside is drawn at the end.
const RATIO_MIN: f64 = 0.01;
const RATIO_MAX: f64 = 10.0;
/// Lines across the picture.
const TICKS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// In pixels.
const LABELS_WIDTH: f64 = 360.0;
const AXIS_WIDTH: f64 = 420.0;
const FIGURES_WIDTH: f64 = 220.0;
const ROW_HEIGHT: f64 = 22.0;
const TITLE_HEIGHT: f64 = 56.0;
const FOOT_HEIGHT: f64 = 28.0;

/// Draws a suite as SVG 1.1. Shorter is better; left of the line at 1x Packhorse needs less.
pub(crate) fn draw(title: &str, subtitle: &str, bars: &[Bar]) -> String {
    let width = LABELS_WIDTH + AXIS_WIDTH + FIGURES_WIDTH;
    let bottom = TITLE_HEIGHT + ROW_HEIGHT * bars.len() as f64;
    let height = bottom + FOOT_HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, (8.0, 20.0), "start", "bold", title);
    text(&mut svg, (8.0, 40.0), "start", "normal", subtitle);
    for tick in TICKS {
        let x = place(tick);
        let stroke = if tick == 1.0 { "#444" } else { "#ddd" };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TITLE_HEIGHT}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{stroke}\"/>"
        );
        text(&mut svg, (x, bottom + 18.0), "middle", "normal", &format!("{tick}x"));
    }
    for (number, bar) in bars.iter().enumerate() {
        draw_bar(&mut svg, TITLE_HEIGHT + ROW_HEIGHT * number as f64, bar);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_bar(svg: &mut String, top: f64, bar: &Bar) {
    let (left, right) = (place(RATIO_MIN), place(bar.ratio));
    let fill = match bar.goal {
        Some(goal) if bar.ratio > goal => "#c0504d",
        _ if bar.ratio > 1.0 => "#d99a3a",
        _ => "#3a7d44",
    };
    let line = top + 15.0;
    text(svg, (LABELS_WIDTH - 8.0, line), "end", "normal", &bar.label);
    let _ = writeln!(
        svg,
        "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"/>",
        top + 3.0,
        right - left,
        ROW_HEIGHT - 6.0
    );
    if let Some(goal) = bar.goal {
        let x = place(goal);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"black\" \
             stroke-width=\"2\"/>",
            top + ROW_HEIGHT
        );
    }
    let figures = format!("{:.2}x  {}", bar.ratio, bar.figures);
    text(svg, (LABELS_WIDTH + AXIS_WIDTH + 8.0, line), "start", "normal", &figures);
}

/// Where a ratio lies across the picture.
fn place(ratio: f64) -> f64 {
    let part = |ratio: f64| (ratio / RATIO_MIN).ln() / (RATIO_MAX / RATIO_MIN).ln();
    LABELS_WIDTH + AXIS_WIDTH * part(ratio.clamp(RATIO_MIN, RATIO_MAX))
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_ends_at_its_ratio_and_goals_have_a_mark() {
        let bar = |ratio, goal| Bar { label: "a <b>".into(), figures: "1 s".into(), ratio, goal };
        let svg =
            draw("clone", "git 2", &[bar(0.1, Some(0.2)), bar(3.0, None), bar(0.5, Some(0.2))]);
        assert!(svg.contains("a &lt;b&gt;") && !svg.contains("<b>"), "{svg}");
        let third = AXIS_WIDTH / 3.0;
        assert!(svg.contains(&format!("width=\"{third:.1}\"")), "{svg}");
        for fill in ["#3a7d44", "#d99a3a", "#c0504d"] {
            assert_eq!(svg.matches(fill).count(), 1, "{svg}");
        }
        assert_eq!(svg.matches("stroke-width=\"2\"").count(), 2);
    }

    #[test]
    fn what_lies_outside_is_drawn_at_the_end() {
        assert_eq!(place(0.0001), place(RATIO_MIN));
        assert_eq!(place(1000.0), place(RATIO_MAX));
        assert!(place(0.1) < place(1.0));
    }
}
