/**
 * How V8 treats the program. Imported before what it is about.
 *
 * @since 0.1.0
 */
import Module from "node:module"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"

/**
 * What is allocated at places whose objects lived long while the program started is not taken for long-lived for ever. Each
 * such object dies with its request, but is collected seldom, and until then all that it refers to outlives the collections of
 * what is young: half of what a request allocates was copied twice.
 */
setFlagsFromString("--no-allocation-site-pretenuring")

/**
 * WebAssembly, which is PGlite, is compiled for speed later than usual: while the program starts that costs a third of a core's time,
 * and gains nothing. What runs often is compiled soon enough.
 */
setFlagsFromString("--wasm-tiering-budget=200000000")

/**
 * Code is kept as it was compiled, beside what it was compiled of, so that the next start need not do it again. Where nothing
 * can be written (the directory of another, an image), what is there is read all the same. Not in the temporary directory: what
 * lies there may have been laid there by somebody else. Sources are not served from. By the default export: a Node too old has
 * none of this, and gets as far as being handed over.
 */
if (import.meta.url.endsWith("/sluice.js")) {
  Module.enableCompileCache({ directory: fileURLToPath(new URL("compiled", import.meta.url)), portable: true })
}
