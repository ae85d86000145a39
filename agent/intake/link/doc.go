// Package link is the line to an external MQTT broker: it connects a paho client
// that logs in as it should, gives up on a line that is dead, and never holds
// more than the beginning of a message that is too large. source and probe both
// stand on it.
//
// paho is MQTT 3.1.1 here, delivers in order of arrival on one goroutine, and
// neither reconnects nor, where asked, acknowledges by itself.
package link
