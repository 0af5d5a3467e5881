//! Measuring a case, and the line it prints.
//!
//! ```text
//! append/memory, 16 KiB             1.62 us     1.60 ..    1.71     10.1 GB/s    1.3 x copy
//! ```
//!
//! The first figure is the median of the samples, then the fastest and the slowest of them; then the work done at the
//! median in a second; then, where the case names a [`Limit`], how many times longer it took than that limit for as many
//! bytes. All are of the time the process was given by its processors, not of the clock on the wall: the cases do not wait,
//! and other programs on the machine do not count. (What waits is the exception, and its name says so.)
//!
//! A sample runs the case often enough to take [`SAMPLE`]; one unmeasured sample goes before. Run by `cargo test`, that is
//! without `--bench`, each case runs once and no figure is printed.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::limit::Limit;

/// How long a sample takes at least.
const SAMPLE: Duration = Duration::from_millis(10);
/// How many samples there are of a case, unless they would take longer than [`CASE`].
const SAMPLES: usize = 15;
/// The fewest, however long they take.
const LEAST_SAMPLES: usize = 5;
/// How long a case takes, roughly, if its samples are short.
const CASE: Duration = Duration::from_millis(500);

/// What one run of a case does.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// It handles this many bytes.
    Bytes(usize),
    /// It handles this many records, requests or whatever the word says.
    Items(usize, &'static str),
}

/// A case to be measured.
pub(crate) struct Case<'a> {
    pub(crate) name: &'a str,
    pub(crate) work: Work,
    /// What it is held against, for how many bytes.
    pub(crate) limit: Option<(Limit, usize)>,
    pub(crate) clock: Clock,
}

/// Which time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// What the process was given of its processors.
    Processor,
    /// The wall's, for what waits.
    Wall,
}

impl<'a> Case<'a> {
    pub(crate) const fn new(name: &'a str, work: Work) -> Self {
        Self { name, work, limit: None, clock: Clock::Processor }
    }

    pub(crate) const fn against(mut self, limit: Limit, bytes: usize) -> Self {
        self.limit = Some((limit, bytes));
        self
    }

    pub(crate) const fn by_the_wall(mut self) -> Self {
        self.clock = Clock::Wall;
        self
    }
}

/// Which cases run, and whether they are measured.
pub(crate) struct Bench {
    filters: Vec<String>,
    measuring: bool,
    /// Seconds, each measured when first asked for.
    limits: BTreeMap<(Limit, usize), f64>,
}

impl Bench {
    /// As cargo passes them on: `--bench` from `cargo bench`, and what the user wrote behind `--`.
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Self {
        let (flags, filters): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument.starts_with("--"));
        Self { filters, measuring: flags.iter().any(|flag| flag == "--bench"), limits: BTreeMap::new() }
    }

    /// Whether figures are wanted; otherwise a case may do with less.
    pub(crate) const fn is_measuring(&self) -> bool {
        self.measuring
    }

    /// Whether a case of this name is wanted: ask, for each that will need it, before preparing what takes long.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    /// Measures `run`, with the dropping of what it returns, and prints its line.
    pub(crate) fn case<R>(&mut self, case: Case<'_>, mut run: impl FnMut() -> R) {
        self.prepared(case, || (), |()| drop(black_box(run())));
    }

    /// Measures `run` alone, each time on what `prepare` makes for it. What it returns is dropped outside of the measure.
    pub(crate) fn prepared<T, R>(
        &mut self,
        case: Case<'_>,
        mut prepare: impl FnMut() -> T,
        mut run: impl FnMut(T) -> R,
    ) {
        if !self.wants(case.name) {
            return;
        }
        if !self.measuring {
            black_box(run(prepare()));
            println!("{:<44} runs", case.name);
            return;
        }
        let spread = Spread::of(case.clock, &mut prepare, &mut run);
        let limit = case.limit.map(|(limit, bytes)| {
            let seconds = self.limits.entry((limit, bytes)).or_insert_with(|| limit.measure(bytes));
            (limit.name(), *seconds)
        });
        println!("{}", line(&case, &spread, limit));
    }
}

