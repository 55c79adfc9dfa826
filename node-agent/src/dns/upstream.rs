//! One question to one resolver after the other. A resolver whose circuit is open is passed over, and no resolver takes its
//! place but those that the policy or the node's setting names.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_agent_core::circuit::CircuitPass;
use postern_host::ports::TransportProtocol;
use postern_plan::desired::dns::DnsExit;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::circuits::AskedCircuit;
use super::error::ExchangeError;
use super::question::{DnsQuestion, id_of, with_id};
use super::socket::{ResolverPath, connection, datagram};

/// How long one resolver may take. Twice this is less than the 5 s after which clients give up
/// (resolv.conf(5)), so that a pod hears that its exit fails.
const PATIENCE: Duration = Duration::from_secs(2);

/// Resolvers asked for one question; a single one is asked twice.
const ATTEMPTS: usize = 2;

/// Bytes of the longest message (RFC 1035, section 4.2.2).
pub(super) const LONGEST: usize = 65_535;

/// Where a question goes, and by which way.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedResolvers<'a> {
    pub(super) way: ResolverPath<'a>,
    pub(super) resolvers: &'a [SocketAddr],
    /// None: they are asked whatever became of questions before.
    pub(super) circuit: Option<AskedCircuit<'a>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnansweredQuestion {
    /// Those that were asked gave none.
    Missed,
    /// The circuits of all of them are open.
    NotAsked,
}

/// Asks until one answers. The answer carries the id of `query`.
pub(super) async fn ask(
    protocol: TransportProtocol,
    asked: AskedResolvers<'_>,
    question: &DnsQuestion,
    query: &[u8],
) -> Result<Vec<u8>, UnansweredQuestion> {
    let mut ended = UnansweredQuestion::NotAsked;
    let mut attempts = 0;
    let rounds = asked.resolvers.len() * ATTEMPTS;
    for resolver in asked.resolvers.iter().cycle().take(rounds) {
        let pass = asked
            .circuit
            .map(|circuit| circuit.pass(*resolver, PATIENCE));
        match pass {
            Some(CircuitPass::Skip) => continue,
            Some(CircuitPass::Trial) => ask_beside(asked, *resolver),
            Some(CircuitPass::Ask) | None => {}
        }
        let sent = Instant::now();
        let exchange = ask_one(protocol, asked.way, *resolver, question, query);
        let answered = match timeout(PATIENCE, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(ExchangeError::Silent {
                resolver: *resolver,
            }),
        };
        match answered {
            Ok(answer) => {
                asked.circuit.inspect(|circuit| circuit.answered(*resolver));
                return Ok(with_id(&answer, id_of(query)));
            }
            Err(error) => {
                if let Some(circuit) = asked.circuit.filter(|_| error.is_of_resolver()) {
                    circuit.missed(*resolver, sent);
                }
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "resolver gave no answer"
                );
            }
        }
        ended = UnansweredQuestion::Missed;
        attempts += 1;
        if attempts == ATTEMPTS {
            break;
        }
    }
    Err(ended)
}

/// Asks the resolver for the root beside the question of a pod that is the trial of its circuit. A pod that asks for nothing but
/// names whose owners never answer would else keep it open.
fn ask_beside(asked: AskedResolvers<'_>, resolver: SocketAddr) {
    let Some(circuit) = asked.circuit else {
        return;
    };
    let (circuits, scope) = (circuit.circuits.clone(), circuit.scope.clone());
    let way = circuit.way.clone();
    tokio::spawn(async move {
        if ask_for_root(&way, resolver).await {
            let circuit = AskedCircuit {
                circuits: &circuits,
                scope: &scope,
                way: &way,
            };
            circuit.answered(resolver);
        }
    });
}

/// Asks a resolver for the root's name servers, once: the least question that there is. Any answer to it counts, a refusal
/// too, since what is asked for is whether packets come back.
pub(crate) async fn ask_for_root(exit: &DnsExit, resolver: SocketAddr) -> bool {
    // RFC 1035, section 4.1: id 0, recursion desired, one question: the root, NS, IN.
    const QUERY: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01";
    let Ok(question) = DnsQuestion::read(QUERY) else {
        return false;
    };
    let exchange = ask_one(
        TransportProtocol::Udp,
        ResolverPath::Exit(exit),
        resolver,
        &question,
        QUERY,
    );
    timeout(PATIENCE, exchange)
        .await
        .is_ok_and(|answered| answered.is_ok())
}

/// Sends the query under an id of its own on a socket of its own: what another pod asks at the
/// same time has neither, and nobody off the path can guess both.
async fn ask_one(
    protocol: TransportProtocol,
    way: ResolverPath<'_>,
    resolver: SocketAddr,
    question: &DnsQuestion,
    query: &[u8],
) -> Result<Vec<u8>, ExchangeError> {
    let open = |source| ExchangeError::Open { resolver, source };
    let id = random_id().map_err(open)?;
    let query = with_id(query, id);
    match protocol {
        TransportProtocol::Udp => {
            let socket = datagram(way, resolver).map_err(open)?;
            let answer = by_datagram(&socket, question, &query).await;
            answer.map_err(|source| ExchangeError::Talk { resolver, source })
        }
        TransportProtocol::Tcp => {
            let mut stream = connection(way, resolver).await.map_err(open)?;
            let answer = by_connection(&mut stream, &query).await;
            let answer = answer.map_err(|source| ExchangeError::Talk { resolver, source })?;
            match answer {
                Some(answer) if question.is_answered_by(&query, &answer) => Ok(answer),
                _ => Err(ExchangeError::Foreign { resolver }),
            }
        }
    }
}

fn random_id() -> io::Result<[u8; 2]> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}

async fn by_datagram(
    socket: &tokio::net::UdpSocket,
    question: &DnsQuestion,
    query: &[u8],
) -> io::Result<Vec<u8>> {
    socket.send(query).await?;
    loop {
        socket.readable().await?;
        // One buffer for each thread and not for each question, of which thousands may wait.
        let received = BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            socket.try_recv_buf(buffer)?;
            // A datagram that is no answer may be a forged one: the true one may still come.
            let is_answer = question.is_answered_by(query, buffer);
            Ok::<_, io::Error>(is_answer.then(|| buffer.clone()))
        });
        match received {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

thread_local! {
    /// Not filled with zeros, which would take longer than the answer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(LONGEST));
}

async fn by_connection<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    query: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    write_message(stream, query).await?;
    read_message(stream).await
}

/// A message on a connection: two bytes of length before it (RFC 1035, section 4.2.2).
pub(super) async fn write_message<W: AsyncWrite + Unpin>(
    writer: &mut W,
    message: &[u8],
) -> io::Result<()> {
    let length =
        u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    writer.write_all(&framed).await
}

/// The next message of a connection; none when it was closed between two messages.
pub(super) async fn read_message<R: AsyncRead + Unpin>(
    reader: &mut R,
) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    match reader.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    reader.read_exact(&mut message).await?;
    Ok(Some(message))
}
