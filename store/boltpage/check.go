package boltpage

import (
	"fmt"

	"scanrelay/store/durable"
)

// CheckPages says what is wrong first with the pages of a file: it finds
// whatever bbolt would die of. Values are not looked into.
func CheckPages(path string) error {
	return Check(path, func(p *File, problem Problem) {
		p.Walk(func(string, []byte, []byte) {}, problem)
	})
}

// CheckBranches looks only for what would send a reader in circles, and, where
// both meta pages must be good, for a void one: bbolt reads the file as it was
// one transaction before then.
func CheckBranches(path string, both bool) error {
	return Check(path, func(p *File, problem Problem) {
		p.shallow = true
		p.Walk(func(string, []byte, []byte) {}, problem)
		if both {
			p.checkMetas(problem)
		}
	})
}

// CheckMetas looks only for a void meta page: bbolt opens a file with one silently, one
// transaction back, and what was acknowledged last may be gone then.
func CheckMetas(path string) error { return Check(path, (*File).checkMetas) }

func (p *File) checkMetas(problem Problem) {
	if p.Metas < 2 {
		problem("", "a meta page is damaged")
	}
}

// Problem is told what is wrong in a bucket; "": outside of all.
type Problem func(bucket, what string)

// Check opens a file, has look look at it, and returns the first of the problems
// that it tells, as ErrDamaged, or that the file cannot be read.
func Check(path string, look func(p *File, problem Problem)) (bad error) {
	p, err := Open(path)
	if err != nil {
		return err
	}
	look(p, func(bucket, what string) {
		if bad == nil {
			bad = fmt.Errorf("%w: %s: %s", durable.ErrDamaged, bucket, what)
		}
	})
	if err := p.Close(); err != nil {
		return err
	}
	return bad
}
