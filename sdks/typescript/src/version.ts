/**
 * The version of the SDK, as servers show it.
 *
 * For: introducing the worker. Not for: the version of the protocol.
 * Invariant: the same as in `package.json`; a test compares them.
 */

/** The version of the SDK. */
export const VERSION = "0.1.0";
