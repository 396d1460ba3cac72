//! Two commits of a repository are built apart, and no work tree stays behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use antipode_bench::hosted::Scratch;
use antipode_bench::run::trees::Trees;

fn git(folder: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    let output = Command::new("git").arg("-C").arg(folder).args(identity).args(args).output();
    let output = output.expect("git is there");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A package of the product's name that says which of its states was built.
fn write(folder: &Path, says: &str) {
    let main = format!("fn main() {{ println!(\"{says}\"); }}\n");
    std::fs::write(folder.join("src/main.rs"), main).expect("it can be written");
}

fn repository() -> (Scratch, PathBuf) {
    let scratch = Scratch::make().expect("a folder");
    let root = scratch.path().join("repository");
    std::fs::create_dir_all(root.join("src")).expect("a folder");
    let manifest = "[package]\nname = \"antipode\"\nversion = \"0.0.1\"\nedition = \"2024\"\n";
    let lock = "version = 4\n\n[[package]]\nname = \"antipode\"\nversion = \"0.0.1\"\n";
    std::fs::write(root.join("Cargo.toml"), manifest).expect("it can be written");
    std::fs::write(root.join("Cargo.lock"), lock).expect("it can be written");
    std::fs::write(root.join(".gitignore"), "target\n").expect("it can be written");
    write(&root, "old");
    git(&root, &["init", "--quiet"]);
    for says in ["old", "new"] {
        write(&root, says);
        git(&root, &["add", "."]);
        git(&root, &["commit", "--quiet", "--message", says]);
    }
    (scratch, root)
}

fn says(binary: &Path) -> String {
    let output = Command::new(binary).output().expect("it was built");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn this_tree_and_a_commit_are_built_apart() {
    let (_scratch, root) = repository();
    // What is measured here is what stands here, committed or not.
    write(&root, "newest");
    let mut trees = Trees::find(&root.join("src"), "HEAD~1").await.expect("it is one");
    let here = trees.build_here().await.expect("it builds");
    let there = trees.build_commit().await.expect("it builds");
    assert_eq!((&*says(&here.binary), &*says(&there.binary)), ("newest", "old"));
    assert!(here.label.contains("changed"), "{}", here.label);
    assert_ne!(here.binary, there.binary);
    assert_eq!(git(&root, &["worktree", "list"]).lines().count(), 2);
    drop(trees);
    assert_eq!(git(&root, &["worktree", "list"]).lines().count(), 1);

    // Another commit is built where that one was.
    let mut trees = Trees::find(&root, "HEAD").await.expect("it is one");
    let there = trees.build_commit().await.expect("it builds");
    assert_eq!(says(&there.binary), "new");
}

#[tokio::test]
async fn what_cannot_be_built_is_said() {
    let (scratch, root) = repository();
    for commit in ["no-such", "--all", ""] {
        let error = Trees::find(&root, commit).await.err().expect("there is none");
        assert!(error.to_string().starts_with("--against: no commit"), "{error}");
    }
    let error = Trees::find(scratch.path(), "HEAD").await.err().expect("it is no repository");
    assert!(error.to_string().contains("repository"), "{error}");
    std::fs::write(root.join("src/main.rs"), "nonsense").expect("it can be written");
    let trees = Trees::find(&root, "HEAD").await.expect("it is one");
    let error = trees.build_here().await.expect_err("it does not build");
    assert!(error.to_string().contains("does not build"), "{error}");
}
