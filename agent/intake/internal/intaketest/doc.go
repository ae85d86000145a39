// Package intaketest is what the tests of intake's rooms share: an outbox in
// memory, mappers, devices that speak MQTT as a library or packet by packet, a real
// mosquitto, and certificates.
package intaketest
