// Package web is what a browser is sent of the depot page: files that ask for nothing
// from outside. What they show comes from package control's answers; it must never hold
// anything of a depot itself.
package web
