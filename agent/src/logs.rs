//! The log: lines on standard error, as text or as JSON.
//!
//! Promises: one event is one line, whatever names it repeats. A name may hold a line feed with a forged event behind it,
//! or what a terminal obeys; both come out escaped.

use std::fmt;
use std::io;

use goldseal_cli::clock;
use goldseal_cli::printable::PrintableLine;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogFormat, LogLevel};

/// Logs to standard error from here on. Only the first call has an effect.
pub fn start(format: LogFormat, level: LogLevel) {
    let _ = tracing::subscriber::set_global_default(subscriber(format, level, io::stderr));
}

/// What writes events of this level and above.
fn subscriber<W>(format: LogFormat, level: LogLevel, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_max_level(filter(level)).with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Text => Box::new(lines.event_format(Text).finish()),
        LogFormat::Json => Box::new(lines.with_timer(Clock).json().flatten_event(true).with_target(false).finish()),
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// `2026-01-02T03:04:05Z INFO message key=value`.
#[derive(Debug)]
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        write_time(&mut out)?;
        writeln!(out, " {level} {}", PrintableLine(text.as_bytes()))
    }
}

/// The time of this machine, in seconds.
#[derive(Debug)]
struct Clock;

impl tracing_subscriber::fmt::time::FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        write_time(out)
    }
}

fn write_time(out: &mut Writer<'_>) -> fmt::Result {
    match clock::now() {
        Ok(now) => write!(out, "{now}"),
        Err(_) => out.write_str("-"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use goldseal_verifier_core::time::Timestamp;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A name that forges a line and clears a terminal, in a message and in a field.
    fn logged(format: LogFormat, level: LogLevel) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let name = "x\n2026-01-01T00:00:00Z INFO all is well\u{1b}[2J";
        tracing::subscriber::with_default(subscriber(format, level, move || writer.clone()), || {
            tracing::warn!(name, uuid = %name, "no quote for {name}");
            tracing::info!("served");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_of_text() {
        let text = logged(LogFormat::Text, LogLevel::Info);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(Timestamp::parse(time.as_bytes()).is_some(), "{time}");
        assert!(rest.starts_with("WARN no quote for x\\n2026"), "{rest}");
        assert!(rest.contains(" name=") && rest.contains(" uuid="), "{rest}");
        assert!(!text.contains('\u{1b}'));
        assert!(lines[1].ends_with(" INFO served"));
    }

    #[test]
    fn an_event_is_one_object_of_json() {
        let text = logged(LogFormat::Json, LogLevel::Info);
        let objects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 2, "{text}");
        assert_eq!(objects[0]["level"], "WARN");
        assert!(objects[0]["message"].as_str().unwrap().starts_with("no quote for x\n2026"));
        assert!(objects[0]["uuid"].as_str().unwrap().ends_with("\u{1b}[2J"));
        assert!(objects[0]["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn less_is_left_out() {
        assert_eq!(logged(LogFormat::Text, LogLevel::Warn).lines().count(), 1);
        assert_eq!(logged(LogFormat::Text, LogLevel::Error), "");
    }
}
