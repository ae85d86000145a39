// Package tlsfile makes TLS configurations from certificate files. It promises
// that a certificate which was renewed in its file is used without a restart,
// and that what is wrong with the files is found when a configuration is made.
// It never falls back to speaking in clear: that is its caller's decision.
package tlsfile
