//! What a program may do under the hardened runtime of macOS:
//! <https://developer.apple.com/documentation/security/hardened-runtime>.

/// The entitlements of programs that compile JavaScript while they run: those of Node's own signature, which Bun demands as well
/// (<https://bun.com/docs/bundler/executables#code-signing-on-macos>).
pub(crate) const JIT: [&str; 5] = [
    "com.apple.security.cs.allow-dyld-environment-variables",
    "com.apple.security.cs.allow-jit",
    "com.apple.security.cs.allow-unsigned-executable-memory",
    "com.apple.security.cs.disable-executable-page-protection",
    "com.apple.security.cs.disable-library-validation",
];

/// A property list in which all of these entitlements are true. Their names contain no character that XML escapes.
pub(crate) fn property_list(keys: &[&str]) -> String {
    let mut list = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n",
    );
    for key in keys {
        list += &format!("\t<key>{key}</key>\n\t<true/>\n");
    }
    list + "</dict>\n</plist>\n"
}
