package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"scanrelay/configs/secret"
)

func TestSecretPrintsMasked(t *testing.T) {
	type holder struct{ Value secret.Text }
	s := secret.Text("s3cr3t")
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "in", holder{s})
	asJSON, err := json.Marshal(map[string]any{"s": s, "in": holder{s}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+verb+verb, s, &s, holder{s})
	}
	if strings.Contains(out.String(), "s3cr3t") || strings.Contains(out.String(), fmt.Sprintf("%x", "s3cr3t")) {
		t.Errorf("printed: %s", &out)
	}
	if s.Reveal() != "s3cr3t" || secret.Text("").String() != "" || s.String() != "***" {
		t.Error("Reveal or String")
	}
}
