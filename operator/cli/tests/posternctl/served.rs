//! An API server of given objects, as `posternctl` with a kubeconfig reaches it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::folder::Lab;

/// What is answered for a path: a code and an object. Every other path has nothing.
pub(crate) type Answers = BTreeMap<String, (u16, Value)>;

/// A missing right, in the words of an API server.
pub(crate) fn forbidden() -> (u16, Value) {
    failure(403, "Forbidden")
}

/// There is no such object, in the words of an API server.
pub(crate) fn nothing() -> (u16, Value) {
    failure(404, "NotFound")
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "no, says the server",
    });
    (code, status)
}

/// Serves these answers for as long as the test runs, and writes a kubeconfig into the lab, whose path it gives.
pub(crate) fn serve(lab: &Lab, answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answers = Arc::new(answers);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || answer(stream, &answers));
        }
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "lab", "user": {}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    });
    lab.write("kubeconfig", &kubeconfig.to_string());
    lab.path("kubeconfig").display().to_string()
}

/// One request for each connection.
fn answer(mut stream: TcpStream, answers: &Answers) {
    let reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut lines = reader.lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let nothing = nothing();
    let (code, object) = answers.get(path).unwrap_or(&nothing);
    let body = object.to_string();
    let head = format!(
        "HTTP/1.1 {code} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let written = stream.write_all((head + &body).as_bytes());
    // Who asks may have gone.
    drop(written);
}
