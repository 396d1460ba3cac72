//! Builds of two trees of one repository: the one that stands here, and a commit beside it in a
//! folder of its own that is gone at the end. What the commit depends on stays built in a target folder
//! beside ours; in ours it cannot be, since cargo tells the sources of two work trees apart by their age
//! alone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::BenchError;
use crate::hosted::Scratch;
use crate::signal::http::reason;

/// The package that is built, and its binary.
const PACKAGE: &str = "antipode";

/// A binary and what it was built from.
#[derive(Clone, Debug)]
pub struct Built {
    /// For the table.
    pub label: String,
    /// Where it is.
    pub binary: PathBuf,
}

/// A repository with a second work tree, which is removed with this.
pub struct Trees {
    root: PathBuf,
    commit: String,
    scratch: Scratch,
    added: bool,
}

impl Trees {
    /// Finds the repository that the present folder is in, and the commit in it.
    ///
    /// # Errors
    /// There is none, or it does not know the commit.
    pub async fn find(folder: &Path, commit: &str) -> Result<Self, BenchError> {
        let flaw = |fault: String| BenchError::Flag { flag: "--against", fault };
        let root = git(folder, ["rev-parse", "--show-toplevel"]).await.map_err(|words| {
            flaw(format!("it wants to be started in the repository that is built: {words}"))
        })?;
        let wanted = format!("{commit}^{{commit}}");
        let found = ["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted];
        let root = PathBuf::from(root);
        let known = git(&root, found).await;
        let commit =
            known.map_err(|_| flaw(format!("no commit \"{commit}\" in this repository")))?;
        Ok(Trees { root, commit, scratch: Scratch::make()?, added: false })
    }

    /// Builds what stands here, changes that are not committed included.
    ///
    /// # Errors
    /// It does not build.
    pub async fn build_here(&self) -> Result<Built, BenchError> {
        let said = git(&self.root, ["describe", "--always", "--dirty=, changed"]).await;
        let label = format!("this tree ({})", said.unwrap_or_else(|_| "no commit".into()));
        Ok(Built { label, binary: build(&self.root, &self.target()).await? })
    }

    /// Builds the commit in a work tree of its own, which is younger than whatever was built there before.
    ///
    /// # Errors
    /// It cannot be laid out, or does not build.
    pub async fn build_commit(&mut self) -> Result<Built, BenchError> {
        let tree = self.tree();
        // It may be half there when this fails.
        self.added = true;
        let (path, commit) = (tree.as_os_str(), OsStr::new(&self.commit));
        let add = ["worktree", "add", "--quiet", "--detach"].map(OsStr::new);
        let laid = git(&self.root, add.into_iter().chain([path, commit])).await;
        laid.map_err(|words| BenchError::Flag { flag: "--against", fault: words })?;
        let short = git(&self.root, ["rev-parse", "--short", &self.commit]).await;
        let label = format!("commit {}", short.unwrap_or_else(|_| self.commit.clone()));
        Ok(Built { label, binary: build(&tree, &self.target().join("against")).await? })
    }

    fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |folder| self.root.join(folder))
    }

    fn tree(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }
}

impl Drop for Trees {
    fn drop(&mut self) {
        if self.added {
            let mut git = std::process::Command::new("git");
            git.arg("-C").arg(&self.root).args(["worktree", "remove", "--force"]).arg(self.tree());
            // What git cannot remove, the folder's own end removes, and `git worktree prune` forgets.
            let _ = git.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// Runs git and returns what it says, or its complaint.
async fn git<S: AsRef<OsStr>>(
    folder: &Path,
    args: impl IntoIterator<Item = S>,
) -> Result<String, String> {
    let ran = Command::new("git").arg("-C").arg(folder).args(args).output().await;
    let output = ran.map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        return Err(reason(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Builds in release form; cargo's own progress is shown.
async fn build(tree: &Path, target: &Path) -> Result<PathBuf, BenchError> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree).args(["build", "--release", "--locked", "--package", PACKAGE]);
    cargo.arg("--target-dir").arg(target).stdin(Stdio::null()).stdout(Stdio::null());
    let ended = cargo.kill_on_drop(true).status().await.map_err(BenchError::host("cargo"))?;
    let binary = target.join("release").join(PACKAGE);
    if ended.success() && binary.is_file() {
        Ok(binary)
    } else {
        let fault = format!("{} does not build: {ended}", tree.display());
        Err(BenchError::Flag { flag: "--against", fault })
    }
}
