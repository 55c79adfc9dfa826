//! Spans that are made after the fact, as children of a span that ended long ago.

use std::time::SystemTime;

use opentelemetry::trace::{
    Span as _, SpanContext, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, global};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The instrumentation scope of what is made here.
const SCOPE: &str = "postern";

/// A span as others refer to it: it may get children when it has ended, and when nothing else of it is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOrigin(SpanContext);

/// A span whose times are known from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    pub name: &'static str,
    pub begun: SystemTime,
    pub ended: SystemTime,
    pub attributes: Vec<(&'static str, String)>,
}

impl TraceOrigin {
    /// The span that runs now; none while no traces are made.
    #[must_use]
    pub fn here() -> Option<Self> {
        let context = tracing::Span::current().context();
        let found = context.span().span_context().clone();
        found.is_valid().then_some(Self(found))
    }

    /// The W3C trace id: 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// Makes a child, begun and ended. It goes where the spans of this process go, and nowhere while no traces are made.
    pub fn add(&self, child: Late) {
        let tracer = global::tracer_provider().tracer(SCOPE);
        let parent = Context::new().with_remote_span_context(self.0.clone());
        let attributes = child.attributes.into_iter();
        let attributes: Vec<KeyValue> = attributes
            .map(|(name, value)| KeyValue::new(name, value))
            .collect();
        let mut span = tracer
            .span_builder(child.name)
            .with_start_time(child.begun)
            .with_attributes(attributes)
            .start_with_context(&tracer, &parent);
        span.end_with_timestamp(child.ended);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};

    use opentelemetry::global;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::{Late, TraceOrigin};

    /// Keeps what is exported.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().expect("the list").extend(batch);
            Ok(())
        }
    }

    #[test]
    fn a_span_that_has_ended_gets_a_child_with_times_of_its_own() {
        assert_eq!(TraceOrigin::here(), None, "no traces are made yet");
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(kept.clone())
            .build();
        global::set_tracer_provider(provider.clone());
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        let origin = tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("publish").in_scope(|| TraceOrigin::here().expect("a span"))
        });
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let child = Late {
            name: "apply",
            begun,
            ended: begun + Duration::from_secs(2),
            attributes: vec![("node", "n1".to_owned())],
        };
        origin.add(child.clone());
        let spans = kept.0.lock().expect("the list");
        let [publish, apply] = &spans[..] else {
            unreachable!("two spans: {spans:?}");
        };
        assert_eq!(
            publish.span_context.trace_id().to_string(),
            origin.trace_id()
        );
        assert_eq!(
            apply.span_context.trace_id(),
            publish.span_context.trace_id()
        );
        assert_eq!(apply.parent_span_id, publish.span_context.span_id());
        assert_eq!(
            (apply.start_time, apply.end_time),
            (child.begun, child.ended)
        );
        let node = &apply.attributes[0];
        assert_eq!(
            (node.key.as_str(), node.value.as_str().as_ref()),
            ("node", "n1")
        );
    }
}
