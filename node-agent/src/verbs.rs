//! What a person asks of the node.

use std::process::ExitCode;
use std::time::Duration;

use postern_agent::cleanup::cleanup as clean;
use postern_agent::egress;
use postern_agent::options::{
    AskArgs, CleanupArgs, DnsCheckArgs, ExplainArgs, Output, PreflightArgs, ReleaseArgs,
};
use postern_agent::preflight::{check, judge, look};
use postern_control::dns_check::DnsCheck;
use postern_control::explained::NodeExplanation;
use postern_control::{ControlAnswer, ControlRequest, ask, ask_for, measure_dns};
use postern_linux::{BackendPreference, LinuxHost, LinuxOptions, PrivateKey};
use postern_plan::settings::NodeSettings;

use crate::start::AgentError;

/// The exit code of a question that was answered with something else than a person hopes for: a bound that is exceeded, a packet that
/// is refused. `posternctl` uses the same number.
const FINDINGS: u8 = 3;

/// `status`.
pub(crate) fn status(args: &AskArgs) -> Result<ExitCode, AgentError> {
    let answer = ask(&args.run_dir, &ControlRequest::Status).map_err(AgentError::Ask)?;
    if let (Output::Text, Some(status)) = (args.output, &answer.status) {
        println!("{}", postern_agent::report::table(status));
        return Ok(code(&answer));
    }
    Ok(print(&answer, args.output))
}

/// `release`.
pub(crate) fn release(args: &ReleaseArgs) -> Result<ExitCode, AgentError> {
    let question = ControlRequest::Release {
        reason: args.reason.clone(),
    };
    let answer = ask(&args.ask.run_dir, &question).map_err(AgentError::Ask)?;
    Ok(print(&answer, args.ask.output))
}

/// `claim`.
pub(crate) fn claim(args: &AskArgs) -> Result<ExitCode, AgentError> {
    let answer = ask(&args.run_dir, &ControlRequest::Claim).map_err(AgentError::Ask)?;
    Ok(print(&answer, args.output))
}

/// `trust-clock`.
pub(crate) fn trust_clock(args: &ReleaseArgs) -> Result<ExitCode, AgentError> {
    let question = ControlRequest::TrustClock {
        reason: args.reason.clone(),
    };
    let answer = ask(&args.ask.run_dir, &question).map_err(AgentError::Ask)?;
    Ok(print(&answer, args.ask.output))
}

/// `trust-keys`.
pub(crate) fn trust_keys(args: &ReleaseArgs) -> Result<ExitCode, AgentError> {
    let question = ControlRequest::TrustKeys {
        reason: args.reason.clone(),
    };
    let answer = ask(&args.ask.run_dir, &question).map_err(AgentError::Ask)?;
    Ok(print(&answer, args.ask.output))
}

/// `explain`.
pub(crate) fn explain(args: &ExplainArgs) -> Result<ExitCode, AgentError> {
    let request = ControlRequest::Explain(args.packet.request());
    let explained: NodeExplanation =
        ask_for(&args.ask.run_dir, &request).map_err(AgentError::Ask)?;
    match args.ask.output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&explained).unwrap_or_default()
        ),
        Output::Text => println!("{explained}"),
    }
    Ok(match explained.is_well() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FINDINGS),
    })
}

/// `dns-check`.
pub(crate) fn dns_check(args: &DnsCheckArgs) -> Result<ExitCode, AgentError> {
    let check = DnsCheck {
        pod: args.pod,
        names: args.names.clone(),
        rounds: args.rounds,
    };
    let bound = Duration::from_millis(args.bound);
    let verdict = measure_dns(&args.ask.run_dir, check, bound).map_err(AgentError::Ask)?;
    match args.ask.output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&verdict).unwrap_or_default()
        ),
        Output::Text => print!("{verdict}"),
    }
    Ok(match verdict.holds {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FINDINGS),
    })
}

/// `cleanup`.
pub(crate) fn cleanup(args: &CleanupArgs) -> Result<ExitCode, AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::Runtime)?;
    let done = runtime.block_on(async {
        let host = LinuxHost::new(LinuxOptions {
            run_dir: args.run_dir.clone(),
            private_key: PrivateKey::from_bytes([0; 32]),
            backend: BackendPreference::KernelFirst,
        });
        let release = args.reason.as_deref().filter(|_| args.release);
        let done = clean(&host, &args.state_dir, &args.run_dir, release).await;
        let mut done = done.map_err(AgentError::Cleanup)?;
        let dropped = egress::let_go(&host).await;
        done.extend(dropped.map_err(AgentError::Egress)?);
        Ok::<_, AgentError>(done)
    })?;
    for line in done {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `preflight`.
pub(crate) fn preflight(args: &PreflightArgs) -> Result<ExitCode, AgentError> {
    let settings = NodeSettings {
        pod_links: args.pod_links.clone(),
        mark_mask: args.mark_mask,
        ..NodeSettings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::Runtime)?;
    let checks = runtime.block_on(async {
        // Asking for the kernel's backend would try it out by making a device.
        let host = LinuxHost::new(LinuxOptions {
            run_dir: std::path::PathBuf::new(),
            private_key: PrivateKey::from_bytes([0; 32]),
            backend: BackendPreference::Userspace,
        });
        Ok(judge(&look(&host, &settings).await, &settings))
    })?;
    match args.output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&checks).unwrap_or_default()
        ),
        Output::Text => print!("{}", check::table(&checks)),
    }
    Ok(if check::failed(&checks) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(answer: &ControlAnswer, output: Output) -> ExitCode {
    match output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(answer).unwrap_or_default()
        ),
        Output::Text if answer.ok => println!("done"),
        Output::Text => {
            let reason = answer.reason.as_deref().unwrap_or("Refused");
            println!(
                "{reason}: {}",
                answer.message.as_deref().unwrap_or_default()
            );
        }
    }
    code(answer)
}

fn code(answer: &ControlAnswer) -> ExitCode {
    if answer.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
