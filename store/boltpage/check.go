package boltpage

import (
	"fmt"

	"scanrelay/store/durable"
)

// DamageIn is the ErrDamaged that a problem of a walk is.
func DamageIn(bucket, what string) error {
	return fmt.Errorf("%w: %s: %s", durable.ErrDamaged, bucket, what)
}

// CheckPages says what is wrong first with the pages of a file: it finds
// whatever bbolt would die of. Values are not looked into.
func CheckPages(path string) error {
	return check(path, func(p *File, problem func(bucket, what string)) {
		p.Walk(func(string, []byte, []byte) {}, problem)
	})
}

// CheckBranches looks only for what would send a reader in circles, and, where
// both meta pages must be good, for a void one: bbolt reads the file as it was
// one transaction before then.
func CheckBranches(path string, both bool) error {
	return check(path, func(p *File, problem func(bucket, what string)) {
		p.shallow = true
		p.Walk(func(string, []byte, []byte) {}, problem)
		if both && p.Metas < 2 {
			problem("", "a meta page is damaged")
		}
	})
}

func check(path string, look func(*File, func(bucket, what string))) (bad error) {
	p, err := Open(path)
	if err != nil {
		return err
	}
	look(p, func(bucket, what string) {
		if bad == nil {
			bad = DamageIn(bucket, what)
		}
	})
	if err := p.Close(); err != nil {
		return err
	}
	return bad
}

// MetaPagesWhole reports whether both meta pages of a bbolt file can be read and
// are valid.
// bbolt opens a file with one damaged page silently, one transaction back: what
// was acknowledged last may be gone then.
func MetaPagesWhole(path string) (bool, error) {
	p, err := Open(path)
	if err != nil {
		return false, err
	}
	return p.Metas == 2, p.Close()
}
