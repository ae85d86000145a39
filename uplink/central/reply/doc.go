// Package reply writes the centre's answers: JSON, and a syncapi.Failure where
// something went wrong. It must never be given what a body held.
package reply
