//go:build gateway

package chinese

// helpFull is of commands that the gateway build has not.
const helpFull = ""
