//! Sections, keys and values of a file of wg-quick(8). Names of both are the same in upper and lower case; what follows `#` is
//! a comment; blanks mean nothing.

use thiserror::Error;

/// Why a file cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfError {
    /// A line that is neither a section nor a setting. It is not repeated: it may hold a key.
    #[error("line {line} is neither a section such as [Peer] nor a setting such as MTU = 1420")]
    Line { line: usize },
    /// A section that wg-quick does not know.
    #[error("line {line}: the section [{name}] is neither [Interface] nor [Peer]")]
    Section { line: usize, name: String },
    /// A setting that an exit cannot be without.
    #[error("the file has no {setting} in [{section}]")]
    Missing {
        section: &'static str,
        setting: &'static str,
    },
    /// A value that is not understood; it may be a key and is not repeated.
    #[error("the value of {setting} is not {wanted}")]
    Value {
        setting: &'static str,
        wanted: &'static str,
    },
}

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    Interface,
    Peer,
}

/// One section with its settings in their order.
pub(super) struct ConfSection {
    pub(super) kind: SectionKind,
    settings: Vec<(String, String)>,
}

impl ConfSection {
    /// All values of a setting, which may be given several times and as a list.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.settings.iter();
        let named = named.filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        let values = named.flat_map(|(_, value)| value.split(','));
        values.map(str::trim).filter(|value| !value.is_empty())
    }

    /// The value that counts: the last one.
    pub(super) fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).last()
    }

    /// Names of settings as they are written, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.settings {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name);
            }
        }
        names
    }
}

/// Reads the sections of a file. Programs of Windows begin a file with a byte order mark.
pub(super) fn sections(text: &str) -> Result<Vec<ConfSection>, ConfError> {
    let mut sections: Vec<ConfSection> = Vec::new();
    for (position, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line_number = position + 1;
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let name = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(name) = name.map(str::trim) {
            let kind = match name.to_ascii_lowercase().as_str() {
                "interface" => SectionKind::Interface,
                "peer" => SectionKind::Peer,
                _ => {
                    return Err(ConfError::Section {
                        line: line_number,
                        name: name.to_owned(),
                    });
                }
            };
            sections.push(ConfSection {
                kind,
                settings: Vec::new(),
            });
            continue;
        }
        let setting = line.split_once('=').zip(sections.last_mut());
        let ((key, value), section) = setting.ok_or(ConfError::Line { line: line_number })?;
        // A key without its `=` ends with one all the same, and would be taken for a name.
        if key.trim().contains(char::is_whitespace) {
            return Err(ConfError::Line { line: line_number });
        }
        let setting = (key.trim().to_owned(), value.trim().to_owned());
        section.settings.push(setting);
    }
    Ok(sections)
}
