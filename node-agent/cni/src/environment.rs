//! The parameters that the runtime passes in the environment (CNI specification, "Parameters").

use crate::{CniError, protocol::Attachment};

/// The kernel's `IFNAMSIZ` (16) without the closing NUL.
const LONGEST_IFNAME: usize = 15;

/// The variables as they came; what a verb needs is asked for and judged then.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    command: Option<String>,
    container_id: Option<String>,
    netns: Option<String>,
    ifname: Option<String>,
    args: Option<String>,
}

/// The pod, as the kubelet's runtime names it in `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// `K8S_POD_NAMESPACE`
    pub namespace: String,
    /// `K8S_POD_NAME`
    pub name: String,
    /// `K8S_POD_UID`
    pub uid: String,
}

impl Environment {
    /// Takes the variables from wherever `lookup` finds them; an empty one counts as missing.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| lookup(name).filter(|value| !value.is_empty());
        Self {
            command: get("CNI_COMMAND"),
            container_id: get("CNI_CONTAINERID"),
            netns: get("CNI_NETNS"),
            ifname: get("CNI_IFNAME"),
            args: get("CNI_ARGS"),
        }
    }

    /// The verb.
    ///
    /// # Errors
    /// [`CniError::MissingVariable`].
    pub fn command(&self) -> Result<&str, CniError> {
        required("CNI_COMMAND", self.command.as_deref())
    }

    /// Path of the pod's network namespace.
    ///
    /// # Errors
    /// [`CniError::MissingVariable`].
    pub fn netns(&self) -> Result<&str, CniError> {
        required("CNI_NETNS", self.netns.as_deref())
    }

    /// Container and interface. The container's id becomes a file name, so it is judged by the
    /// specification's rule: a letter or digit, then letters, digits, `_`, `.` and `-`.
    ///
    /// # Errors
    /// [`CniError::MissingVariable`] or [`CniError::InvalidVariable`].
    pub fn attachment(&self) -> Result<Attachment, CniError> {
        let container_id = required("CNI_CONTAINERID", self.container_id.as_deref())?;
        let ifname = required("CNI_IFNAME", self.ifname.as_deref())?;
        if !is_container_id(container_id) {
            return Err(invalid("CNI_CONTAINERID", container_id));
        }
        if !is_ifname(ifname) {
            return Err(invalid("CNI_IFNAME", ifname));
        }
        Ok(Attachment {
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
        })
    }

    /// The pod that `CNI_ARGS` names.
    ///
    /// # Errors
    /// [`CniError::MissingVariable`] or [`CniError::MissingArgument`].
    pub fn pod(&self) -> Result<PodIdentity, CniError> {
        let args = required("CNI_ARGS", self.args.as_deref())?;
        let get = |wanted: &'static str| {
            args.split(';')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, value)| *name == wanted && !value.is_empty())
                .map(|(_, value)| value.to_owned())
                .ok_or(CniError::MissingArgument { name: wanted })
        };
        Ok(PodIdentity {
            namespace: get("K8S_POD_NAMESPACE")?,
            name: get("K8S_POD_NAME")?,
            uid: get("K8S_POD_UID")?,
        })
    }
}

fn required<'a>(name: &'static str, value: Option<&'a str>) -> Result<&'a str, CniError> {
    value.ok_or(CniError::MissingVariable { name })
}

fn invalid(name: &'static str, value: &str) -> CniError {
    CniError::InvalidVariable {
        name,
        value: value.to_owned(),
    }
}

fn is_container_id(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_ifname(text: &str) -> bool {
    text.len() <= LONGEST_IFNAME
        && !matches!(text, "." | "..")
        && !text
            .chars()
            .any(|c| matches!(c, '/' | ':') || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_pod_is_read_from_the_arguments_whatever_else_stands_there() {
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;\
                    K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=7c2a";
        let pod = environment(&[("CNI_ARGS", args)]).pod().unwrap();
        assert_eq!(
            pod,
            PodIdentity {
                namespace: "shop".to_owned(),
                name: "cart-0".to_owned(),
                uid: "7c2a".to_owned()
            }
        );
    }

    #[test]
    fn a_pod_without_uid_is_refused() {
        let args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;K8S_POD_UID=";
        let refused = environment(&[("CNI_ARGS", args)]).pod();
        assert!(matches!(
            refused,
            Err(CniError::MissingArgument {
                name: "K8S_POD_UID"
            })
        ));
    }

    #[test]
    fn a_container_id_that_is_no_file_name_is_refused() {
        for id in ["../etc", ".hidden", "a/b", "a b"] {
            let refused = environment(&[("CNI_CONTAINERID", id), ("CNI_IFNAME", "eth0")]);
            assert!(
                matches!(
                    refused.attachment(),
                    Err(CniError::InvalidVariable {
                        name: "CNI_CONTAINERID",
                        ..
                    })
                ),
                "{id}"
            );
        }
    }
}
