// @vitest-environment node
import { expect, test } from "vitest";
import { prerendered } from "../vite.config";

test("a build fails if index.html has no place for the page", async () => {
  await expect(prerendered.transformIndexHtml('<div id="root"></div>')).rejects.toThrow("<!--page-->");
});
