//! The table: one row per figure, as Markdown that can be pasted.

use std::fmt;

/// A measured quantity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Figure {
    /// Nanoseconds.
    Time(f64),
    /// Per second.
    Rate(f64),
    /// Bytes held.
    Memory(f64),
    /// Bytes read per nanosecond, which is gigabytes per second.
    Throughput(f64),
}

impl Figure {
    const fn value(self) -> f64 {
        match self {
            Self::Time(value) | Self::Rate(value) | Self::Memory(value) | Self::Throughput(value) => value,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Time(nanos) if nanos.abs() < 1e3 => write!(f, "{nanos:.0} ns"),
            Self::Time(nanos) if nanos.abs() < 1e5 => write!(f, "{:.1} µs", nanos / 1e3),
            Self::Time(nanos) if nanos.abs() < 1e6 => write!(f, "{:.0} µs", nanos / 1e3),
            Self::Time(nanos) => write!(f, "{:.1} ms", nanos / 1e6),
            Self::Rate(rate) => write!(f, "{rate:.0} /s"),
            Self::Memory(bytes) if bytes < 1e4 => write!(f, "{bytes:.0} B"),
            Self::Memory(bytes) => write!(f, "{:.1} MB", bytes / 1e6),
            Self::Throughput(rate) => write!(f, "{rate:.2} GB/s"),
        }
    }
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// No less than this.
    AtLeast(Figure),
    /// No more than this.
    AtMost(Figure),
    /// No less than this share of the comparison.
    RatioAtLeast(f64),
    /// No more than this many times the comparison.
    RatioAtMost(f64),
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    ours: Option<Figure>,
    compared: Option<(Figure, &'static str)>,
    ratio: Option<f64>,
    added: Option<Figure>,
    target: Option<Target>,
}

impl Row {
    /// A figure of ours; `None` where this system does not report it.
    pub(crate) fn new(what: impl Into<String>, ours: impl Into<Option<Figure>>) -> Self {
        let (what, ours) = (what.into(), ours.into());
        Self { what, ours, compared: None, ratio: None, added: None, target: None }
    }

    /// What it is compared with, by name, and how many times that it is; `None` where that is unknown.
    pub(crate) fn against(
        mut self,
        name: &'static str,
        other: impl Into<Option<Figure>>,
        ratio: impl Into<Option<f64>>,
    ) -> Self {
        self.compared = other.into().map(|other| (other, name));
        self.ratio = ratio.into().filter(|_| self.compared.is_some());
        self
    }

    /// What it is compared with, by name, and what it adds to that.
    pub(crate) fn on_top_of(mut self, name: &'static str, other: Figure) -> Self {
        self.compared = Some((other, name));
        self.added = self.ours.map(|ours| Figure::Time(ours.value() - other.value()));
        self
    }

    /// What is to be reached.
    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    fn verdict(&self) -> String {
        let ours = self.ours.map(Figure::value);
        let over = match self.target {
            None => return String::new(),
            Some(Target::AtLeast(least)) => ours.map(|ours| 1.0 - ours / least.value()),
            Some(Target::AtMost(most)) => ours.map(|ours| ours / most.value() - 1.0),
            Some(Target::RatioAtLeast(least)) => self.ratio.map(|ratio| 1.0 - ratio / least),
            Some(Target::RatioAtMost(most)) => self.ratio.map(|ratio| ratio / most - 1.0),
        };
        match over {
            None => "not measured".to_owned(),
            Some(over) if over <= 0.0 => "ok".to_owned(),
            Some(over) => format!("missed by {:.0} %", (over * 100.0).ceil()),
        }
    }

    fn cells(&self) -> [String; 6] {
        let ours = self.ours.map_or_else(|| "not reported here".to_owned(), |ours| ours.to_string());
        let compared = self.compared.map(|(other, name)| format!("{name}: {other}"));
        let ratio = self.ratio.map(|ratio| format!("{ratio:.2}")).or(self.added.map(|added| format!("adds {added}")));
        let target = self.target.map(|target| match target {
            Target::AtLeast(figure) => format!("at least {figure}"),
            Target::AtMost(figure) => format!("at most {figure}"),
            Target::RatioAtLeast(ratio) => format!("ratio at least {ratio}"),
            Target::RatioAtMost(ratio) => format!("ratio at most {ratio}"),
        });
        let or_empty = Option::unwrap_or_default;
        [self.what.clone(), ours, or_empty(compared), or_empty(ratio), or_empty(target), self.verdict()]
    }
}

/// The whole table.
pub(crate) fn render(rows: &[Row]) -> String {
    let head = ["what", "ours", "compared with", "ratio", "to reach", ""].map(str::to_owned);
    let lines: Vec<_> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count()).max(2);
        }
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            text += &format!("| {cell:<width$} ");
        }
        text += "|\n";
        if number == 0 {
            text.extend(widths.iter().enumerate().map(|(column, width)| match column {
                1 | 3 => format!("|{}:", "-".repeat(width + 1)),
                _ => format!("|{}", "-".repeat(width + 2)),
            }));
            text += "|\n";
        }
    }
    text
}
