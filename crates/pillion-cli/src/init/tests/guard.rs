use super::*;

#[test]
fn the_guard_comes_before_all_that_main_does() {
    let guard = "tauri_plugin_pillion::guard::run_if_asked();";
    for (main, in_library, in_program) in [
        ("fn main() {\n    notes_lib::run()\n}\n", true, false),
        ("fn main() {\n    log();\n    notes_lib::run()\n}\n", false, true),
        ("#[tokio::main]\nasync fn main() {\n    notes_lib::run()\n}\n", false, false),
    ] {
        let folder = app(&[("src-tauri/src/main.rs", main)]);
        apply(folder.path(), None);
        let has = |file| read(&folder, file).contains(guard);
        assert_eq!(
            (has("src-tauri/src/lib.rs"), has("src-tauri/src/main.rs")),
            (in_library, in_program),
            "{main}"
        );
        assert!(read(&folder, "src-tauri/src/lib.rs").contains(".plugin(tauri_plugin_pillion::init())"));
    }
}
