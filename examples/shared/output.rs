//! The folder of results. A file appears there whole or not at all.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Failure;

/// A folder that can be written to, and what has been written.
pub struct Folder {
    path: PathBuf,
    written: RefCell<Vec<PathBuf>>,
}

impl Folder {
    /// Makes the folder where there is none, and tries that it takes a file: before the work, so
    /// that none is lost.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let refuse = |error| format!("{}: cannot be written to: {error}", path.display());
        fs::create_dir_all(path).map_err(refuse)?;
        let trial = path.join(".trial");
        fs::write(&trial, []).and_then(|()| fs::remove_file(&trial)).map_err(refuse)?;
        Ok(Folder { path: path.to_owned(), written: RefCell::default() })
    }

    /// Writes a file beside its place and moves it there when it is complete.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.join(name);
        let part = self.path.join(format!(".{name}.part"));
        let written = fs::File::create(&part)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&part, &path));
        if let Err(error) = written {
            // Nothing more can be done where even this fails.
            let _ = fs::remove_file(&part);
            return Err(format!("{}: {error}", path.display()).into());
        }
        self.written.borrow_mut().push(path);
        Ok(())
    }

    /// The files written, one a line.
    pub fn list(&self) -> String {
        let written = self.written.borrow();
        written.iter().map(|path| format!("  {}\n", path.display())).collect()
    }
}
