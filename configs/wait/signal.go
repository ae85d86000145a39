package wait

// Signal leaves word in a channel of capacity 1 that whoever receives from it
// looks again; word that is there already is enough.
func Signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
