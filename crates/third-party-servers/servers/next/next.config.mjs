const root = import.meta.dirname;

// The roots keep Next.js from taking a folder above, with another lock file, for the project.
/** @type {import("next").NextConfig} */
export default { output: "standalone", outputFileTracingRoot: root, turbopack: { root } };
