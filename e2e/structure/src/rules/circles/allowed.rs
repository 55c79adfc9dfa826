//! Circles that are not broken yet. The rule prints each of them, and fails when one of them is gone.

/// A known circle: files of one folder, or some of them.
pub(super) struct Allowed {
    /// The folder, from the root of the workspace.
    pub(super) folder: &'static str,
    /// Paths in the folder.
    pub(super) files: &'static [&'static str],
}

pub(super) const ALLOWED: &[Allowed] = &[
    // The envelope needs the keys; the keys need its function `hex`.
    Allowed {
        folder: "crds/intent/src",
        files: &["envelope.rs", "keys.rs"],
    },
    // The host asks the links whether the kernel has WireGuard; the links are functions of the host.
    Allowed {
        folder: "node-agent/linux/src",
        files: &["firewall/table.rs", "host.rs", "link.rs"],
    },
    // The state of the agent is one type, which its parts import.
    Allowed {
        folder: "node-agent/src",
        files: &["agent/cni.rs", "agent/state.rs", "report.rs"],
    },
    // Functions that the checks share are in the file that runs the checks.
    Allowed {
        folder: "node-agent/src/preflight",
        files: &[
            "firewall.rs",
            "judge.rs",
            "look.rs",
            "marks.rs",
            "paths.rs",
            "system.rs",
        ],
    },
    // The error has a variant for a request, and a request returns the error.
    Allowed {
        folder: "operator/cli/src/cluster",
        files: &["ask.rs", "error.rs"],
    },
    // The error has a variant for a published file, which returns the error.
    Allowed {
        folder: "operator/cli/src/files",
        files: &["error.rs", "published.rs", "write.rs"],
    },
    // A function that the pages share is in the page that shows all of them.
    Allowed {
        folder: "operator/cli/src/standing",
        files: &["exits.rs", "nodes.rs", "overview.rs", "policies.rs"],
    },
    // The type that verbs return is in the file that calls the verbs.
    Allowed {
        folder: "operator/cli/src/verbs",
        files: &[
            "approve.rs",
            "compile.rs",
            "explain.rs",
            "keygen.rs",
            "mod.rs",
            "plan.rs",
            "sign.rs",
            "status.rs",
            "verify.rs",
        ],
    },
    // The verdicts import types that are in the file that runs the compiler.
    Allowed {
        folder: "operator/compile/src",
        files: &[
            "compile.rs",
            "verdict/all.rs",
            "verdict/exit.rs",
            "verdict/node.rs",
            "verdict/policy.rs",
            "verdict/progress.rs",
            "verdict/seen.rs",
        ],
    },
    // The gate and the case of a restored store share a type.
    Allowed {
        folder: "operator/compile/src/gate",
        files: &["judge.rs", "restored.rs"],
    },
];
