package bolt

// InSmallSteps lets a store that is in clear be encrypted in many.
func InSmallSteps(o Options) Options {
	o.encryptKeys, o.encryptPages = 3, 5
	return o
}