/// Seconds a run, over the samples.
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    pub(crate) fn of<T, R>(
        clock: Clock,
        prepare: &mut impl FnMut() -> T,
        run: &mut impl FnMut(T) -> R,
    ) -> Self {
        let once = sample(clock, 1, prepare, run);
        let runs = runs_in(SAMPLE, once);
        let warm = sample(clock, runs, prepare, run);
        let samples = runs_in(CASE, warm * f64::from(runs)).clamp(
            u32::try_from(LEAST_SAMPLES).unwrap_or(u32::MAX),
            u32::try_from(SAMPLES).unwrap_or(u32::MAX),
        );
        let mut seconds: Vec<f64> = (0..samples).map(|_| sample(clock, runs, prepare, run)).collect();
        seconds.sort_by(f64::total_cmp);
        Self { median: seconds[seconds.len() / 2], least: seconds[0], most: seconds[seconds.len() - 1] }
    }
}

/// How often something of this length fits, at least once.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range")]
fn runs_in(time: Duration, seconds: f64) -> u32 {
    (time.as_secs_f64() / seconds.max(1e-9)).ceil().clamp(1.0, 10_000_000.0) as u32
}

/// Seconds a run took in the mean of `runs`.
fn sample<T, R>(
    clock: Clock,
    runs: u32,
    prepare: &mut impl FnMut() -> T,
    run: &mut impl FnMut(T) -> R,
) -> f64 {
    /// As many are prepared ahead, and as many results kept: few enough to stay in the caches.
    const AHEAD: u32 = 64;
    let mut spent = Duration::ZERO;
    let mut left = runs;
    while left > 0 {
        let now = left.min(AHEAD);
        let prepared: Vec<T> = (0..now).map(|_| prepare()).collect();
        let mut results = Vec::with_capacity(prepared.len());
        let from = clock.read();
        for thing in prepared {
            results.push(black_box(run(black_box(thing))));
        }
        spent += clock.read().saturating_sub(from);
        left -= now;
    }
    spent.as_secs_f64() / f64::from(runs)
}

impl Clock {
    /// The time since some origin of its own.
    fn read(self) -> Duration {
        match self {
            Self::Processor => {
                let time = clock_gettime(ClockId::ProcessCPUTime);
                Duration::new(
                    u64::try_from(time.tv_sec).unwrap_or_default(),
                    u32::try_from(time.tv_nsec).unwrap_or_default(),
                )
            }
            Self::Wall => {
                use std::sync::LazyLock;
                static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
                ORIGIN.elapsed()
            }
        }
    }
}

fn line(case: &Case<'_>, spread: &Spread, limit: Option<(&str, f64)>) -> String {
    let (unit, scale) = unit_of(spread.median);
    let figure = |seconds: f64| seconds * scale;
    let wall = if case.clock == Clock::Wall { " (wall)" } else { "" };
    let mut line = format!(
        "{:<44} {:>8.2} {unit} {:>8.2} .. {:>8.2}{wall} {:>16}",
        case.name,
        figure(spread.median),
        figure(spread.least),
        figure(spread.most),
        rate(case.work, spread.median),
    );
    if let Some((name, seconds)) = limit {
        line.push_str(&format!(" {:>7.2} x {name}", spread.median / seconds));
    }
    line
}

fn unit_of(seconds: f64) -> (&'static str, f64) {
    match seconds {
        s if s < 1e-6 => ("ns", 1e9),
        s if s < 1e-3 => ("us", 1e6),
        _ => ("ms", 1e3),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(work: Work, seconds: f64) -> String {
    match work {
        Work::Bytes(bytes) => format!("{:.2} GB/s", bytes as f64 / seconds / 1e9),
        Work::Items(items, word) => match items as f64 / seconds {
            each if each >= 1e6 => format!("{:.2} M {word}/s", each / 1e6),
            each if each >= 1e3 => format!("{:.1} k {word}/s", each / 1e3),
            each => format!("{each:.0} {word}/s"),
        },
    }
}
