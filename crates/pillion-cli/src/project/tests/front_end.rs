//! Where the package of the page is, and which package manager installs it.

use super::*;

#[test]
fn the_package_manager_follows_field_lock_file_and_commands_in_this_order() {
    let dev = r#"{ "build": { "beforeDevCommand": "pnpm dev", "frontendDist": "../dist" } }"#;
    let base = [CARGO, ("src-tauri/tauri.conf.json", dev)];
    let field = r#"{ "packageManager": "yarn@4.1.0" }"#;
    for (files, expected, by) in [
        (vec![("package.json", "{}")], PackageManager::Pnpm, "beforeDevCommand"),
        (vec![("package.json", field)], PackageManager::Yarn, "packageManager"),
        (vec![("package.json", field), ("bun.lock", "")], PackageManager::Yarn, "packageManager"),
        (
            vec![("package.json", field), ("bun.lock", ""), ("package-lock.json", "")],
            PackageManager::Yarn,
            "packageManager",
        ),
        (vec![("package.json", "{}"), ("package-lock.json", "")], PackageManager::Npm, "package-lock.json"),
        (vec![("package.json", "{}"), ("deno.lock", "{}")], PackageManager::Deno, "deno.lock"),
        // A program of Deno beside a page of another manager.
        (
            vec![("package.json", "{}"), ("deno.lock", "{}"), ("yarn.lock", "")],
            PackageManager::Yarn,
            "yarn.lock",
        ),
    ] {
        let folder = folder(&[base.as_slice(), &files].concat());
        let front_end = find(&folder, "").unwrap().front_end.unwrap();
        assert_eq!(front_end.manager, expected, "{files:?}");
        assert!(front_end.found_by.contains(by), "{files:?}: {}", front_end.found_by);
    }
    let folder =
        folder(&[&base[..], &[("package.json", "{}"), ("bun.lockb", ""), ("yarn.lock", "")]].concat());
    let error = find(&folder, "").unwrap_err().to_string();
    assert!(error.contains("yarn.lock, bun.lockb"), "{error}");
}

#[test]
fn the_lock_file_may_be_that_of_the_repository() {
    let folder = folder(&[
        (".git/HEAD", ""),
        ("pnpm-lock.yaml", ""),
        ("apps/desktop/package.json", r#"{ "devDependencies": { "vite": "^8" } }"#),
        ("apps/desktop/src-tauri/Cargo.toml", "[package]\nname = \"app\"\n"),
        ("apps/desktop/src-tauri/tauri.conf.json", "{}"),
    ]);
    let front_end = find(&folder, "apps/desktop").unwrap().front_end.unwrap();
    assert_eq!(front_end.manager, PackageManager::Pnpm);
    assert_eq!(front_end.dependency("vite"), Some("^8"));
}

#[test]
fn a_lock_file_outside_of_the_project_does_not_count() {
    let app = [
        ("home/package-lock.json", ""),
        ("home/yarn.lock", ""),
        ("home/app/package.json", "{}"),
        ("home/app/src-tauri/Cargo.toml", "[package]\nname = \"app\"\n"),
        ("home/app/src-tauri/tauri.conf.json", r#"{ "build": { "beforeDevCommand": "pnpm dev" } }"#),
    ];
    let found = |more: &[(&str, &str)]| {
        let folder = folder(&[app.as_slice(), more].concat());
        find(&folder, "home/app").unwrap().front_end.unwrap().manager
    };
    assert_eq!(found(&[]), PackageManager::Pnpm);
    assert_eq!(found(&[("home/app/.git/HEAD", "")]), PackageManager::Pnpm);
    assert_eq!(found(&[("home/app/bun.lock", "")]), PackageManager::Bun);
    // The root of a workspace ends the search inside of a repository.
    assert_eq!(found(&[(".git/HEAD", ""), ("home/app/pnpm-workspace.yaml", "")]), PackageManager::Pnpm);
    assert_eq!(
        found(&[(".git/HEAD", ""), ("home/app/package.json", r#"{ "workspaces": ["web"] }"#)]),
        PackageManager::Pnpm
    );
}

#[test]
fn the_lock_file_of_the_app_counts_for_a_page_below_it() {
    let dist = r#"{ "build": { "frontendDist": "../ui/dist" } }"#;
    let files = [CARGO, ("src-tauri/tauri.conf.json", dist), ("ui/package.json", "{}"), ("yarn.lock", "")];
    let folder = folder(&files);
    assert_eq!(find(&folder, "").unwrap().front_end.unwrap().manager, PackageManager::Yarn);
}

#[test]
fn the_package_of_the_page_may_be_above_its_built_files() {
    let dist = r#"{ "build": { "frontendDist": "../ui/dist" } }"#;
    let folder = folder(&[CARGO, ("src-tauri/tauri.conf.json", dist), ("ui/package.json", "{}")]);
    let front_end = find(&folder, "").unwrap().front_end.unwrap();
    assert_eq!(front_end.folder(), folder.path().join("ui"));
    let url = r#"{ "build": { "frontendDist": "https://example.org" } }"#;
    assert!(find(&app(url), "").unwrap().front_end.is_none());
}
