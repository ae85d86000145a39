// Package health is how an agent does, as it tells the centre with each sync and as the
// centre tells operators. It holds words and shapes only; what they come to is judged by
// uplink/central/fleet.
package health
