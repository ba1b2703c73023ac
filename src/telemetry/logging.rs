//! Where log lines go and which are written: to standard error, as text or JSON, under a filter that a reload can
//! change. Must not know what is logged: literals and secrets are kept out where lines are made.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{LogFormat, LogSettings};

/// The parser's own debug lines show statements with their literals: they are never written.
const LITERALS_SHOWN_BY: &str = "sqlparser=off";

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("the log filter {filter:?} cannot be read; write it like info or shardway::backend=debug")]
    Filter {
        filter: String,
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    #[error("logging was set up before")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
    #[error("the log filter cannot be changed any more")]
    Gone(#[source] reload::Error),
}

/// Changes the filter of the running process.
#[derive(Debug, Clone)]
pub(crate) struct LogControl {
    filter: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
}

/// Sets up logging for the process; at most once per process.
pub(crate) fn init(settings: &LogSettings) -> Result<LogControl, LogError> {
    let (filter, handle) = reload::Layer::new(parse(&settings.filter)?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(LogError::Twice)?;
    Ok(LogControl { filter: handle })
}

impl LogControl {
    /// Applies the filter of `settings`; the format stays that of the start. A filter that cannot be read changes nothing.
    pub(crate) fn apply(&self, settings: &LogSettings) -> Result<(), LogError> {
        let filter = parse(&settings.filter)?;
        self.filter.reload(filter).map_err(LogError::Gone)
    }
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let filter_error = |cause| LogError::Filter { filter: filter.to_owned(), cause };
    let silenced = LITERALS_SHOWN_BY.parse().expect("a constant directive");
    Ok(EnvFilter::builder().parse(filter).map_err(filter_error)?.add_directive(silenced))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels_and_targets() {
        assert!(parse("info").is_ok());
        assert!(parse("warn,shardway::backend=debug").is_ok());
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error_that_shows_it() {
        let error = parse("shardway=loud").expect_err("no such level");
        assert!(error.to_string().contains("\"shardway=loud\""), "{error}");
    }

    #[test]
    fn a_bad_filter_leaves_the_old_one_in_force() {
        let (layer, handle) = reload::Layer::new(parse("warn").unwrap());
        let subscriber = tracing_subscriber::registry().with(layer);
        let control = LogControl { filter: handle };
        let settings = |filter: &str| LogSettings {
            format: LogFormat::Text,
            filter: filter.to_owned(),
            slow_statement: std::time::Duration::ZERO,
            literals: false,
        };
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(tracing::Level::INFO));
            control.apply(&settings("=loud=")).expect_err("cannot be read");
            assert!(!tracing::enabled!(tracing::Level::INFO));
            control.apply(&settings("info")).unwrap();
            assert!(tracing::enabled!(tracing::Level::INFO));
        });
    }
}
