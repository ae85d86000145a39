// Package directive is what the centre wants of a gateway beside taking its events: which
// version to run, which configuration; and what the gateway says of both. It holds words
// and shapes only. The centre decides in uplink/central/rollout, the gateway in agent.
package directive
