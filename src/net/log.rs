//! The log: lines as redis-server writes them, to standard output or a file that can be reopened.

use super::clock;
use crate::config::types::LogLevel;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Where log lines go.
#[derive(Clone)]
pub struct Log {
    path: Arc<str>,
    file: Arc<Mutex<Option<File>>>,
}

impl Log {
    /// `path` empty: standard output. Installs itself as the process's log.
    pub fn open(path: &str, level: LogLevel) -> io::Result<Log> {
        let log = Log { path: path.into(), file: Arc::default() };
        log.reopen()?;
        set_level(level);
        let _ = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .event_format(Lines)
            .with_writer(log.clone())
            .try_init();
        Ok(log)
    }

    /// Opens the file anew, after a log rotation moved it.
    pub fn reopen(&self) -> io::Result<()> {
        if !self.path.is_empty() {
            let file = OpenOptions::new().create(true).append(true).open(&*self.path)?;
            *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        }
        Ok(())
    }
}

impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(bytes),
            None => io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

/// Rank of the least urgent lines that are written: 0 warnings, 3 everything.
static LEVEL: AtomicU8 = AtomicU8::new(2);

/// CONFIG SET loglevel.
pub fn set_level(level: LogLevel) {
    let rank = match level {
        LogLevel::Debug => 3,
        LogLevel::Verbose => 2,
        LogLevel::Notice => 1,
        LogLevel::Warning => 0,
    };
    LEVEL.store(rank, Ordering::Relaxed);
}

struct Lines;

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>, N: for<'w> FormatFields<'w> + 'static> FormatEvent<S, N>
    for Lines
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (rank, mark) = match *event.metadata().level() {
            Level::TRACE => (3, '.'),
            Level::DEBUG => (2, '-'),
            Level::INFO => (1, '*'),
            _ => (0, '#'),
        };
        let ours = event.metadata().target().starts_with("shoal");
        if rank > LEVEL.load(Ordering::Relaxed) || (!ours && rank > 0) {
            return Ok(());
        }
        let mut text = Text::default();
        event.record(&mut text);
        let stamp = stamp(clock::now().unix_us / 1000);
        writeln!(out, "{}:M {stamp} {mark} {}{}", std::process::id(), text.message, text.fields)
    }
}

/// `20 Nov 2026 06:47:24.123`, in UTC.
fn stamp(unix_ms: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // civil date from days since 1970, in eras of 400 years that start in March
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{day:02} {} {year} {h:02}:{m:02}:{s:02}.{:03}", MONTHS[month as usize - 1], ms % 1000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn stamps() {
        for (ms, want) in [
            (0, "01 Jan 1970 00:00:00.000"),
            (951_782_400_000, "29 Feb 2000 00:00:00.000"),
            (1_795_157_244_123, "20 Nov 2026 06:47:24.123"),
        ] {
            assert_eq!(super::stamp(ms), want);
        }
    }
}
