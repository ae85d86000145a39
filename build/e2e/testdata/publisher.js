// A device that uses MQTT.js, as its authors show it: a session that lasts, publishes
// with QoS 1 and 2 in turn, and the library connects again whenever a line is lost.
// Usage: node publisher.js HOST:PORT VERSION COUNT; it ends once all are delivered.
const mqtt = require('mqtt')
const [broker, version, count] = process.argv.slice(2)
const named = { 3: { protocolId: 'MQIsdp' }, 4: {}, 5: { properties: { sessionExpiryInterval: 3600 } } }
const client = mqtt.connect('mqtt://' + broker, {
  clientId: 'mqttjs-' + version, protocolVersion: Number(version), clean: false,
  reconnectPeriod: 10, connectTimeout: 5000, ...named[version]
})
let left = Number(count)
client.on('error', (error) => console.error(String(error)))
for (let i = 0; i < count; i++) {
  const text = JSON.stringify({ waybill_id: 'YTJ' + String(i).padStart(7, '0'), action_type: 200001, action_msg: 'x', event_id: `j${version}-${i}` })
  client.publish('scans/j', text, { qos: 1 + i % 2 }, (error) => {
    if (error) {
      console.error(`scan ${i}: ${error}`)
      process.exit(1)
    }
    if (--left === 0) client.end()
  })
}
