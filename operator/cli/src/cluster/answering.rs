//! A cluster for tests, whose answers are given.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::namespace_client::NamespaceClient;

/// Method and path of each request, with its body.
pub(super) type SentRequests = Arc<Mutex<Vec<(String, Value)>>>;

/// A cluster that answers with these codes and bodies, one after the other, and what it was asked.
pub(super) fn answering(answers: Vec<(u16, Value)>) -> (NamespaceClient, SentRequests) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let said = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (said, answers) = (said.clone(), answers.clone());
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect_bytes().await.expect("a body");
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            said.lock().expect("a list").push((line, body));
            let (code, answer) = answers
                .lock()
                .expect("a list")
                .pop_front()
                .expect("one more");
            let answer = Body::from(answer.to_string().into_bytes());
            let response = Response::builder().status(code).body(answer);
            Ok::<_, Infallible>(response.expect("an answer"))
        }
    });
    let seat = NamespaceClient {
        client: Client::new(service, "default"),
        namespace: "postern-system".to_owned(),
    };
    (seat, asked)
}

/// A failure in the words of an API server.
pub(super) fn failure(code: u16, reason: &str) -> (u16, Value) {
    let message = "no, says the server";
    (
        code,
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": code, "reason": reason, "message": message,
        }),
    )
}
