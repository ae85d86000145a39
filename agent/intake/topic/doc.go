// Package topic reads MQTT topic filters and matches topics with them. Sources,
// users of the embedded broker and `scanrelay listen` all mean the same by a
// filter because they all ask here.
package topic
