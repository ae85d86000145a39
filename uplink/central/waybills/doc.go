// Package waybills is what the carrier's own systems and operators do with
// waybills: import their data (POST /v1/waybills) and look at one (GET
// /v1/waybills/{id}).
//
// An import is read and stored piece by piece, whatever its length; good lines
// are stored even where others are bad, and each bad one is told with its number.
// What is shown to people is masked unless they ask for it. It must never quote a
// line in an error, nor log what is in one.
package waybills
