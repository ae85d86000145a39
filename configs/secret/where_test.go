package secret_test

import (
	"net/url"
	"testing"

	"scanrelay/configs/secret"
)

func TestWhereSecretsMayGo(t *testing.T) {
	for address, want := range map[string]bool{
		"https://centre.example": true, "http://localhost:8080": true, "http://127.0.0.1": true, "http://127.8.9.1:1": true, "http://[::1]:8080": true,
		"http://centre.example": false, "http://10.0.0.1:8080": false, "http://127.0.0.1.example": false, "http://0.0.0.0": false, "http://": false,
		"ftp://centre.example": false, "http://localhost.example": false, "http://localhost@centre.example": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := secret.MayGoTo(u); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
