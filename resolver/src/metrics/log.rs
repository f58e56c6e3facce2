//! What of the log was lost, because nobody took it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tracing_appender::non_blocking::ErrorCounter;

/// Reads the writer's own count.
pub(super) struct Log(pub(super) ErrorCounter);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.0.dropped_lines()).finish()
    }
}

impl Collector for Log {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = ConstCounter::new(self.0.dropped_lines() as u64);
        dropped.encode(encoder.encode_descriptor(
            "log_lines_dropped",
            "Lines of the log that were dropped, because whoever reads standard error did not keep up",
            None,
            MetricType::Counter,
        )?)
    }
}
