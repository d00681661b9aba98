//! Where settings come from: flags, environment, three files, defaults.
//!
//! For: finding and reading them, in the order of precedence. Not for: what a setting means.
//! Invariant: the first source that has a key decides, and its origin is kept beside the value.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use consort_types::{Code, Error, Result};

use super::{
    Settings,
    keys::{self, Key, Kind},
};

/// The name of a project's file.
pub const PROJECT_FILE: &str = "consort.toml";

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment(String),
    /// A file.
    File(PathBuf),
    /// The default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What settings are loaded from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Values of the command line, by name.
    pub flags: BTreeMap<&'static str, String>,
    /// The environment's variables.
    pub environment: BTreeMap<String, String>,
    /// The current folder, absolute.
    pub folder: PathBuf,
    /// The user's file, if there may be one.
    pub user_file: Option<PathBuf>,
    /// The system's file, if there may be one.
    pub system_file: Option<PathBuf>,
}

impl Sources {
    /// The sources of this process.
    pub fn of_process(flags: BTreeMap<&'static str, String>) -> Result<Self> {
        let folder = std::env::current_dir().map_err(|error| {
            Error::new(Code::Disk, format!("the current folder cannot be read: {error}"))
                .hint("change to a folder that exists")
        })?;
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = home("XDG_CONFIG_HOME").or_else(|| home("HOME").map(|home| home.join(".config")));
        let user_file = config.map(|config| config.join("consort").join("config.toml"));
        let system_file = Some(PathBuf::from("/etc/consort/config.toml"));
        Ok(Self { flags, environment, folder, user_file, system_file })
    }

    /// The project's file: in the current folder or the nearest one above that has one.
    fn project_file(&self) -> Option<PathBuf> {
        self.folder.ancestors().map(|folder| folder.join(PROJECT_FILE)).find(|path| path.is_file())
    }

    /// Reads all sources.
    pub fn load(self) -> Result<Settings> {
        let project = self.project_file();
        let mut files = Vec::new();
        for path in [project.clone(), self.user_file.clone(), self.system_file.clone()].into_iter().flatten() {
            if let Some(values) = read_file(&path)? {
                files.push((path, values));
            }
        }
        let root = project.as_deref().and_then(Path::parent).unwrap_or(&self.folder).to_owned();
        let mut values = BTreeMap::new();
        for key in keys::ALL {
            let (text, origin) = self.find(key, &files);
            key.check(&text, &origin)?;
            let path = key.kind == Kind::Path || (key.kind == Kind::OptionalPath && text != "off");
            let text = if path { self.absolute(&text, &origin, &root) } else { text };
            values.insert(key.name, (text, origin));
        }
        Ok(Settings { values, root, folder: self.folder })
    }

    fn find(&self, key: &Key, files: &[(PathBuf, BTreeMap<String, String>)]) -> (String, Origin) {
        if let Some(text) = self.flags.get(key.name) {
            return (text.clone(), Origin::Flag);
        }
        let variable = key.variable();
        // An empty variable counts as not set, as is usual.
        if let Some(text) = self.environment.get(&variable).filter(|text| !text.is_empty()) {
            return (text.clone(), Origin::Environment(variable));
        }
        for (path, values) in files {
            if let Some(text) = values.get(key.name) {
                return (text.clone(), Origin::File(path.clone()));
            }
        }
        (key.default.to_owned(), Origin::Default)
    }

    fn absolute(&self, text: &str, origin: &Origin, root: &Path) -> String {
        let base = match origin {
            Origin::File(path) => path.parent().unwrap_or(&self.folder),
            Origin::Default => root,
            Origin::Flag | Origin::Environment(_) => &self.folder,
        };
        base.join(text).display().to_string()
    }
}

/// The values of a file; `None` where there is no such file.
fn read_file(path: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Error::new(Code::BadSetting, format!("`{}` cannot be read: {error}", path.display()))
                .hint("check its permissions"));
        }
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let reason = error.message().to_owned();
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        Error::new(Code::BadSetting, format!("`{}` line {line} is not TOML: {reason}", path.display()))
            .hint("`consort init` writes an example")
    })?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let Some(key) = Key::find(&name) else {
            let names: Vec<&str> = keys::ALL.iter().map(|key| key.name).collect();
            return Err(Error::new(
                Code::BadSetting,
                format!("`{}` sets `{name}`, which is no setting", path.display()),
            )
            .hint(format!("the settings are {}", names.join(", "))));
        };
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(items) if key.kind == Kind::Commands && items.iter().all(toml::Value::is_str) => {
                items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join("\n")
            }
            other => {
                let message = format!("`{}` sets `{name}` to a {}", path.display(), other.type_str());
                return Err(Error::new(Code::BadSetting, message).hint("write a text in quotes, or a whole number"));
            }
        };
        values.insert(name, text);
    }
    Ok(Some(values))
}
