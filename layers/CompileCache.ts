/**
 * Code is kept as it was compiled, beside what it was compiled of, so that the next start need not do it again. Imported before
 * what it is about. Where nothing can be written (the directory of another, an image), what is there is read all the same.
 *
 * @since 0.1.0
 */
import Module from "node:module"
import { fileURLToPath } from "node:url"

// By the default export: a Node too old has none of this, and gets as far as being handed over. Sources are not served from. Not the temporary directory: what lies there may have been laid there by somebody else.
if (import.meta.url.endsWith("/sluice.js")) {
  Module.enableCompileCache({ directory: fileURLToPath(new URL("compiled", import.meta.url)), portable: true })
}
