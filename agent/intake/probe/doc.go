// Package probe looks at an external MQTT broker from beside the agent: Run finds
// out what the broker promises and what it does not, Listen shows what devices
// publish there. Both log in with a client id of their own, take nothing away from
// the agent, and leave nothing at the broker.
package probe
