// Package nearest says of a word that is not known which of the known ones was
// meant, for people who mistype keys, fields and commands.
package nearest
