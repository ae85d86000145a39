package shared

// recent is a map that keeps about the size most recently used entries: two
// generations, of which the older is dropped whole when the younger is full.
// It is not safe for concurrent use; its owner's lock guards it.
type recent[K comparable, V any] struct {
	size     int // of one generation
	now, old map[K]V
}

// newRecent makes a map that keeps at least size entries and at most twice as
// many.
func newRecent[K comparable, V any](size int) *recent[K, V] {
	return &recent[K, V]{size: max(1, size), now: make(map[K]V)}
}

// get returns the entry and counts as a use.
func (r *recent[K, V]) get(k K) (V, bool) {
	if v, ok := r.now[k]; ok {
		return v, true
	}
	v, ok := r.old[k]
	if ok {
		delete(r.old, k)
		r.put(k, v)
	}
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if _, ok := r.now[k]; !ok && len(r.now) >= r.size {
		r.old, r.now = r.now, make(map[K]V)
	}
	r.now[k] = v
}

func (r *recent[K, V]) drop(k K) {
	delete(r.now, k)
	delete(r.old, k)
}

func (r *recent[K, V]) clear() { r.now, r.old = make(map[K]V), nil }
