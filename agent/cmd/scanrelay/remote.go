//go:build !gateway

package main

import (
	"encoding/json"
	"errors"

	"scanrelay/configs"
	"scanrelay/uplink/syncapi/directive"
)

// checkRemote tells what an agent would say against a configuration that it is given by
// the centre: it is put into a file as small as one may be.
func checkRemote(body directive.Body) error {
	file := struct {
		Depot   map[string]string `json:"depot"`
		MQTT    map[string]string `json:"mqtt"`
		Central map[string]string `json:"central"`
		directive.Body
	}{
		map[string]string{"id": "depot"}, map[string]string{"broker": "embedded"},
		map[string]string{"url": "https://centre.example", "token": "00000000000000000000000000000000"}, body,
	}
	text, err := json.Marshal(file)
	if err != nil {
		return err
	}
	_, problems := configs.ReadAgent("the configuration", text, nil)
	for _, p := range problems.Errors() {
		return errors.New(p.String())
	}
	return nil
}
